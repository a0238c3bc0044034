//! Flight ingests that go wrong: a clear error, nothing visible, and the next one works.

use std::ops::Range;

use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::ProstMessageExt;

use super::*;

/// What to do about the table's existence.
fn into(table: &str, exists: TableExistsOption, missing: TableNotExistOption) -> Command {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: missing as i32,
            if_exists: exists as i32,
        }),
        table: table.into(),
        ..Default::default()
    }
}

type Command = CommandStatementIngest;

fn append() -> Command {
    into("t", TableExistsOption::Append, TableNotExistOption::Fail)
}

fn create(table: &str) -> Command {
    into(table, TableExistsOption::Fail, TableNotExistOption::Create)
}

fn replace(table: &str) -> Command {
    into(table, TableExistsOption::Replace, TableNotExistOption::Create)
}

/// The messages of an ingest, the schema first.
async fn messages(command: &Command, batches: &[RecordBatch]) -> Vec<FlightData> {
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor))
        .with_max_flight_data_size(usize::MAX)
        .build(futures::stream::iter(batches.to_vec()).map(Ok))
        .try_collect()
        .await
        .unwrap()
}

async fn send(client: &mut Client, messages: Vec<FlightData>) -> Result<(), Status> {
    let mut answers = client.do_put(futures::stream::iter(messages)).await.map_err(Status::from)?;
    answers.message().await?.unwrap();
    Ok(())
}

fn blocks(ids: Range<i64>, rows_each: usize) -> Vec<RecordBatch> {
    ids.clone()
        .step_by(rows_each)
        .map(|id| rows(id..(id + rows_each as i64).min(ids.end)))
        .collect()
}

fn column(name: &str, column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap()
}

/// Streams that are wrong, and the words that their errors have.
async fn wrong(command: &Command) -> Vec<(&'static str, Vec<FlightData>, &'static [&'static str])> {
    let whole = messages(command, &blocks(0..2000, 1000)).await;
    assert_eq!(whole.len(), 3);
    let with = |at: usize, change: fn(&FlightData) -> FlightData| {
        let mut changed = whole.clone();
        changed[at] = change(&whole[at]);
        changed
    };
    let cut_header = |message: &FlightData| FlightData {
        data_header: message.data_header.slice(..message.data_header.len() / 2),
        ..message.clone()
    };
    let cut_body = |message: &FlightData| FlightData {
        data_body: message.data_body.slice(..message.data_body.len() / 2),
        ..message.clone()
    };
    let noise = |message: &FlightData| FlightData {
        data_header: vec![0x5a; 200].into(),
        ..message.clone()
    };
    let mut no_schema = vec![whole[1].clone()];
    no_schema[0].flight_descriptor = whole[0].flight_descriptor.clone();
    let mut two_schemas = whole.clone();
    two_schemas[1] = FlightData { flight_descriptor: None, ..whole[0].clone() };
    let nothing =
        FlightData { flight_descriptor: whole[0].flight_descriptor.clone(), ..Default::default() };
    vec![
        ("a header cut short", with(2, cut_header), &["corrupt", "after row 1000"]),
        ("a body cut short", with(2, cut_body), &["corrupt", "after row 1000", "claims"]),
        ("a header of noise", with(1, noise), &["corrupt"]),
        ("a schema cut short", with(0, cut_header), &["corrupt"]),
        ("a batch without schema", no_schema, &["schema"]),
        ("two schemas", two_schemas, &["second schema"]),
        ("no message at all", vec![nothing], &["ended before its schema"]),
    ]
}

/// Streams of good Arrow data that does not fit into the table.
async fn unfit() -> Vec<(&'static str, Vec<FlightData>, &'static [&'static str])> {
    let nulls: Int64Array = (1..=1000).map(|id| (id != 998).then_some(id)).collect();
    let nulls = [column("id", rows(0..1000).column(0).clone()), column("id", Arc::new(nulls))];
    let texts = column("id", Arc::new(StringArray::from(vec!["1", "x"])));
    let unknown = column("idd", rows(0..1).column(0).clone());
    vec![
        ("NULL", messages(&append(), &nulls).await, &["'id'", "row 1998"]),
        ("a text for a number", messages(&append(), &[texts]).await, &["'id'", "row 2", "'x'"]),
        ("an unknown column", messages(&append(), &[unknown]).await, &["'idd'", "'id'"]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_streams_change_nothing() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let cases = wrong(&append()).await.into_iter().chain(unfit().await);
    for (case, messages, words) in cases {
        let status = send(client, messages).await.expect_err(case);
        assert_eq!(status.code(), Code::InvalidArgument, "{case}: {status}");
        assert!(status.metadata().contains_key("granary-error-kind"), "{case}");
        for word in words {
            assert!(status.message().contains(word), "{case}: no {word} in {status}");
        }
        assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["0"], "{case}");
    }
    let missing = into("missing", TableExistsOption::Append, TableNotExistOption::Fail);
    let status = send(client, messages(&missing, &[rows(0..5)]).await).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("'missing'"), "{status}");
    let temporary = Command { temporary: true, schema: Some("default".into()), ..append() };
    let status = send(client, messages(&temporary, &[rows(0..5)]).await).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let catalog = Command { catalog: Some("other".into()), ..append() };
    let status = send(client, messages(&catalog, &[rows(0..5)]).await).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let set = Command { options: [("no_such".to_owned(), "1".to_owned())].into(), ..append() };
    let status = send(client, messages(&set, &[rows(0..5)]).await).await.unwrap_err();
    assert!(status.message().contains("no_such"), "{status}");
    assert!(cluster.catalog.snapshot().staged.is_empty());
    send(client, messages(&append(), &blocks(0..5000, 1000)).await).await.unwrap();
    assert_eq!(lines(client, "SELECT count(*), count(name) FROM t").await, ["5000 3333"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_made_or_replaced_with_all_its_rows_or_not_at_all() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    update(client, "INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    for (case, messages, _) in wrong(&create("made")).await {
        let _ = send(client, messages).await.expect_err(case);
        assert_eq!(lines(client, "SHOW TABLES").await, ["t"], "{case}");
    }
    for (case, messages, _) in wrong(&replace("t")).await {
        let _ = send(client, messages).await.expect_err(case);
        assert_eq!(lines(client, "SHOW TABLES").await, ["t"], "{case}");
        assert_eq!(lines(client, "SELECT name FROM t ORDER BY id").await, ["a", "b"], "{case}");
    }
    send(client, messages(&create("made"), &[rows(0..10)]).await).await.unwrap();
    send(client, messages(&replace("t"), &[rows(0..10)]).await).await.unwrap();
    send(client, messages(&replace("new"), &[rows(0..3)]).await).await.unwrap();
    assert_eq!(lines(client, "SHOW TABLES").await, ["made", "new", "t"]);
    for (table, count) in [("made", "10"), ("new", "3"), ("t", "10")] {
        assert_eq!(lines(client, &format!("SELECT count(*) FROM {table}")).await, [count]);
    }
    let again = send(client, messages(&create("made"), &[rows(0..10)]).await).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    // A table that a view keeps to is not replaced.
    let view = "CREATE MATERIALIZED VIEW m ENGINE = MergeTree ORDER BY id AS SELECT id FROM made";
    update(client, view).await;
    let used = send(client, messages(&replace("made"), &[rows(0..9)]).await).await.unwrap_err();
    assert!(used.message().contains("view 'm'"), "{used}");
    assert_eq!(lines(client, "SELECT count(*) FROM made").await, ["10"]);
    // One that is appended to may be made by several at once.
    let command = into("both", TableExistsOption::Append, TableNotExistOption::Create);
    let clients = futures::future::join_all((0..6).map(|_| cluster.connect())).await;
    let sends = clients.into_iter().enumerate().map(|(at, mut client)| {
        let (command, from) = (command.clone(), at as i64 * 100);
        async move { send(&mut client, messages(&command, &[rows(from..from + 100)]).await).await }
    });
    futures::future::join_all(sends).await.into_iter().for_each(|sent| sent.unwrap());
    let both = "SELECT count(*), count(DISTINCT id) FROM both";
    assert_eq!(lines(client, both).await, ["600 600"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_leaves_nothing() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let small_blocks = |command: Command| Command {
        options: [("insert_block_rows_max".to_owned(), "1024".to_owned())].into(),
        ..command
    };
    let streams = [
        messages(&append(), &[rows(0..10)]).await,
        messages(&append(), &blocks(0..20_000, 1000)).await,
        messages(&small_blocks(append()), &blocks(0..20_000, 1000)).await,
        messages(&small_blocks(create("made")), &blocks(0..20_000, 1000)).await,
        messages(&small_blocks(replace("t")), &blocks(0..20_000, 1000)).await,
        messages(&small_blocks(create("made")), &blocks(0..20_000, 1000)).await[..1].to_vec(),
    ];
    for messages in streams {
        let going = &mut cluster.connect().await;
        let endless = futures::stream::iter(messages).chain(futures::stream::pending());
        let gave_up = tokio::time::timeout(Duration::from_millis(400), going.do_put(endless)).await;
        assert!(gave_up.is_err());
    }
    let running = "SELECT count(*) FROM system.queries WHERE state = 'running' AND query LIKE \
                   'ingest%'";
    let mut left = Vec::new();
    for _ in 0..100 {
        SystemClock.sleep(Duration::from_millis(50)).await;
        left = lines(client, "SHOW TABLES").await;
        left.extend(lines(client, running).await);
        if left == ["t", "0"] && cluster.catalog.snapshot().staged.is_empty() {
            break;
        }
    }
    assert_eq!(left, ["t", "0"]);
    assert!(cluster.catalog.snapshot().staged.is_empty(), "the stages were dropped");
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["0"]);
    let whole = messages(&small_blocks(append()), &blocks(0..20_000, 1000)).await;
    send(client, whole).await.unwrap();
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["20000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_above_the_limit_is_refused_with_the_limit() {
    let cluster = Cluster::start().await;
    let small = cluster.with_messages_of(1 << 20).await;
    let client = &mut connect(&small).await;
    update(client, TABLE).await;
    let big = rows(0..200_000);
    // The first message with rows, and one after others.
    for batches in [vec![big.clone()], vec![rows(0..10), big.clone(), rows(10..20)]] {
        let status = send(client, messages(&append(), &batches).await).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains("limit of 1.0 MiB"), "{status}");
        assert!(status.message().contains("smaller batches"), "{status}");
        assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["0"]);
    }
    let cut: Vec<RecordBatch> = (0..20).map(|at| big.slice(at * 10_000, 10_000)).collect();
    send(client, messages(&append(), &cut).await).await.unwrap();
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["200000"]);
}
