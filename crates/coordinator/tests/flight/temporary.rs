//! Temporary tables of sessions, and what ends them.

use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::ProstMessageExt;

use super::*;

/// Names of the databases that temporary tables are in.
fn databases(cluster: &Cluster) -> Vec<String> {
    let snapshot = cluster.catalog.snapshot();
    snapshot.temporary_databases().map(|(name, _)| name.to_owned()).collect()
}

async fn none_left(cluster: &Cluster) {
    for _ in 0..1500 {
        if databases(cluster).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", databases(cluster));
}

async fn close(client: &mut Client) {
    let action = Action { r#type: "CloseSession".into(), body: Vec::new().into() };
    client.do_action(action).await.unwrap().message().await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_session_has_its_own() {
    let cluster = Cluster::start().await;
    let (by_connection, by_token) = (&mut cluster.connect().await, &mut cluster.connect().await);
    by_token.handshake("ann", "").await.unwrap();
    update(by_connection, TABLE).await;
    update(by_connection, "INSERT INTO t VALUES (1, 'lasting')").await;
    for (client, count) in [(&mut *by_connection, 2), (&mut *by_token, 3)] {
        update(client, "CREATE TEMPORARY TABLE t (id Int64)").await;
        update(client, &format!("INSERT INTO t SELECT number FROM numbers({count})")).await;
        assert_eq!(lines(client, "SELECT count(*) FROM t").await, [count.to_string()]);
        assert_eq!(lines(client, "SELECT name FROM default.t").await, ["lasting"]);
        assert_eq!(lines(client, "SHOW TABLES").await, ["t"]);
        let own = "SELECT count(*) FROM system.tables WHERE name = 't'";
        assert_eq!(lines(client, own).await, ["2"]);
    }
    assert_eq!(databases(&cluster).len(), 2);
    // Closing ends it at once, by token as by connection.
    close(by_token).await;
    assert_eq!(databases(&cluster).len(), 1);
    close(by_connection).await;
    assert_eq!(databases(&cluster).len(), 0);
    assert_eq!(lines(by_connection, "SELECT name FROM t").await, ["lasting"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_ends_its_session() {
    let cluster = Cluster::start().await;
    let mut client = cluster.connect().await;
    update(&mut client, "CREATE TEMPORARY TABLE t (id Int64)").await;
    update(&mut client, "CREATE TEMPORARY TABLE u AS SELECT 1 AS a").await;
    assert_eq!(databases(&cluster).len(), 1);
    drop(client);
    none_left(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_does_not_become_a_table_that_lasts() {
    let cluster = Cluster::start().await;
    let mut here = cluster.connect().await;
    here.handshake("ann", "").await.unwrap();
    update(&mut here, TABLE).await;
    update(&mut here, "INSERT INTO t VALUES (1, 'lasting')").await;
    update(&mut here, "CREATE TEMPORARY TABLE t AS SELECT 7 AS id").await;
    assert_eq!(lines(&mut here, "SELECT id FROM t").await, ["7"]);
    let name = databases(&cluster).pop().unwrap();
    update(&mut here, &format!("DROP DATABASE {name}")).await;
    let status = refused(&mut here, "SELECT id FROM t").await;
    assert!(status.message().contains("begin a new session"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ingests_and_inserts_find_temporary_tables() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    let command = |temporary, missing: TableNotExistOption| CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: missing as i32,
            if_exists: TableExistsOption::Append as i32,
        }),
        table: "ingested".into(),
        temporary,
        ..Default::default()
    };
    for command in
        [command(true, TableNotExistOption::Create), command(false, TableNotExistOption::Fail)]
    {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let messages: Vec<_> = FlightDataEncoderBuilder::new()
            .with_flight_descriptor(Some(descriptor))
            .build(futures::stream::iter([Ok(rows(0..5))]))
            .try_collect()
            .await
            .unwrap();
        let mut answers = client.do_put(futures::stream::iter(messages)).await.unwrap();
        answers.message().await.unwrap().unwrap();
    }
    assert_eq!(lines(client, "SELECT count(*) FROM ingested").await, ["10"]);
    assert_eq!(databases(&cluster).len(), 1);
    let status = refused(&mut cluster.connect().await, "SELECT * FROM ingested").await;
    assert_eq!(status.code(), Code::NotFound);
}
