//! Buckets, and who holds them.

use granary_catalog::replication::{holds, replicated_parts};
use granary_catalog::{Bucket, Part, TableState};
use granary_common::WorkerId;

use super::View;
use super::columns::Columns;

pub(super) fn buckets(view: &View) -> Columns {
    let rows = view.buckets();
    let version = view.snapshot.version;
    let sum = |of: fn(&Part) -> u64| {
        let parts = move |state: &TableState, bucket: &Bucket| {
            let index = bucket.index;
            let own = state.visible_parts(version).filter(|part| part.bucket == index);
            own.map(|part| of(part)).sum()
        };
        rows.iter().map(|(_, state, bucket)| parts(state, bucket)).collect::<Vec<u64>>()
    };
    Columns::new()
        .texts("database", rows.iter().map(|(database, ..)| database))
        .texts("table", rows.iter().map(|(_, state, _)| &state.table.name))
        .numbers("bucket", rows.iter().map(|(_, _, bucket)| u64::from(bucket.index.0)))
        .numbers("leader", rows.iter().map(|(_, _, bucket)| bucket.leader.0))
        .texts("leader_address", rows.iter().map(|(_, _, bucket)| view.address(bucket.leader)))
        .numbers("replicas", rows.iter().map(|(_, _, bucket)| bucket.replicas.len() as u64))
        .numbers("in_sync", rows.iter().map(|(_, _, bucket)| bucket.in_sync.len() as u64))
        .numbers("epoch", rows.iter().map(|(_, _, bucket)| bucket.epoch.0))
        .numbers("parts", sum(|_| 1))
        .numbers("rows", sum(|part| part.rows))
        .numbers("bytes", sum(|part| part.bytes))
}

pub(super) fn bucket_replicas(view: &View) -> Columns {
    let buckets = view.buckets();
    let rows: Vec<(&str, &TableState, &Bucket, WorkerId)> = buckets
        .iter()
        .flat_map(|(database, state, bucket)| {
            bucket.replicas.iter().map(|worker| (*database, *state, *bucket, *worker))
        })
        .collect();
    Columns::new()
        .texts("database", rows.iter().map(|(database, ..)| database))
        .texts("table", rows.iter().map(|(_, state, ..)| &state.table.name))
        .numbers("bucket", rows.iter().map(|(_, _, bucket, _)| u64::from(bucket.index.0)))
        .numbers("worker", rows.iter().map(|(.., worker)| worker.0))
        .flags("is_leader", rows.iter().map(|(_, _, bucket, worker)| bucket.leader == *worker))
        .flags(
            "is_in_sync",
            rows.iter().map(|(_, _, bucket, worker)| bucket.in_sync.contains(worker)),
        )
}

/// Tables whose rows are on their way to another number of buckets.
pub(super) fn bucket_changes(view: &View) -> Columns {
    let version = view.snapshot.version;
    let tables = view.tables().into_iter().filter(|(_, state)| state.is_splitting(version));
    let rows: Vec<(&str, &TableState)> = tables.collect();
    let sum = |of: fn(&Part) -> u64| {
        let left = |state: &TableState| state.parts_to_split(version).map(|part| of(part)).sum();
        rows.iter().map(|(_, state)| left(state)).collect::<Vec<u64>>()
    };
    // Several when it changed again before all had moved; the newest counts.
    let before = |state: &TableState| {
        let left = state.parts_to_split(version);
        left.filter_map(|part| state.table.numbering_of(part.bucket)).max().map_or(0, |(_, n)| n)
    };
    let since = |state: &TableState| view.snapshot.time_of(state.table.buckets_since());
    Columns::new()
        .texts("database", rows.iter().map(|(database, _)| database))
        .texts("table", rows.iter().map(|(_, state)| &state.table.name))
        .numbers("buckets_before", rows.iter().map(|(_, state)| u64::from(before(state))))
        .numbers("buckets", rows.iter().map(|(_, state)| u64::from(state.table.buckets)))
        .optional_times("changed_at", rows.iter().map(|(_, state)| since(state)))
        .numbers("parts_left", sum(|_| 1))
        .numbers("rows_left", sum(|part| part.rows))
        .numbers("bytes_left", sum(|part| part.bytes))
}

/// A replica that does not hold everything yet.
struct Movement<'a> {
    database: &'a str,
    state: &'a TableState,
    bucket: &'a Bucket,
    to: WorkerId,
    /// Parts and bytes that it shall hold, and those of them that it lacks.
    all: (u64, u64),
    lacking: (u64, u64),
}

/// Copies on their way: to new replicas and to those that were away.
pub(super) fn movements(view: &View) -> Columns {
    let buckets = view.buckets();
    let mut rows: Vec<Movement<'_>> = Vec::new();
    for (database, state, bucket) in &buckets {
        let behind = bucket.replicas.iter().filter(|worker| !bucket.in_sync.contains(worker));
        for to in behind {
            let (mut all, mut lacking) = ((0, 0), (0, 0));
            for part in replicated_parts(&view.snapshot, state) {
                if part.bucket != bucket.index {
                    continue;
                }
                all = (all.0 + 1, all.1 + part.bytes);
                if !holds(&part.location, *to) {
                    lacking = (lacking.0 + 1, lacking.1 + part.bytes);
                }
            }
            rows.push(Movement { database, state, bucket, to: *to, all, lacking });
        }
    }
    let numbers = |of: fn(&Movement<'_>) -> u64| rows.iter().map(of).collect::<Vec<u64>>();
    Columns::new()
        .texts("database", rows.iter().map(|row| row.database))
        .texts("table", rows.iter().map(|row| &row.state.table.name))
        .numbers("bucket", numbers(|row| u64::from(row.bucket.index.0)))
        .numbers("worker", numbers(|row| row.to.0))
        .numbers("parts", numbers(|row| row.all.0))
        .numbers("parts_left", numbers(|row| row.lacking.0))
        .numbers("bytes", numbers(|row| row.all.1))
        .numbers("bytes_left", numbers(|row| row.lacking.1))
}
