//! Fragments of distributed plans on a worker, and the channels between those who run them. The one
//! module of this crate that names `datafusion_distributed`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::error::DataFusionError;
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::prelude::SessionConfig;
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{
    ChannelResolver, DistributedExt, DistributedTaskContext, Worker, WorkerChannel,
    WorkerQueryContext, WorkerSessionBuilder,
};
use granary_common::{ClusterId, Error, Result};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use tonic::service::interceptor::{InterceptedService, Interceptor};
use tonic::transport::server::Router;
use tower::util::MapRequest;
use url::Url;

use crate::active::{ActiveWork, Counted};
use crate::error::to_datafusion;
use crate::functions::{FunctionSet, States, register_all};
use crate::memory::{NodeMemory, fit_spills};
use crate::part_scan::codec::OperatorCodec;
use crate::part_scan::read::PartAccess;
use crate::worker_api::{CLUSTER_HEADER, lazy_channel};

/// The header that carries a query's [`FragmentSettings`] to workers, as JSON.
pub const SETTINGS_HEADER: &str = "granary-query-settings";
/// Bytes of a message between fragments at most.
const FRAGMENT_MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Channels that stay open at most.
const CHANNELS_MAX: u64 = 4096;
/// An unused channel closes after this time.
const CHANNEL_IDLE: Duration = Duration::from_secs(300);
/// Queries whose sessions a worker remembers at most. Fragments of others get sessions of their own.
const SESSIONS_MAX: u64 = 64;
/// The fragments of a query arrive within this time of each other.
const SESSION_IDLE: Duration = Duration::from_secs(10);

/// What a worker needs to know of the query whose fragment it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentSettings {
    /// Random; the same for all fragments of one attempt at a query. Empty from nodes that do not say.
    #[serde(default)]
    pub query: String,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Bytes that the query's fragments may hold on a node before they spill; 0: only the node's
    /// limit.
    pub memory_bytes_max: u64,
    /// The time zone of the session.
    pub time_zone: String,
}

impl FragmentSettings {
    /// The header's value.
    pub fn to_header(&self) -> Result<HeaderValue> {
        let text = serde_json::to_string(self)
            .map_err(|error| Error::internal(format!("cannot encode settings: {error}")))?;
        HeaderValue::from_str(&text)
            .map_err(|error| Error::invalid(format!("a setting is not plain text: {error}")))
    }

    fn from_headers(headers: &HeaderMap) -> Result<Option<FragmentSettings>> {
        let Some(value) = headers.get(SETTINGS_HEADER) else { return Ok(None) };
        serde_json::from_slice(value.as_bytes()).map(Some).map_err(|error| {
            Error::invalid(format!("the settings of a fragment cannot be read: {error}"))
        })
    }
}

/// Channels to the workers' fragment services, each made once and kept.
#[derive(Clone)]
pub struct FragmentChannels {
    cluster: Option<HeaderValue>,
    open: moka::sync::Cache<Url, BoxCloneSyncChannel>,
}

impl std::fmt::Debug for FragmentChannels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FragmentChannels({} open)", self.open.entry_count())
    }
}

impl FragmentChannels {
    /// Channels whose requests say that they come from `cluster`.
    pub fn new(cluster: Option<&ClusterId>) -> Self {
        let cluster = cluster.and_then(|cluster| HeaderValue::from_str(&cluster.0).ok());
        let open = moka::sync::Cache::builder()
            .max_capacity(CHANNELS_MAX)
            .time_to_idle(CHANNEL_IDLE)
            .build();
        Self { cluster, open }
    }

    fn channel(&self, url: &Url) -> Result<BoxCloneSyncChannel> {
        if let Some(channel) = self.open.get(url) {
            return Ok(channel);
        }
        let cluster = self.cluster.clone();
        let signed = MapRequest::new(
            lazy_channel(url)?,
            move |mut request: http::Request<tonic::body::Body>| {
                if let Some(cluster) = &cluster {
                    request.headers_mut().insert(CLUSTER_HEADER, cluster.clone());
                }
                request
            },
        );
        let channel = BoxCloneSyncChannel::new(signed);
        self.open.insert(url.clone(), channel.clone());
        Ok(channel)
    }
}

#[async_trait]
impl ChannelResolver for FragmentChannels {
    async fn get_worker_client_for_url(
        &self,
        url: &Url,
    ) -> Result<Box<dyn WorkerChannel>, DataFusionError> {
        self.channel(url).map(create_worker_client).map_err(to_datafusion)
    }
}

/// The sessions of the queries whose fragments have arrived lately, by query. A session has all
/// functions by name, which takes longer to make than many a fragment takes to run, and the memory that
/// the query may hold here.
#[derive(Clone, Debug)]
pub struct QuerySessions(moka::sync::Cache<String, Arc<SessionState>>);

impl Default for QuerySessions {
    fn default() -> Self {
        let sessions = moka::sync::Cache::builder()
            .max_capacity(SESSIONS_MAX)
            .time_to_idle(SESSION_IDLE)
            .build();
        Self(sessions)
    }
}

/// What fragments run with on a worker.
#[derive(Clone, Debug)]
pub struct FragmentHost {
    pub functions: Arc<dyn FunctionSet>,
    pub access: Arc<PartAccess>,
    pub memory: Arc<NodeMemory>,
    pub channels: FragmentChannels,
    /// Counts the requests that are being answered; one lasts as long as its query.
    pub active: ActiveWork,
    pub sessions: QuerySessions,
}

impl FragmentHost {
    /// The session of a query, but for what is each fragment's own.
    fn session(
        &self,
        builder: SessionStateBuilder,
        config: &SessionConfig,
        memory_bytes_max: u64,
    ) -> SessionState {
        // Plans arrive optimized, and name nothing but functions.
        let builder = builder
            .with_config(config.clone().with_create_default_catalog_and_schema(false))
            .with_runtime_env(self.memory.for_query(memory_bytes_max))
            .with_analyzer_rules(Vec::new())
            .with_optimizer_rules(Vec::new())
            .with_physical_optimizer_rules(Vec::new());
        register_all(&*self.functions, builder).build()
    }
}

#[async_trait]
impl WorkerSessionBuilder for FragmentHost {
    async fn build_session_state(
        &self,
        ctx: WorkerQueryContext,
    ) -> Result<SessionState, DataFusionError> {
        let WorkerQueryContext { mut builder, headers } = ctx;
        let settings = FragmentSettings::from_headers(&headers).map_err(to_datafusion)?;
        let mut config = builder.config().take().unwrap_or_default();
        config.set_extension(Arc::clone(&self.access));
        config.set_extension(Arc::new(States(self.functions.states())));
        config.set_distributed_user_codec(OperatorCodec);
        config.set_distributed_channel_resolver(self.channels.clone());
        let Some(settings) = settings else {
            return Ok(self.session(builder, &config, 0));
        };
        config = config.with_batch_size(settings.batch_rows.max(1));
        config.options_mut().execution.time_zone = Some(settings.time_zone);
        let memory_bytes_max = settings.memory_bytes_max;
        fit_spills(&mut config, memory_bytes_max);
        if settings.query.is_empty() {
            return Ok(self.session(builder, &config, memory_bytes_max));
        }
        let made = || Arc::new(self.session(builder, &config, memory_bytes_max));
        let session = self.sessions.0.get_with(settings.query, made);
        let mut session = SessionState::clone(&session);
        *session.config_mut() = config;
        Ok(session)
    }
}

/// Which of a stage's tasks an operator runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskOf {
    pub index: usize,
    /// How many tasks the stage has.
    pub count: usize,
}

/// The task that `context` belongs to; the only one where a plan was not cut.
pub fn task_of(context: &Arc<TaskContext>) -> TaskOf {
    let task = DistributedTaskContext::from_ctx(context);
    TaskOf { index: task.task_index, count: task.task_count }
}

/// Adds the service that runs fragments to a worker's server; `check` sees every request first.
pub fn add_fragment_service<L, I>(router: Router<L>, host: FragmentHost, check: I) -> Router<L>
where
    L: Clone,
    I: Interceptor + Clone + Send + Sync + 'static,
{
    let active = host.active.clone();
    let service = Worker::from_session_builder(host)
        .into_worker_server()
        .max_decoding_message_size(FRAGMENT_MESSAGE_BYTES_MAX);
    router.add_service(InterceptedService::new(Counted::new(service, active), check))
}
