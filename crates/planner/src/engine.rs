//! The engine: sessions at a snapshot, plans, execution.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList, SchemaProvider};
use datafusion::execution::{
    SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext,
};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use futures::TryStreamExt;
use granary_catalog::Snapshot;
use granary_catalog::protocol::{COMPUTED_COLUMNS, SPILLING_JOINS};
use granary_common::units::display_bytes;
use granary_common::{ClusterId, Random, Result, SystemRandom};
use granary_execution::error::from_datafusion;
use granary_execution::functions::register_all;
use granary_execution::memory::fit_spills;
use granary_execution::{
    CountsParts, FilterHub, FragmentChannels, FragmentSettings, FunctionSet, IndexUse, KeyRanges,
    MemoryLimits, NodeMemory, PartAccess, PartScanExec, WorkerDirectory, index_uses,
    let_joins_spill,
};
use granary_storage::PartStore;

use crate::distribution::{
    cut, display, display_executed, distribute, measure, scans, told_on_one_node, variants,
};
use crate::documents::{UsesDocumentColumns, use_document_columns};
use crate::projections::{UsesProjections, use_projections, use_reordered};
use crate::rules::{AvoidExchanges, NullableSubqueries, logical_rules, physical_rules};
use crate::settings::QuerySettings;
use crate::tables::statistics::StatisticsCache;
use crate::tables::{CATALOG, SnapshotCatalog, ViewBinder};
use crate::topology::Topology;
use crate::validate::validate;

/// Says in a session that all who run its plans know the joins that spill.
struct SpillingJoins;

/// Where plans run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineMode {
    /// All in this process.
    Embedded,
    /// Cut into stages that run on the workers.
    Cluster,
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
    /// What this node's requests to workers say that they come from.
    pub cluster: Option<ClusterId>,
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
    /// What stands behind views; without it they are unknown names.
    pub views: Option<Arc<dyn ViewBinder>>,
}

/// Plans and runs queries.
#[derive(Debug)]
pub struct QueryEngine {
    mode: EngineMode,
    workers: Arc<dyn WorkerDirectory>,
    access: Arc<PartAccess>,
    statistics: Arc<StatisticsCache>,
    memory: NodeMemory,
    channels: FragmentChannels,
}

impl QueryEngine {
    /// An engine; makes and empties the spill folder. Kind `Unavailable` when that fails.
    pub fn new(config: EngineConfig) -> Result<QueryEngine> {
        let EngineConfig { mode, workers, parts, memory, cluster } = config;
        let access = PartAccess {
            store: parts,
            workers: Arc::clone(&workers),
            filters: FilterHub::default(),
        };
        Ok(QueryEngine {
            mode,
            workers,
            statistics: Arc::new(StatisticsCache::new(access.clone())),
            access: Arc::new(access),
            memory: NodeMemory::new(&memory)?,
            channels: FragmentChannels::new(cluster.as_ref()),
        })
    }

    /// A session of one query: catalog `granary` with a schema for each database of the snapshot.
    /// The query's memory is accounted to it.
    pub fn session_state(&self, inputs: SessionInputs<'_>) -> Result<SessionState> {
        let settings = inputs.settings;
        let mut config = session_config(settings, inputs.current_database)
            .with_extension(Arc::clone(&self.access));
        if settings.optimize_use_projections {
            config = config.with_extension(Arc::new(UsesProjections));
        }
        let threads = config.target_partitions();
        let key_ranges = KeyRanges { threads, rows_min: settings.final_range_rows_min };
        config = config.with_extension(Arc::new(key_ranges));
        if self.mode == EngineMode::Embedded || inputs.snapshot.protocol() >= COMPUTED_COLUMNS {
            config = config.with_extension(Arc::new(UsesDocumentColumns));
        }
        if self.mode == EngineMode::Embedded || inputs.snapshot.protocol() >= SPILLING_JOINS {
            config = config.with_extension(Arc::new(SpillingJoins));
        }
        if self.mode == EngineMode::Cluster {
            // With one partition nothing would say where rows have to meet.
            config = config.with_target_partitions(threads.max(2));
        }
        let several_workers = (self.mode == EngineMode::Cluster).then(|| AvoidExchanges {
            workers: self.workers.live().len(),
            colocated: settings.colocated_joins,
            broadcast: settings.broadcast_joins,
        });
        let catalogs = MemoryCatalogProviderList::new();
        let statistics = Arc::clone(&self.statistics);
        let catalog = SnapshotCatalog::new(inputs.snapshot, statistics, inputs.extra_schemas)
            .with_views(inputs.views)
            .collapsed(settings.collapses);
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let builder = SessionStateBuilder::new()
            .with_default_features()
            .with_config(config)
            .with_runtime_env(self.memory.for_query(settings.max_memory_usage))
            .with_catalog_list(Arc::new(catalogs))
            .with_analyzer_rule(Arc::new(NullableSubqueries))
            .with_optimizer_rules(logical_rules())
            .with_physical_optimizer_rules(physical_rules(several_workers));
        let mut builder = register_all(&*inputs.functions, builder);
        if self.mode == EngineMode::Cluster {
            let topology = Topology {
                workers: self.workers.live(),
                task_partitions: threads,
                distributed_scan_bytes_min: settings.distributed_scan_bytes_min,
            };
            let fragment = FragmentSettings {
                query: SystemRandom.next_hex(),
                batch_rows: settings.max_block_size,
                memory_bytes_max: settings.max_memory_usage,
                time_zone: settings.session_timezone.clone(),
            };
            let channels = self.channels.clone();
            builder = distribute(builder, Arc::new(topology), settings, &fragment, channels)?;
        }
        let mut state = builder.build();
        // What now() and today() mean everywhere in this query.
        state.mark_start_execution();
        Ok(state)
    }

    /// Optimizes `plan` and makes it executable: on this node when embedded, else cut into stages
    /// and validated. Every plan before the cut runs on one node.
    pub async fn physical_plan(
        &self,
        state: &SessionState,
        plan: &LogicalPlan,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let failed = |error| from_datafusion(&error);
        let projected = use_projections(state, plan).map_err(failed)?;
        let plan = projected.as_ref().unwrap_or(plan);
        let narrowed = use_document_columns(state, plan).await.map_err(failed)?;
        let logical = state.optimize(narrowed.as_ref().unwrap_or(plan)).map_err(failed)?;
        let logical = use_reordered(state, logical).map_err(failed)?;
        let planner = DefaultPhysicalPlanner::default();
        let physical = planner.create_physical_plan(&logical, state).await.map_err(failed)?;
        validate(&physical, &variants)?;
        let plan = match self.mode {
            EngineMode::Embedded => told_on_one_node(physical)?,
            EngineMode::Cluster => cut(state, &logical, physical).await?,
        };
        // Last, since rules look for the engine's joins.
        match state.config().get_extension::<SpillingJoins>() {
            Some(_) => let_joins_spill(plan).map_err(failed),
            None => Ok(plan),
        }
    }

    /// Starts `plan`. Dropping the stream stops it on every worker. Errors of the stream carry their
    /// kind: read it with [`granary_execution::error::from_datafusion`].
    pub fn execute(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        state: &SessionState,
    ) -> Result<SendableRecordBatchStream> {
        execute_stream(Arc::clone(plan), running(state)).map_err(|error| from_datafusion(&error))
    }

    /// The plan as text, stage by stage.
    pub fn explain(&self, plan: &Arc<dyn ExecutionPlan>) -> String {
        display(plan)
    }

    /// Plans `plan`; the plan as text, and what each index leaves of each table, as far as that is
    /// known before it runs.
    pub async fn explain_with_indexes(
        &self,
        plan: &LogicalPlan,
        state: &mut SessionState,
    ) -> Result<String> {
        state.config_mut().set_extension(Arc::new(CountsParts));
        let plan = self.physical_plan(state, plan).await?;
        let mut text = self.explain(&plan).trim_end().to_owned();
        for scan in scans(&plan) {
            if let Some(scan) = scan.downcast_ref::<PartScanExec>() {
                match index_uses(scan, &self.access).await {
                    Ok(uses) => text.push_str(&display_uses(&scan.spec().name, &uses)),
                    Err(error) => {
                        let table = &scan.spec().name;
                        let _ = write!(text, "\nindexes of {table}: not known ({error})");
                    }
                }
            }
        }
        Ok(text)
    }

    /// Plans and runs `plan`, drops its rows, and gives the plan with what each operator did and the
    /// bytes that were exchanged between workers.
    pub async fn explain_analyze(
        &self,
        plan: &LogicalPlan,
        state: &mut SessionState,
    ) -> Result<String> {
        if self.mode == EngineMode::Cluster {
            measure(state)?;
        }
        let plan = self.physical_plan(state, plan).await?;
        let mut batches = self.execute(&plan, state)?;
        let mut rows = 0;
        while let Some(batch) = batches.try_next().await.map_err(|error| from_datafusion(&error))? {
            rows += batch.num_rows();
        }
        drop(batches);
        let (mut text, traffic) = display_executed(&plan).await?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let exchanged = display_bytes(traffic.exchanged);
        let gathered = display_bytes(traffic.gathered);
        // Writing to a string cannot fail.
        let _ = write!(text, "exchanged: {exchanged}, gathered: {gathered}, rows: {rows}");
        Ok(text)
    }

    /// Bytes that the queries of this node hold now.
    pub fn memory_used_bytes(&self) -> u64 {
        self.memory.used_bytes()
    }
}

/// What indexes leave of a table, a line for each.
fn display_uses(table: &str, uses: &[IndexUse]) -> String {
    let mut text = match uses.is_empty() {
        true => String::new(),
        false => format!("\nindexes of {table}:"),
    };
    for IndexUse { index, parts, granules } in uses {
        let parts = parts.map(|(before, after)| format!(" parts {after} of {before}"));
        let granules = granules.map(|(before, after)| format!(" granules {after} of {before}"));
        let known: Vec<String> = parts.into_iter().chain(granules).collect();
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {index}:{}", known.join(","));
    }
    text
}

/// What operators run in. Plans hold the functions that they call, so the session's more than a
/// thousand names are not copied for it.
fn running(state: &SessionState) -> Arc<TaskContext> {
    Arc::new(TaskContext::new(
        None,
        state.session_id().to_owned(),
        state.config().clone(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        Arc::clone(state.runtime_env()),
    ))
}

fn session_config(settings: &QuerySettings, current_database: &str) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, current_database)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_batch_size(settings.max_block_size.max(1));
    if settings.max_threads > 0 {
        config = config.with_target_partitions(settings.max_threads);
    }
    fit_spills(&mut config, settings.max_memory_usage);
    let options = config.options_mut();
    options.execution.time_zone = Some(settings.session_timezone.clone());
    options.sql_parser.enable_ident_normalization = false;
    // The rule takes parts of tuples to the scans and loses which table of a view the columns beside
    // them are of; our scans read whole columns anyway.
    options.optimizer.enable_leaf_expression_pushdown = false;
    config
}
