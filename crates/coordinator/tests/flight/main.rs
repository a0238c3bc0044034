//! A coordinator and a worker in this process, spoken to over real connections.

// A failure anywhere in a test's set-up is the test's failure.
#![allow(clippy::unwrap_used)]

mod bad_ingests;
mod inserts;
mod metadata;
mod queries;
mod sessions;
mod temporary;
mod users;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, CommandGetTables, CommandStatementIngest,
    TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor,
};
use arrow_ipc::writer::StreamWriter;
use futures::{StreamExt, TryStreamExt};
use granary_catalog::protocol::PROTOCOL_VERSION;
use granary_catalog::{Catalog, Heartbeat, LeaseHolder, MemoryCatalog};
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
            read_cache_bytes_max: 0,
            reserves: Default::default(),
            scrub: Default::default(),
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

    /// A third one, which takes no message above `bytes_max`.
    async fn with_messages_of(&self, bytes_max: usize) -> CoordinatorNode {
        let mut config = CoordinatorConfig::new(loopback());
        config.limits.message_bytes_max = bytes_max;
        let (catalog, engine) = (&self.catalog, &self.engine);
        coordinator_of(config, catalog, engine, &self.worker, &self.tasks).await
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
    let config = CoordinatorConfig::new(loopback());
    coordinator_of(config, catalog, engine, worker, tasks).await
}

async fn coordinator_of(
    config: CoordinatorConfig,
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
