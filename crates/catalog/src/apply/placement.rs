//! Which workers get a new table's buckets: leaders spread evenly, by counts, with ties broken by
//! id, and replicas in turn over other zones.

use std::collections::BTreeMap;

use granary_common::{BucketIndex, Epoch, Error, Result, TableId, WorkerId};

use crate::command::NewTable;
use crate::model::{Bucket, Table};
use crate::replication::{next_replicas, replication_factor};
use crate::snapshot::Snapshot;

/// A bucket's leader, and all of its replicas.
type Holders = (WorkerId, Vec<WorkerId>);

/// Buckets of a table that says nothing: the power of two at or above twice the workers, at least 4.
pub(super) fn default_buckets(workers: usize) -> u32 {
    (2 * workers as u32).next_power_of_two().max(4)
}

/// Places the buckets of a new table over the live workers.
///
/// Tables of one colocation group get the same workers bucket by bucket.
pub(super) fn place(state: &Snapshot, id: TableId, table: &NewTable) -> Result<Vec<Bucket>> {
    let mut load = takers(state)?;
    let all = state.workers.values().filter(|worker| worker.takes_more()).count();
    let count = table.buckets.unwrap_or_else(|| default_buckets(all));
    let factor = replication_factor(&table.settings, state.workers.len());
    let holders: Vec<Holders> = match colocated(state, table, count)? {
        Some(holders) => holders,
        None => alone(spread(state, &mut load, count)),
    };
    Ok(held(state, id, 0, factor, holders))
}

/// Places `count` more buckets of a table, with numbers from `first` on.
pub(super) fn place_again(
    state: &Snapshot,
    table: &Table,
    first: u32,
    count: u32,
) -> Result<Vec<Bucket>> {
    let mut load = takers(state)?;
    let factor = replication_factor(&table.settings, state.workers.len());
    let holders = alone(spread(state, &mut load, count));
    Ok(held(state, table.id, first, factor, holders))
}

/// The workers that take buckets: those whose disks take writes, unless all are full.
fn takers(state: &Snapshot) -> Result<BTreeMap<WorkerId, usize>> {
    let all = || state.workers.values().filter(|worker| worker.takes_more());
    let is_any = all().any(|worker| worker.takes_writes());
    let takers = all().filter(|worker| !is_any || worker.takes_writes());
    let takers: BTreeMap<WorkerId, usize> = takers.map(|worker| (worker.id, 0)).collect();
    match takers.is_empty() {
        false => Ok(takers),
        true => Err(Error::unavailable(
            "no worker is alive to hold the table's buckets; start one and try again",
        )),
    }
}

fn alone(leaders: Vec<WorkerId>) -> Vec<Holders> {
    leaders.into_iter().map(|one| (one, vec![one])).collect()
}

fn held(
    state: &Snapshot,
    id: TableId,
    first: u32,
    factor: usize,
    holders: Vec<Holders>,
) -> Vec<Bucket> {
    let bucket = |(index, (leader, mut replicas)): (usize, Holders)| {
        // Whoever leads stays among them, also when fewer are wanted than the group has.
        replicas.sort_by_key(|worker| *worker != leader);
        replicas.truncate(factor);
        let missing = factor - replicas.len();
        replicas.extend(next_replicas(state, &replicas, missing, index, |_| true));
        Bucket {
            table: id,
            index: BucketIndex(first + index as u32),
            leader,
            in_sync: replicas.clone(),
            replicas,
            in_sync_version: 1,
            epoch: Epoch(1),
            upsert_version: 0,
        }
    };
    holders.into_iter().enumerate().map(bucket).collect()
}

/// The leader of each bucket of the group's tables, with all replicas.
fn colocated(state: &Snapshot, table: &NewTable, count: u32) -> Result<Option<Vec<Holders>>> {
    let Some(group) = &table.colocation_group else { return Ok(None) };
    let member = state
        .tables
        .values()
        .filter(|member| member.table.dropped.is_none())
        .find(|member| member.table.colocation_group.as_ref() == Some(group));
    let Some(member) = member else { return Ok(None) };
    if member.table.buckets != count {
        return Err(Error::invalid(format!(
            "colocation group '{group}' has {} buckets a table; write BUCKETS {}",
            member.table.buckets, member.table.buckets
        )));
    }
    let takes_rows = |bucket: &&std::sync::Arc<Bucket>| member.table.takes_rows_in(bucket.index);
    let holders = member.buckets.values().filter(takes_rows);
    Ok(Some(holders.map(|bucket| (bucket.leader, bucket.replicas.clone())).collect()))
}

/// Deals buckets in turn, beginning with the workers that hold the fewest.
fn spread(state: &Snapshot, load: &mut BTreeMap<WorkerId, usize>, count: u32) -> Vec<WorkerId> {
    let tables = state.tables.values().filter(|table| table.table.dropped.is_none());
    for bucket in tables.flat_map(|table| table.buckets.values()) {
        if let Some(held) = load.get_mut(&bucket.leader) {
            *held += 1;
        }
    }
    let mut own: BTreeMap<WorkerId, usize> = BTreeMap::new();
    (0..count)
        .filter_map(|_| {
            // The table itself lies evenly, whatever others hold: one table is what a query reads.
            let (worker, held) = load.iter_mut().min_by_key(|(worker, held)| {
                (own.get(*worker).copied().unwrap_or(0), **held, **worker)
            })?;
            *held += 1;
            *own.entry(*worker).or_default() += 1;
            Some(*worker)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_bucket_counts() {
        for (workers, buckets) in [(1, 4), (2, 4), (3, 8), (4, 8), (5, 16)] {
            assert_eq!(default_buckets(workers), buckets, "{workers} workers");
        }
    }
}
