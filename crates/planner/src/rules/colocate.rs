//! Joins of tables that are distributed alike, on what they are distributed by, become local; so do
//! aggregations by what a table is distributed by.
//!
//! ```text
//!   HashJoin(on key)                      ColocatedJoin(on key)
//!     Scan orders     (hash key, 8)   ►     Scan orders     by buckets [0|1|..|7]
//!     Scan lineitem   (hash key, 8)         Scan lineitem   by buckets [0|1|..|7]
//! ```

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, Partitioning, ReplaceChildrenOptions,
};
use granary_catalog::ColumnType;
use granary_common::{ColumnId, WorkerId};
use granary_execution::{
    ColocatedAggregateExec, ColocatedJoinExec, Layout, PartScanExec, ScanSpec,
};

use super::broadcast::copied;
use super::gather::gathered;

/// Turns joins and aggregations on the distribution key into [`ColocatedJoinExec`] and
/// [`ColocatedAggregateExec`], of the other joins those into broadcasts for which it pays, and ends
/// aggregations into few groups in one place.
#[derive(Debug)]
pub struct AvoidExchanges {
    pub workers: usize,
    pub colocated: bool,
    pub broadcast: bool,
}

impl AvoidExchanges {
    fn avoided(
        &self,
        node: &Arc<dyn ExecutionPlan>,
        partitions: usize,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
            if self.colocated
                && let Some(local) = grouped(aggregate, partitions)?
            {
                return Ok(Some(local));
            }
            return gathered(aggregate, partitions.saturating_mul(self.workers));
        }
        let Some(join) = node.downcast_ref::<HashJoinExec>() else { return Ok(None) };
        if self.colocated
            && let Some(local) = colocated(join, partitions)?
        {
            return Ok(Some(local));
        }
        if !self.broadcast {
            return Ok(None);
        }
        let keeps_buckets = self.colocated && bucketed(join.right()).is_some();
        copied(join, self.workers, keeps_buckets)
    }
}

impl PhysicalOptimizerRule for AvoidExchanges {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = config.execution.target_partitions;
        plan.transform_up(|node| match self.avoided(&node, partitions)? {
            Some(avoiding) => Ok(Transformed::yes(avoiding)),
            None => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "AvoidExchanges"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// How the rows of a subtree lie: by the hash of some of its output columns.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bucketed {
    leaders: Vec<WorkerId>,
    /// Of the hashed columns. Equal values hash alike only in equal types.
    types: Vec<ColumnType>,
    /// Ways to say it: in each, positions of output columns, in the order of the hashed columns.
    keys: Vec<Vec<usize>>,
}

fn colocated(join: &HashJoinExec, partitions: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if join.null_aware {
        return Ok(None);
    }
    let (Some(left), Some(right)) = (bucketed(join.left()), bucketed(join.right())) else {
        return Ok(None);
    };
    let alike = left.leaders == right.leaders && left.types == right.types;
    if !alike || !joined_on_keys(join, &left, &right) {
        return Ok(None);
    }
    let inputs = vec![
        by_buckets(Arc::clone(join.left()), partitions)?,
        by_buckets(Arc::clone(join.right()), partitions)?,
    ];
    let join = join.builder().with_new_children(inputs)?.recompute_properties().build()?;
    Ok(Some(Arc::new(ColocatedJoinExec::try_new(&join)?)))
}

/// The aggregation bucket group by bucket group, if each of its groups lies in one bucket.
fn grouped(last: &AggregateExec, partitions: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(first) = last.input().downcast_ref::<AggregateExec>() else { return Ok(None) };
    let two_steps = *last.mode() == AggregateMode::FinalPartitioned
        && *first.mode() == AggregateMode::Partial
        && last.limit_options().is_none()
        && first.limit_options().is_none();
    let groups = first.group_expr();
    if !two_steps || !groups.is_single() || groups.is_true_no_grouping() {
        return Ok(None);
    }
    let Some(below) = bucketed(first.input()) else { return Ok(None) };
    let groups = group_columns(first);
    if !below.keys.iter().any(|key| key.iter().all(|at| groups.contains(&Some(*at)))) {
        return Ok(None);
    }
    let input = by_buckets(Arc::clone(first.input()), partitions)?;
    let local = ColocatedAggregateExec::try_new(first, input)?;
    // A sort would have to be put in, and says nothing of buckets.
    let ordered = local.aggregate().required_input_ordering().iter().any(Option::is_some);
    let same = !ordered && local.schema() == last.schema();
    Ok(same.then(|| Arc::new(local) as Arc<dyn ExecutionPlan>))
}

/// Which column of its input each group column is, if it is one.
fn group_columns(aggregate: &AggregateExec) -> Vec<Option<usize>> {
    let groups = aggregate.group_expr().expr().iter();
    groups.map(|(group, _)| group.downcast_ref::<Column>().map(Column::index)).collect()
}

/// Whether some key of the left is equated, column by column, with some key of the right.
fn joined_on_keys(join: &HashJoinExec, left: &Bucketed, right: &Bucketed) -> bool {
    let position =
        |expression: &Arc<dyn PhysicalExpr>| expression.downcast_ref::<Column>().map(Column::index);
    let pairs: Vec<(usize, usize)> = join
        .on()
        .iter()
        .filter_map(|(left, right)| Some((position(left)?, position(right)?)))
        .collect();
    left.keys.iter().any(|left_key| {
        right.keys.iter().any(|right_key| {
            left_key.len() == right_key.len()
                && left_key.iter().zip(right_key).all(|pair| pairs.contains(&(*pair.0, *pair.1)))
        })
    })
}

/// How the rows of `plan` lie, if all on the way up from its scans keeps them in their buckets.
fn bucketed(plan: &Arc<dyn ExecutionPlan>) -> Option<Bucketed> {
    if let Some(scan) = plan.downcast_ref::<PartScanExec>() {
        return scan_bucketed(scan);
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let below = bucketed(projection.input())?;
        let outputs = projection.expr().iter();
        let outputs: Vec<Option<usize>> =
            outputs.map(|output| output.expr.downcast_ref::<Column>().map(Column::index)).collect();
        return through(below, |position| {
            outputs.iter().position(|output| *output == Some(position))
        });
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let below = bucketed(filter.input())?;
        return match filter.projection() {
            None => Some(below),
            Some(kept) => through(below, |position| kept.iter().position(|at| *at == position)),
        };
    }
    if plan.is::<CooperativeExec>() {
        return bucketed(plan.children().first()?);
    }
    if let Some(local) = plan.downcast_ref::<ColocatedAggregateExec>() {
        let groups = group_columns(local.aggregate());
        let below = bucketed(local.aggregate().input())?;
        return through(below, |position| groups.iter().position(|at| *at == Some(position)));
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return probe_bucketed(join);
    }
    let join = plan.downcast_ref::<ColocatedJoinExec>()?.join();
    join_bucketed(join)
}

/// The side whose rows a join passes on in their partitions, if it is such a join: the probed one,
/// when the other is collected whole and none of its unmatched rows come out.
fn probed(join: &HashJoinExec) -> Option<&Arc<dyn ExecutionPlan>> {
    let passes = matches!(
        join.join_type(),
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti
    );
    let collected = *join.partition_mode() == PartitionMode::CollectLeft && !join.null_aware;
    (passes && collected && join.fetch().is_none()).then(|| join.right())
}

fn probe_bucketed(join: &HashJoinExec) -> Option<Bucketed> {
    let below = bucketed(probed(join)?)?;
    let offset = match join.join_type() {
        JoinType::RightSemi | JoinType::RightAnti => 0,
        _ => join.left().schema().fields().len(),
    };
    match join.projection.as_deref() {
        None => through(below, |position| Some(position + offset)),
        Some(kept) => {
            through(below, |position| kept.iter().position(|at| *at == position + offset))
        }
    }
}

fn scan_bucketed(scan: &PartScanExec) -> Option<Bucketed> {
    let placement = scan.facts().placement.as_ref()?;
    // A limit for each partition would become another one for each bucket.
    if placement.hashed.is_empty() || scan.spec().fetch.is_some() {
        return None;
    }
    let position = |id: &ColumnId| scan.spec().columns.iter().position(|column| column == id);
    let key: Option<Vec<usize>> = placement.hashed.iter().map(position).collect();
    let column = |id: &ColumnId| scan.spec().schema.column(*id).ok();
    let types = placement.hashed.iter().map(|id| Some(column(id)?.column_type.base().clone()));
    let types: Option<Vec<ColumnType>> = types.collect();
    Some(Bucketed { leaders: placement.leaders.clone(), types: types?, keys: vec![key?] })
}

fn through(below: Bucketed, up: impl Fn(usize) -> Option<usize>) -> Option<Bucketed> {
    let keys = below.keys.iter();
    let keys = keys.filter_map(|key| key.iter().map(|at| up(*at)).collect::<Option<Vec<_>>>());
    let keys: Vec<Vec<usize>> = keys.collect();
    (!keys.is_empty()).then_some(Bucketed { keys, ..below })
}

/// The keys by which the output of a colocated join lies: those of a side whose rows come out with
/// their own values. Of an outer join, the side that is filled with NULL says nothing.
fn join_bucketed(join: &HashJoinExec) -> Option<Bucketed> {
    let left_width = join.left().schema().fields().len();
    let (left_speaks, right_speaks) = match join.join_type() {
        JoinType::Inner => (true, true),
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
            (true, false)
        }
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
            (false, true)
        }
        JoinType::Full => return None,
    };
    let right_offset = match join.join_type() {
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => 0,
        _ => left_width,
    };
    let mut speaker = None;
    let mut keys = Vec::new();
    for (speaks, side, offset) in
        [(left_speaks, join.left(), 0), (right_speaks, join.right(), right_offset)]
    {
        let Some(below) = bucketed(side).filter(|_| speaks) else { continue };
        keys.extend(
            below.keys.into_iter().map(|key| {
                key.into_iter().map(|position| position + offset).collect::<Vec<usize>>()
            }),
        );
        speaker = Some((below.leaders, below.types));
    }
    let (leaders, types) = speaker?;
    let whole = Bucketed { leaders, types, keys };
    match join.projection.as_deref() {
        None => Some(whole),
        Some(kept) => through(whole, |position| kept.iter().position(|at| *at == position)),
    }
}

/// `plan` with the scans whose rows [`bucketed`] follows laid out by buckets, in groups that depend
/// on nothing but the buckets.
fn by_buckets(plan: Arc<dyn ExecutionPlan>, partitions: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(scan) = plan.downcast_ref::<PartScanExec>() else {
        return followed(plan, |side| by_buckets(side, partitions));
    };
    let Some(placement) = &scan.facts().placement else { return Ok(plan) };
    let layout = Layout::Bucketed { groups: placement.groups(partitions) };
    let spec = ScanSpec { layout, ..(**scan.spec()).clone() };
    Ok(Arc::new(scan.with_spec(spec)?))
}

/// `plan` with `change` made to the inputs whose rows lie by buckets: all of them, but of a join with
/// a collected side only the other one.
fn followed(
    plan: Arc<dyn ExecutionPlan>,
    change: impl Fn(Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let probe_only = plan.is::<HashJoinExec>();
    let inputs = plan.children().into_iter().cloned().enumerate();
    let changed = inputs.map(|(side, input)| match probe_only && side == 0 {
        true => Ok(input),
        false => change(input),
    });
    let changed = changed.collect::<Result<Vec<_>>>()?;
    if changed.is_empty() {
        return Ok(plan);
    }
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    plan.replace_children(changed, options)
}

/// Takes out what would mix buckets again below a colocated operator: a redistribution in turn, which
/// the engine puts below operators that like many partitions.
#[derive(Debug)]
pub struct KeepBuckets;

impl PhysicalOptimizerRule for KeepBuckets {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            if !is_colocated(&node) {
                return Ok(Transformed::no(node));
            }
            let children = node.children().into_iter().cloned();
            let children = children.map(without_turns).collect::<Result<Vec<_>>>()?;
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Ok(Transformed::yes(node.replace_children(children, options)?))
        })
        .data()
    }

    fn name(&self) -> &str {
        "KeepBuckets"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn without_turns(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(turns) = plan.downcast_ref::<RepartitionExec>()
        && matches!(turns.partitioning(), Partitioning::RoundRobinBatch(_))
    {
        return without_turns(Arc::clone(turns.input()));
    }
    match is_colocated(&plan) {
        true => Ok(plan),
        false => followed(plan, without_turns),
    }
}

fn is_colocated(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<ColocatedJoinExec>() || plan.is::<ColocatedAggregateExec>()
}
