//! The scan of files that others wrote, as an operator.

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, apply_expression_roots,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, StatisticsArgs,
};
use futures::{StreamExt, TryStreamExt};
use granary_outside::{FileScan, Slice, Wanted};
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::error::to_datafusion;

/// What is read of which files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutsideSpec {
    pub scan: Arc<FileScan>,
    /// What each partition reads.
    pub groups: Vec<Vec<Slice>>,
    /// Positions among the columns of the scan.
    pub columns: Vec<usize>,
    /// Rows that each partition gives at most.
    pub fetch: Option<usize>,
}

/// Reads files wherever it runs: in a cluster only those that every node reaches are dealt out.
#[derive(Debug)]
pub struct OutsideScanExec {
    spec: Arc<OutsideSpec>,
    /// Over the columns of the scan; leaves out what cannot match, and is applied again above.
    filter: Option<Arc<dyn PhysicalExpr>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    store: OnceLock<Arc<dyn ObjectStore>>,
}

impl OutsideScanExec {
    /// A scan of `spec`.
    pub fn new(spec: OutsideSpec, filter: Option<Arc<dyn PhysicalExpr>>) -> Result<Self> {
        let schema: SchemaRef = Arc::new(spec.scan.schema.project(&spec.columns)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(spec.groups.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            spec: Arc::new(spec),
            filter,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            store: OnceLock::new(),
        })
    }

    /// What is read.
    pub fn spec(&self) -> &Arc<OutsideSpec> {
        &self.spec
    }

    /// What leaves out what cannot match.
    pub fn filter(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        self.filter.as_ref()
    }

    /// Whether every node of a cluster can run it.
    pub fn is_shared(&self) -> bool {
        self.spec.scan.place.is_shared()
    }

    /// The same scan, dealt out to `tasks` with `partitions` each.
    pub fn dealt(&self, tasks: usize, partitions: usize) -> Result<Vec<Self>> {
        let partitions = partitions.max(1);
        let groups = self.spec.scan.deal(tasks * partitions);
        // Neighbours go to different tasks: the first groups have the most.
        let task = |task: usize| {
            let own = groups.iter().skip(task).step_by(tasks).cloned().collect();
            let spec = OutsideSpec { groups: own, ..(*self.spec).clone() };
            Self::new(spec, self.filter.clone())
        };
        (0..tasks).map(task).collect()
    }

    fn open(&self) -> granary_common::Result<Arc<dyn ObjectStore>> {
        if let Some(store) = self.store.get() {
            return Ok(Arc::clone(store));
        }
        let store = self.spec.scan.open()?;
        Ok(Arc::clone(self.store.get_or_init(|| store)))
    }
}

impl DisplayAs for OutsideScanExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OutsideSpec { scan, groups, columns, fetch } = &*self.spec;
        if matches!(t, DisplayFormatType::TreeRender) {
            return write!(f, "files={}", scan.files.len());
        }
        let names = columns.iter().map(|at| scan.schema.field(*at).name().as_str());
        let names: Vec<&str> = names.collect();
        write!(f, "OutsideScanExec: {}, format={}", scan.name, scan.format.name())?;
        write!(f, ", columns=[{}], files={}", names.join(", "), scan.files.len())?;
        write!(f, ", partitions={}", groups.len())?;
        if let Some(filter) = &self.filter {
            write!(f, ", filter={filter}")?;
        }
        match fetch {
            Some(fetch) => write!(f, ", fetch={fetch}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for OutsideScanExec {
    fn name(&self) -> &str {
        "OutsideScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.filter.iter(), f)
    }

    #[allow(deprecated)] // The trait still requires it.
    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => internal_err!("OutsideScanExec has no children"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let OutsideSpec { scan, groups, fetch, .. } = &*self.spec;
        let Some(slices) = groups.get(partition) else {
            return internal_err!("OutsideScanExec has no partition {partition}");
        };
        let wanted = Arc::new(Wanted {
            schema: self.schema(),
            batch_rows: context.session_config().batch_size(),
            filter: self.filter.clone(),
            filter_schema: Arc::clone(&scan.schema),
        });
        let store = self.open().map_err(to_datafusion)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let mut left = fetch.unwrap_or(usize::MAX);
        let batches = scan
            .read(&store, slices.clone(), &wanted)
            .map_err(to_datafusion)
            .map_ok(move |batch| {
                let rows = batch.num_rows().min(left);
                left -= rows;
                (batch.slice(0, rows).record_output(&metrics), left == 0)
            })
            // The batch that has the last row is given, and nothing is read after it.
            .scan(false, |done, read| {
                let before = std::mem::replace(done, matches!(read, Ok((_, true)) | Err(_)));
                std::future::ready((!before).then_some(read.map(|(batch, _)| batch)))
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _input_stats: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        let bytes = self.spec.scan.bytes_known() as usize;
        let share = match args.partition() {
            None => bytes,
            Some(_) => bytes.div_ceil(self.spec.groups.len().max(1)),
        };
        if bytes > 0 {
            statistics.total_byte_size = Precision::Inexact(share);
        }
        Ok(Arc::new(statistics))
    }
}
