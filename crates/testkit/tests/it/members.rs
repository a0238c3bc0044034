//! A metadata node that lost its disk is replaced under a new id, by statements, while rows come in.

use std::time::Duration;

use granary_common::TaskOwner;
use granary_testkit::load::{self, Load};
use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

use super::wait_for;

const STOP_LIMIT: Duration = Duration::from_secs(10);
const WHILE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_node_that_lost_its_disk_is_replaced() -> TestResult {
    let mut cluster = TestCluster::start(Mode::Cluster).await?;
    let mut client = cluster.client(0).await?;
    load::create_table(&mut client).await?;
    let tasks = TaskOwner::current();
    let urls = cluster.cluster.urls();
    let load = Load::start(&tasks, urls.clone(), 0);
    let answers = "SELECT count(*) FROM system.metadata_nodes WHERE answers";
    wait_for(&mut client, answers, "3").await?;

    let lost = &mut cluster.cluster.metadata[0];
    lost.kill()?;
    std::fs::remove_dir_all(&lost.spec().data_dir)?;
    wait_for(&mut client, answers, "2").await?;
    client.update("ALTER SYSTEM DROP METADATA NODE 1").await?;
    let address = cluster.cluster.add_metadata().await?;
    let refused = client.update(&format!("ALTER SYSTEM ADD METADATA NODE 1 '{address}'")).await;
    let refused = refused.err().ok_or("an id was used again")?.to_string();
    assert!(refused.contains("never used"), "{refused}");
    client.update(&format!("ALTER SYSTEM ADD METADATA NODE 4 '{address}'")).await?;
    client.update(&format!("ALTER SYSTEM ADD METADATA NODE 4 '{address}'")).await?;
    let members = "SELECT id, is_voter, answers FROM system.metadata_nodes ORDER BY id";
    assert_eq!(client.lines(members).await?, ["2\t1\t1", "3\t1\t1", "4\t1\t1"]);

    // The new one counts: with it, the group stands the loss of another.
    cluster.cluster.metadata[1].kill()?;
    tokio::time::sleep(WHILE).await;
    let batches = load.stop().await?;
    for url in &urls {
        load::check_exactly_once(&mut SqlClient::connect(url).await?, batches).await?;
    }
    tasks.stop(STOP_LIMIT).await;
    Ok(())
}
