//! BACKUP to a real S3 server, and RESTORE from it into an empty cluster.

use granary_testkit::{Mode, TestCluster, TestResult};

use super::backup::{TABLES, seen};
use super::s3_server::Store;

async fn cluster_with(store: &Store, mode: Mode) -> TestResult<TestCluster> {
    TestCluster::start_with(mode, |spec| store.configure(spec)).await
}

async fn check(mode: Mode) -> TestResult {
    let store = Store::start()?;
    let cluster = cluster_with(&store, mode).await?;
    let mut client = cluster.client(0).await?;
    for sql in TABLES {
        client.update(sql).await.map_err(|error| format!("{sql}: {error}"))?;
    }
    client.update("SYSTEM STOP MERGES").await?;
    client.update("BACKUP ALL TO S3('s3://lake/full')").await?;
    let full = store.objects("full/")?;
    assert!(full > 4, "{full}");
    client.update("INSERT INTO shop.latest VALUES (1, 'newer'), (9999, 'new')").await?;
    client
        .update("BACKUP ALL TO 's3://lake/next' SETTINGS base_backup = S3('s3://lake/full')")
        .await?;
    let next = store.objects("next/")?;
    assert!(next < full, "{next} objects of {full} are what is new");
    let before = seen(&mut client).await?;
    drop(client);
    drop(cluster);

    // Nothing of the first cluster is left but what the server has.
    let other = cluster_with(&store, mode).await?;
    let mut client = other.client(0).await?;
    client.update("RESTORE ALL FROM S3('s3://lake/next')").await?;
    assert!(seen(&mut client).await? == before);
    assert_eq!(client.value("SELECT v FROM shop.latest WHERE k = 1").await?, "newer");
    client.update("DROP DATABASE shop").await?;
    client.update("RESTORE TABLE shop.latest AS default.earlier FROM 's3://lake/full'").await?;
    let earlier = client.value("SELECT count(*) FROM earlier WHERE v NOT LIKE 'new%'").await?;
    assert_eq!(earlier, "400");
    let error = client.update("RESTORE ALL FROM 's3://lake/nothing'").await.err();
    assert!(error.is_some(), "there is no backup");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_s3_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_s3_cluster() -> TestResult {
    check(Mode::Cluster).await
}
