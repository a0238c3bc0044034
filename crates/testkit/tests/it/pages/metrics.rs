//! What `/metrics` tells.

use std::collections::BTreeSet;
use std::time::Duration;

use granary::cluster::ProcessHandle;
use granary_testkit::{Mode, SqlClient, TestCluster, TestResult, paths};

use super::http::{Metrics, get, parse_metrics, sum};

/// The names of metrics that the operations guide mentions.
fn documented() -> TestResult<BTreeSet<String>> {
    let text = std::fs::read_to_string(paths::in_repository("docs/operations.md"))?;
    let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_' && c != '*');
    let is_metric = |word: &&str| {
        let mut parts = word.splitn(3, '_');
        let role = |part: &str| ["metadata", "coordinator", "worker"].contains(&part);
        parts.next() == Some("granary") && parts.next().is_some_and(role) && parts.next().is_some()
    };
    let names: BTreeSet<String> = words.filter(is_metric).map(str::to_owned).collect();
    assert!(names.len() >= 12, "{names:?}");
    Ok(names)
}

fn metrics_of(process: &ProcessHandle) -> TestResult<Metrics> {
    let page = get(process.address("http").ok_or("no HTTP port")?, "/metrics")?;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.headers.contains("content-type: text/plain; version=0.0.4"), "{page:?}");
    parse_metrics(&page.body).map_err(|error| format!("{}: {error}", process.name()).into())
}

/// All that the documentation names for `roles` is there.
fn check_documented(metrics: &Metrics, roles: &[&str]) -> TestResult {
    for name in documented()? {
        if !roles.iter().any(|role| name.starts_with(&format!("granary_{role}_"))) {
            continue;
        }
        let found = match name.split_once('*') {
            None => metrics.contains_key(&name),
            Some((start, end)) => {
                metrics.keys().filter(|key| key.starts_with(start) && key.ends_with(end)).count()
                    >= 3
            }
        };
        assert!(found, "{name} is documented for {roles:?} and not there: {:?}", metrics.keys());
    }
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert_eq!(sum(metrics, "granary_build_info", &version), Some(1.0));
    Ok(())
}

async fn work(client: &mut SqlClient) -> TestResult {
    client
        .update(
            "CREATE TABLE t (id Int64) ENGINE = MergeTree ORDER BY id \
             DISTRIBUTED BY (id) BUCKETS 3 SETTINGS replication_factor = 1",
        )
        .await?;
    client.update("INSERT INTO t SELECT number FROM numbers(50000)").await?;
    assert_eq!(client.value("SELECT count(*) FROM t").await?, "50000");
    assert!(client.query("SELECT nope FROM t").await.is_err());
    Ok(())
}

/// What the statements of `work` have left in the counters of a coordinator, once the last one has given
/// its place back: its client may see its end a little earlier.
async fn check_statements(process: &ProcessHandle) -> TestResult {
    let held = ["statements_running", "queries_admitted", "inserts_admitted"];
    let mut metrics = metrics_of(process)?;
    for _ in 0..100 {
        let held = held.map(|name| sum(&metrics, &format!("granary_coordinator_{name}"), ""));
        if held == [Some(0.0); 3] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        metrics = metrics_of(process)?;
    }
    for name in held {
        assert_eq!(sum(&metrics, &format!("granary_coordinator_{name}"), ""), Some(0.0), "{name}");
    }
    let of = |name: &str, labels: &str| sum(&metrics, name, labels).unwrap_or(-1.0);
    let statements = "granary_coordinator_statements_total";
    assert!(of(statements, "outcome=\"OK\"") >= 3.0, "{metrics:?}");
    assert!(of("granary_coordinator_statement_rows_total", "") >= 50_000.0, "{metrics:?}");
    assert!(of("granary_coordinator_statement_seconds_count", "") >= 3.0, "{metrics:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_each_role_does() -> TestResult {
    let cluster = TestCluster::start(Mode::Cluster).await?;
    work(&mut cluster.client(0).await?).await?;
    let cluster = &cluster.cluster;
    check_statements(&cluster.coordinators[0]).await?;
    let (mut leaders, mut commands, mut written) = (0.0, 0.0, 0.0);
    for process in &cluster.metadata {
        let metrics = metrics_of(process)?;
        check_documented(&metrics, &["metadata"])?;
        leaders += sum(&metrics, "granary_metadata_is_leader_ratio", "").unwrap_or(-9.0);
        commands += sum(&metrics, "granary_metadata_commands_total", "done").unwrap_or(0.0);
        assert!(sum(&metrics, "granary_metadata_applied_version_number", "") >= Some(3.0));
    }
    assert_eq!(leaders, 1.0, "one of the group leads");
    assert!(commands >= 9.0, "{commands}");
    for process in &cluster.workers {
        let metrics = metrics_of(process)?;
        check_documented(&metrics, &["worker"])?;
        written += sum(&metrics, "granary_worker_bytes_written_total", "").unwrap_or(0.0);
        assert!(sum(&metrics, "granary_worker_disk_total_bytes", "default") > Some(0.0));
        assert!(sum(&metrics, "granary_worker_query_memory_limit_bytes", "") > Some(0.0));
    }
    assert!(written > 0.0, "no worker has counted what the insert wrote");
    for process in &cluster.coordinators {
        check_documented(&metrics_of(process)?, &["coordinator"])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_server_tells_it_of_all_roles() -> TestResult {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let server = &cluster.cluster.coordinators[0];
    let roles = ["metadata", "coordinator", "worker"];
    check_documented(&metrics_of(server)?, &roles)?;
    work(&mut cluster.client(0).await?).await?;
    check_statements(server).await?;
    let metrics = metrics_of(server)?;
    check_documented(&metrics, &roles)?;
    assert_eq!(sum(&metrics, "granary_metadata_is_leader_ratio", ""), Some(1.0));
    assert!(sum(&metrics, "granary_worker_bytes_written_total", "") > Some(0.0));
    Ok(())
}
