//! Parts of documents that are stored as columns, on real processes: that queries read them, and that
//! they answer as those over a table whose parts have none, whatever happens to the rows.

use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

use super::projections::Draw;

/// Ordered by all that they give: keys are there twice at the end.
const QUERIES: [&str; 22] = [
    "SELECT id, j.a, j.b.c FROM T ORDER BY ALL",
    "SELECT id, j.a, j FROM T ORDER BY ALL",
    "SELECT j.b.c AS c, count() FROM T GROUP BY c ORDER BY ALL",
    "SELECT j.a, j.b.d, count(), max(j.b.c) FROM T WHERE id > 200 GROUP BY j.a, j.b.d ORDER BY ALL",
    "SELECT count() FROM T WHERE j.a = '3'",
    "SELECT id FROM T WHERE j.b.c IS NULL AND (j.a LIKE '%1%' OR j.a < '2') ORDER BY id",
    "SELECT sum(toInt64OrNull(j.b.c)), uniq(j.a), min(j.a), max(j.b.d) FROM T",
    "SELECT s.j.a, s.doc.b.c, s.doc FROM (SELECT id, j, j AS doc FROM T WHERE j.a <> '1') s ORDER BY ALL",
    "SELECT l.j.a, r.j.b.d FROM T l JOIN T r ON l.id = r.id + 1 WHERE r.j.b.c > '2' ORDER BY ALL",
    "SELECT l.id, r.j.b.d FROM T l LEFT JOIN T r ON l.id = r.id * 2 AND r.j.a = '1' ORDER BY ALL",
    "SELECT count() FROM T l JOIN T r ON l.j.a = r.j.b.c WHERE l.id < 300",
    "SELECT DISTINCT j.a FROM T ORDER BY 1",
    "SELECT id FROM T ORDER BY j.a, id LIMIT 20",
    "SELECT j ->> 'x.y' AS k, count() FROM T GROUP BY k ORDER BY ALL",
    "WITH c AS (SELECT * FROM T) SELECT max(c.j.a), min(c.j.b.d) FROM c",
    "SELECT count() FROM T WHERE j.a IN (SELECT j.b.c FROM T)",
    "SELECT id, row_number() OVER (PARTITION BY j.a ORDER BY id) FROM T ORDER BY ALL LIMIT 100",
    "SELECT count() FROM T o WHERE EXISTS (SELECT 1 FROM T i WHERE i.j.b.c = '3' AND i.id = o.id) AND o.j.a <> '1'",
    "SELECT j.a FROM T UNION ALL SELECT j.b.c FROM T ORDER BY 1",
    "SELECT j.b, count() AS n FROM T GROUP BY j.b HAVING n > 3 AND j.b <> 'x' ORDER BY ALL",
    "SELECT j.a, count() FROM T GROUP BY ROLLUP(j.a) ORDER BY ALL",
    "SELECT id, j.a.b.c.d, j.none, upper(j.b.d) || coalesce(j.a, '-') FROM T ORDER BY ALL",
];

/// A document of some shape: numbers, texts, objects, names that are there twice, and none at all.
fn document(draw: &mut Draw) -> String {
    let a = draw.of(&["1", "3", "\"3\"", "\"ab\"", "null", "1.50", "true", "{\"b\": 1}", "[1, 2]"]);
    let c = draw.of(&["1", "2", "3", "\"x\\ny\"", "1e3", "false"]);
    let d = draw.of(&["\"red\"", "\"\\u0067reen\"", "\"it's\"", "\"\"", "{}"]);
    let b = format!("{{\"c\": {c}, \"d\": {d}}}");
    let rest = draw.of(&["", ", \"x.y\": 7", ", \"x\": {\"y\": 8}", ", \"a\": 9", ", \"A\": 1"]);
    match draw.of(&["all", "all", "all", "all", "a", "b", "text", "broken"]) {
        "all" => format!("{{\"a\": {a}, \"b\": {b}{rest}}}"),
        "a" => format!(" {{\"a\":{a}{rest}}} "),
        "b" => format!("{{\"b\": {b}}}"),
        "text" => "\"no object\"".to_owned(),
        _ => format!("{{\"a\": {a}, \"b\": "),
    }
}

/// The same rows into both tables.
async fn insert(client: &mut SqlClient, draw: &mut Draw, from: u64) -> TestResult {
    let rows = (from..from + 1500).map(|id| {
        let document = document(draw).replace('\\', "\\\\").replace('\'', "''");
        format!("({id}, '{document}')")
    });
    let rows = rows.collect::<Vec<_>>().join(", ");
    for table in ["t", "p"] {
        client.update(&format!("INSERT INTO {table} (id, j) VALUES {rows}")).await?;
    }
    Ok(())
}

async fn plan_reads(client: &mut SqlClient, query: &str, columns: &str) -> TestResult {
    let plan = client.lines(&format!("EXPLAIN {query}")).await?.join("\n");
    assert!(plan.contains(&format!("columns=[{columns}]")), "no {columns} for {query}\n{plan}");
    Ok(())
}

/// Whether queries over the table with columns and the one without answer alike.
async fn compare(client: &mut SqlClient, when: &str) -> TestResult {
    for query in QUERIES {
        let over = |table: &str| {
            let from = query.replace("FROM T", &format!("FROM {table}"));
            from.replace("JOIN T", &format!("JOIN {table}"))
        };
        let (with, without) = (client.lines(&over("t")).await?, client.lines(&over("p")).await?);
        assert_eq!(with, without, "{when}: {query}");
    }
    Ok(())
}

async fn check(mode: Mode, engine: &str) -> TestResult {
    let cluster = TestCluster::start(mode).await?;
    let mut client = cluster.client(0).await?;
    let create = format!(
        "(id Int64, j JSON) ENGINE = {engine} ORDER BY id DISTRIBUTED BY (id) BUCKETS 2 \
         SETTINGS index_granularity = 200"
    );
    client.update(&format!("CREATE TABLE t {create}")).await?;
    client.update(&format!("CREATE TABLE p {create}, json_columns = 0")).await?;
    for table in ["t", "p"] {
        client.update(&format!("SYSTEM STOP MERGES {table}")).await?;
    }
    let mut draw = Draw(11);
    let of_both = async |client: &mut SqlClient, sql: &str| -> TestResult {
        for table in ["t", "p"] {
            client.update(&sql.replace("TABLE T", &format!("TABLE {table}"))).await?;
        }
        Ok(())
    };
    let narrow = "SELECT j.a, count() FROM t WHERE j.b.c = '1' GROUP BY j.a";
    insert(&mut client, &mut draw, 0).await?;
    insert(&mut client, &mut draw, 1500).await?;
    plan_reads(&mut client, narrow, "j.a, j.b.c").await?;
    plan_reads(&mut client, &narrow.replace("FROM t", "FROM p"), "j").await?;
    plan_reads(&mut client, "SELECT j.none FROM t", "j").await?;
    compare(&mut client, "two parts have columns").await?;

    // Of three parts one has none.
    of_both(&mut client, "ALTER TABLE T MODIFY SETTING json_columns = 0").await?;
    insert(&mut client, &mut draw, 3000).await?;
    plan_reads(&mut client, narrow, "j.a, j.b.c").await?;
    compare(&mut client, "one part has none").await?;
    client.update("ALTER TABLE t MODIFY SETTING json_columns = 64").await?;

    for table in ["t", "p"] {
        client.update(&format!("DELETE FROM {table} WHERE id % 17 = 4")).await?;
        let set = "SET j = '{\"a\": \"set\", \"b\": {\"c\": 5}}' WHERE id % 3 = 1";
        client.update(&format!("UPDATE {table} {set}")).await?;
    }
    compare(&mut client, "rows are deleted and updated").await?;
    of_both(&mut client, "OPTIMIZE TABLE T FINAL").await?;
    plan_reads(&mut client, narrow, "j.a, j.b.c").await?;
    compare(&mut client, "all is merged").await?;

    // The same names for something else, and other names for the same.
    of_both(&mut client, "ALTER TABLE T RENAME COLUMN j TO k").await?;
    plan_reads(&mut client, "SELECT k.a FROM t", "k.a").await?;
    of_both(&mut client, "ALTER TABLE T ADD COLUMN j JSON").await?;
    plan_reads(&mut client, "SELECT j.a FROM t", "j").await?;
    compare(&mut client, "another column has the name").await?;
    of_both(&mut client, "ALTER TABLE T DROP COLUMN j").await?;
    of_both(&mut client, "ALTER TABLE T RENAME COLUMN k TO j").await?;
    of_both(&mut client, "ALTER TABLE T MODIFY COLUMN j Nullable(String)").await?;
    compare(&mut client, "the column may be NULL").await?;
    insert(&mut client, &mut draw, 4500).await?;
    compare(&mut client, "with a part of the new type").await?;
    of_both(&mut client, "OPTIMIZE TABLE T FINAL").await?;
    compare(&mut client, "merged to the new type").await?;
    // Rows that are there twice: of each key one counts with FINAL.
    if engine != "MergeTree" {
        insert(&mut client, &mut draw, 0).await?;
        compare(&mut client, "with rows of the same keys").await?;
        let of_last = "SELECT id, j.a, j.b.d FROM T FINAL WHERE j.a IS NOT NULL ORDER BY id";
        let with = client.lines(&of_last.replace("FROM T", "FROM t")).await?;
        assert_eq!(with, client.lines(&of_last.replace("FROM T", "FROM p")).await?);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn json_columns_embedded() -> TestResult {
    check(Mode::Embedded, "MergeTree").await
}

#[tokio::test(flavor = "multi_thread")]
async fn json_columns_cluster() -> TestResult {
    check(Mode::Cluster, "ReplacingMergeTree").await
}
