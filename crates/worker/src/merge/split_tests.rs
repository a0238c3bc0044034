//! What is split, in which order, and how it is committed, over a catalog in memory.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use granary_catalog::*;
use granary_common::{BucketIndex, CatalogVersion, PartId, TaskOwner};
use granary_storage::merge_pick::PickLimits;

use super::split::{choose_splits, merges_after, oldest};
use super::tests::Bench;
use super::*;

fn part(id: u64, bytes: u64) -> Arc<Part> {
    let order = (CatalogVersion(id), 0);
    Arc::new(Part {
        id: PartId(id),
        table: granary_common::TableId(1),
        bucket: BucketIndex(0),
        partition: PartitionValue::default(),
        rows: 10,
        bytes,
        key_range: None,
        schema_version: 1,
        level: 0,
        location: PartLocation::Local { copies: Vec::new(), disk: None },
        inserted: (order, order),
        added: order.0,
        removed: None,
        deletions: Vec::new(),
        files: None,
        detached: false,
    })
}

#[test]
fn the_oldest_parts_go_first_and_together_only_if_all_are_old() {
    let limits = PickLimits { merge_bytes_max: 100, merge_parts_max: 6, ..PickLimits::default() };
    // Parts by their versions and bytes, before which version they may go together, busy ones.
    for (parts, before, busy, expected) in [
        (&[(1, 9), (2, 9), (3, 9)][..], Some(10), &[][..], &[1, 2, 3][..]),
        (&[(1, 9), (2, 9), (3, 9), (4, 9)], Some(10), &[], &[1, 2, 3]),
        (&[(1, 90), (2, 9), (3, 9)], Some(10), &[], &[1, 2]),
        (&[(1, 900), (2, 9)], Some(10), &[], &[1]),
        (&[(1, 9), (12, 9)], Some(10), &[], &[1]),
        (&[(12, 9), (13, 9)], Some(10), &[], &[12]),
        (&[(1, 9), (2, 9)], None, &[], &[1]),
        (&[(1, 9), (2, 9)], Some(10), &[1], &[]),
        (&[(1, 9), (2, 9), (3, 9)], Some(10), &[2], &[1]),
        (&[], Some(10), &[], &[]),
    ] {
        let lane = parts.iter().map(|(id, bytes)| part(*id, *bytes)).collect();
        let is_free = |part: &Arc<Part>| !busy.contains(&part.id.0);
        let chosen = oldest(lane, before.map(CatalogVersion), &limits, is_free);
        let chosen: Vec<u64> = chosen.iter().map(|part| part.id.0).collect();
        assert_eq!(chosen, expected, "{parts:?} {before:?} {busy:?}");
    }
}

async fn change(bench: &Bench, buckets: u32) {
    let snapshot = bench.catalog.snapshot();
    let schema_version = snapshot.tables[&bench.table].table.schema_version;
    let change = BucketChange::Count { table: bench.table, schema_version, buckets };
    bench.catalog.execute(CommandBody::Buckets(change)).await.unwrap();
}

fn chosen(bench: &Bench, busy: &[u64]) -> Vec<(u32, Vec<u64>)> {
    let busy: HashSet<PartId> = busy.iter().copied().map(PartId).collect();
    let snapshot = bench.catalog.snapshot();
    let splits = choose_splits(&snapshot, bench.worker, &busy, &PickLimits::default());
    let ids = |parts: Vec<Arc<Part>>| parts.iter().map(|part| part.id.0).collect();
    splits.into_iter().map(|(lane, parts)| (lane.bucket.0, ids(parts))).collect()
}

#[tokio::test]
async fn merges_wait_for_older_parts_where_rows_collapse() {
    for (kind, waits) in [
        (EngineKind::MergeTree, false),
        (EngineKind::Replacing { version: None, is_deleted: None }, true),
    ] {
        let mut bench = Bench::start(kind).await;
        bench.insert(2).await;
        let after = |bench: &Bench| {
            let snapshot = bench.catalog.snapshot();
            merges_after(&snapshot.tables[&bench.table], snapshot.version)
        };
        assert_eq!((chosen(&bench, &[]).len(), after(&bench)), (0, None));
        let (first, last) = (bench.parts()[0].id.0, bench.parts()[1].clone());
        change(&bench, 3).await;
        assert_eq!(chosen(&bench, &[]), [(0, vec![first, last.id.0])]);
        assert_eq!(chosen(&bench, &[last.id.0]), [(0, vec![first])]);
        assert_eq!(chosen(&bench, &[first]), []);
        assert_eq!(after(&bench), waits.then_some(last.inserted.0));
    }
}

#[tokio::test]
async fn rows_move_and_deletions_with_them() {
    let mut bench = Bench::start(EngineKind::MergeTree).await;
    bench.insert(5).await;
    let deletion = bench.deletion();
    change(&bench, 2).await;
    // The commit of the deletion was prepared before, and is prepared again.
    assert!(bench.catalog.execute(deletion).await.is_err());
    let (merges, merger) = bench.merges(true, vec![bench.deletion()]);
    let tasks = TaskOwner::current();
    tasks.spawn(Arc::clone(&merges).run(tasks.clone()));
    for _ in 0..500 {
        if chosen(&bench, &[]).is_empty() && merges.running().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    merges.leave();
    assert!(tasks.stop(Duration::from_secs(5)).await);
    let snapshot = bench.catalog.snapshot();
    let state = &snapshot.tables[&bench.table];
    let parts: Vec<&Arc<Part>> = state.visible_parts(snapshot.version).collect();
    assert!(parts.iter().all(|part| state.table.takes_rows_in(part.bucket)));
    assert_eq!(parts.iter().map(|part| part.rows_at(snapshot.version)).sum::<u64>(), 49);
    assert_eq!(merger.discarded.load(Ordering::SeqCst), 0);
}
