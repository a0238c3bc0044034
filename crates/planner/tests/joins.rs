//! Every join shape gives the same rows in one process and on three workers.

mod support;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use granary_common::ErrorKind;
use granary_planner::EngineMode;
use support::{Cluster, Made};

/// More than any query here takes on a busy machine.
const QUERY_MAX: Duration = Duration::from_secs(120);

const COLUMNS: &[(&str, &str)] = &[("k", "Nullable(Int64)"), ("v", "Int64"), ("s", "String")];

/// Keys with NULLs and one that is far more frequent than the others.
fn rows(count: i64, keys: i64, seed: i64) -> Vec<ArrayRef> {
    let key = |row: i64| match (row * 31 + seed) % 17 {
        0 => None,
        1 | 2 => Some(3),
        _ => Some((row * 7 + seed) % keys),
    };
    let k: ArrayRef = Arc::new(Int64Array::from_iter((0..count).map(key)));
    let v: ArrayRef = Arc::new(Int64Array::from_iter_values((0..count).map(|row| row + seed)));
    let s: ArrayRef = Arc::new(StringViewArray::from_iter_values(
        (0..count).map(|row| format!("text {} of row", row % 5)),
    ));
    vec![k, v, s]
}

async fn filled(workers: usize, mode: EngineMode) -> Cluster {
    let cluster = Cluster::start(workers, mode).await;
    let tables = [
        ("a", vec!["k"], 8, 900, 211),
        ("b", vec!["k"], 8, 700, 307),
        ("c", vec!["k"], 4, 500, 101),
        ("n", vec![], 4, 300, 97),
    ];
    for (at, (name, hashed, buckets, count, keys)) in tables.into_iter().enumerate() {
        let made = Made { name, columns: COLUMNS, order_by: &["k", "v"], hashed: &hashed, buckets };
        let table = cluster.create(&made).await;
        for part in 0..3 {
            cluster.insert(table, rows(count / 3, keys, at as i64 * 1000 + part * 100)).await;
        }
    }
    cluster
}

fn queries() -> Vec<String> {
    let mut queries = Vec::new();
    // Bucketed alike, bucketed differently, on one side only, on none; on another column.
    for (left, right, on) in [
        ("a", "b", "l.k = r.k"),
        ("a", "c", "l.k = r.k"),
        ("a", "n", "l.k = r.k"),
        ("n", "a", "l.k = r.k"),
        ("a", "b", "l.v = r.v"),
        ("a", "b", "l.k = r.k AND l.v < r.v"),
    ] {
        for join in ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"] {
            queries
                .push(format!("SELECT l.k, l.v, r.k, r.v FROM {left} l {join} {right} r ON {on}"));
        }
        for join in ["LEFT SEMI JOIN", "LEFT ANTI JOIN"] {
            queries.push(format!("SELECT l.k, l.v FROM {left} l {join} {right} r ON {on}"));
        }
    }
    queries.extend(
        [
            "SELECT count(*) FROM a",
            "SELECT count(*) FROM a WHERE v > 300",
            "SELECT 1 FROM a WHERE s = 'text 3 of row'",
            "SELECT count(*), sum(v), min(s), max(k) FROM a WHERE v > 100",
            "SELECT k, count(*), sum(v) FROM a GROUP BY k",
            "SELECT s, count(DISTINCT k) FROM b GROUP BY s",
            "SELECT a.k, count(*) FROM a JOIN b ON a.k = b.k GROUP BY a.k",
            "SELECT a.k, a.v, b.v, c.v FROM a JOIN b ON a.k = b.k JOIN c ON b.k = c.k",
            "SELECT a.k, a.v, b.v, n.s FROM a JOIN n ON a.v = n.v JOIN b ON a.k = b.k",
            "SELECT a.k, b.v FROM n JOIN a ON a.v = n.v LEFT JOIN b ON a.k = b.k",
            "SELECT a.k, count(*) FROM a LEFT JOIN b ON a.k = b.k JOIN n ON n.k = a.k GROUP BY a.k",
            "SELECT k, v FROM a WHERE k IN (SELECT k FROM b WHERE v > 300)",
            "SELECT k, v FROM a WHERE k NOT IN (SELECT k FROM b WHERE v > 300 AND k IS NOT NULL)",
            "SELECT k, v FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.v > a.v)",
            "SELECT k, v FROM a UNION ALL SELECT k, v FROM b",
            "SELECT k FROM a EXCEPT SELECT k FROM b",
            "SELECT l.v, r.v FROM c l CROSS JOIN n r WHERE l.v + r.v < 2100",
            "SELECT k, v, row_number() OVER (PARTITION BY k ORDER BY v) FROM a",
            "SELECT v FROM a WHERE s LIKE '%3 of%' AND k BETWEEN 10 AND 50",
            "SELECT x.k, x.n, b.v FROM (SELECT k, count(*) n FROM a GROUP BY k) x \
             JOIN b ON x.k = b.k WHERE x.n > 3",
            "SELECT a.v FROM a WHERE a.v > (SELECT avg(v) FROM b)",
            "SELECT v FROM a WHERE v = (SELECT v FROM a WHERE v = 50)",
            "SELECT (SELECT v FROM a WHERE v = 50) AS x, (SELECT v FROM a WHERE v = -1) AS y",
            "SELECT v, (SELECT k FROM b ORDER BY k, v LIMIT 1) FROM n WHERE v < 3050",
            "SELECT k, count(*), sum(v) FROM a GROUP BY k HAVING sum(v) > 2000",
            "SELECT s, k, max(v) FROM a WHERE v > 50 GROUP BY s, k",
            "SELECT k + 1, count(*) FROM a GROUP BY k + 1",
            "SELECT k, count(DISTINCT s), min(v) FROM a GROUP BY k",
            "SELECT DISTINCT k FROM a",
            "SELECT DISTINCT k, s FROM a ORDER BY k, s LIMIT 7",
            "SELECT k, array_agg(v ORDER BY v DESC) FROM a GROUP BY k",
            "SELECT k, s, grouping(k), count(*) FROM a GROUP BY ROLLUP (k, s)",
            "SELECT a.v, x.n FROM a JOIN (SELECT k, count(*) n FROM b GROUP BY k) x ON a.k = x.k",
            "SELECT a.v FROM a WHERE a.k IN (SELECT k FROM b GROUP BY k HAVING count(*) > 2)",
            "SELECT b.v, x.n FROM b LEFT JOIN (SELECT k, count(*) n FROM a GROUP BY k) x \
             ON b.k = x.k AND x.n > 3",
            "SELECT a.k, b.k, count(*) FROM a FULL JOIN b ON a.k = b.k GROUP BY a.k, b.k",
            "SELECT c.v, x.n FROM c JOIN (SELECT s, k, count(*) n FROM n GROUP BY s, k) x \
             ON c.k = x.k WHERE c.v < 2005",
            "SELECT sum(a.v) FROM n JOIN a ON n.v = a.k + 3000 WHERE a.v < \
             (SELECT avg(x.v) FROM a x WHERE x.s = a.s) AND n.v < 3100",
            "SELECT a.v, b.v FROM a JOIN b ON a.k = b.k AND a.s = b.s WHERE a.v < 60",
        ]
        .map(String::from),
    );
    queries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shape_is_equal_embedded_and_on_three_workers() {
    let embedded = filled(1, EngineMode::Embedded).await;
    let mut cluster = filled(3, EngineMode::Cluster).await;
    for sql in queries() {
        let expected = embedded.rows(&sql).await;
        for (distributed_bytes_min, broadcast, colocated) in
            [(1, true, true), (1, false, true), (1, true, false), (1 << 30, true, true)]
        {
            cluster.settings.distributed_scan_bytes_min = distributed_bytes_min;
            cluster.settings.broadcast_joins = broadcast;
            cluster.settings.colocated_joins = colocated;
            let rows = cluster.rows(&sql).await;
            assert!(
                rows == expected,
                "{sql}\nbytes_min {distributed_bytes_min}, broadcast {broadcast}, colocated \
                 {colocated}: {} rows, not {}\n{}",
                rows.len(),
                expected.len(),
                cluster.explain(&sql).await
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scalar_subquery_of_several_rows_is_an_error() {
    let embedded = filled(1, EngineMode::Embedded).await;
    let mut cluster = filled(3, EngineMode::Cluster).await;
    cluster.settings.distributed_scan_bytes_min = 1;
    for sql in [
        "SELECT (SELECT v FROM a)",
        "SELECT k FROM b WHERE v = (SELECT v FROM a WHERE v < 30)",
        "SELECT (SELECT max(v) FROM a GROUP BY s) + 1",
        "SELECT (SELECT v FROM a WHERE v = (SELECT v FROM b))",
    ] {
        for ran in [embedded.query(sql).await, cluster.query(sql).await] {
            let error = ran.err().unwrap_or_else(|| panic!("{sql} succeeded"));
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{sql}: {error}");
            assert!(error.message().contains("more than one row"), "{sql}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sorted_and_limited_results_come_in_order() {
    let embedded = filled(1, EngineMode::Embedded).await;
    let cluster = filled(3, EngineMode::Cluster).await;
    for sql in [
        "SELECT k, v FROM a ORDER BY k, v",
        "SELECT k, v FROM a ORDER BY k, v LIMIT 17",
        "SELECT k, v FROM a ORDER BY k DESC NULLS LAST, v LIMIT 17 OFFSET 3",
        "SELECT v FROM n ORDER BY v LIMIT 5",
    ] {
        let expected = support::texts(&embedded.query(sql).await.unwrap());
        let rows = support::texts(&cluster.query(sql).await.unwrap());
        assert_eq!(rows, expected, "{sql}\n{}", cluster.explain(sql).await);
    }
    let limited = cluster.query("SELECT v FROM a LIMIT 10").await.unwrap();
    assert_eq!(support::texts(&limited).len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_on_the_distribution_key_exchanges_nothing() {
    let cluster = filled(3, EngineMode::Cluster).await;
    let sql = "SELECT a.k, a.v, b.v FROM a JOIN b ON a.k = b.k";
    let plan = cluster.explain(sql).await;
    assert!(plan.contains("ColocatedJoinExec"), "{plan}");
    assert!(!plan.contains("NetworkShuffle") && !plan.contains("NetworkBroadcast"), "{plan}");
    let ran = cluster.explain_analyze(sql).await;
    assert!(ran.contains("exchanged: 0 B, gathered: "), "{ran}");
    // Another bucket count is another distribution.
    let plan = cluster.explain("SELECT a.k, c.v FROM a JOIN c ON a.k = c.k").await;
    assert!(!plan.contains("ColocatedJoinExec"), "{plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_with_a_small_table_keeps_buckets() {
    let cluster = filled(3, EngineMode::Cluster).await;
    // The small side is copied to every task; what it is joined with stays in its buckets.
    let through_small = "SELECT a.k, a.v, b.v, n.s FROM a JOIN n ON a.v = n.v JOIN b ON a.k = b.k";
    let plan = cluster.explain(through_small).await;
    assert!(plan.contains("ColocatedJoinExec"), "{plan}");
    assert!(!plan.contains("NetworkShuffle"), "{plan}");
}

/// Rows that came out of the scan of `table` in a plan that ran.
fn scanned(ran: &str, table: &str) -> u64 {
    let above = ran.split(&format!("table={table}")).next().unwrap_or_default();
    let rows = above.rsplit("output_rows=").next().and_then(|rows| rows.split(',').next());
    rows.and_then(|rows| rows.parse().ok()).unwrap_or_else(|| panic!("no scan of {table}\n{ran}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_of_the_distribution_key_exchange_nothing() {
    let cluster = filled(3, EngineMode::Cluster).await;
    for sql in [
        "SELECT k, count(*), sum(v) FROM a GROUP BY k",
        "SELECT s, k, max(v) FROM a WHERE v > 50 GROUP BY s, k HAVING max(v) > 60",
        "SELECT a.k, count(*) FROM a JOIN b ON a.k = b.k GROUP BY a.k",
        "SELECT a.v, x.n FROM a JOIN (SELECT k, count(*) n FROM b GROUP BY k) x ON a.k = x.k",
    ] {
        let ran = cluster.explain_analyze(sql).await;
        assert!(ran.contains("ColocatedAggregateExec"), "{sql}\n{ran}");
        assert!(ran.contains("exchanged: 0 B, gathered: "), "{sql}\n{ran}");
    }
    for sql in [
        "SELECT s, count(*) FROM a GROUP BY s",
        "SELECT k + 1, count(*) FROM a GROUP BY k + 1",
        "SELECT k, s, count(*) FROM a GROUP BY ROLLUP (k, s)",
        "SELECT k, count(*) FROM n GROUP BY k",
        "SELECT b.k, count(*) FROM a LEFT JOIN b ON a.k = b.k GROUP BY b.k",
    ] {
        let plan = cluster.explain(sql).await;
        assert!(!plan.contains("ColocatedAggregateExec"), "{sql}\n{plan}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_of_other_stages_hear_of_keys() {
    let cluster = filled(3, EngineMode::Cluster).await;
    let sql = "SELECT c.v, x.n FROM c JOIN (SELECT s, k, count(*) n FROM n GROUP BY s, k) x \
               ON c.k = x.k WHERE c.v < 2005";
    let ran = cluster.explain_analyze(sql).await;
    assert!(ran.contains("RuntimeFilterExec") && ran.contains("awaits=[k@0]"), "{ran}");
    // Of its 300 rows, those that may have a partner.
    let rows = scanned(&ran, "db.n");
    assert!((1..100).contains(&rows), "{rows}\n{ran}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colocated_joins_filter_what_they_probe() {
    let cluster = filled(3, EngineMode::Cluster).await;
    let ran =
        cluster.explain_analyze("SELECT a.v FROM b JOIN a ON a.k = b.k WHERE b.v < 1010").await;
    assert!(ran.contains("ColocatedJoinExec") && ran.contains("runtime_filters=["), "{ran}");
    // Of 900 rows, those of the keys of ten.
    let rows = scanned(&ran, "db.a");
    assert!((1..300).contains(&rows), "{rows}\n{ran}");
}

/// Where both sides are dealt out each partition tells of its part. Scans that begin before all parts
/// are known read more rows, so only the plan and the answer are certain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_that_deal_out_both_sides_tell_scans_as_well() {
    let embedded = filled(1, EngineMode::Embedded).await;
    let cluster = filled(3, EngineMode::Cluster).await;
    let sql = "SELECT c.k, c.v, n.v FROM c LEFT JOIN n ON c.k = n.k WHERE c.v < 2005";
    let plan = cluster.explain(sql).await;
    assert!(plan.contains("mode=Partitioned") && plan.contains("NetworkShuffle"), "{plan}");
    assert!(plan.contains("RuntimeFilterExec") && plan.contains("awaits=[k@0]"), "{plan}");
    let expected = embedded.rows(sql).await;
    for _ in 0..10 {
        assert_eq!(cluster.rows(sql).await, expected, "{plan}");
    }
}

/// A join that builds nothing in most of its partitions does not ask for their probed rows. Joins
/// below it must not wait for these partitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_below_partitions_that_are_never_asked_for_do_not_wait() {
    let embedded = filled(1, EngineMode::Embedded).await;
    let mut cluster = filled(3, EngineMode::Cluster).await;
    for (sql, threads) in [
        "SELECT a.v, n.v FROM b JOIN a ON b.k = a.k JOIN n ON n.v = a.k + 3000 WHERE b.v = 1003",
        "SELECT a.v FROM a JOIN n ON n.v = a.k + 3000 WHERE a.k IN \
         (SELECT k FROM b WHERE v < 1300 GROUP BY k HAVING count(*) > 9)",
        "SELECT x.k, x.n FROM (SELECT k, count(*) AS n FROM a GROUP BY k) x \
         JOIN n ON n.v = x.k + 3000 WHERE x.k IN (SELECT k FROM b WHERE v = 1003)",
    ]
    .into_iter()
    .flat_map(|sql| [2, 5].map(|threads| (sql, threads)))
    {
        cluster.settings.max_threads = threads;
        let expected = embedded.rows(sql).await;
        assert!(!expected.is_empty(), "{sql}");
        let ran = tokio::time::timeout(QUERY_MAX, cluster.rows(sql)).await;
        let plan = cluster.explain(sql).await;
        assert!(plan.contains("Colocated"), "{sql}\n{plan}");
        assert_eq!(ran.expect("an end"), expected, "{sql}\n{plan}");
    }
}

/// Every task of a join sees the same rows of a side that is limited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limited_side_is_the_same_for_every_task() {
    let cluster = filled(3, EngineMode::Cluster).await;
    let sql = "SELECT DISTINCT x.v FROM a JOIN (SELECT v, s FROM b LIMIT 3) x ON a.s = x.s";
    for _ in 0..5 {
        let rows = cluster.rows(sql).await;
        assert!((1..=3).contains(&rows.len()), "{rows:?}\n{}", cluster.explain(sql).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_from_statistics_are_those_of_the_rows() {
    for mode in [EngineMode::Embedded, EngineMode::Cluster] {
        let cluster = filled(2, mode).await;
        for table in ["a", "n"] {
            let known = format!(
                "SELECT min(k), max(k), min(v), max(v), min(s), max(s), count(k), count(*) FROM {table}"
            );
            let read = format!(
                "SELECT min(k + 0), max(k + 0), min(v + 0), max(v + 0), min(concat(s, '')), \
                 max(concat(s, '')), count(k + 0), sum(1) FROM {table}"
            );
            assert_eq!(cluster.rows(&known).await, cluster.rows(&read).await, "{mode:?} {table}");
        }
    }
}
