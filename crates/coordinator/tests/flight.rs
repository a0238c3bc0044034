//! A coordinator and a worker in this process, spoken to over real connections.

// A failure anywhere in a test's set-up is the test's failure.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    CommandGetTables, CommandStatementIngest, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use arrow_flight::{Action, CancelFlightInfoRequest, FlightDescriptor};
use arrow_ipc::writer::StreamWriter;
use futures::{StreamExt, TryStreamExt};
use granary_catalog::{Catalog, MemoryCatalog};
use granary_common::{Clock, SystemClock, SystemRandom, TaskOwner};
use granary_coordinator::{AcceptAll, Collaborators, CoordinatorConfig, CoordinatorNode};
use granary_planner::{EngineConfig, EngineMode, MemoryLimits, QueryEngine};
use granary_proto::v1::bulk_insert_client::BulkInsertClient;
use granary_proto::v1::insert_request::Message;
use granary_proto::v1::{InsertHeader, InsertRequest, InsertResponse};
use granary_sql::GranaryFunctions;
use granary_worker::{MergeSettings, WorkerConfig, WorkerNode};
use prost::Message as _;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

type Client = FlightSqlServiceClient<Channel>;

/// One node of everything, and a way to connect.
struct Cluster {
    node: CoordinatorNode,
    engine: Arc<QueryEngine>,
    worker: WorkerNode,
    catalog: Arc<dyn Catalog>,
    tasks: TaskOwner,
    _folder: TempDir,
}

impl Cluster {
    async fn start() -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let (clock, random) = (SystemClock::shared(), SystemRandom::shared());
        let catalog: Arc<dyn Catalog> =
            Arc::new(MemoryCatalog::new("test", Arc::clone(&clock)).unwrap());
        let tasks = TaskOwner::current();
        let config = WorkerConfig {
            data_dir: folder.path().join("worker"),
            listen: loopback(),
            advertise_host: "127.0.0.1".into(),
            zone: String::new(),
            volume_url: None,
            memory_bytes_max: 1 << 30,
            spill_bytes_max: 1 << 30,
            sweep_interval: Duration::from_secs(3600),
            merges: MergeSettings::default(),
            copy_bytes_per_s: 1 << 30,
        };
        let functions = Arc::new(GranaryFunctions);
        let worker = WorkerNode::start(
            config,
            Arc::clone(&catalog),
            functions,
            clock,
            random,
            tasks.clone(),
        )
        .await
        .unwrap();
        let engine = QueryEngine::new(EngineConfig {
            mode: EngineMode::Embedded,
            workers: worker.directory(),
            parts: Some(worker.part_store()),
            memory: MemoryLimits {
                node_bytes_max: 1 << 30,
                spill_dir: folder.path().join("spill"),
                spill_bytes_max: 1 << 30,
            },
            cluster: None,
        });
        let engine = Arc::new(engine.unwrap());
        let node = coordinator(&catalog, &engine, &worker, &tasks).await;
        Cluster { node, engine, worker, catalog, tasks, _folder: folder }
    }

    /// A second coordinator of the same cluster.
    async fn another(&self) -> CoordinatorNode {
        coordinator(&self.catalog, &self.engine, &self.worker, &self.tasks).await
    }

    async fn connect(&self) -> Client {
        connect(&self.node).await
    }

    async fn insert(
        &self,
        table: &str,
        token: &str,
        bytes: Vec<u8>,
    ) -> Result<InsertResponse, Status> {
        let header =
            InsertHeader { table: table.into(), token: token.into(), ..Default::default() };
        let messages = std::iter::once(Message::Header(header))
            .chain(
                bytes
                    .chunks(1000)
                    .map(|piece| Message::ArrowIpc(piece.to_vec().into()))
                    .collect::<Vec<_>>(),
            )
            .map(|message| InsertRequest { message: Some(message) });
        let mut client = BulkInsertClient::new(channel(&self.node).await);
        client.insert(futures::stream::iter(messages)).await.map(|response| response.into_inner())
    }
}

async fn coordinator(
    catalog: &Arc<dyn Catalog>,
    engine: &Arc<QueryEngine>,
    worker: &WorkerNode,
    tasks: &TaskOwner,
) -> CoordinatorNode {
    let with = Collaborators {
        catalog: Arc::clone(catalog),
        engine: Arc::clone(engine),
        workers: worker.directory(),
        functions: Arc::new(GranaryFunctions),
        authenticator: Arc::new(AcceptAll),
        clock: SystemClock::shared(),
        random: SystemRandom::shared(),
        tasks: tasks.clone(),
    };
    let config = CoordinatorConfig::new(loopback(), Some(loopback()));
    CoordinatorNode::start(config, with).await.unwrap()
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn channel(node: &CoordinatorNode) -> Channel {
    let url = format!("http://{}", node.grpc_addr());
    Channel::from_shared(url).unwrap().connect().await.unwrap()
}

async fn connect(node: &CoordinatorNode) -> Client {
    FlightSqlServiceClient::new(channel(node).await)
}

async fn query(client: &mut Client, sql: &str) -> Result<Vec<RecordBatch>, Status> {
    let info = client.execute(sql.to_owned(), None).await.map_err(Status::from)?;
    let mut batches = Vec::new();
    for endpoint in info.endpoint {
        let rows = client.do_get(endpoint.ticket.unwrap()).await.map_err(Status::from)?;
        batches.extend(rows.try_collect::<Vec<_>>().await.map_err(Status::from)?);
    }
    Ok(batches)
}

/// Rows as texts, cells separated by blanks.
async fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    texts(&query(client, sql).await.unwrap_or_else(|status| panic!("{sql}: {status}")))
}

fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let row = |batch: &RecordBatch, row: usize| {
        let cell = |column: &ArrayRef| array_value_to_string(column, row).unwrap();
        batch.columns().iter().map(cell).collect::<Vec<_>>().join(" ")
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |at| row(batch, at))).collect()
}

async fn update(client: &mut Client, sql: &str) -> i64 {
    let done = client.execute_update(sql.to_owned(), None).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn refused(client: &mut Client, sql: &str) -> Status {
    query(client, sql).await.expect_err(sql)
}

const TABLE: &str = "CREATE TABLE t (id Int64, name Nullable(String)) ENGINE = MergeTree \
                     ORDER BY id DISTRIBUTED BY (id) BUCKETS 4";

fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    let names: StringArray = ids.clone().map(|id| (id % 3 > 0).then(|| format!("n{id}"))).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from_iter_values(ids)) as _, false),
        ("name", Arc::new(names) as _, true),
    ])
    .unwrap()
}

fn ipc(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_in_and_come_out() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    assert_eq!(update(client, "INSERT INTO t VALUES (1, 'a'), (2, NULL)").await, 2);
    let inserted =
        cluster.insert("t", "one", ipc(&[rows(10..5000), rows(5000..9000)])).await.unwrap();
    assert_eq!((inserted.rows, inserted.duplicate), (8990, false));
    assert_eq!(
        update(client, "INSERT INTO t SELECT id + 100000, name FROM t WHERE id < 3").await,
        2
    );
    assert_eq!(lines(client, "SELECT count(*), max(id) FROM t").await, ["8994 100002"]);
    assert_eq!(
        lines(client, "SELECT id, name FROM t WHERE id < 3 ORDER BY id").await,
        ["1 a", "2 "]
    );
    // What a client sends as a query is run as well, once.
    assert!(query(client, "INSERT INTO t VALUES (3, 'c')").await.unwrap().is_empty());
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["8995"]);
    update(client, "TRUNCATE TABLE t").await;
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["0"]);
    update(client, "DROP TABLE t").await;
    assert_eq!(refused(client, "SELECT * FROM t").await.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_done_once() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let first = cluster.insert("t", "k", ipc(&[rows(0..100)])).await.unwrap();
    // Cut elsewhere, the content is the same.
    let again = cluster.insert("t", "k", ipc(&[rows(0..40), rows(40..100)])).await.unwrap();
    assert!(again.duplicate);
    assert_eq!((again.rows, again.parts, again.version), (first.rows, first.parts, first.version));
    let other = cluster.insert("t", "k", ipc(&[rows(0..99)])).await.unwrap_err();
    assert_eq!(other.code(), Code::InvalidArgument);
    assert!(other.message().contains("'k'"), "{other}");
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["100"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_inserts_are_written_together_and_answered_alone() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let insert = |client: i64| {
        let cluster = &cluster;
        async move {
            for turn in 0..5 {
                let id = client * 100 + turn;
                let token = format!("token {id}");
                let inserted = cluster.insert("t", &token, ipc(&[rows(id..id + 1)])).await.unwrap();
                assert_eq!((inserted.rows, inserted.duplicate), (1, false));
            }
        }
    };
    futures::future::join_all((0..20).map(insert)).await;
    assert_eq!(lines(client, "SELECT count(*), count(DISTINCT id) FROM t").await, ["100 100"]);
    let parts = lines(client, "SELECT count(*) FROM system.parts WHERE table = 't'").await;
    assert!(parts[0].parse::<u64>().unwrap() < 90, "{parts:?}");
    // In one group: a token again, a token with other rows, rows that do not fit.
    let bad = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(StringArray::from(vec!["x"])) as ArrayRef, false),
        ("name", Arc::new(StringArray::from(vec!["y"])) as ArrayRef, true),
    ]);
    let bad = ipc(&[bad.unwrap()]);
    let (again, other, misfit, fine) = tokio::join!(
        cluster.insert("t", "token 0", ipc(&[rows(0..1)])),
        cluster.insert("t", "token 1", ipc(&[rows(7..8)])),
        cluster.insert("t", "misfit", bad),
        cluster.insert("t", "fine", ipc(&[rows(5000..5002)])),
    );
    assert!(again.unwrap().duplicate);
    assert_eq!(other.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(misfit.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(fine.unwrap().rows, 2);
    let (one, two) = tokio::join!(
        cluster.insert("t", "twice", ipc(&[rows(6000..6001)])),
        cluster.insert("t", "twice", ipc(&[rows(6000..6001)])),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.duplicate != two.duplicate, "{one:?} {two:?}");
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["103"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_aliases_are_read_and_filled() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    update(client, "CREATE TABLE a AS t ENGINE = Distributed(c, default, t, rand())").await;
    update(client, "INSERT INTO a VALUES (1, 'a')").await;
    update(client, "CREATE VIEW v (n, c) AS SELECT name, count(*) FROM a GROUP BY name").await;
    assert_eq!(lines(client, "SELECT n, c FROM v").await, ["a 1"]);
    let view = "CREATE MATERIALIZED VIEW m ENGINE = MergeTree ORDER BY name POPULATE AS \
                SELECT name, count(*) AS n, sum(id) AS ids FROM a GROUP BY name";
    update(client, view).await;
    update(client, "CREATE TABLE big (ids Int64) ENGINE = MergeTree ORDER BY ids").await;
    update(client, "CREATE MATERIALIZED VIEW mm TO big AS SELECT ids FROM m WHERE ids > 4").await;
    update(client, "INSERT INTO t VALUES (2, 'b'), (3, 'b'), (4, 'a')").await;
    let rows_of_m = "SELECT name, n, ids FROM m ORDER BY name, ids";
    assert_eq!(lines(client, rows_of_m).await, ["a 1 1", "a 1 4", "b 2 5"]);
    assert_eq!(lines(client, "SELECT ids FROM big").await, ["5"]);
    // Several blocks are staged with what the view makes of them.
    let batches: Vec<RecordBatch> = (0..5).map(|at| rows(at * 1000..at * 1000 + 1000)).collect();
    update(
        client,
        "CREATE TABLE s (id Int64, name Nullable(String)) ENGINE = MergeTree ORDER BY id",
    )
    .await;
    update(
        client,
        "CREATE MATERIALIZED VIEW sm ENGINE = MergeTree ORDER BY id AS SELECT id FROM s",
    )
    .await;
    let mut messages = vec![Message::Header(InsertHeader {
        table: "s".into(),
        settings: [("insert_block_rows_max".to_owned(), "1024".to_owned())].into(),
        ..Default::default()
    })];
    messages
        .extend(ipc(&batches).chunks(1000).map(|piece| Message::ArrowIpc(piece.to_vec().into())));
    let messages = messages.into_iter().map(|message| InsertRequest { message: Some(message) });
    let mut bulk = BulkInsertClient::new(channel(&cluster.node).await);
    bulk.insert(futures::stream::iter(messages)).await.unwrap();
    assert_eq!(lines(client, "SELECT count(*), sum(id) FROM sm").await, ["5000 12497500"]);
    assert_eq!(refused(client, "DROP TABLE big").await.code(), Code::InvalidArgument);
    update(client, "CREATE TABLE copied ENGINE = MergeTree ORDER BY name AS SELECT name, n FROM m")
        .await;
    assert_eq!(lines(client, "SELECT count(*) FROM copied").await, ["3"]);
    assert_eq!(refused(client, "DROP TABLE m").await.code(), Code::InvalidArgument);
    update(client, "DROP VIEW mm").await;
    update(client, "DROP TABLE m").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_streams_are_staged_and_published_at_once() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    // Merged parts have a version of their own.
    update(client, "SYSTEM STOP MERGES t").await;
    let header = InsertHeader {
        table: "t".into(),
        settings: [("insert_block_rows_max".to_owned(), "1024".to_owned())].into(),
        ..Default::default()
    };
    let bytes = ipc(&(0..10).map(|n| rows(n * 1000..(n + 1) * 1000)).collect::<Vec<_>>());
    let messages = [Message::Header(header), Message::ArrowIpc(bytes.into())]
        .map(|message| InsertRequest { message: Some(message) });
    let mut bulk = BulkInsertClient::new(channel(&cluster.node).await);
    let inserted = bulk.insert(futures::stream::iter(messages)).await.unwrap().into_inner();
    assert_eq!(inserted.rows, 10_000);
    assert!(inserted.parts >= 40, "{} parts", inserted.parts);
    assert_eq!(lines(client, "SELECT count(*), sum(id) FROM t").await, ["10000 49995000"]);
    let versions = "SELECT count(DISTINCT added_version) FROM system.parts WHERE table = 't'";
    assert_eq!(lines(client, versions).await, ["1"]);
    assert!(cluster.catalog.snapshot().staged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_change_nothing() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let whole = ipc(&[rows(0..5000)]);
    let nulls: Int64Array = [Some(1), Some(2), None].into_iter().collect();
    let null = RecordBatch::try_from_iter([("id", Arc::new(nulls) as _)]).unwrap();
    let unknown = RecordBatch::try_from_iter([("idd", rows(0..1).column(0).clone())]).unwrap();
    let texts = StringArray::from(vec!["1", "x"]);
    let typed = RecordBatch::try_from_iter([("id", Arc::new(texts) as _)]).unwrap();
    let mut flipped = whole.clone();
    flipped[700] ^= 0x5a;
    let cases: [(&str, Vec<u8>, &[&str]); 7] = [
        ("torn", whole[..whole.len() / 2].to_vec(), &["cut short"]),
        ("without its end", whole[..whole.len() - 8].to_vec(), &["cut short"]),
        ("not Arrow", b"id,name\n1,a\n".to_vec(), &["Arrow"]),
        ("nothing", Vec::new(), &["schema"]),
        ("NULL", ipc(&[null]), &["id", "3"]),
        ("unknown column", ipc(&[unknown]), &["idd", "id"]),
        ("mistyped", ipc(&[typed]), &["id", "2"]),
    ];
    for (case, bytes, words) in cases {
        let status = cluster.insert("t", "", bytes).await.expect_err(case);
        assert_eq!(status.code(), Code::InvalidArgument, "{case}: {status}");
        for word in words {
            assert!(status.message().contains(word), "{case}: {status}");
        }
    }
    let _ = cluster.insert("missing", "", whole.clone()).await.expect_err("no such table");
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["0"]);
    assert_eq!(cluster.insert("t", "", whole).await.unwrap().rows, 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_client_leaves_nothing() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let header = InsertHeader {
        table: "t".into(),
        settings: [("insert_block_rows_max".to_owned(), "1024".to_owned())].into(),
        ..Default::default()
    };
    let bytes = ipc(&[rows(0..8000)]);
    // Everything but the mark of the end, and then nothing more.
    let messages =
        [Message::Header(header), Message::ArrowIpc(bytes[..bytes.len() - 8].to_vec().into())]
            .map(|message| InsertRequest { message: Some(message) });
    let endless = futures::stream::iter(messages).chain(futures::stream::pending());
    let mut bulk = BulkInsertClient::new(channel(&cluster.node).await);
    let gave_up = tokio::time::timeout(Duration::from_millis(700), bulk.insert(endless)).await;
    assert!(gave_up.is_err());
    SystemClock.sleep(Duration::from_millis(500)).await;
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["0"]);
    assert!(cluster.catalog.snapshot().staged.is_empty(), "the stage was dropped");
    let running =
        "SELECT count(*) FROM system.queries WHERE state = 'running' AND query LIKE 'bulk%'";
    assert_eq!(lines(client, running).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_last_by_token_by_cookie_and_by_connection() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, "CREATE DATABASE sales").await;
    update(client, "CREATE TABLE sales.s (id Int64) ENGINE = MergeTree ORDER BY id").await;
    // By connection.
    update(client, "USE sales").await;
    assert_eq!(lines(client, "SELECT count(*) FROM s").await, ["0"]);
    let other = &mut cluster.connect().await;
    assert_eq!(refused(other, "SELECT count(*) FROM s").await.code(), Code::NotFound);
    // By token; the client keeps the first one.
    other.handshake("ann", "").await.unwrap();
    update(other, "USE sales").await;
    update(other, "SET max_threads = 2").await;
    assert_eq!(lines(other, "SELECT count(*) FROM s").await, ["0"]);
    let changed = "SELECT value FROM system.settings WHERE name = 'max_threads'";
    assert_eq!(lines(other, changed).await, ["2"]);
    // By cookie, through another coordinator.
    let request = Request::new(FlightDescriptor::new_cmd(
        arrow_flight::sql::ProstMessageExt::as_any(&arrow_flight::sql::CommandStatementQuery {
            query: "USE sales".into(),
            transaction_id: None,
        })
        .encode_to_vec(),
    ));
    let third = cluster.connect().await;
    let answer = third.inner().clone().get_flight_info(request).await.unwrap();
    let cookie = answer.metadata().get("set-cookie").unwrap().to_str().unwrap();
    let pair = cookie.split(';').next().unwrap().to_owned();
    let second = cluster.another().await;
    let fourth = &mut connect(&second).await;
    fourth.set_header("cookie", pair);
    assert_eq!(lines(fourth, "SELECT count(*) FROM s").await, ["0"]);
    // Errors name what is wrong.
    assert_eq!(refused(other, "USE nowhere").await.code(), Code::NotFound);
    assert_eq!(refused(other, "SET no_such_setting = 1").await.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_coordinator_redeems_a_ticket_and_a_handle() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    update(client, "INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let second = cluster.another().await;
    let elsewhere = &mut connect(&second).await;
    let info = client.execute("SELECT name FROM t ORDER BY id".into(), None).await.unwrap();
    // Bound before this insert, so it does not see it.
    update(client, "INSERT INTO t VALUES (3, 'c')").await;
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let rows = elsewhere.do_get(ticket.clone()).await.unwrap().try_collect::<Vec<_>>().await;
    assert_eq!(texts(&rows.unwrap()), ["a", "b"]);
    let mut forged = ticket.ticket.to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let error = client.do_get(arrow_flight::Ticket::new(forged)).await.unwrap_err();
    assert_eq!(Status::from(error).code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_prepared_with_typed_parameters() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let mut insert = client.prepare("INSERT INTO t VALUES (?, ?)".into(), None).await.unwrap();
    let types = insert.parameter_schema().unwrap().fields().clone();
    assert_eq!(types[0].data_type(), &DataType::Int64);
    assert_eq!(types[1].data_type(), &DataType::Utf8);
    insert.set_parameters(rows(1..501)).unwrap();
    assert_eq!(insert.execute_update().await.unwrap(), 500);
    let one_insert = "SELECT count(DISTINCT added_version) FROM system.parts WHERE table = 't'";
    assert_eq!(lines(client, one_insert).await, ["1"]);
    let text = "SELECT name FROM t WHERE id = ?";
    let mut select = client.prepare(text.into(), None).await.unwrap();
    assert_eq!(select.parameter_schema().unwrap().field(0).data_type(), &DataType::Int64);
    assert_eq!(select.dataset_schema().unwrap().field(0).name(), "name");
    for (id, name) in [(7, "n7"), (8, "n8")] {
        let ids = Int64Array::from(vec![id]);
        select
            .set_parameters(RecordBatch::try_from_iter([("1", Arc::new(ids) as _)]).unwrap())
            .unwrap();
        let info = select.execute().await.unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let rows = client.do_get(ticket).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(texts(&rows), [name]);
    }
    assert_eq!(refused(client, text).await.code(), Code::InvalidArgument);
    select.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_makes_and_fills_tables() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    let command = |exists: TableExistsOption| CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Create as i32,
            if_exists: exists as i32,
        }),
        table: "made".into(),
        ..Default::default()
    };
    let stream = || futures::stream::iter([Ok(rows(0..10))]);
    assert_eq!(
        client.execute_ingest(command(TableExistsOption::Fail), stream()).await.unwrap(),
        10
    );
    assert_eq!(
        client.execute_ingest(command(TableExistsOption::Append), stream()).await.unwrap(),
        10
    );
    assert_eq!(lines(client, "SELECT count(*), count(name) FROM made").await, ["20 12"]);
    assert_eq!(
        client.execute_ingest(command(TableExistsOption::Replace), stream()).await.unwrap(),
        10
    );
    assert_eq!(lines(client, "SELECT count(*) FROM made").await, ["10"]);
    let error =
        client.execute_ingest(command(TableExistsOption::Fail), stream()).await.unwrap_err();
    assert_eq!(Status::from(error).code(), Code::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_told() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let command = CommandGetTables {
        table_name_filter_pattern: Some("t".into()),
        include_schema: true,
        ..Default::default()
    };
    let info = client.get_tables(command).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let tables = client.do_get(ticket).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(tables[0].num_rows(), 1);
    assert_eq!(tables[0].column(2).as_string::<i32>().value(0), "t");
    assert!(lines(client, "SHOW TABLES").await.contains(&"t".to_owned()));
    assert!(lines(client, "SHOW DATABASES").await.contains(&"default".to_owned()));
    assert_eq!(lines(client, "DESCRIBE t").await.len(), 2);
    assert!(lines(client, "SHOW CREATE TABLE t").await[0].contains("DISTRIBUTED BY"));
    let columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 't' \
                   ORDER BY ordinal_position";
    assert_eq!(lines(client, columns).await, ["id", "name"]);
    assert_eq!(lines(client, "SELECT count(*) FROM system.buckets WHERE table = 't'").await, ["4"]);
    assert_eq!(lines(client, "SELECT state FROM system.workers").await, ["alive"]);
    assert!(!lines(client, "EXPLAIN SELECT count(*) FROM t").await.is_empty());
    assert!(!lines(client, "EXPLAIN ANALYZE SELECT count(*) FROM t").await.is_empty());
    // System tables join with users' tables.
    let joined = "SELECT count(*) FROM t JOIN system.one ON t.id = dummy";
    assert_eq!(lines(client, joined).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_cancelled_and_streamed() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    cluster.insert("t", "", ipc(&[rows(0..20_000)])).await.unwrap();
    let sql = "SELECT a.id, b.name FROM t a CROSS JOIN t b";
    let info = client.execute(sql.into(), None).await.unwrap();
    let mut stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
    let running =
        "SELECT count(*) FROM system.queries WHERE state = 'running' AND query LIKE 'SELECT a.id%'";
    let other = &mut cluster.connect().await;
    assert_eq!(lines(other, running).await, ["1"]);
    let body = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec();
    let action = Action { r#type: "CancelFlightInfo".into(), body: body.into() };
    let mut inner = client.inner().clone();
    inner.do_action(Request::new(action)).await.unwrap();
    let error = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break Status::from(error),
            None => panic!("the stream ended as if it were whole"),
        }
    };
    assert_eq!(error.code(), Code::Cancelled);
    // A dropped stream ends its query too.
    let info = client.execute(sql.into(), None).await.unwrap();
    let stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    drop(stream);
    let mut left = String::new();
    for _ in 0..50 {
        SystemClock.sleep(Duration::from_millis(100)).await;
        left = lines(other, running).await.remove(0);
        if left == "0" {
            break;
        }
    }
    assert_eq!(left, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_statements_are_clear_errors() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    for (sql, code, words) in [
        ("SELEC 1", Code::InvalidArgument, "SELEC"),
        ("", Code::InvalidArgument, "empty"),
        ("SELECT 1; SELECT 2", Code::InvalidArgument, "one by one"),
        ("SELECT nme FROM t", Code::InvalidArgument, "nme"),
        ("SELECT * FROM tt", Code::NotFound, "tt"),
        ("CREATE DATABASE default", Code::AlreadyExists, "default"),
        ("INSERT INTO t VALUES (NULL, 'a')", Code::InvalidArgument, "id"),
    ] {
        let status = refused(client, sql).await;
        assert_eq!(status.code(), code, "{sql}: {status}");
        assert!(status.message().contains(words), "{sql}: {status}");
        assert!(status.metadata().contains_key("granary-error-kind"), "{sql}");
    }
    let error = client.begin_transaction().await.unwrap_err();
    assert!(error.to_string().contains("autocommit"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_refuses_new_statements_and_ends() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    assert_eq!(lines(client, "SELECT 1").await, ["1"]);
    assert!(cluster.node.drain(Duration::from_secs(5)).await);
    assert!(query(client, "SELECT 1").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_what_the_port_answers() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let cluster = Cluster::start().await;
    let mut client = ServerReflectionClient::new(channel(&cluster.node).await);
    let mut ask = async |message_request: MessageRequest| {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
        let requests = futures::stream::iter([request]);
        let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(services) =
        ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("not a list of services");
    };
    let mut names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "arrow.flight.protocol.FlightService",
            "granary.v1.BulkInsert",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
        ]
    );
    // A client that knows nothing else can build the calls from it.
    let symbol = "arrow.flight.protocol.FlightService.DoGet".to_owned();
    let MessageResponse::FileDescriptorResponse(files) =
        ask(MessageRequest::FileContainingSymbol(symbol)).await
    else {
        panic!("no descriptor");
    };
    let files = files.file_descriptor_proto.iter();
    let files: Vec<_> =
        files.map(|file| prost_types::FileDescriptorProto::decode(&**file).unwrap()).collect();
    assert!(files.iter().any(|file| file.package() == "arrow.flight.protocol"), "{files:?}");
}
