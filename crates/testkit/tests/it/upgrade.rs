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

/// Waits until the cluster speaks what its upgraded workers do, and gives that version of the protocol.
async fn wait_raised(url: &str) -> TestResult<u32> {
    let mut client = SqlClient::connect(url).await?;
    let speaks = client.value("SELECT min(protocol) FROM system.workers").await?;
    let until_ms = SystemClock.monotonic_ms() + EXIT_LIMIT.as_millis() as u64;
    loop {
        let spoken = client.value("SELECT protocol FROM system.cluster").await?;
        if spoken == speaks {
            return Ok(spoken.parse()?);
        }
        assert!(SystemClock.monotonic_ms() < until_ms, "{spoken} and not {speaks}");
        SystemClock.sleep(Duration::from_millis(200)).await;
    }
}

/// Starts the executable of before on the folder of an upgraded worker: it is let in where it speaks
/// the same version of the protocol, and told to stay out where it does not.
async fn go_back(cluster: &mut TestCluster, is_raised: bool) -> TestResult {
    let worker = &mut cluster.cluster.workers[0];
    worker.kill()?;
    worker.set_binary(previous_binary()?);
    worker.respawn()?;
    if !is_raised {
        worker.wait_ready().await?;
        return Ok(());
    }
    let ended = worker.wait_exit(EXIT_LIMIT).await?.ok_or("an old worker is let in")?;
    assert!(!ended.success());
    let log = worker.log_since_start();
    assert!(log.contains("protocol version"), "{log}");
    Ok(())
}

fn previous_binary() -> TestResult<PathBuf> {
    let previous = std::env::var_os("GRANARY_PREVIOUS_BINARY").map(PathBuf::from);
    Ok(previous.ok_or("GRANARY_PREVIOUS_BINARY names the executable of before")?)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an executable of the build before: scripts/upgrade makes it"]
async fn process_by_process() -> TestResult {
    let previous = previous_binary()?;
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
    let before: u32 = client.value("SELECT min(protocol) FROM system.workers").await?.parse()?;
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
    let spoken = client.value("SELECT protocol FROM system.cluster").await?;
    assert_eq!(spoken, before.to_string());
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
    let raised = wait_raised(&urls[1]).await?;
    let nodes = format!(
        "SELECT count(*) FROM system.metadata_nodes WHERE answers AND protocol >= {raised}"
    );
    assert_eq!(client.value(&nodes).await?, "3");

    tokio::time::sleep(BETWEEN_STEPS).await;
    let seen = readers.stop().await;
    seen.check()?;
    let batches = load.stop().await?;
    for url in &urls {
        load::check_exactly_once(&mut SqlClient::connect(url).await?, batches).await?;
    }
    go_back(&mut cluster, raised > before).await?;
    tasks.stop(STOP_LIMIT).await;
    println!("{batches} batches, {} queries since the last step", seen.latencies_ms.len());
    Ok(())
}
