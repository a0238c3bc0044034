//! The engine: sessions at a snapshot, plans, execution.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::catalog::SchemaProvider;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use granary_catalog::Snapshot;
use granary_common::{Error, Result};
use granary_execution::{FunctionSet, WorkerDirectory};
use granary_storage::PartStore;

use crate::settings::QuerySettings;

/// Where plans run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineMode {
    /// All in this process.
    Embedded,
    /// Cut into stages that run on the workers.
    Cluster,
}

/// What queries of this node may hold together.
#[derive(Clone, Debug)]
pub struct MemoryLimits {
    /// Bytes of all queries together on this node.
    pub node_bytes_max: u64,
    /// Where queries spill to; made when needed, emptied at the start.
    pub spill_dir: PathBuf,
    /// Bytes of spilled files together.
    pub spill_bytes_max: u64,
}

/// What an engine is made of.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub mode: EngineMode,
    /// The way to every worker.
    pub workers: Arc<dyn WorkerDirectory>,
    /// The parts of this process's own worker, if it has one.
    pub parts: Option<Arc<PartStore>>,
    pub memory: MemoryLimits,
}

/// What a session is bound to.
pub struct SessionInputs<'a> {
    /// The state of the catalog that every statement of the session sees.
    pub snapshot: Arc<Snapshot>,
    pub settings: &'a QuerySettings,
    pub current_database: &'a str,
    pub functions: Arc<dyn FunctionSet>,
    /// Schemas beside the databases, for example `system`, by name.
    pub extra_schemas: Vec<(String, Arc<dyn SchemaProvider>)>,
}

/// Plans and runs queries.
#[derive(Debug)]
pub struct QueryEngine {
    config: EngineConfig,
}

impl QueryEngine {
    /// An engine; makes and empties the spill folder.
    pub fn new(config: EngineConfig) -> Result<QueryEngine> {
        Ok(QueryEngine { config })
    }

    /// A session of one query: catalog `granary` with a schema for each database of the snapshot.
    /// Keep it (or the plan) while the query runs: its memory is accounted to it.
    pub fn session_state(&self, inputs: SessionInputs<'_>) -> Result<SessionState> {
        let _ = (inputs, &self.config);
        Err(Error::unsupported("not written yet"))
    }

    /// Optimizes `plan` and makes it executable: on this node when embedded, else cut into stages
    /// and validated.
    pub async fn physical_plan(
        &self,
        state: &SessionState,
        plan: &LogicalPlan,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let _ = (state, plan);
        Err(Error::unsupported("not written yet"))
    }

    /// Starts `plan`. Dropping the stream stops it on every worker. Errors of the stream carry their
    /// kind: read it with [`granary_execution::error::from_datafusion`].
    pub fn execute(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        state: &SessionState,
    ) -> Result<SendableRecordBatchStream> {
        let _ = (plan, state);
        Err(Error::unsupported("not written yet"))
    }

    /// The plan as text, stage by stage.
    pub fn explain(&self, plan: &Arc<dyn ExecutionPlan>) -> String {
        let _ = plan;
        String::new()
    }

    /// Runs `plan`, drops its rows, and gives the plan with what each operator did and the bytes
    /// that were exchanged between workers.
    pub async fn explain_analyze(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        state: &SessionState,
    ) -> Result<String> {
        let _ = (plan, state);
        Err(Error::unsupported("not written yet"))
    }
}
