//! Cutting a plan into stages that run on the workers. The one module of this crate that names
//! `datafusion_distributed`.

mod deal;
mod outside;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{
    DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedExt, DistributedLeafExec,
    NetworkBoundaryExt, RouteTasksEvent, RouteTasksEventResponse, ScaleUpLeafNodeEvent,
    ScaleUpLeafNodeEventResponse, SessionStateBuilderExt, WorkerResolver,
};
use granary_common::{Error, PartId, Result, SystemRandom, WorkerId};
use granary_execution::error::{from_datafusion, to_datafusion};
use granary_execution::fragments::SETTINGS_HEADER;
use granary_execution::part_scan::statistics::of_scan;
use granary_execution::{
    FragmentChannels, FragmentSettings, Layout, OperatorCodec, OutsideScanExec, PartScanExec,
    ScannedPart,
};
use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use url::Url;

use self::deal::{Share, deal};
use self::outside::{outside_over_tasks, outside_tasks};
pub use self::told::{Traffic, display, display_executed, measure};
use crate::rules::filters::{Changed, Cut, tell_scans};
use crate::settings::QuerySettings;
use crate::topology::Topology;
use crate::validate::validate;

/// Bytes that a connection between tasks buffers before its sender has to wait.
const CONNECTION_BUFFER_BYTES: usize = 32 << 20;

type EngineResult<T> = Result<T, DataFusionError>;

/// Makes a session able to cut plans for the workers of `topology`.
pub fn distribute(
    mut builder: SessionStateBuilder,
    topology: Arc<Topology>,
    settings: &QuerySettings,
    fragment: &FragmentSettings,
    channels: FragmentChannels,
) -> Result<SessionStateBuilder> {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(SETTINGS_HEADER), fragment.to_header()?);
    let config = builder.config().get_or_insert_default();
    config.set_extension(Arc::clone(&topology));
    config.set_extension(Arc::new(PlanSlot::default()));
    config.set_distributed_user_codec(OperatorCodec);
    config.set_distributed_channel_resolver(channels);
    config.set_distributed_worker_resolver(TopologyResolver(topology));
    config.set_distributed_desired_task_count_handler(desired_tasks);
    config.set_distributed_scale_up_leaf_node_handler(scale_up);
    config.set_distributed_route_tasks_handler(route);
    let compression = settings.network_compression()?;
    let limits = config
        .set_distributed_passthrough_headers(headers)
        .and_then(|()| config.set_distributed_compression(compression))
        .and_then(|()| config.set_distributed_broadcast_joins(settings.broadcast_joins))
        .and_then(|()| {
            config.set_distributed_worker_connection_buffer_budget_bytes(CONNECTION_BUFFER_BYTES)
        })
        // Each task would tell of each operator, and the query would wait for it.
        .and_then(|()| config.set_distributed_metrics_collection(false));
    limits.map_err(|error| from_datafusion(&error))?;
    Ok(builder.with_query_planner(Arc::new(SlotPlanner)).with_distributed_planner())
}

/// Cuts a plan that runs on one node into stages, if it is worth it, and checks the result.
pub async fn cut(
    state: &SessionState,
    logical: &LogicalPlan,
    plan: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if !is_distributable(&plan) {
        return told_on_one_node(plan);
    }
    let slot = state.config().get_extension::<PlanSlot>();
    let slot = slot.ok_or_else(|| Error::internal("this session cannot cut plans"))?;
    *slot.0.lock() = Some(plan);
    let cut = state.query_planner().create_physical_plan(logical, state).await;
    let cut = cut.and_then(|cut| tell_scans(cut, &SEAMS));
    let cut = cut.map_err(|error| from_datafusion(&error))?;
    validate(&cut, &variants)?;
    Ok(cut)
}

/// A plan that is not cut, with runtime filters for which no partition waits forever.
pub fn told_on_one_node(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let cut = Cut { several_tasks: false, ..SEAMS };
    tell_scans(plan, &cut).map_err(|error| from_datafusion(&error))
}

/// Where stages meet, for rules that do not know how plans are cut.
const SEAMS: Cut<'static> = Cut {
    is_boundary: &|plan| plan.is_network_boundary(),
    change_scans: &change_variants,
    several_tasks: true,
    random: &SystemRandom,
};

fn change_variants(
    plan: &Arc<dyn ExecutionPlan>,
    change: &dyn Fn(&PartScanExec) -> Changed,
) -> Changed {
    let Some(leaf) = plan.downcast_ref::<DistributedLeafExec>() else {
        return Ok(None);
    };
    let changed = leaf.variants().iter().map(|variant| match variant.downcast_ref() {
        Some(scan) => change(scan),
        None => Ok(None),
    });
    let changed: Option<Vec<_>> = changed.collect::<EngineResult<_>>()?;
    let Some(changed) = changed else {
        return Ok(None);
    };
    let leaf = DistributedLeafExec::try_new(Arc::clone(leaf.original()), changed)?;
    Ok(Some(Arc::new(leaf)))
}

/// Whether every leaf can run on a worker, and at least one reads parts or files that all reach.
fn is_distributable(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let mut scans = false;
    let mut foreign = false;
    let walked = plan.apply(|node| {
        if node.is::<PartScanExec>() {
            scans = true;
        } else if let Some(scan) = node.downcast_ref::<OutsideScanExec>() {
            // Files of this machine are read here, and so is what they are joined with.
            scans |= scan.is_shared();
            foreign |= !scan.is_shared();
        } else if node.children().is_empty() {
            foreign |= !node.is::<EmptyExec>() && !node.is::<PlaceholderRowExec>();
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && scans && !foreign
}

/// The per-task forms of a leaf that was scaled up.
pub fn variants(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<Arc<dyn ExecutionPlan>>> {
    plan.downcast_ref::<DistributedLeafExec>().map(|leaf| leaf.variants().to_vec())
}

/// The scans of parts in a plan, each as it was before it was dealt out to tasks.
pub fn scans(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn ExecutionPlan>> {
    let mut found: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
    let walked = plan.apply(|node| {
        let leaf = node.downcast_ref::<DistributedLeafExec>();
        let scan = leaf.map_or(node, |leaf| leaf.original());
        if scan.is::<PartScanExec>() {
            found.push(Arc::clone(scan));
            return Ok(TreeNodeRecursion::Jump);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    // The walk itself cannot fail.
    walked.map(|_| found).unwrap_or_default()
}

/// Hands over a plan that is already made to the planner that cuts it.
#[derive(Debug, Default)]
struct PlanSlot(Mutex<Option<Arc<dyn ExecutionPlan>>>);

#[derive(Debug)]
struct SlotPlanner;

#[async_trait]
impl QueryPlanner for SlotPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let slot = session.config().get_extension::<PlanSlot>();
        let made = slot.and_then(|slot| slot.0.lock().take());
        match made {
            Some(plan) => Ok(plan),
            None => {
                DefaultPhysicalPlanner::default().create_physical_plan(logical_plan, session).await
            }
        }
    }
}

struct TopologyResolver(Arc<Topology>);

impl WorkerResolver for TopologyResolver {
    fn get_urls(&self) -> EngineResult<Vec<Url>> {
        match self.0.workers.as_slice() {
            [] => Err(to_datafusion(Error::unavailable("no worker is alive to run the query"))),
            workers => Ok(workers.iter().map(|(_, url)| url.clone()).collect()),
        }
    }
}

fn topology(config: &SessionConfig) -> EngineResult<Arc<Topology>> {
    config
        .get_extension::<Topology>()
        .ok_or_else(|| DataFusionError::Internal("the session has no topology".to_owned()))
}

/// A large scan runs where its parts are, on every worker; a small one in a single task, which
/// fetches what is elsewhere. A scan with one partition stays in one task, since whatever stands on
/// it may rely on seeing every row.
fn desired_tasks(
    event: DesiredTaskCountEvent<'_>,
) -> Option<EngineResult<DesiredTaskCountEventResponse>> {
    if let Some(scan) = event.plan.downcast_ref::<OutsideScanExec>() {
        return Some(topology(event.session_config).map(|topology| outside_tasks(scan, &topology)));
    }
    let scan = event.plan.downcast_ref::<PartScanExec>()?;
    Some(topology(event.session_config).map(|topology| {
        let is_whole = scan.spec().collapse.is_some() && scan.facts().placement.is_none();
        if scan.spec().layout.partitions() <= 1 || is_whole {
            return DesiredTaskCountEventResponse::maximum(1);
        }
        let output = of_scan(scan.spec(), &scan.facts().summaries).total_byte_size;
        let output = output.get_value().map_or(0, |bytes| *bytes as u64);
        let large = topology.is_large(scan.spec(), output);
        let tasks = if large { topology.workers.len().max(1) } else { 1 };
        DesiredTaskCountEventResponse::desired(tasks)
    }))
}

fn scale_up(event: ScaleUpLeafNodeEvent<'_>) -> Option<EngineResult<ScaleUpLeafNodeEventResponse>> {
    if let Some(scan) =
        event.plan.downcast_ref::<OutsideScanExec>().filter(|_| event.task_count > 1)
    {
        let topology = topology(event.session_config);
        return Some(topology.and_then(|topology| {
            outside_over_tasks(event.plan, scan, event.task_count, &topology)
        }));
    }
    let scan = event.plan.downcast_ref::<PartScanExec>()?;
    if event.task_count <= 1 {
        return None;
    }
    Some(spread_over_tasks(event.plan, scan, event.task_count, event.session_config))
}

fn spread_over_tasks(
    plan: &Arc<dyn ExecutionPlan>,
    scan: &PartScanExec,
    tasks: usize,
    config: &SessionConfig,
) -> EngineResult<ScaleUpLeafNodeEventResponse> {
    let topology = topology(config)?;
    let spread = Layout::Spread { partitions: topology.task_partitions.max(1) };
    let by_buckets = match &scan.spec().layout {
        Layout::Bucketed { .. } => true,
        Layout::Spread { .. } => scan.spec().collapse.is_some(),
    };
    let specs = match (by_buckets, &scan.facts().placement) {
        (true, Some(placement)) => {
            let task_of = |leader: WorkerId| topology.task_of(&[leader], tasks);
            let groups = placement.groups_by_task(tasks, topology.task_partitions, task_of);
            let narrowed = groups.into_iter().map(|groups| {
                let buckets = groups.concat();
                let layout = match &scan.spec().layout {
                    Layout::Bucketed { .. } => Layout::Bucketed { groups },
                    Layout::Spread { .. } => spread.clone(),
                };
                scan.spec().narrowed(layout, |part| buckets.contains(&part.bucket))
            });
            narrowed.collect::<Vec<_>>()
        }
        (true, None) => {
            return Err(DataFusionError::Internal("a bucketed scan has no placement".to_owned()));
        }
        (false, _) => {
            let task_by_part = tasks_of_parts(&scan.spec().parts, &topology, tasks);
            let task_of = |part: &ScannedPart| task_by_part.get(&part.part.id).copied();
            let narrowed = (0..tasks).map(|task| {
                scan.spec().narrowed(spread.clone(), |part| task_of(part) == Some(task))
            });
            narrowed.collect()
        }
    };
    let variants =
        specs.into_iter().map(|spec| Ok(Arc::new(scan.with_spec(spec)?) as Arc<dyn ExecutionPlan>));
    let variants = variants.collect::<EngineResult<Vec<_>>>()?;
    let leaf = DistributedLeafExec::try_new(Arc::clone(plan), variants)?;
    Ok(ScaleUpLeafNodeEventResponse::new(Arc::new(leaf)))
}

/// The task that reads each part: of those that hold it, and else of all.
fn tasks_of_parts(
    parts: &[ScannedPart],
    topology: &Topology,
    tasks: usize,
) -> BTreeMap<PartId, usize> {
    let shares: Vec<Share> = parts
        .iter()
        .map(|part| Share {
            rows: part.part.rows,
            holders: topology.tasks_of(&part.holders, tasks),
        })
        .collect();
    parts.iter().map(|part| part.part.id).zip(deal(&shares, tasks)).collect()
}

/// Task i of a stage that reads parts runs on worker i, as [`scale_up`] dealt them; a single task
/// runs where most of its rows are.
fn route(event: RouteTasksEvent<'_>) -> Option<EngineResult<RouteTasksEventResponse>> {
    let topology = match topology(event.task_ctx.session_config()) {
        Ok(topology) => topology,
        Err(error) => return Some(Err(error)),
    };
    let mut spread = false;
    let mut rows = vec![0_u64; topology.workers.len()];
    let walked = event.plan.apply(|node| {
        if node.is_network_boundary() {
            return Ok(TreeNodeRecursion::Jump);
        }
        if node.is::<DistributedLeafExec>() {
            spread = true;
        }
        if let Some(scan) = node.downcast_ref::<PartScanExec>() {
            for part in &scan.spec().parts {
                for holder in topology.tasks_of(&part.holders, rows.len()) {
                    rows[holder] += part.part.rows;
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if let Err(error) = walked {
        return Some(Err(error));
    }
    let url = |index: usize| topology.workers[index % topology.workers.len()].1.clone();
    if spread && !topology.workers.is_empty() {
        let urls = (0..event.task_count).map(url).collect();
        return Some(Ok(RouteTasksEventResponse::new(urls)));
    }
    let (fullest, most) = rows.iter().enumerate().max_by_key(|(_, rows)| **rows)?;
    let wanted = event.task_count == 1 && *most > 0;
    wanted.then(|| Ok(RouteTasksEventResponse::new(vec![url(fullest)])))
}
