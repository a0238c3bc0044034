//! Checks a plan before it runs: whoever matches rows partition by partition must be fed by one
//! hash. The engine's hash and that of buckets differ, and a mixture loses rows without a sound.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    HashJoinExec, PartitionMode, SortMergeJoinExec, SymmetricHashJoinExec,
};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use granary_common::{Error, Result};
use granary_execution::{ColocatedAggregateExec, ColocatedJoinExec, Layout, PartScanExec};

/// The per-task forms of a leaf, if it has such.
pub type VariantsOf<'a> =
    &'a dyn Fn(&Arc<dyn ExecutionPlan>) -> Option<Vec<Arc<dyn ExecutionPlan>>>;

/// By what rows were put into partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// All rows are in one partition.
    Single,
    /// By the engine's hash into this many partitions.
    Engine(usize),
    /// By buckets; the groups of each task.
    Buckets(Vec<Layout>),
    /// By nothing that says anything about values.
    Unknown,
}

/// Kind `Internal` names the operator that would match rows that do not belong together.
pub fn validate(plan: &Arc<dyn ExecutionPlan>, variants: VariantsOf<'_>) -> Result<()> {
    let mut failure = None;
    let walked = plan.apply(|node| {
        Ok(match check(node, variants) {
            Ok(()) => TreeNodeRecursion::Continue,
            Err(error) => {
                failure = Some(error);
                TreeNodeRecursion::Stop
            }
        })
    });
    walked.map_err(|error| Error::internal(format!("a plan cannot be walked: {error}")))?;
    failure.map_or(Ok(()), Err)
}

fn check(node: &Arc<dyn ExecutionPlan>, variants: VariantsOf<'_>) -> Result<()> {
    let refuse = |why: &str| {
        Err(Error::internal(format!("{} in a plan {why}; please report the query", node.name())))
    };
    let claims_hash = |plan: &Arc<dyn ExecutionPlan>| {
        matches!(plan.output_partitioning(), Partitioning::Hash(..))
    };
    if node.is::<ColocatedJoinExec>() {
        let sides: Vec<Origin> =
            node.children().into_iter().map(|side| buckets(side, variants)).collect();
        return match sides.as_slice() {
            [Origin::Buckets(left), Origin::Buckets(right)] if left == right => Ok(()),
            _ if claims_hash(node) => refuse("claims the engine's hash"),
            _ => refuse("joins inputs that are not bucketed alike"),
        };
    }
    if node.is::<ColocatedAggregateExec>() {
        let input = node.children().into_iter().map(|input| buckets(input, variants)).next();
        return match input {
            Some(Origin::Buckets(_)) => Ok(()),
            _ => refuse("groups an input that is not bucketed"),
        };
    }
    if node.children().is_empty() && claims_hash(node) {
        return refuse("claims the engine's hash without having used it");
    }
    if matches_partitions(node) {
        let sides: Vec<Origin> =
            node.children().into_iter().map(|side| origin(side, variants)).collect();
        let alike = sides.windows(2).all(|pair| pair[0] == pair[1]);
        let known = sides.iter().all(|side| matches!(side, Origin::Single | Origin::Engine(_)));
        if !alike || !known {
            return refuse(&format!("matches partitions of different origin ({sides:?})"));
        }
    }
    Ok(())
}

/// Whether partition i of one input meets partition i of another.
fn matches_partitions(node: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return *join.partition_mode() == PartitionMode::Partitioned;
    }
    node.is::<SortMergeJoinExec>() || node.is::<SymmetricHashJoinExec>()
}

fn origin(plan: &Arc<dyn ExecutionPlan>, variants: VariantsOf<'_>) -> Origin {
    let partitions = plan.output_partitioning().partition_count();
    if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
        return match repartition.partitioning() {
            Partitioning::Hash(..) => Origin::Engine(partitions),
            _ if partitions == 1 => Origin::Single,
            _ => Origin::Unknown,
        };
    }
    // What comes out of a shuffle lies by the hash that its producers used.
    if plan.name() == "NetworkShuffleExec" {
        return Origin::Engine(partitions);
    }
    let local = plan.is::<ColocatedJoinExec>() || plan.is::<ColocatedAggregateExec>();
    if plan.is::<PartScanExec>() || local || variants(plan).is_some() {
        return if partitions == 1 && variants(plan).is_none() {
            Origin::Single
        } else {
            Origin::Unknown
        };
    }
    if partitions == 1 {
        return Origin::Single;
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return match join.partition_mode() {
            PartitionMode::Partitioned => Origin::Engine(partitions),
            _ => origin(join.right(), variants),
        };
    }
    match plan.children().as_slice() {
        [only] => origin(only, variants),
        // Joins that keep the partitions of both, and unions that interleave them.
        [_, _] if matches_partitions(plan) => Origin::Engine(partitions),
        _ if matches!(plan.output_partitioning(), Partitioning::Hash(..)) => {
            Origin::Engine(partitions)
        }
        _ => Origin::Unknown,
    }
}

fn buckets(plan: &Arc<dyn ExecutionPlan>, variants: VariantsOf<'_>) -> Origin {
    let layout = |scan: &Arc<dyn ExecutionPlan>| {
        let scan = scan.downcast_ref::<PartScanExec>()?;
        let layout = &scan.spec().layout;
        matches!(layout, Layout::Bucketed { .. }).then(|| layout.clone())
    };
    let layouts = |scans: &[Arc<dyn ExecutionPlan>]| {
        let all: Option<Vec<Layout>> = scans.iter().map(layout).collect();
        all.map_or(Origin::Unknown, Origin::Buckets)
    };
    if let Some(variants) = variants(plan) {
        return layouts(&variants);
    }
    if plan.is::<PartScanExec>() {
        return layouts(std::slice::from_ref(plan));
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && *join.partition_mode() == PartitionMode::CollectLeft
    {
        return buckets(join.right(), variants);
    }
    let keeps_buckets = plan.is::<ProjectionExec>()
        || plan.is::<FilterExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<ColocatedJoinExec>()
        || plan.is::<ColocatedAggregateExec>()
        || is_partial_aggregate(plan);
    if !keeps_buckets {
        return Origin::Unknown;
    }
    let mut sides = plan.children().into_iter().map(|side| buckets(side, variants));
    let Some(first) = sides.next() else { return Origin::Unknown };
    if sides.all(|side| side == first) { first } else { Origin::Unknown }
}

fn is_partial_aggregate(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<AggregateExec>()
        .is_some_and(|aggregate| *aggregate.mode() == AggregateMode::Partial)
}
