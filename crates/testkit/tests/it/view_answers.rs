//! Queries that are answered by the tables of materialized views, on real processes: that they are,
//! that random queries answer alike with and without, and that they are not once a table may not
//! stand for every row any more.

use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

use super::projections::{Draw, insert};

const SOURCE: &str = "CREATE TABLE t (id Int64, at DateTime, site String, code UInt16, \
                      ms Nullable(Int32), price Decimal(12, 2)) ENGINE = MergeTree \
                      PARTITION BY toYYYYMM(at) ORDER BY (site, id)";
/// Views with states, with sums, with functions of their own type, and of some rows only.
const VIEWS: [&str; 12] = [
    "CREATE MATERIALIZED VIEW by_site ENGINE = AggregatingMergeTree ORDER BY (site, code) AS \
     SELECT site, code, countState() AS n, sumState(ms) AS total, countState(ms) AS known, \
     avgState(price) AS mean, maxState(at) AS latest FROM t GROUP BY site, code",
    "CREATE TABLE hours (hour DateTime, month UInt32, n Int64, total Decimal(38, 2)) \
     ENGINE = SummingMergeTree ORDER BY (hour, month)",
    "CREATE MATERIALIZED VIEW by_hour TO hours AS SELECT toStartOfHour(at) AS hour, \
     toYYYYMM(at) AS month, count() AS n, sum(price) AS total FROM t GROUP BY hour, month",
    "CREATE TABLE codes (code UInt16, n SimpleAggregateFunction(sum, Int64), \
     least SimpleAggregateFunction(min, Nullable(Int32)), most SimpleAggregateFunction(max, Nullable(Int32))) \
     ENGINE = AggregatingMergeTree ORDER BY code",
    "CREATE MATERIALIZED VIEW by_code TO codes AS \
     SELECT code, count() AS n, min(ms) AS least, max(ms) AS most FROM t GROUP BY code",
    "CREATE MATERIALIZED VIEW of_s3 ENGINE = MergeTree ORDER BY code AS \
     SELECT code, count() AS n, sum(id) AS ids FROM t WHERE site = 's3' GROUP BY code",
    "CREATE TABLE days (day Date, n UInt64, known UInt64, cheap UInt64, ids Int64, \
     latest SimpleAggregateFunction(max, DateTime)) ENGINE = SummingMergeTree ORDER BY day",
    "CREATE MATERIALIZED VIEW by_day TO days AS SELECT toDate(at) AS day, count() AS n, \
     count(ms) AS known, countIf(price < 40) AS cheap, sum(id) AS ids, max(at) AS latest \
     FROM t GROUP BY day",
    // Rows without a sum go; counts may not fit.
    "CREATE MATERIALIZED VIEW of_sums ENGINE = SummingMergeTree ORDER BY rest AS \
     SELECT id % 17 AS rest, sum(code) AS codes FROM t GROUP BY rest",
    "CREATE TABLE few (rest Int64, n UInt16, ids Int32) ENGINE = MergeTree ORDER BY rest",
    "CREATE MATERIALIZED VIEW of_few TO few AS \
     SELECT id % 19 AS rest, count() AS n, sum(id) AS ids FROM t GROUP BY rest",
    "CREATE MATERIALIZED VIEW by_rest ENGINE = SummingMergeTree ORDER BY rest AS \
     SELECT id % 23 AS rest, count() AS n, sumState(ms) AS total FROM t GROUP BY rest",
];
const NAMES: [&str; 8] =
    ["by_site", "by_hour", "by_code", "of_s3", "by_day", "of_sums", "of_few", "by_rest"];

/// The view that a scan of the plan reads.
async fn used(client: &mut SqlClient, query: &str) -> TestResult<Option<&'static str>> {
    let plan = client.lines(&format!("EXPLAIN {query}")).await?.join("\n");
    Ok(NAMES.into_iter().find(|name| plan.contains(&format!("view={name},"))))
}

/// How many of some random queries a view answers; all of them answer as without.
async fn compare(client: &mut SqlClient, draw: &mut Draw, when: &str) -> TestResult<usize> {
    let mut answered = 0;
    for _ in 0..30 {
        let query = draw.aggregation();
        let with = client.lines(&query).await?;
        let without = client.lines(&format!("{query} SETTINGS optimize_use_views = 0")).await?;
        assert_eq!(with, without, "{when}: {query}");
        answered += usize::from(used(client, &query).await?.is_some());
    }
    Ok(answered)
}

async fn check(mode: Mode) -> TestResult {
    let cluster = TestCluster::start(mode).await?;
    let mut client = cluster.client(0).await?;
    client.update(SOURCE).await?;
    for sql in VIEWS {
        client.update(sql).await.map_err(|error| format!("{sql}: {error}"))?;
    }
    let mut draw = Draw(7);
    insert(&mut client, 0).await?;
    // What a view makes of a row does not depend on who inserts it.
    client.update("SET session_timezone = 'Asia/Tokyo'").await?;
    insert(&mut client, 1500).await?;
    client.update("SET session_timezone = 'UTC'").await?;
    let answered = compare(&mut client, &mut draw, "inserted").await?;
    assert!(answered >= 1, "{answered}");
    for (query, expected) in [
        ("SELECT site, count(), max(at) FROM t GROUP BY site", Some("by_site")),
        ("SELECT sum(ms), count(ms) FROM t WHERE code IN (1, 5)", Some("by_site")),
        ("SELECT code, min(ms), max(ms) FROM t GROUP BY code", Some("by_code")),
        ("SELECT code, count() FROM t GROUP BY code", Some("by_code")),
        ("SELECT toStartOfHour(at) AS h, count(), sum(price) FROM t GROUP BY h", Some("by_hour")),
        ("SELECT toYYYYMM(at) AS m, count(*) AS n FROM t GROUP BY m ORDER BY n", Some("by_hour")),
        ("SELECT sum(id) / count() FROM t WHERE site = 's3' AND code < 9", Some("of_s3")),
        ("SELECT toDate(at), count(id), countIf(price < 40) FROM t GROUP BY 1", Some("by_day")),
        ("SELECT max(at), count(ms) FROM t WHERE toDate(at) > '2024-02-01'", Some("by_day")),
        ("SELECT toDate(at), countIf(price < 41) FROM t GROUP BY 1", None),
        ("SELECT toDate(at), sum(id) FROM t GROUP BY 1 HAVING count() > 3", Some("by_day")),
        ("SELECT id % 17, sum(code) FROM t GROUP BY 1", None),
        ("SELECT id % 19, count() FROM t GROUP BY 1", None),
        ("SELECT id % 19, sum(id) FROM t GROUP BY 1", None),
        ("SELECT id % 23, sum(ms), count() FROM t GROUP BY 1", Some("by_rest")),
        ("SELECT sum(id) FROM t", Some("by_day")),
        ("SELECT sum(code) FROM t", None),
        ("SELECT min(price) FROM t GROUP BY site", None),
        ("SELECT count() FROM t WHERE ms > 7 GROUP BY site", None),
        ("SELECT site, count() FROM t GROUP BY site SETTINGS optimize_use_views = 0", None),
    ] {
        assert_eq!(used(&mut client, query).await?, expected, "{query}");
    }
    // A count of nothing is 0 and no NULL.
    let nothing =
        "SELECT count(), countIf(price < 40), sum(id) FROM t WHERE toDate(at) = '1999-01-01'";
    assert_eq!(used(&mut client, nothing).await?, Some("by_day"));
    let without = client.lines(&format!("{nothing} SETTINGS optimize_use_views = 0")).await?;
    assert_eq!(client.lines(nothing).await?, without);
    assert!(without[0].starts_with("0\t0\t"), "{without:?}");
    for table in ["t", "hours", "by_site", "days", "codes"] {
        client.update(&format!("OPTIMIZE TABLE {table} FINAL")).await?;
    }
    assert!(compare(&mut client, &mut draw, "merged").await? >= 1);

    // A view that comes later is filled by POPULATE; its table is known to be whole then.
    let later = "CREATE MATERIALIZED VIEW by_id ENGINE = MergeTree ORDER BY bin";
    let query = "SELECT intDiv(id, 100) AS bin, sum(id) AS ids, count() AS n FROM t GROUP BY bin";
    let reads = "SELECT intDiv(id, 100) AS b, sum(id) FROM t GROUP BY b ORDER BY b";
    let uses = async |client: &mut SqlClient, settings: &str| -> TestResult<bool> {
        let plan = client.lines(&format!("EXPLAIN {reads} {settings}")).await?.join("\n");
        Ok(plan.contains("view=by_id,"))
    };
    client.update(&format!("{later} AS {query}")).await?;
    insert(&mut client, 3000).await?;
    assert!(!uses(&mut client, "").await?, "it lacks the rows of before");
    // Whoever says that it is whole nevertheless gets what it has.
    assert!(uses(&mut client, "SETTINGS optimize_use_views = 2").await?);
    client.update("DROP VIEW by_id").await?;
    client.update(&format!("{later} POPULATE AS {query}")).await?;
    assert!(uses(&mut client, "").await?, "POPULATE has brought everything");
    insert(&mut client, 4500).await?;
    assert!(uses(&mut client, "").await?, "it gets what is inserted");
    let without = client.lines(&format!("{reads} SETTINGS optimize_use_views = 0")).await?;
    assert_eq!(client.lines(reads).await?, without);
    compare(&mut client, &mut draw, "more").await?;

    // Rows that a view has not seen, and rows that went.
    client.update("INSERT INTO hours VALUES ('2024-01-20 00:00:00', 202401, 1, 1)").await?;
    let by_hour = "SELECT toStartOfHour(at), sum(price) FROM t GROUP BY ALL";
    assert_eq!(used(&mut client, by_hour).await?, None);
    let by_site = "SELECT site, sum(ms) FROM t GROUP BY site";
    assert_eq!(used(&mut client, by_site).await?, Some("by_site"));
    client.update("DELETE FROM t WHERE id % 10 = 3").await?;
    assert_eq!(used(&mut client, by_site).await?, None);
    assert_eq!(compare(&mut client, &mut draw, "deleted").await?, 0);
    client.update("OPTIMIZE TABLE t FINAL").await?;
    assert_eq!(compare(&mut client, &mut draw, "deleted and merged").await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn view_answers_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn view_answers_cluster() -> TestResult {
    check(Mode::Cluster).await
}
