//! Queries as users of other systems type them.

use super::support::Memory;

const TABLES: &str = "CREATE TABLE sales (id UInt32, region String, product String, amount Float64, \
     day Date) ENGINE = MergeTree ORDER BY id; \
     CREATE TABLE goods (product String, name String, price Float64) ENGINE = MergeTree ORDER BY product; \
     CREATE TABLE docs (id UInt32, j JSON, n Nested(k String, v Int32)) ENGINE = MergeTree ORDER BY id; \
     INSERT INTO sales VALUES (1, 'eu', 'a', 10, '2024-01-01'), (2, 'eu', 'b', 20, '2024-01-02'), \
     (3, 'us', 'a', 30, '2024-01-02'), (4, 'us', 'a', 40, '2024-02-01'); \
     INSERT INTO goods VALUES ('a', 'apple', 1.5), ('b', 'bread', 2), ('a', 'axe', 9); \
     INSERT INTO docs VALUES (1, '{\"user\": {\"name\": \"ann\", \"age\": 5}, \"ok\": true}', ['x', 'y'], [1, 2])";

async fn check(cases: &[(&str, &str)]) {
    let mut memory = Memory::with(TABLES).await;
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        match memory.run(sql).await {
            Ok(rows) if rows.join("; ") == *expected => {}
            Ok(rows) => wrong.push(format!("{sql}: {} instead of {expected}", rows.join("; "))),
            Err(error) => wrong.push(format!("{sql}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn sets_of_keys() {
    check(&[
        (
            "SELECT region, product, sum(amount) FROM sales GROUP BY GROUPING SETS ((region), (product), ()) ORDER BY 1, 2",
            "eu | NULL | 30.0; us | NULL | 70.0; NULL | a | 80.0; NULL | b | 20.0; NULL | NULL | 100.0",
        ),
        (
            "SELECT region, sum(amount) FROM sales GROUP BY ROLLUP(region) ORDER BY region NULLS LAST",
            "eu | 30.0; us | 70.0; NULL | 100.0",
        ),
        (
            "SELECT region, product, count() FROM sales GROUP BY CUBE(region, product) ORDER BY region, product",
            "eu | a | 1; eu | b | 1; eu | NULL | 2; us | a | 2; us | NULL | 2; NULL | a | 3; NULL | b | 1; NULL | NULL | 4",
        ),
        ("SELECT region, sum(amount) AS s FROM sales GROUP BY ALL ORDER BY s", "eu | 30.0; us | 70.0"),
        ("SELECT region, sum(amount) FROM sales GROUP BY region WITH ROLLUP ORDER BY 1", "eu | 30.0; us | 70.0; NULL | 100.0"),
    ])
    .await;
}

#[tokio::test]
async fn windows() {
    check(&[
        (
            "SELECT id, sum(amount) OVER w AS s FROM sales WINDOW w AS (PARTITION BY region ORDER BY id) ORDER BY id",
            "1 | 10.0; 2 | 30.0; 3 | 30.0; 4 | 70.0",
        ),
        ("SELECT id FROM sales QUALIFY row_number() OVER (PARTITION BY region ORDER BY amount DESC) = 1 ORDER BY id", "2; 4"),
        (
            "SELECT id, sum(amount) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM sales ORDER BY id",
            "1 | 10.0; 2 | 30.0; 3 | 50.0; 4 | 70.0",
        ),
        (
            "SELECT id, lagInFrame(amount, 1, 0) OVER (PARTITION BY region ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM sales ORDER BY id",
            "1 | 0.0; 2 | 10.0; 3 | 0.0; 4 | 30.0",
        ),
        ("SELECT runningDifference(amount) FROM (SELECT amount FROM sales ORDER BY id DESC)", "0.0; -10.0; -10.0; -10.0"),
        ("SELECT runningDifference(amount) FROM (SELECT amount FROM sales ORDER BY 1 - amount)", "0.0; -10.0; -10.0; -10.0"),
        ("SELECT neighbor(id, -1) FROM (SELECT id FROM sales ORDER BY id)", "0; 1; 2; 3"),
        ("SELECT ntile(2) OVER (ORDER BY id), first_value(id) OVER (ORDER BY id) FROM sales ORDER BY id LIMIT 1", "1 | 1"),
    ])
    .await;
}

#[tokio::test]
async fn joins() {
    check(&[
        (
            "SELECT s.id, g.product FROM sales AS s ANY LEFT JOIN goods AS g ON s.product = g.product ORDER BY s.id",
            "1 | a; 2 | b; 3 | a; 4 | a",
        ),
        ("SELECT id, product FROM sales LEFT ANY JOIN goods USING (product) ORDER BY id", "1 | a; 2 | b; 3 | a; 4 | a"),
        ("SELECT count() FROM sales ALL INNER JOIN goods USING product", "7"),
        ("SELECT count() FROM sales ANY INNER JOIN goods USING (product)", "2"),
        ("SELECT id FROM sales LEFT SEMI JOIN goods USING (product) ORDER BY id", "1; 2; 3; 4"),
        ("SELECT id FROM sales SEMI LEFT JOIN goods USING (product) ORDER BY id", "1; 2; 3; 4"),
        ("SELECT s.id FROM sales s ANTI LEFT JOIN goods g ON s.product = g.product AND g.price < 2 ORDER BY s.id", "2"),
        ("SELECT s.id FROM sales s GLOBAL ANY LEFT JOIN goods g ON s.product = g.product WHERE s.id < 2", "1"),
        ("SELECT count() FROM sales AS a CROSS JOIN goods AS b", "12"),
        ("SELECT a.id, b.name FROM sales a FULL OUTER JOIN goods b ON a.product = b.product AND a.id > 9 WHERE a.id IS NULL ORDER BY b.name", "NULL | apple; NULL | axe; NULL | bread"),
        ("SELECT id FROM sales WHERE product GLOBAL IN (SELECT product FROM goods WHERE price > 5) ORDER BY id", "1; 3; 4"),
    ])
    .await;
}

#[tokio::test]
async fn stars() {
    check(&[
        ("SELECT * EXCEPT (day, amount) FROM sales WHERE id = 1", "1 | eu | a"),
        ("SELECT * EXCEPT day FROM sales WHERE id = 1", "1 | eu | a | 10.0"),
        (
            "SELECT * REPLACE (amount * 2 AS amount) FROM sales WHERE id = 1",
            "1 | eu | a | 20.0 | 2024-01-01",
        ),
        ("SELECT COLUMNS('^p') FROM sales WHERE id = 1", "a"),
        ("SELECT COLUMNS('^(id|am)') FROM (SELECT * FROM sales) WHERE id = 2", "2 | 20.0"),
        ("SELECT COLUMNS(id, amount) APPLY(max) FROM sales", "4 | 40.0"),
        ("SELECT COLUMNS('i|m') APPLY(toString) FROM sales WHERE id = 1", "1 | eu | 10"),
        ("SELECT * APPLY(max) FROM (SELECT id, amount FROM sales)", "4 | 40.0"),
        ("SELECT COLUMNS('amount') APPLY(x -> x + 1) FROM sales WHERE id = 1", "11.0"),
    ])
    .await;
}

#[tokio::test]
async fn orders_of_subqueries() {
    check(&[
        ("SELECT groupArray(id) FROM (SELECT id FROM sales ORDER BY amount DESC)", "[4, 3, 2, 1]"),
        (
            "SELECT region, groupArray(id), any(product) FROM (SELECT * FROM sales ORDER BY amount DESC) GROUP BY region ORDER BY region",
            "eu | [2, 1] | b; us | [4, 3] | a",
        ),
        ("SELECT anyLast(id) FROM (SELECT id FROM sales ORDER BY amount DESC)", "1"),
        ("SELECT id FROM (SELECT id FROM sales ORDER BY amount DESC) LIMIT 2", "4; 3"),
        ("WITH c AS (SELECT id, amount FROM sales ORDER BY id DESC) SELECT groupArray(amount) FROM c", "[40.0, 30.0, 20.0, 10.0]"),
    ])
    .await;
}

#[tokio::test]
async fn conditions() {
    check(&[
        ("SELECT id, id IN (SELECT 1) AS f FROM sales ORDER BY id", "1 | true; 2 | false; 3 | false; 4 | false"),
        ("SELECT id FROM sales WHERE NOT id IN (SELECT id FROM sales WHERE region = 'eu') ORDER BY id", "3; 4"),
        ("SELECT id, id NOT IN (SELECT id FROM sales WHERE region = 'eu') AS f FROM sales ORDER BY id", "1 | false; 2 | false; 3 | true; 4 | true"),
        ("SELECT countIf(id IN (SELECT 1)), sum(if(product IN (SELECT product FROM goods WHERE price > 5), amount, 0)) FROM sales", "1 | 80.0"),
        ("SELECT product IN (SELECT product FROM goods WHERE price > 5) AS f, count() FROM sales GROUP BY f ORDER BY f", "false | 1; true | 3"),
        ("SELECT id, EXISTS (SELECT 1 FROM goods WHERE goods.product = sales.product AND price > 1.8) AS f FROM sales ORDER BY id", "1 | true; 2 | true; 3 | true; 4 | true"),
        ("SELECT EXISTS (SELECT 1 FROM goods), NOT EXISTS (SELECT 1 FROM goods WHERE price > 100)", "true | true"),
        ("SELECT count() FROM sales WHERE id - 1", "3"),
        ("SELECT count() FROM sales WHERE NOT (id - 1)", "1"),
        ("SELECT if(id > 2, amount, 0.5) FROM sales ORDER BY id LIMIT 3", "0.5; 0.5; 30.0"),
        ("SELECT coalesce(NULL, amount, 1.5) FROM sales WHERE id = 1", "10.0"),
    ])
    .await;
}

#[tokio::test]
async fn whole_numbers_do_not_come_around() {
    check(&[
        ("SELECT toUInt8(200) + toUInt8(100), toUInt8(3) - toUInt8(5), toInt32(2000000000) * toInt32(3)", "300 | -2 | 6000000000"),
        ("SELECT runningDifference(id) FROM (SELECT id FROM sales ORDER BY id DESC)", "0; -1; -1; -1"),
        ("SELECT id FROM sales ORDER BY -id LIMIT 1", "4"),
        ("SELECT arraySort(x -> -x, groupArray(id)) FROM sales", "[4, 3, 2, 1]"),
    ])
    .await;
}

#[tokio::test]
async fn turned_tables() {
    check(&[
        (
            "SELECT * FROM (SELECT region, product, amount FROM sales) PIVOT (sum(amount) FOR product IN ('a', 'b')) ORDER BY region",
            "eu | 10.0 | 20.0; us | 70.0 | NULL",
        ),
        (
            "SELECT p.x, p.y FROM (SELECT product, amount FROM sales) PIVOT (count(amount) FOR product IN ('a' AS x, 'b' AS y)) AS p",
            "3 | 1",
        ),
        (
            "SELECT k, v FROM (SELECT 1 AS id, 10 AS a, NULL AS b, 30 AS c) UNPIVOT (v FOR k IN (a, b, c)) ORDER BY k",
            "a | 10; c | 30",
        ),
    ])
    .await;
}

#[tokio::test]
async fn parts_of_documents_and_nested_columns() {
    check(&[
        ("SELECT JSONExtractString(j, 'user', 'name') FROM docs", "ann"),
        ("SELECT id, n.k, n.v FROM docs ARRAY JOIN n ORDER BY n.k", "1 | x | 1; 1 | y | 2"),
        ("SELECT id, m.k FROM docs ARRAY JOIN n AS m ORDER BY m.k", "1 | x; 1 | y"),
        ("SELECT n.k FROM docs", "[x, y]"),
        (
            "SELECT j.user.name, d.j.user.age, j.user.none FROM docs AS d WHERE j.user.age > 3",
            "ann | 5 | NULL",
        ),
    ])
    .await;
}

#[tokio::test]
async fn tables_of_functions() {
    check(&[
        ("SELECT * FROM values('a UInt8, b String', (1, 'x'), (2, 'y')) ORDER BY a", "1 | x; 2 | y"),
        ("SELECT number FROM system.numbers WHERE number % 3 = 1 LIMIT 2", "1; 4"),
        ("SELECT count() FROM numbers_mt(10)", "10"),
        ("SELECT number FROM numbers(0, 10, 4)", "0; 4; 8"),
        ("SELECT count(), max(length(b)) <= 10 FROM (SELECT * FROM generateRandom('a UInt8, b String, c DateTime, d Array(Int32), e Float64') LIMIT 20)", "20 | true"),
        ("SELECT (SELECT groupArray(a) FROM (SELECT a FROM generateRandom('a UInt32', 7) LIMIT 3)) = (SELECT groupArray(a) FROM (SELECT a FROM generateRandom('a UInt32', 7) LIMIT 3))", "true"),
        ("SELECT sum(generate_series) FROM generate_series(1, 10)", "55"),
    ])
    .await;
}

#[tokio::test]
async fn lookups() {
    check(&[
        (
            "SELECT id, dictGet('goods', 'name', s.product) FROM sales AS s WHERE id = 2",
            "2 | bread",
        ),
        ("SELECT dictGetOrDefault('default.goods', 'price', 'zz', 7.5)", "7.5"),
        ("SELECT dictGetString('goods', 'name', 'b'), dictHas('goods', 'zz')", "bread | false"),
        ("SELECT dictGet('goods', ('name', 'price'), 'b').2", "2.0"),
    ])
    .await;
}

#[tokio::test]
async fn zones() {
    check(&[
        ("SELECT toString(toDateTime('2024-06-01 12:00:00', 'Europe/Berlin')), toUnixTimestamp(toDateTime('2024-06-01 12:00:00', 'Europe/Berlin'))", "2024-06-01 12:00:00 | 1717236000"),
        ("SELECT toHour(toDateTime('2024-06-01 12:00:00'), 'Asia/Tokyo')", "21"),
        ("SELECT toString(toStartOfDay(toDateTime('2024-06-01 20:00:00'), 'Asia/Tokyo'))", "2024-06-02 00:00:00"),
        ("SELECT toString(toDate(toDateTime('2024-06-01 20:00:00'), 'Asia/Tokyo'))", "2024-06-02"),
        ("SELECT formatDateTime(toDateTime('2024-06-01 20:00:00'), '%F %T', 'America/New_York')", "2024-06-01 16:00:00"),
        ("SELECT toString(toTimeZone(toDateTime('2024-01-01 00:00:00'), 'America/New_York'))", "2023-12-31 19:00:00"),
        ("SELECT toString(toStartOfInterval(toDateTime('2024-05-17 10:47:33'), INTERVAL 1 MONTH))", "2024-05-01"),
        ("SELECT toString(toStartOfInterval(toDateTime('2024-05-17 10:47:33'), toIntervalHour(6)))", "2024-05-17 06:00:00"),
        ("SELECT dateDiff('hour', toDateTime('2024-01-01 00:00:00'), toDateTime('2024-01-01 00:00:00', 'America/New_York'))", "5"),
        ("SELECT toString(now('UTC')) = toString(now())", "true"),
    ])
    .await;
}

#[tokio::test]
async fn spellings() {
    check(&[
        ("SELECT hex(MD5('abc')), lower(hex(SHA256('abc')))", "900150983CD24FB0D6963F7D28E17F72 | ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("SELECT 1 == 1, NULL <=> NULL, 'a' != 'b'", "true | true | true"),
        ("SELECT toTypeName(CAST(1 AS Int128)), CAST('170141183460469231731687303715884105727' AS Int128)", "Decimal(39, 0) | 170141183460469231731687303715884105727"),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 4) SELECT sum(n) FROM r", "10"),
        ("SELECT TOP 1 id FROM sales ORDER BY id", "1"),
        ("SELECT DISTINCT ON (region) region, id FROM sales ORDER BY region, id", "eu | 1; us | 3"),
        ("SELECT id FROM sales EXCEPT SELECT 1 ORDER BY id", "2; 3; 4"),
        ("SELECT count(*) FILTER (WHERE amount > 15) FROM sales", "3"),
        ("SELECT EXTRACT(DOW FROM DATE '2024-01-07'), EXTRACT(EPOCH FROM TIMESTAMP '1970-01-01 00:01:00')", "0 | 60.0"),
        ("SELECT 0xFF, 1_000", "255 | 1000"),
        ("SELECT [1, 2] || [3], [1, 2, 3][2:3]", "[1, 2, 3] | [2, 3]"),
        ("SELECT id FROM sales ORDER BY id LIMIT 1 OFFSET 2", "3"),
        ("SELECT region, groupArray(product) FROM (SELECT * FROM sales ORDER BY id) GROUP BY region HAVING count() > 1 ORDER BY region", "eu | [a, b]; us | [a, a]"),
        ("SELECT sumIf(amount, region = 'eu') / sum(amount) AS share FROM sales", "0.3"),
        ("SELECT tuple(1, 'a') = (1, 'a'), (1, 2) < (1, 3)", "true | true"),
        ("SELECT * FROM sales PREWHERE id = 1 WHERE region = 'eu'", "1 | eu | a | 10.0 | 2024-01-01"),
        ("SELECT id FROM sales ORDER BY id DESC LIMIT 1 BY region", "4; 2"),
        ("SELECT toDate('2024-01-15 10:30:00'), toDate(19737), toDateTime('2024-01-15')", "2024-01-15 | 2024-01-15 | 2024-01-15T00:00:00"),
        ("SELECT if(NULL, 1, 2), multiIf(1 = 2, 'a', 'b')", "2 | b"),
        ("SELECT intDiv(7, 2), 7 DIV 2, 7 MOD 2, 7 // 2", "3 | 3 | 1 | 3"),
    ])
    .await;
}
