//! A loaded cluster goes from the build of before to this one, process by process, while rows come in
//! and are asked for. `scripts/upgrade` makes the executable of before.

use std::path::PathBuf;
use std::time::Duration;

use granary::cluster::ProcessHandle;
use granary_common::{Clock, SystemClock, TaskOwner};
use granary_testkit::elastic::readers::Readers;
use granary_testkit::load::{self, Load};
use granary_testkit::{Mode, SqlClient, TestCluster, TestResult, paths};

const EXIT_LIMIT: Duration = Duration::from_secs(40);
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// The load goes on for so long between two steps.
const BETWEEN_STEPS: Duration = Duration::from_secs(1);
/// A command that nodes of the build before cannot read.
const NEW_COMMAND: &str = "ALTER SYSTEM DROP WORKER 77";

/// Ends the process as an operator does, or kills it, and starts this build on its folder.
async fn upgrade(process: &mut ProcessHandle, kill: bool) -> TestResult {
    match kill {
        true => process.kill()?,
        false => process.terminate()?,
    }
    process.wait_exit(EXIT_LIMIT).await?.ok_or("a process does not end")?;
    process.set_binary(paths::granary_binary()?);
    process.respawn()?;
    process.wait_ready().await?;
    tokio::time::sleep(BETWEEN_STEPS).await;
    Ok(())
}

/// What the statement fails with until every node can read the command.
async fn refusal(url: &str) -> TestResult<String> {
    let mut client = SqlClient::connect(url).await?;
    match client.update(NEW_COMMAND).await {
        Ok(_) => Err("there is no worker 77".into()),
        Err(error) => Ok(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an executable of the build before: scripts/upgrade makes it"]
async fn process_by_process() -> TestResult {
    let previous = std::env::var_os("GRANARY_PREVIOUS_BINARY").map(PathBuf::from);
    let previous = previous.ok_or("GRANARY_PREVIOUS_BINARY names the executable of before")?;
    let start = TestCluster::start_with(Mode::Cluster, |spec| spec.binary = previous);
    let mut cluster = start.await?;
    let urls = cluster.cluster.urls();
    let mut client = cluster.client(0).await?;
    load::create_table(&mut client).await?;
    client
        .update("CREATE TABLE fixed (id Int64, text String) ENGINE = MergeTree ORDER BY id")
        .await?;
    let fill = "INSERT INTO fixed SELECT number, toString(number % 100) FROM numbers(100000)";
    client.update(fill).await?;
    let tasks = TaskOwner::current();
    let load = Load::start(&tasks, urls.clone(), 0);
    let constant = [
        "SELECT count(*), sum(id), count(DISTINCT text) FROM fixed",
        "SELECT a.text, count(*) FROM fixed a JOIN fixed b ON a.id = b.id GROUP BY 1 ORDER BY 1",
    ];
    let readers = Readers::start(&tasks, &urls, &load, &constant).await?;
    // A build of before may know the command, and then there is none to be refused.
    let is_new = !refusal(&urls[0]).await?.contains("no worker 77");

    for place in 0..cluster.cluster.metadata.len() {
        upgrade(&mut cluster.cluster.metadata[place], place == 1).await?;
        readers.take().check().map_err(|error| format!("metadata node {place}: {error}"))?;
    }
    readers.set_away(0, true);
    upgrade(&mut cluster.cluster.coordinators[0], false).await?;
    readers.set_away(0, false);
    for place in 0..cluster.cluster.workers.len() {
        let refused = refusal(&urls[0]).await?;
        assert!(!is_new || refused.contains("protocol version"), "{refused}");
        upgrade(&mut cluster.cluster.workers[place], place == 1).await?;
        readers.take().check().map_err(|error| format!("worker {place}: {error}"))?;
    }
    // The other coordinator is still of the build before.
    let mut client = SqlClient::connect(&urls[0]).await?;
    let refused = refusal(&urls[0]).await?;
    assert!(!is_new || refused.contains("protocol version"), "{refused}");
    let old = "SELECT count(*) FROM system.workers WHERE protocol < 2";
    assert_eq!(client.value(old).await?, "0");
    readers.set_away(1, true);
    upgrade(&mut cluster.cluster.coordinators[1], false).await?;
    readers.set_away(1, false);
    let until_ms = SystemClock.monotonic_ms() + EXIT_LIMIT.as_millis() as u64;
    loop {
        let refused = refusal(&urls[1]).await?;
        if refused.contains("no worker 77") {
            break;
        }
        assert!(refused.contains("protocol version"), "{refused}");
        assert!(SystemClock.monotonic_ms() < until_ms, "{refused}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let nodes = "SELECT count(*) FROM system.metadata_nodes WHERE answers AND protocol >= 2";
    assert_eq!(client.value(nodes).await?, "3");

    tokio::time::sleep(BETWEEN_STEPS).await;
    let seen = readers.stop().await;
    seen.check()?;
    let batches = load.stop().await?;
    for url in &urls {
        load::check_exactly_once(&mut SqlClient::connect(url).await?, batches).await?;
    }
    // An executable of before does not come back. When the cluster has raised its version is told by the
    // command alone.
    if is_new {
        let worker = &mut cluster.cluster.workers[0];
        worker.kill()?;
        let previous = std::env::var_os("GRANARY_PREVIOUS_BINARY").map(PathBuf::from);
        worker.set_binary(previous.ok_or("it was there before")?);
        worker.respawn()?;
        let ended = worker.wait_exit(EXIT_LIMIT).await?.ok_or("an old worker is let in")?;
        assert!(!ended.success());
        assert!(
            worker.log_since_start().contains("protocol version"),
            "{}",
            worker.log_since_start()
        );
    }
    tasks.stop(STOP_LIMIT).await;
    println!("{batches} batches, {} queries since the last step", seen.latencies_ms.len());
    Ok(())
}
