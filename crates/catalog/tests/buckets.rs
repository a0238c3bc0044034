//! Another number of buckets: what is inserted, split, read, and forgotten.

mod support;

use granary_catalog::*;
use granary_common::ErrorKind::{self, Conflict, Internal, InvalidInput};
use granary_common::{BucketIndex, CatalogVersion, PartId, TableId};
use support::*;

fn state(bench: &Bench, table: TableId) -> &TableState {
    &bench.state.tables[&table]
}

fn count(bench: &Bench, table: TableId, buckets: u32) -> CommandBody {
    let schema_version = state(bench, table).table.schema_version;
    CommandBody::Buckets(BucketChange::Count { table, schema_version, buckets })
}

/// The split of `inputs`, parts of one bucket, into parts of (id, bucket, rows).
fn split(bench: &Bench, table: TableId, inputs: &[u64], outputs: &[(u64, u32, u64)]) -> SplitParts {
    let state = state(bench, table);
    let of = |id: &u64| &state.parts[&PartId(*id)];
    let known = |id: &u64| KnownPart {
        part: PartId(*id),
        deletions: of(id).deletions.last().map(|vector| vector.since),
    };
    let bucket = &state.buckets[&of(&inputs[0]).bucket];
    let output = |(id, bucket, rows): &(u64, u32, u64)| {
        let to = &state.buckets[&BucketIndex(*bucket)];
        let location = PartLocation::Local { copies: to.replicas.clone(), disk: None };
        let part = NewPart { rows: *rows, location, ..new_part(*id, to.leader) };
        (BucketIndex(*bucket), MergedPart { part, deletions: None })
    };
    SplitParts {
        table,
        schema_version: state.table.schema_version,
        bucket: bucket.index,
        epoch: bucket.epoch,
        inputs: inputs.iter().map(known).collect(),
        outputs: outputs.iter().map(output).collect(),
    }
}

fn splits(split: SplitParts) -> CommandBody {
    CommandBody::Buckets(BucketChange::Split(split))
}

fn buckets(bench: &Bench, table: TableId) -> Vec<u32> {
    state(bench, table).buckets.keys().map(|index| index.0).collect()
}

fn left(bench: &Bench, table: TableId) -> Vec<u64> {
    let state = state(bench, table);
    state.parts_to_split(bench.state.version).map(|part| part.id.0).collect()
}

#[test]
fn an_empty_table_gets_other_buckets_at_once() {
    let mut bench = Bench::with_workers(3);
    let table = bench.table("t", 4);
    let placed = |bench: &Bench| -> Vec<usize> {
        let leaders = state(bench, table).buckets.values().map(|bucket| bucket.leader.0);
        let leaders: Vec<u64> = leaders.collect();
        (1..=3).map(|worker| leaders.iter().filter(|leader| **leader == worker).count()).collect()
    };
    bench.done(count(&bench, table, 6));
    assert_eq!(buckets(&bench, table), [4, 5, 6, 7, 8, 9]);
    assert_eq!(placed(&bench), [2, 2, 2]);
    let row = &state(&bench, table).table;
    assert_eq!((row.buckets, row.schema_version, row.options.layout.first), (6, 2, 4));
    assert!(row.options.layout.earlier.is_empty());
    // The same number again is nothing to do.
    bench.done(count(&bench, table, 6));
    assert_eq!(state(&bench, table).table.schema_version, 2);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut bench = Bench::with_workers(2);
    let table = bench.table("t", 4);
    let stale = count(&bench, table, 8);
    bench.done(stale.clone());
    bench.refused(stale, Conflict);
    bench.refused(count(&bench, table, 0), Internal);
    let group =
        NewTable { buckets: Some(4), colocation_group: Some("g".into()), ..new_table("colocated") };
    let Outcome::TableCreated(group) =
        bench.done(CommandBody::CreateTable { table: group, if_not_exists: false })
    else {
        panic!("not a table")
    };
    bench.refused(count(&bench, group, 8), InvalidInput);
    // Rows of a long insert are dealt out already.
    let other = bench.table("u", 1);
    let stage = CommandBody::StageParts {
        transaction: "x".into(),
        write: bench.write(other, &[1]),
        views: Vec::new(),
        continues: false,
    };
    bench.done(stage);
    bench.refused(count(&bench, other, 2), Conflict);
    bench.done(CommandBody::AbortStaged { transaction: "x".into() });
    bench.done(count(&bench, other, 2));
}

#[test]
fn rows_that_were_dealt_out_to_earlier_buckets_are_refused() {
    let mut bench = Bench::with_workers(2);
    let table = bench.table("t", 1);
    let commit = bench.commit(table, "late", &[1]);
    bench.done(count(&bench, table, 2));
    bench.refused(CommandBody::CommitWrite(commit), Conflict);
}

/// A table of one bucket with two parts, of which one has lost a row, that has two buckets now.
fn splitting(bench: &mut Bench) -> TableId {
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "a", &[1]));
    bench.inserted(bench.commit(table, "b", &[2]));
    let mut delete = bench.commit(table, "d", &[]);
    delete.tables[0].buckets[0].deletions = vec![NewDeletions {
        known: KnownPart { part: PartId(1), deletions: None },
        rows: 1,
        content: DeletionContent::Inline(vec![1]),
        synced: Vec::new(),
    }];
    bench.inserted(delete);
    bench.done(count(bench, table, 2));
    table
}

#[test]
fn parts_move_without_losing_a_row_or_their_place() {
    let mut bench = Bench::with_workers(2);
    let table = splitting(&mut bench);
    assert_eq!(left(&bench, table), [1, 2]);
    assert_eq!(state(&bench, table).key_classes(bench.state.version).count, 1);
    let before = bench.state.version;
    // Part 1 has nine rows, part 2 ten.
    for (outputs, kind) in [
        (&[(11, 1, 9), (12, 2, 9)][..], Internal),
        (&[(11, 1, 20)], Internal),
        (&[(11, 0, 19)], Conflict),
    ] {
        let lossy = split(&bench, table, &[1, 2], outputs);
        bench.refused(splits(lossy), kind);
    }
    let of_both = split(&bench, table, &[1, 2], &[(11, 1, 9), (12, 2, 10)]);
    let (first, last) = {
        let parts = &state(&bench, table).parts;
        (parts[&PartId(1)].inserted.0, parts[&PartId(2)].inserted.1)
    };
    bench.done(splits(of_both.clone()));
    let parts = &state(&bench, table).parts;
    assert_eq!(bench.visible(table), [11, 12]);
    assert!([11, 12].map(PartId).iter().all(|id| parts[id].inserted == (first, last)));
    assert!(left(&bench, table).is_empty());
    assert_eq!(state(&bench, table).key_classes(bench.state.version).count, 2);
    // The past is read where it was.
    assert_eq!(state(&bench, table).key_classes(before).count, 1);
    let then = state(&bench, table).visible_parts(before).map(|part| part.id.0);
    assert_eq!(then.collect::<Vec<_>>(), [1, 2]);
    // Twice is once.
    bench.refused(splits(of_both), Conflict);
    // The earlier bucket goes with the last part in it.
    assert_eq!(buckets(&bench, table), [0, 1, 2]);
    bench.forget(bench.state.version);
    assert_eq!(buckets(&bench, table), [1, 2]);
    assert!(state(&bench, table).table.options.layout.earlier.is_empty());
}

#[test]
fn a_split_that_others_overtook_is_refused() {
    let deleted = |bench: &mut Bench, table: TableId| {
        let mut delete = bench.commit(table, "d2", &[]);
        delete.tables[0].buckets[0].deletions = vec![NewDeletions {
            known: KnownPart { part: PartId(2), deletions: None },
            rows: 3,
            content: DeletionContent::Inline(vec![3]),
            synced: Vec::new(),
        }];
        bench.inserted(delete);
    };
    let moved = |bench: &mut Bench, table: TableId| {
        let mut placement = BucketPlacement::of(&state(bench, table).buckets[&BucketIndex(0)]);
        placement.leader = placement.replicas[1];
        bench.done(CommandBody::PlaceBucket(placement));
    };
    let again = |bench: &mut Bench, table: TableId| {
        bench.done(count(bench, table, 5));
    };
    let truncated = |bench: &mut Bench, table: TableId| {
        bench.done(CommandBody::TruncateTable { table });
    };
    type Meanwhile<'a> = &'a dyn Fn(&mut Bench, TableId);
    let others: [Meanwhile<'_>; 4] = [&deleted, &moved, &again, &truncated];
    for meanwhile in others {
        let mut bench = Bench::with_workers(2);
        let table = splitting(&mut bench);
        let prepared = split(&bench, table, &[2], &[(11, 1, 4), (12, 2, 6)]);
        meanwhile(&mut bench, table);
        bench.refused(splits(prepared), Conflict);
    }
}

#[test]
fn replicas_without_the_new_part_fall_out_of_sync() {
    let mut bench = Bench::with_workers(3);
    let table = splitting(&mut bench);
    let mut alone = split(&bench, table, &[2], &[(11, 1, 10)]);
    let kept = state(&bench, table).buckets[&BucketIndex(1)].replicas[0];
    alone.outputs[0].1.part.location = PartLocation::Local { copies: vec![kept], disk: None };
    bench.done(splits(alone));
    let bucket = &state(&bench, table).buckets[&BucketIndex(1)];
    assert_eq!((bucket.in_sync.as_slice(), bucket.in_sync_version), ([kept].as_slice(), 2));
}

#[test]
fn tables_change_again_before_all_has_moved() {
    let mut bench = Bench::with_workers(2);
    let table = splitting(&mut bench);
    let first = split(&bench, table, &[1], &[(11, 1, 9)]);
    bench.done(splits(first));
    bench.done(count(&bench, table, 4));
    // One part in the first bucket, one in the two after it; rows go to the four after these.
    assert_eq!(left(&bench, table), [2, 11]);
    let classes = state(&bench, table).key_classes(bench.state.version);
    assert_eq!(classes.count, 1);
    assert_eq!(classes.readers().map(|index| index.0).collect::<Vec<_>>(), [3]);
    for (input, rows, output) in [(2, 10, 21), (11, 9, 22)] {
        let next = split(&bench, table, &[input], &[(output, 4, rows)]);
        bench.done(splits(next));
    }
    bench.forget(bench.state.version);
    assert_eq!(buckets(&bench, table), [3, 4, 5, 6]);
}

#[test]
fn clones_and_copies_of_partitions_know_the_buckets() {
    let mut bench = Bench::with_workers(2);
    let table = splitting(&mut bench);
    let before = CatalogVersion(bench.state.version.0 - 1);
    let clone = |name: &str, version| {
        CommandBody::CloneTable(CloneTable {
            from: table,
            version,
            database: DEFAULT_DATABASE,
            name: name.into(),
            if_not_exists: false,
        })
    };
    for (name, version) in [("now", None), ("then", Some(before))] {
        let Outcome::TableCreated(copy) = bench.done(clone(name, version)) else { panic!("none") };
        let state = state(&bench, copy);
        assert_eq!(state.parts_to_split(bench.state.version).count(), 2, "{name}");
        let all = state.parts.values().all(|part| state.buckets.contains_key(&part.bucket));
        assert!(all && state.table.buckets == 2, "{name}");
    }
    let other = bench.table("other", 2);
    let copy = CommandBody::CopyPartitions(CopyPartitions {
        from: table,
        to: other,
        partitions: Partitions::All,
        replace: false,
        remove: false,
    });
    bench.refused(copy.clone(), ErrorKind::Unavailable);
    let both = split(&bench, table, &[1, 2], &[(11, 1, 9), (12, 2, 10)]);
    bench.done(splits(both));
    bench.done(copy);
    let copied = state(&bench, other).visible_parts(bench.state.version);
    let mut copied: Vec<(u32, u64)> = copied.map(|part| (part.bucket.0, part.rows)).collect();
    copied.sort_unstable();
    assert_eq!(copied, [(0, 9), (1, 10)]);
}
