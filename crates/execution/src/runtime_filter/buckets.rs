//! The runtime filter of a join of buckets. Partition i of its probed side meets only what partition
//! i of the other side has built, and asks for rows after that is done: so every partition has a
//! filter of its own, and none ever waits for another.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::{FilterSource, KeyCollector, KeyFilterExpr};

type Expression = Arc<dyn PhysicalExpr>;
type Batches = BoxStream<'static, Result<RecordBatch>>;

/// What each partition of a join has built.
#[derive(Debug)]
pub struct BuiltBuckets {
    keys: Vec<Expression>,
    types: Vec<DataType>,
    sources: Vec<FilterSource>,
}

impl BuiltBuckets {
    /// Nothing built yet, of `partitions`. `on` are the join's keys, those of `schema`, the built
    /// side, first.
    pub fn try_new(
        on: &[(Expression, Expression)],
        schema: &Schema,
        partitions: usize,
    ) -> Result<Arc<Self>> {
        let keys: Vec<Expression> = on.iter().map(|(built, _)| Arc::clone(built)).collect();
        let types = keys.iter().map(|key| key.data_type(schema)).collect::<Result<_>>()?;
        let sources = (0..partitions).map(|_| FilterSource::later()).collect();
        Ok(Arc::new(Self { keys, types, sources }))
    }

    /// The filter of the probed side over `keys`.
    pub fn filter(&self, keys: Vec<Expression>) -> BucketFilterExpr {
        BucketFilterExpr { keys, sources: self.sources.clone().into() }
    }

    fn note(&self, partition: usize, collector: Option<KeyCollector>) {
        let source = self.sources.get(partition);
        let summary = collector.and_then(KeyCollector::finish);
        if let (Some(source), Some(summary)) = (source, summary) {
            source.set(Arc::new(summary));
        }
    }
}

/// Stands for one filter for each partition; scans of buckets take the one of theirs. Elsewhere it is
/// TRUE.
#[derive(Clone, Debug)]
pub struct BucketFilterExpr {
    keys: Vec<Expression>,
    sources: Arc<[FilterSource]>,
}

impl BucketFilterExpr {
    /// The filter of `partition`.
    pub fn of_partition(&self, partition: usize) -> Option<KeyFilterExpr> {
        let source = self.sources.get(partition)?.clone();
        Some(KeyFilterExpr::new(self.keys.clone(), source))
    }
}

/// `term` as partition `partition` of a scan of buckets evaluates it.
pub fn of_partition(term: &Expression, partition: usize) -> Expression {
    let dynamic = term.downcast_ref::<DynamicFilterPhysicalExpr>();
    let current = dynamic.and_then(|filter| filter.current().ok());
    let buckets = current.as_ref().and_then(|now| now.downcast_ref::<BucketFilterExpr>());
    match buckets.and_then(|buckets| buckets.of_partition(partition)) {
        Some(own) => Arc::new(own),
        None => Arc::clone(term),
    }
}

impl PartialEq for BucketFilterExpr {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys && Arc::ptr_eq(&self.sources, &other.sources)
    }
}

impl Eq for BucketFilterExpr {}

impl std::hash::Hash for BucketFilterExpr {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.keys.hash(state);
        Arc::as_ptr(&self.sources).hash(state);
    }
}

impl fmt::Display for BucketFilterExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        write!(f, "built_in_bucket({})", keys.join(", "))
    }
}

impl PhysicalExpr for BucketFilterExpr {
    fn data_type(&self, _input_schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _input_schema: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, _batch: &RecordBatch) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    }

    fn children(&self) -> Vec<&Expression> {
        self.keys.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Expression>) -> Result<Expression> {
        Ok(Arc::new(Self { keys: children, sources: Arc::clone(&self.sources) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The keys of a batch, evaluated.
fn keys_of(keys: &[Expression], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    keys.iter().map(|key| key.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// Passes on `input` and notes its `keys`; before it says that this is all, `ended` has what was
/// noted. Of a partition that fails or is dropped nothing is known. Without a collector it only ends.
pub(super) fn noting<F>(
    input: Batches,
    keys: Vec<Expression>,
    collector: Option<KeyCollector>,
    ended: impl FnOnce(Option<KeyCollector>) -> F + Send + 'static,
) -> Batches
where
    F: Future<Output = ()> + Send,
{
    let state = Some((input, collector, ended));
    let batches = stream::try_unfold(state, move |state| {
        let keys = keys.clone();
        async move {
            let Some((mut input, mut collector, ended)) = state else { return Ok(None) };
            let Some(batch) = input.try_next().await? else {
                ended(collector).await;
                return Ok(None);
            };
            if let Some(collector) = &mut collector {
                collector.add(&keys_of(&keys, &batch)?)?;
            }
            Ok(Some((batch, Some((input, collector, ended)))))
        }
    });
    batches.boxed()
}

/// The built side of a join of buckets. Lives only while the join runs.
#[derive(Debug)]
pub struct BuiltInput {
    input: Arc<dyn ExecutionPlan>,
    built: Arc<BuiltBuckets>,
}

impl BuiltInput {
    /// `input` as the side whose keys `built` notes.
    pub fn new(input: Arc<dyn ExecutionPlan>, built: Arc<BuiltBuckets>) -> Self {
        Self { input, built }
    }
}

impl DisplayAs for BuiltInput {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BuiltInput")
    }
}

impl ExecutionPlan for BuiltInput {
    fn name(&self) -> &str {
        "BuiltInput"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Expression) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    #[allow(deprecated)] // The trait still requires it.
    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::new(input, Arc::clone(&self.built)))),
            _ => internal_err!("BuiltInput has one input"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?.boxed();
        let built = Arc::clone(&self.built);
        let collector = Some(KeyCollector::new(&built.types, 1));
        let batches = noting(input, built.keys.clone(), collector, async move |collector| {
            built.note(partition, collector);
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
