//! The built side of a join whose probed side is read by other tasks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, apply_expression_roots};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::StreamExt;
use futures::future::join_all;

use super::buckets::noting;
use super::hub::PARTS_MAX;
use super::{BuiltPart, KeyCollector, KeySummary};
use crate::fragments::task_of;
use crate::part_scan::read::PartAccess;

/// Bytes of a summary that is sent to every worker at most; of parts less, since there are many.
const SENT_BYTES_MAX: usize = 1 << 20;
const SENT_PART_BYTES_MAX: usize = 256 << 10;
/// How long a join waits for workers to say that they have its filter. One that is late, stopped or
/// gone costs no more than this.
const SEND_MAX: Duration = Duration::from_millis(500);

/// Passes on the built side of a join and, before it says that this is all, makes known what keys
/// there were: on this node, and on every worker when scans of other tasks want it. Where every task
/// of the join builds the whole side, whichever is first tells for all; where it is dealt out, each
/// partition of each task tells its part. Joins ask for the probed side only when the built one has
/// ended, so its scans know the keys when they begin, or soon after. Until they do, they read
/// everything; scans of other stages wait a moment for the keys of a small side.
#[derive(Debug)]
pub struct RuntimeFilterExec {
    input: Arc<dyn ExecutionPlan>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    announced: Announced,
}

/// What a filter is told as, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The name of the filter.
    pub id: u64,
    /// Whether scans of other tasks want it.
    pub afar: bool,
    /// Whether each partition of each task builds a part; else every task builds the whole side.
    pub dealt: bool,
}

impl RuntimeFilterExec {
    /// Tells of `keys` over `input`, which has one partition unless it is dealt out.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        announced: Announced,
    ) -> Self {
        Self { input, keys, announced }
    }

    /// The keys that it tells of.
    pub fn keys(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.keys
    }

    /// How it tells.
    pub fn announced(&self) -> Announced {
        self.announced
    }

    fn announcement(&self, partition: usize, context: &Arc<TaskContext>) -> Result<Announcement> {
        let partitions = self.input.output_partitioning().partition_count();
        let part = match self.announced.dealt {
            true => {
                let task = task_of(context);
                let index = task.index * partitions + partition;
                BuiltPart { index, of: task.count * partitions }
            }
            false => BuiltPart::WHOLE,
        };
        let access = PartAccess::of(context).map_err(crate::error::to_datafusion)?;
        Ok(Announcement { announced: self.announced, part, access })
    }

    /// What notes the keys of a part; `None` where there are too many parts to tell of.
    fn collector(&self, part: BuiltPart) -> Result<Option<KeyCollector>> {
        let schema = self.input.schema();
        let types = self.keys.iter().map(|key| key.data_type(&schema));
        let types = types.collect::<Result<Vec<_>>>()?;
        Ok((part.of <= PARTS_MAX).then(|| KeyCollector::new(&types, part.of)))
    }
}

struct Announcement {
    announced: Announced,
    part: BuiltPart,
    access: Arc<PartAccess>,
}

impl Announcement {
    /// Tells what was noted; `None` where nothing was to be told.
    async fn announce(self, collector: Option<KeyCollector>) {
        let Announcement { announced: Announced { id, afar, .. }, part, access } = self;
        if access.filters.get(id).is_some() {
            return; // Another task of this join was faster.
        }
        let summary = collector.and_then(KeyCollector::finish);
        let Some(summary) = summary.map(Arc::new) else { return };
        access.filters.offer(id, part, Arc::clone(&summary));
        let sent_max = if part.of == 1 { SENT_BYTES_MAX } else { SENT_PART_BYTES_MAX };
        if afar && summary.size_bytes() <= sent_max {
            // Scans that do not hear of it read more rows than they need to.
            let _ = tokio::time::timeout(SEND_MAX, send(&access, id, part, &summary)).await;
        }
    }
}

async fn send(access: &PartAccess, id: u64, part: BuiltPart, summary: &Arc<KeySummary>) {
    let workers = access.workers.live();
    let sent = workers.iter().map(|(worker, _)| async move {
        let api = access.workers.api(*worker)?;
        api.offer_filter(id, part, Arc::clone(summary)).await
    });
    for outcome in join_all(sent).await {
        if let Err(error) = outcome {
            tracing::debug!(%error, "a runtime filter did not arrive");
        }
    }
}

impl DisplayAs for RuntimeFilterExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        write!(f, "RuntimeFilterExec: keys=[{}]", keys.join(", "))
    }
}

impl ExecutionPlan for RuntimeFilterExec {
    fn name(&self) -> &str {
        "RuntimeFilterExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(&self.keys, f)
    }

    #[allow(deprecated)] // The trait still requires it.
    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => {
                Ok(Arc::new(Self::new(input, self.keys.clone(), self.announced)))
            }
            _ => internal_err!("RuntimeFilterExec has one input"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let announcement = self.announcement(partition, &context)?;
        let collector = self.collector(announcement.part)?;
        let input = self.input.execute(partition, context)?.boxed();
        let ended = move |collector| announcement.announce(collector);
        let batches = noting(input, self.keys.clone(), collector, ended);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}
