//! The runtime filter of a join whose sides are in one task, partition by partition.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{FilterSource, KeyCollector, KeyFilterExpr};

/// How long probing waits for partitions that are still being built.
const WAIT_MAX: Duration = Duration::from_millis(500);

type Expression = Arc<dyn PhysicalExpr>;
type Batches = BoxStream<'static, Result<RecordBatch>>;

/// What the partitions of a join have built so far. The filter is set when the last one is done, and
/// never when one of them is given up.
#[derive(Debug)]
pub struct BuildKeys {
    filter: Arc<DynamicFilterPhysicalExpr>,
    built: Vec<Arc<dyn PhysicalExpr>>,
    probed: Vec<Arc<dyn PhysicalExpr>>,
    types: Vec<DataType>,
    waiting: Mutex<Waiting>,
    done: watch::Sender<bool>,
}

#[derive(Debug)]
struct Waiting {
    /// Partitions that are not built yet; `None` when one of them never will be.
    missing: Option<BTreeSet<usize>>,
    collected: Vec<KeyCollector>,
}

impl BuildKeys {
    /// Nothing built yet, of `partitions`. `on` are the join's keys, those of `schema` first.
    pub fn try_new(
        filter: Arc<DynamicFilterPhysicalExpr>,
        on: &[(Expression, Expression)],
        schema: &Schema,
        partitions: usize,
    ) -> Result<Arc<Self>> {
        let (built, probed): (Vec<_>, Vec<_>) = on.iter().cloned().unzip();
        let types = built.iter().map(|key| key.data_type(schema)).collect::<Result<_>>()?;
        let missing = Some((0..partitions).collect());
        let waiting = Mutex::new(Waiting { missing, collected: Vec::new() });
        let (done, _) = watch::channel(false);
        Ok(Arc::new(Self { filter, built, probed, types, waiting, done }))
    }

    /// Takes what a partition has built.
    fn report(&self, partition: usize, collector: KeyCollector) {
        let mut waiting = self.waiting.lock();
        let Some(missing) = &mut waiting.missing else { return };
        // A partition that runs again builds the same keys.
        if !missing.remove(&partition) {
            return;
        }
        let last = missing.is_empty();
        waiting.collected.push(collector);
        if last {
            let collected = std::mem::take(&mut waiting.collected);
            drop(waiting);
            self.finish(collected);
            self.done.send_replace(true);
        }
    }

    /// Without one of its partitions the filter would be wrong, so there will be none.
    fn give_up(&self, partition: usize) {
        let mut waiting = self.waiting.lock();
        if waiting.missing.as_ref().is_some_and(|missing| missing.contains(&partition)) {
            waiting.missing = None;
            waiting.collected.clear();
            self.done.send_replace(true);
        }
    }

    fn finish(&self, collected: Vec<KeyCollector>) {
        if let Some(summary) = KeyCollector::summary(collected) {
            let source = FilterSource::known(Arc::new(summary));
            let expression = KeyFilterExpr::new(self.probed.clone(), source);
            if let Err(error) = self.filter.update(Arc::new(expression)) {
                tracing::debug!(%error, "a join goes on without its runtime filter");
            }
        }
        self.filter.mark_complete();
    }

    async fn wait(&self) {
        let mut done = self.done.subscribe();
        // Too late is as good as never: probing goes on with what is known.
        let _ = tokio::time::timeout(WAIT_MAX, done.wait_for(|done| *done)).await;
    }
}

/// The keys of a batch, evaluated.
pub(super) fn keys_of(
    keys: &[Arc<dyn PhysicalExpr>],
    batch: &RecordBatch,
) -> Result<Vec<ArrayRef>> {
    keys.iter().map(|key| key.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// A partition that is being built; given up when it is dropped before its end.
struct Tap {
    shared: Arc<BuildKeys>,
    partition: usize,
    collector: Option<KeyCollector>,
}

impl Tap {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.collector {
            Some(collector) => collector.add(&keys_of(&self.shared.built, batch)?),
            None => Ok(()),
        }
    }

    fn finish(mut self) {
        if let Some(collector) = self.collector.take() {
            self.shared.report(self.partition, collector);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if self.collector.is_some() {
            self.shared.give_up(self.partition);
        }
    }
}

fn tapped(input: Batches, partition: usize, shared: Arc<BuildKeys>) -> Batches {
    let collector = Some(KeyCollector::new(&shared.types));
    let tap = Tap { shared, partition, collector };
    let state = Some((input, tap));
    let batches = stream::try_unfold(state, async |state| {
        let Some((mut input, mut tap)) = state else { return Ok(None) };
        match input.try_next().await? {
            Some(batch) => {
                tap.add(&batch)?;
                Ok(Some((batch, Some((input, tap)))))
            }
            None => {
                tap.finish();
                Ok(None)
            }
        }
    });
    batches.boxed()
}

fn gated(input: Batches, shared: Arc<BuildKeys>) -> Batches {
    let waited = async move {
        shared.wait().await;
        input
    };
    stream::once(waited).flatten().boxed()
}

/// Which side of its join an input is.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// Its keys are noted as they pass.
    Built,
    /// It is first asked for rows when all partitions are built, or after a while.
    Probed,
}

/// An input of a join that makes its own runtime filter. Lives only while the join runs.
#[derive(Debug)]
pub struct WatchedInput {
    input: Arc<dyn ExecutionPlan>,
    side: Side,
    shared: Arc<BuildKeys>,
}

impl WatchedInput {
    /// `input` as a side of the join of `shared`.
    pub fn new(input: Arc<dyn ExecutionPlan>, side: Side, shared: Arc<BuildKeys>) -> Self {
        Self { input, side, shared }
    }
}

impl DisplayAs for WatchedInput {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WatchedInput: {:?}", self.side)
    }
}

impl ExecutionPlan for WatchedInput {
    fn name(&self) -> &str {
        "WatchedInput"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    #[allow(deprecated)] // The trait still requires it.
    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => {
                Ok(Arc::new(Self::new(input, self.side, Arc::clone(&self.shared))))
            }
            _ => internal_err!("WatchedInput has one input"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?.boxed();
        let shared = Arc::clone(&self.shared);
        let batches = match self.side {
            Side::Built => tapped(input, partition, shared),
            Side::Probed => gated(input, shared),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
