//! How a join runs, in memory or from files.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::RecordBatch;
use datafusion::common::{JoinType, Result};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::future::{BoxFuture, Shared};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use parking_lot::Mutex;

use super::can_spill;
use super::fed::Fed;
use super::files::{FILES, File, Files};
use super::gather::Gathered;

/// So often rows are dealt: 16 files, then 256, then 4,096.
const DEPTH_MAX: usize = 3;
/// A built side of fewer bytes is not dealt again: it is not what fills the memory.
const DEALT_BYTES_MIN: usize = 64 << 10;

type Rows = BoxStream<'static, Result<RecordBatch>>;
type Outcome = Result<Arc<Built>, Arc<DataFusionError>>;
type Building = Shared<BoxFuture<'static, Outcome>>;

/// What has become of a built side.
enum Built {
    /// The engine's join has it.
    InMemory,
    InFiles(InFiles),
}

/// A built side in files, and the probed one as far as its partitions have been dealt.
struct InFiles {
    built: Mutex<Vec<Option<File>>>,
    probed: Mutex<Vec<Vec<File>>>,
    /// Partitions of the probed side that are still dealt out.
    dealing: AtomicUsize,
}

/// A hash join over inputs that are handed to it when it is known how it runs.
#[derive(Debug)]
pub struct SpillableJoin {
    parts: Arc<JoinParts>,
    /// Of a side that all partitions share.
    shared: Mutex<Option<Shareable>>,
}

/// What the futures and streams of a join hold; not the join itself, which holds one of them.
#[derive(Debug)]
struct JoinParts {
    /// As planned.
    planned: HashJoinExec,
    /// The same, over what is fed to it.
    join: HashJoinExec,
    built: Arc<Fed>,
    probed: Arc<Fed>,
    metrics: ExecutionPlanMetricsSet,
}

struct Shareable(Building);

impl std::fmt::Debug for Shareable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Building")
    }
}

/// One side of a join from files.
struct Side {
    files: Files,
    keys: Vec<PhysicalExprRef>,
}

impl Side {
    async fn deal(
        &self,
        rows: SendableRecordBatchStream,
        depth: usize,
        context: &TaskContext,
    ) -> Result<Vec<Option<File>>> {
        self.files.deal(rows, &self.keys, depth, context).await
    }
}

/// What a join from files needs of its operator.
struct FromFiles {
    planned: HashJoinExec,
    built: Side,
    probed: Side,
    context: Arc<TaskContext>,
}

impl SpillableJoin {
    /// Runs `join`, in memory whatever it takes where it cannot spill: see [`can_spill`].
    pub fn try_new(join: &HashJoinExec) -> Result<Self> {
        let planned = join.builder().build()?;
        let built = Arc::new(Fed::new(Arc::clone(join.left())));
        let probed = Arc::new(Fed::new(Arc::clone(join.right())));
        let inputs = vec![Arc::clone(&built) as _, Arc::clone(&probed) as _];
        let join = join.builder().with_new_children(inputs)?.build()?;
        let metrics = ExecutionPlanMetricsSet::new();
        let parts = Arc::new(JoinParts { planned, join, built, probed, metrics });
        Ok(Self { parts, shared: Mutex::default() })
    }

    /// What the join counts, and what it has written to files.
    pub fn metrics(&self) -> Option<MetricsSet> {
        let mut all = self.parts.planned.metrics()?;
        self.parts.metrics.clone_inner().iter().for_each(|metric| all.push(Arc::clone(metric)));
        Some(all)
    }

    /// Starts one partition.
    pub fn execute(
        &self,
        partition: usize,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let planned = &self.parts.planned;
        if !can_spill(planned) {
            return planned.execute(partition, Arc::clone(context));
        }
        let building = self.building(partition, context)?;
        let probed = planned.right().execute(partition, Arc::clone(context))?;
        let schema = planned.schema();
        let (join, context) = (Arc::clone(&self.parts), Arc::clone(context));
        let rows = async move {
            let built = building.await.map_err(DataFusionError::Shared)?;
            match &*built {
                Built::InMemory => {
                    join.probed.put(partition, probed);
                    join.join.execute(partition, context).map(StreamExt::boxed)
                }
                Built::InFiles(files) => join.join_files(partition, files, probed, context).await,
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows.try_flatten_stream())))
    }

    /// The built side of a partition; all share one where it is collected.
    fn building(&self, partition: usize, context: &Arc<TaskContext>) -> Result<Building> {
        let planned = &self.parts.planned;
        if *planned.partition_mode() != PartitionMode::CollectLeft {
            return self.parts.build(partition, 1, context);
        }
        let mut shared = self.shared.lock();
        if let Some(Shareable(building)) = &*shared {
            return Ok(building.clone());
        }
        let sharers = planned.right().output_partitioning().partition_count();
        let building = self.parts.build(0, sharers, context)?;
        Ok(shared.insert(Shareable(building)).0.clone())
    }
}

impl JoinParts {
    fn build(
        self: &Arc<Self>,
        partition: usize,
        sharers: usize,
        context: &Arc<TaskContext>,
    ) -> Result<Building> {
        let mut rows = self.planned.left().execute(partition, Arc::clone(context))?;
        let (join, context) = (Arc::clone(self), Arc::clone(context));
        let building = async move {
            let gathered = Gathered::from(&mut rows, &context).await?;
            let schema = rows.schema();
            if gathered.fits {
                join.built.put(partition, gathered.into_stream(schema));
                return Ok(Built::InMemory);
            }
            join.tell_others(partition, &context)?;
            let built = join.built_side(partition, &context);
            let files = built.deal(all_of(gathered, rows), 0, &context).await?;
            Ok(Built::InFiles(InFiles {
                built: Mutex::new(files),
                probed: Mutex::new(vec![Vec::new(); FILES]),
                dealing: AtomicUsize::new(sharers),
            }))
        };
        Ok(building.map_ok(Arc::new).map_err(Arc::new).boxed().shared())
    }

    /// Lets the partitions that are joined in memory know that this one has no keys for the runtime
    /// filter of the engine: they wait for those of each other. A stream that is dropped says so.
    fn tell_others(&self, partition: usize, context: &Arc<TaskContext>) -> Result<()> {
        for (fed, side) in
            [(&self.built, self.planned.left()), (&self.probed, self.planned.right())]
        {
            fed.put(partition, Box::pin(EmptyRecordBatchStream::new(side.schema())));
        }
        self.join.execute(partition, Arc::clone(context)).map(drop)
    }

    fn built_side(&self, partition: usize, context: &TaskContext) -> Side {
        let files = Files::new(self.planned.left().schema(), context, &self.metrics, partition);
        let keys = self.planned.on().iter().map(|(key, _)| Arc::clone(key)).collect();
        Side { files, keys }
    }

    fn probed_side(&self, partition: usize, context: &TaskContext) -> Side {
        let files = Files::new(self.planned.right().schema(), context, &self.metrics, partition);
        let keys = self.planned.on().iter().map(|(_, key)| Arc::clone(key)).collect();
        Side { files, keys }
    }

    /// Deals out a partition of the probed side; the last of those that share the built one joins.
    /// Nobody waits for another: partitions need not be asked for rows at the same time.
    async fn join_files(
        &self,
        partition: usize,
        files: &InFiles,
        probed: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> Result<Rows> {
        let (built, side) =
            (self.built_side(partition, &context), self.probed_side(partition, &context));
        let dealt = side.deal(probed, 0, &context).await?;
        let mut all = files.probed.lock();
        all.iter_mut().zip(dealt).for_each(|(all, file)| all.extend(file));
        if files.dealing.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(futures::stream::empty().boxed());
        }
        let pairs = Pairs {
            built: std::mem::take(&mut files.built.lock()),
            probed: std::mem::take(&mut all),
        };
        drop(all);
        let planned = self.planned.builder().build()?;
        let join = FromFiles { planned, built, probed: side, context };
        let counted = BaselineMetrics::new(&self.metrics, partition);
        let rows = first_rows(Arc::new(join).pairs(pairs, 1), self.planned.fetch());
        Ok(rows.map_ok(move |batch| batch.record_output(&counted)).boxed())
    }
}

/// Files of both sides that belong together.
struct Pairs {
    built: Vec<Option<File>>,
    probed: Vec<Vec<File>>,
}

impl FromFiles {
    /// The joins of all pairs, one after the other.
    fn pairs(self: Arc<Self>, pairs: Pairs, depth: usize) -> Rows {
        let pairs = pairs.built.into_iter().zip(pairs.probed);
        let joined = futures::stream::iter(pairs)
            .then(move |(built, probed)| Arc::clone(&self).pair(built, probed, depth));
        joined.try_flatten().boxed()
    }

    /// The join of one pair; dealt out again when its built side is too large.
    fn pair(
        self: Arc<Self>,
        built: Option<File>,
        probed: Vec<File>,
        depth: usize,
    ) -> BoxFuture<'static, Result<Rows>> {
        async move {
            if built.is_none() && probed.is_empty() {
                return Ok(futures::stream::empty().boxed());
            }
            let mut rows = self.built.files.read(built.into_iter().collect());
            let gathered = Gathered::from(&mut rows, &self.context).await?;
            if gathered.fits {
                return self.in_memory(gathered, probed);
            }
            if depth < DEPTH_MAX && gathered.bytes >= DEALT_BYTES_MIN {
                let context = &self.context;
                let built = self.built.deal(all_of(gathered, rows), depth, context).await?;
                let probed =
                    self.probed.deal(self.probed.files.read(probed), depth, context).await?;
                let probed = probed.into_iter().map(|file| file.into_iter().collect()).collect();
                return Ok(Arc::clone(&self).pairs(Pairs { built, probed }, depth + 1));
            }
            self.in_portions(gathered, rows, probed)
        }
        .boxed()
    }

    /// Joins what fits of the built side with all of the probed one, then the next of it, and so on.
    fn in_portions(
        self: Arc<Self>,
        first: Gathered,
        rest: SendableRecordBatchStream,
        probed: Vec<File>,
    ) -> Result<Rows> {
        if !rows_of_built_side_stand_alone(*self.planned.join_type()) {
            return Err(too_many_of_a_key(&self.planned));
        }
        let portions = futures::stream::try_unfold(
            (Some(first), rest, self, probed),
            |(first, mut rest, join, probed)| async move {
                let mut portion = match first {
                    Some(first) => first,
                    None => Gathered::from(&mut rest, &join.context).await?,
                };
                if portion.batches.is_empty() {
                    return Ok::<_, DataFusionError>(None);
                }
                if let Some(too_much) = portion.give_back() {
                    rest = one_before(too_much, rest);
                }
                let rows = join.in_memory(portion, probed.clone())?;
                Ok(Some((rows, (None, rest, join, probed))))
            },
        );
        Ok(portions.try_flatten().boxed())
    }

    /// The engine's join of these rows.
    fn in_memory(&self, built: Gathered, probed: Vec<File>) -> Result<Rows> {
        let [left, right] = [self.planned.left().schema(), self.planned.right().schema()]
            .map(|schema| Arc::new(Fed::new(Arc::new(EmptyExec::new(schema)))));
        left.put(0, built.into_stream(self.planned.left().schema()));
        right.put(0, self.probed.files.read(probed));
        let join = self.planned.builder().reset_state();
        let join = join.with_partition_mode(PartitionMode::Partitioned);
        let join = join.with_new_children(vec![left, right])?.recompute_properties().build()?;
        join.execute(0, Arc::clone(&self.context)).map(StreamExt::boxed)
    }
}

/// Whether what a row of the built side gives does not depend on the others there.
fn rows_of_built_side_stand_alone(kind: JoinType) -> bool {
    use JoinType::{Full, Inner, Left, LeftAnti, LeftMark, LeftSemi};
    use JoinType::{Right, RightAnti, RightMark, RightSemi};
    match kind {
        Inner | Left | LeftSemi | LeftAnti | LeftMark => true,
        Right | RightSemi | RightAnti | RightMark | Full => false,
    }
}

fn too_many_of_a_key(join: &HashJoinExec) -> DataFusionError {
    let keys = join.on().iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>().join(", ");
    DataFusionError::ResourcesExhausted(format!(
        "rows that are equal in {keys} do not fit into the memory of the query, and a {} join needs \
         them all at once. Raise max_memory_usage, or make fewer of them first",
        join.join_type()
    ))
}

/// What was gathered, and what comes after it.
fn all_of(gathered: Gathered, rest: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = rest.schema();
    let rows = gathered.into_stream(Arc::clone(&schema)).chain(rest);
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

fn one_before(batch: RecordBatch, rest: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = rest.schema();
    let rows = futures::stream::once(std::future::ready(Ok(batch))).chain(rest);
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// So many rows of `rows` as the join was told to give at most.
fn first_rows(rows: Rows, most: Option<usize>) -> Rows {
    let Some(most) = most else { return rows };
    let rows = rows.scan(most, |left, batch| {
        let over = *left == 0;
        let batch = batch.map(|batch| batch.slice(0, batch.num_rows().min(*left)));
        *left -= batch.as_ref().map_or(0, RecordBatch::num_rows);
        std::future::ready((!over).then_some(batch))
    });
    rows.boxed()
}
