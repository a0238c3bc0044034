//! Which joins copy their built side to every task, where the engine would deal both sides out by
//! the hash of their keys. Copied, the probed side stays where it is read, keeps its buckets for a
//! colocated join above, and its scan gets the join's runtime filter.

use std::sync::Arc;

use datafusion::common::{JoinType, Result};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};

use super::cardinality::bytes;

/// Bytes of a side that is copied at most: every task holds a table of it.
const BUILT_BYTES_MAX: u64 = 32 << 20;
/// What it takes to put a byte into a join's table, in bytes that are sent: every task that has a copy
/// makes the table of all of it.
const TABLE_COST: u64 = 2;
/// How much more may be sent when the probed side keeps its buckets by it, in multiples of that
/// side: a larger input may follow that then stays where it is.
const BUCKETS_WORTH: u64 = 4;

/// Whether copying `built` bytes to each of `workers` beats dealing out both sides.
pub fn pays(built: u64, probed: u64, workers: usize, keeps_buckets: bool) -> bool {
    let more = built.saturating_mul(workers.saturating_sub(1) as u64);
    let cost = more.saturating_mul(1 + TABLE_COST);
    // Dealt out, either side is sent once.
    let sent = built.saturating_add(probed);
    let saved = if keeps_buckets { sent.saturating_mul(BUCKETS_WORTH) } else { sent };
    built <= BUILT_BYTES_MAX && cost <= saved
}

/// The join that copies its built side, if that pays.
pub fn copied(
    join: &HashJoinExec,
    workers: usize,
    keeps_buckets: bool,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    // Rows of a copied side that have no partner would come out of every task.
    let safe = matches!(
        join.join_type(),
        JoinType::Inner
            | JoinType::Right
            | JoinType::RightSemi
            | JoinType::RightAnti
            | JoinType::RightMark
    );
    if !safe || join.null_aware || *join.partition_mode() != PartitionMode::Partitioned {
        return Ok(None);
    }
    let (Some(built), Some(probed)) = (bytes(join.left())?, bytes(join.right())?) else {
        return Ok(None);
    };
    if !pays(built, probed, workers, keeps_buckets) {
        return Ok(None);
    }
    let collecting = join.builder().with_partition_mode(PartitionMode::CollectLeft);
    Ok(Some(collecting.recompute_properties().build_exec()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_decides() {
        const MB: u64 = 1 << 20;
        for (built, probed, workers, keeps_buckets, expected) in [
            (2 * MB, 300 * MB, 3, false, true),
            (2 * MB, 9 * MB, 3, false, false),
            (2 * MB, 10 * MB, 3, false, true),
            (2 * MB, 3 * MB, 3, true, true),
            (20 * MB, 60 * MB, 3, false, false),
            (20 * MB, 60 * MB, 3, true, true),
            (20 * MB, 60 * MB, 100, true, false),
            (33 * MB, 10_000 * MB, 3, true, false),
            (MB, 0, 1, false, true),
            (MB, 0, 3, true, false),
        ] {
            let decided = pays(built, probed, workers, keeps_buckets);
            assert_eq!(decided, expected, "{built} {probed} {workers} {keeps_buckets}");
        }
    }
}
