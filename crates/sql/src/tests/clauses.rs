//! Clauses of ClickHouse's SELECT: what rows they give.

use super::support::Memory;

const TABLES: &str = "CREATE TABLE a (id Int32, xs Array(Int64), ys Array(String), \
     m Map(String, Int64)) ENGINE = MergeTree ORDER BY id; \
     INSERT INTO a VALUES (1, [10, 20], ['x', 'y'], map('k', 1)), (2, [], [], map()), \
     (3, [30], ['z'], map()); \
     CREATE TABLE trades (sym Nullable(String), ts Nullable(Int32), qty Int32) \
     ENGINE = MergeTree ORDER BY qty; \
     INSERT INTO trades VALUES ('A', 0, 1), ('A', 5, 2), ('A', 99, 3), ('B', 4, 4), ('C', 4, 5), \
     (NULL, 4, 6), ('A', NULL, 7); \
     CREATE TABLE quotes (sym Nullable(String), ts Nullable(Int64), price Int32) \
     ENGINE = MergeTree ORDER BY price; \
     INSERT INTO quotes VALUES ('A', 1, 100), ('A', 5, 101), ('A', 5, 101), ('A', 10, 102), \
     ('B', 1, 7), (NULL, 1, 8), ('B', NULL, 9)";

async fn check(cases: &[(&str, &str)]) {
    let mut memory = Memory::with(TABLES).await;
    for (sql, expected) in cases {
        let rows = memory.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows.join("; "), *expected, "{sql}");
    }
}

async fn check_errors(cases: &[(&str, &str)]) {
    let mut memory = Memory::with(TABLES).await;
    for (sql, expected) in cases {
        match memory.run(sql).await {
            Ok(rows) => panic!("{sql}: {rows:?}"),
            Err(error) => assert!(error.to_string().contains(expected), "{sql}: {error}"),
        }
    }
}

#[tokio::test]
async fn array_join() {
    check(&[
        ("SELECT id, x FROM a ARRAY JOIN xs AS x ORDER BY id, x", "1 | 10; 1 | 20; 3 | 30"),
        ("SELECT id, xs, ys FROM a ARRAY JOIN xs, ys ORDER BY id, xs", "1 | 10 | x; 1 | 20 | y; 3 | 30 | z"),
        ("SELECT * EXCEPT (m) FROM a ARRAY JOIN xs ORDER BY id, xs", "1 | 10 | [x, y]; 1 | 20 | [x, y]; 3 | 30 | [z]"),
        ("SELECT * EXCEPT (m, ys) FROM a ARRAY JOIN xs AS x WHERE x > 10 ORDER BY x", "1 | [10, 20]; 3 | [30]"),
        ("SELECT id, x FROM a LEFT ARRAY JOIN xs AS x ORDER BY id, x", "1 | 10; 1 | 20; 2 | 0; 3 | 30"),
        ("SELECT id, count() FROM a ARRAY JOIN m AS k GROUP BY id", "1 | 1"),
        ("SELECT t.id, v FROM a AS t ARRAY JOIN [id, t.id * 2] AS v WHERE id < 2 ORDER BY v", "1 | 1; 1 | 2"),
        ("SELECT number, count() FROM numbers(4) ARRAY JOIN range(number) AS r GROUP BY number ORDER BY number", "1 | 1; 2 | 2; 3 | 3"),
        ("SELECT x, q.price FROM a ARRAY JOIN xs AS x JOIN quotes AS q ON x = q.ts WHERE q.price > 0", "10 | 102"),
        ("SELECT sum(x) FROM (SELECT id, xs AS arr FROM a) ARRAY JOIN arr AS x, arr AS y WHERE y > 10", "50"),
    ])
    .await;
    check_errors(&[
        ("SELECT 1 FROM a ARRAY JOIN xs AS x, [1] AS y", "unequal lengths"),
        ("SELECT 1 FROM a ARRAY JOIN [1, 2]", "needs a name"),
        ("SELECT 1 FROM a ARRAY JOIN id", "takes arrays"),
    ])
    .await;
}

#[tokio::test]
async fn asof_join() {
    check(&[
        (
            "SELECT t.qty, q.price FROM trades AS t ASOF JOIN quotes AS q ON t.sym = q.sym AND t.ts >= q.ts ORDER BY t.qty",
            "2 | 101; 3 | 102; 4 | 7",
        ),
        (
            "SELECT t.qty, q.price FROM trades t ASOF LEFT JOIN quotes q ON t.sym = q.sym AND t.ts >= q.ts ORDER BY t.qty",
            "1 | NULL; 2 | 101; 3 | 102; 4 | 7; 5 | NULL; 6 | NULL; 7 | NULL",
        ),
        (
            "SELECT t.qty, q.price FROM trades t ASOF JOIN quotes q ON q.ts < t.ts AND t.sym = q.sym ORDER BY t.qty",
            "2 | 100; 3 | 102; 4 | 7",
        ),
        (
            "SELECT t.qty, q.price FROM trades t ASOF JOIN quotes q ON t.sym = q.sym AND t.ts < q.ts ORDER BY t.qty",
            "1 | 100; 2 | 102",
        ),
        (
            "SELECT t.qty, q.price FROM trades t LEFT ASOF JOIN quotes q ON t.sym = q.sym AND t.ts <= q.ts ORDER BY t.qty",
            "1 | 100; 2 | 101; 3 | NULL; 4 | NULL; 5 | NULL; 6 | NULL; 7 | NULL",
        ),
        ("SELECT sym, ts, qty, price FROM trades ASOF JOIN quotes USING (sym, ts) ORDER BY qty", "A | 5 | 2 | 101; A | 99 | 3 | 102; B | 4 | 4 | 7"),
        (
            "SELECT t.qty, q.price, a.id FROM trades t ASOF JOIN quotes q ON t.sym = q.sym AND t.ts >= q.ts AND q.price < 102 JOIN a ON a.id = t.qty ORDER BY 1",
            "2 | 101 | 2; 3 | 101 | 3",
        ),
    ])
    .await;
    check_errors(&[
        ("SELECT 1 FROM trades t ASOF JOIN quotes q ON t.sym = q.sym", "exactly one comparison"),
        ("SELECT 1 FROM trades t ASOF JOIN quotes q ON t.sym = q.sym OR t.ts > q.ts", "not '"),
    ])
    .await;
}

#[tokio::test]
async fn with_fill() {
    check(&[
        (
            "SELECT n, c FROM (SELECT 2 AS n, 20 AS c UNION ALL SELECT 5, 50) ORDER BY n WITH FILL FROM 1 TO 8 STEP 2",
            "1 | 0; 2 | 20; 3 | 0; 5 | 50; 7 | 0",
        ),
        ("SELECT number AS n FROM numbers(1, 3) WHERE number <> 2 ORDER BY n WITH FILL", "1; 2; 3"),
        (
            "SELECT number AS n FROM numbers(1, 3) WHERE number <> 2 ORDER BY n DESC WITH FILL TO -1 LIMIT 4",
            "3; 2; 1; 0",
        ),
        ("SELECT toDate('2024-01-31') AS d, 'x' AS s ORDER BY d WITH FILL TO toDate('2024-04-02') STEP INTERVAL 1 MONTH", "2024-01-31 | x; 2024-02-29 | ; 2024-03-29 | "),
        ("SELECT toDateTime('2024-01-01 00:00:00') AS t ORDER BY t WITH FILL TO toDateTime('2024-01-01 00:02:00') STEP 60", "2024-01-01T00:00:00; 2024-01-01T00:01:00"),
        ("SELECT toFloat64(0.5) AS f ORDER BY f WITH FILL TO 2", "0.5; 1.5"),
        ("SELECT qty FROM trades WHERE qty > 1000 ORDER BY qty WITH FILL FROM 1 TO 3", "1; 2"),
        ("SELECT id * 2 FROM a ORDER BY id * 2 WITH FILL", "2; 3; 4; 5; 6"),
        ("SELECT id AS other FROM a WHERE id <> 2 ORDER BY id * 10 WITH FILL STEP 10", "1; 0; 3"),
        ("SELECT id, id * 10 AS v FROM a WHERE id <> 2 ORDER BY id WITH FILL TO 5 INTERPOLATE (v AS v + 1)", "1 | 10; 2 | 11; 3 | 30; 4 | 31"),
        ("SELECT id, id * 10 AS v FROM a WHERE id <> 2 ORDER BY id WITH FILL TO 5 INTERPOLATE", "1 | 10; 2 | 10; 3 | 30; 4 | 30"),
        // Rows with other leading keys are filled by themselves.
        (
            "SELECT sym, price FROM quotes WHERE price IN (7, 9, 100, 102) ORDER BY sym, price WITH FILL",
            "A | 100; A | 101; A | 102; B | 7; B | 8; B | 9",
        ),
        // All filled keys are one counter.
        (
            "SELECT x, y FROM (SELECT 1 AS x, 2 AS y UNION ALL SELECT 3, 1) ORDER BY x WITH FILL, y WITH FILL FROM 1 TO 3",
            "1 | 1; 1 | 2; 2 | 1; 2 | 2; 3 | 1; 3 | 2",
        ),
    ])
    .await;
    check_errors(&[
        ("SELECT id FROM a ORDER BY id WITH FILL STEP -1", "wrong sign"),
        ("SELECT id FROM a ORDER BY id WITH FILL FROM 3 TO 1", "TO comes before FROM"),
        ("SELECT id FROM a ORDER BY id WITH FILL STEP INTERVAL 1 DAY", "no STEP INTERVAL"),
        ("SELECT sym FROM quotes ORDER BY sym WITH FILL", "numbers, dates or times"),
        ("SELECT id FROM a ORDER BY id INTERPOLATE (id)", "needs ORDER BY ... WITH FILL"),
    ])
    .await;
}

#[tokio::test]
async fn aliases_as_keys() {
    check(&[
        // The column `price` wins where the query is one then; here only the alias makes sense.
        ("SELECT ts * 2 AS price, count() FROM quotes WHERE ts > 1 GROUP BY price ORDER BY price", "10 | 2; 20 | 1"),
        ("SELECT price % 2 AS price FROM quotes WHERE ts = 5 GROUP BY price", "1"),
        (
            "WITH 5 AS low, (SELECT max(id) FROM a) AS last SELECT countIf(id < low), max(id) = last FROM a GROUP BY last",
            "3 | true",
        ),
    ])
    .await;
}

#[tokio::test]
async fn limits_and_orders() {
    check(&[
        ("SELECT ts, price FROM quotes ORDER BY ts, price LIMIT 2 WITH TIES", "1 | 7; 1 | 8"),
        ("SELECT ts FROM quotes ORDER BY ts LIMIT 1 WITH TIES", "1; 1; 1"),
        ("SELECT ts FROM quotes ORDER BY ts DESC FETCH FIRST 3 ROWS WITH TIES", "10; 5; 5"),
        ("SELECT ts FROM quotes WHERE ts > 1 ORDER BY ts LIMIT 1 OFFSET 1 WITH TIES", "5"),
        ("SELECT sym, count() FROM quotes GROUP BY ALL ORDER BY ALL", "A | 4; B | 2; NULL | 1"),
        ("SELECT sym, count() FROM quotes GROUP BY ALL ORDER BY ALL DESC LIMIT 1", "B | 2"),
    ])
    .await;
    check_errors(&[("SELECT ts FROM quotes LIMIT 1 WITH TIES", "needs ORDER BY")]).await;
}

#[tokio::test]
async fn totals() {
    check(&[
        (
            "SELECT count() AS c, sum(price) FROM quotes WHERE sym IS NOT NULL GROUP BY sym WITH TOTALS ORDER BY c",
            "2 | 16; 4 | 404; 6 | 420",
        ),
        ("SELECT sym, count() FROM quotes GROUP BY sym WITH TOTALS ORDER BY sym DESC LIMIT 1", "B | 2; NULL | 7"),
        ("SELECT sym, count() AS c FROM quotes GROUP BY sym WITH TOTALS HAVING c > 1 ORDER BY c", "B | 2; A | 4; NULL | 6"),
        ("SELECT sym, sum(price) FROM quotes GROUP BY sym WITH TOTALS HAVING count() < 2 ORDER BY 1", "NULL | 8; NULL | 8"),
        ("SELECT sym, count() FROM quotes GROUP BY 1 WITH TOTALS HAVING count() > 100", "NULL | 0"),
        ("SELECT sym AS s, ts > 1 AS late, count() FROM quotes WHERE sym IS NOT NULL GROUP BY s, late WITH TOTALS HAVING max(price) < 100 AND NOT late ORDER BY s LIMIT 1", "B | false | 1; NULL | NULL | 1"),
        ("SELECT sym AS s, max(price) FROM quotes WHERE sym > 'A' GROUP BY s WITH TOTALS", "B | 9; NULL | 9"),
        ("SELECT sym, ts, count() FROM quotes WHERE ts > 1 GROUP BY sym, ts WITH ROLLUP ORDER BY 1, 2", "A | 5 | 2; A | 10 | 1; A | NULL | 3; NULL | NULL | 3"),
    ])
    .await;
}
