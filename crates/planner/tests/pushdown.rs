//! What reaches the scans of several workers, as EXPLAIN shows it and as the workers are asked.

mod support;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use granary_planner::EngineMode;
use support::{Cluster, Made, texts};

const ROWS: i64 = 40_000;
const COLUMNS: &[(&str, &str)] =
    &[("k", "Int64"), ("v", "Int64"), ("s", "String"), ("unread", "String")];

/// Table `t` on three workers, sorted by `k, v`, in two parts a bucket.
async fn filled(rows: i64, buckets: u32) -> Cluster {
    let cluster = Cluster::start(3, EngineMode::Cluster).await;
    let made = Made { name: "t", columns: COLUMNS, order_by: &["k", "v"], hashed: &["k"], buckets };
    let table = cluster.create(&made).await;
    for part in 0..2 {
        let half = || (0..rows / 2).map(move |row| row * 2 + part);
        let text = |row: i64| format!("text {} of row", row % 5);
        let k: ArrayRef = Arc::new(Int64Array::from_iter_values(half()));
        let v: ArrayRef = Arc::new(Int64Array::from_iter_values(half().map(|row| row % 100)));
        let s: ArrayRef = Arc::new(StringViewArray::from_iter_values(half().map(text)));
        cluster.insert(table, vec![k, v, Arc::clone(&s), s]).await;
    }
    cluster
}

/// The plan, in which the scan of each of the three workers has these words.
async fn check(cluster: &Cluster, sql: &str, words: &str) -> String {
    let plan = cluster.explain(sql).await;
    let scans: Vec<&str> = plan.lines().filter(|line| line.contains("PartScanExec")).collect();
    assert_eq!(scans.len(), 3, "{sql}\n{plan}");
    assert!(scans.iter().all(|scan| scan.contains(words)), "{sql}: no {words}\n{plan}");
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predicates_stand_in_the_scan() {
    let cluster = filled(ROWS, 6).await;
    for (predicate, filter, count) in [
        ("k < 100", "k < 100", 100),
        ("k BETWEEN 100 AND 199 AND v >= 50", "(k >= 100 AND k <= 199 AND v >= 50)", 50),
        ("k = 5 OR v = 7", "(k = 5 OR v = 7)", 401),
        ("s = 'text 3 of row'", "s = text 3 of row", ROWS / 5),
        ("k IN (1, 2, 99999999)", "((k = 1 OR k = 2) OR k = 99999999)", 2),
        ("s LIKE 'text 4%'", "s LIKE 'text 4%'", ROWS / 5),
    ] {
        let sql = format!("SELECT k, v FROM t WHERE {predicate}");
        let plan = check(&cluster, &sql, &format!("filter={filter}")).await;
        assert!(!plan.contains("FilterExec"), "{sql}\n{plan}");
        assert_eq!(cluster.rows(&sql).await.len() as i64, count, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_columns_asked_for_are_read() {
    let cluster = filled(ROWS, 6).await;
    for (sql, columns) in [
        ("SELECT v FROM t", "v"),
        ("SELECT s, k FROM t WHERE k > 5", "s, k"),
        // What only the predicate looks at is not passed on.
        ("SELECT v FROM t WHERE s = 'text 3 of row'", "v"),
        ("SELECT v + 1 FROM t", "v"),
        ("SELECT s, sum(v) FROM t GROUP BY s", "v, s"),
    ] {
        let plan = check(&cluster, sql, &format!("columns=[{columns}], parts=")).await;
        assert!(!plan.contains("unread"), "{sql}\n{plan}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_stand_in_the_scan() {
    let cluster = filled(ROWS, 6).await;
    for (sql, fetch, rows) in [
        ("SELECT v FROM t LIMIT 7", 7, 7),
        ("SELECT v FROM t LIMIT 7 OFFSET 5", 12, 7),
        ("SELECT v FROM t WHERE k < 1000 LIMIT 9", 9, 9),
    ] {
        check(&cluster, sql, &format!("fetch={fetch}")).await;
        assert_eq!(cluster.rows(sql).await.len(), rows, "{sql}");
    }
    // What needs every row is not cut short.
    let plan = check(&cluster, "SELECT s, sum(v) FROM t GROUP BY s LIMIT 2", "columns=").await;
    let scan = plan.lines().find(|line| line.contains("PartScanExec")).expect("a scan");
    assert!(!scan.contains("fetch="), "{plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wanted_in_key_order_is_not_sorted() {
    let cluster = filled(ROWS, 6).await;
    for (sql, ordered_by) in [
        ("SELECT k, v FROM t ORDER BY k", "k"),
        ("SELECT k, v FROM t ORDER BY k, v", "k@0 ASC"),
        ("SELECT k FROM t WHERE v = 7 ORDER BY k", "k"),
        ("SELECT k, v FROM t ORDER BY k LIMIT 10", "k"),
    ] {
        let plan = check(&cluster, sql, &format!("ordered_by=[{ordered_by}")).await;
        assert!(!plan.contains("SortExec"), "{sql}\n{plan}");
        let rows = texts(&cluster.query(sql).await.expect("runs"));
        let keys: Vec<i64> =
            rows.iter().map(|row| row.split('|').next().unwrap().parse().unwrap()).collect();
        assert!(keys.is_sorted() && !keys.is_empty(), "{sql}");
    }
    for sql in ["SELECT k, v FROM t ORDER BY v", "SELECT k, v FROM t ORDER BY k + 1"] {
        let plan = cluster.explain(sql).await;
        assert!(plan.contains("SortExec"), "{sql}\n{plan}");
    }
}

/// Bytes that the workers read of their parts for whoever asked, since the last call.
fn read(cluster: &Cluster) -> u64 {
    let of_worker = |worker: &granary_worker::WorkerNode| -> u64 {
        worker.part_store().reads().take().into_values().sum()
    };
    cluster.workers.iter().map(of_worker).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_elsewhere_takes_its_predicate_to_the_holder() {
    let rows = 120_000;
    let mut cluster = filled(rows, 2).await;
    // One task on the node that was asked, which holds no part.
    cluster.settings.distributed_scan_bytes_min = 1 << 40;
    let few = "SELECT count(*), sum(v), sum(k) FROM t WHERE k >= 100 AND k < 200";
    let plan = cluster.explain(few).await;
    assert!(!plan.contains("Network"), "{plan}");
    assert!(plan.contains("filter=(k >= 100 AND k < 200)"), "{plan}");
    // The workers look at what they read now and then, too, and count from nothing again.
    let mut seen = Vec::new();
    for _ in 0..5 {
        read(&cluster);
        assert_eq!(cluster.rows("SELECT sum(v) FROM t").await, [(rows / 100 * 4950).to_string()]);
        let whole = read(&cluster);
        assert_eq!(cluster.rows(few).await, ["100|4950|14950"]);
        seen.push((read(&cluster), whole));
    }
    let is_less = |(some, whole): &(u64, u64)| 0 < *some && *some <= whole / 2;
    assert!(seen.iter().any(is_less), "bytes with and without the predicate: {seen:?}");
    // Rows without a match do not travel either: the scan's rows are those that came.
    let ran = cluster.explain_analyze("SELECT v FROM t WHERE s = 'text 3 of row'").await;
    let line = ran.lines().find(|line| line.contains("PartScanExec")).expect("a scan");
    assert!(line.contains("units_remote=") && !line.contains("units_remote=0"), "{ran}");
    assert!(!line.contains("units_local=") || line.contains("units_local=0"), "{ran}");
    assert!(line.contains("output_rows=24.00 K,"), "{ran}");
}
