//! What the planner knows of a scanned table beyond the scan itself. It does not travel to workers.

use granary_catalog::{Distribution, TableState};
use granary_common::{BucketIndex, CatalogVersion, ColumnId, WorkerId};

use super::layout::chunked;
use super::statistics::ColumnSummaries;

/// What a scan is planned with.
#[derive(Clone, Debug, Default)]
pub struct ScanFacts {
    /// Statistics of the table's columns.
    pub summaries: ColumnSummaries,
    /// `None` when buckets say nothing about rows.
    pub placement: Option<Placement>,
    /// How the parts were chosen, where somebody asked.
    pub choice: Option<PartChoice>,
}

/// How many parts a scan was left with. Asked for as an extension of the session, [`CountsParts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartChoice {
    /// That the table has at the version that is read.
    pub total: usize,
    /// Whose partition may have rows that pass.
    pub by_partition: usize,
    /// Whose range of the primary key may have some as well.
    pub by_key: usize,
}

/// Says that parts are counted as they are chosen.
#[derive(Clone, Copy, Debug)]
pub struct CountsParts;

/// Where a hash-distributed table's rows lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The columns that are hashed.
    pub hashed: Vec<ColumnId>,
    /// The leader of each bucket, by the bucket's position.
    pub leaders: Vec<WorkerId>,
}

impl Placement {
    /// The placement of `state`'s rows; `None` when its buckets say nothing about its rows.
    ///
    /// While rows move to another number of buckets, what counts as a bucket is a class of keys, in all
    /// that is seen at `version`.
    pub fn of(state: &TableState, version: CatalogVersion) -> Option<Placement> {
        let Distribution::Hash(hashed) = &state.table.distribution else { return None };
        let classes = state.key_classes(version);
        if classes.is_mixed_up() {
            return None;
        }
        let leader = |index| state.buckets.get(&index).map(|bucket| bucket.leader);
        let leaders = classes.readers().map(leader).collect::<Option<Vec<WorkerId>>>()?;
        Some(Placement { hashed: hashed.clone(), leaders })
    }

    /// Every bucket.
    pub fn buckets(&self) -> Vec<BucketIndex> {
        (0..self.leaders.len()).map(|index| BucketIndex(index as u32)).collect()
    }

    /// The buckets in at most `partitions` groups, each of about equal size.
    pub fn groups(&self, partitions: usize) -> Vec<Vec<BucketIndex>> {
        let buckets = self.buckets();
        chunked(&buckets, partitions.clamp(1, buckets.len().max(1)))
    }

    /// The groups of each of `tasks`, where `task_of` says which task reads a worker's buckets. Every
    /// task gets equally many groups.
    pub fn groups_by_task(
        &self,
        tasks: usize,
        partitions: usize,
        task_of: impl Fn(WorkerId) -> Option<usize>,
    ) -> Vec<Vec<Vec<BucketIndex>>> {
        let mut buckets = vec![Vec::new(); tasks];
        for (index, leader) in self.leaders.iter().enumerate() {
            let task = task_of(*leader).unwrap_or(index % tasks.max(1));
            if let Some(buckets) = buckets.get_mut(task) {
                buckets.push(BucketIndex(index as u32));
            }
        }
        let most = buckets.iter().map(Vec::len).max().unwrap_or(0);
        let groups = most.clamp(1, partitions.max(1));
        buckets.iter().map(|buckets| chunked(buckets, groups)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_is_read_by_exactly_one_task() {
        let leaders = [1, 2, 3, 1, 2, 3, 1, 9].map(WorkerId).to_vec();
        let placement = Placement { hashed: vec![], leaders };
        for (tasks, partitions) in [(1, 2), (2, 1), (3, 2), (3, 64)] {
            let task_of = |worker: WorkerId| {
                let task = worker.0 as usize - 1;
                (task < tasks).then_some(task)
            };
            let by_task = placement.groups_by_task(tasks, partitions, task_of);
            assert_eq!(by_task.len(), tasks);
            assert!(by_task.iter().all(|groups| groups.len() == by_task[0].len()));
            let mut all: Vec<BucketIndex> = by_task.concat().concat();
            all.sort();
            assert_eq!(all, placement.buckets(), "{tasks} tasks, {partitions} partitions");
        }
    }
}
