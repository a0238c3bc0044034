//! Copies of parts that are damaged: noted, read around, healed, and forgotten with the part.

mod support;

use std::collections::HashSet;

use granary_catalog::*;
use granary_common::{BucketIndex, CatalogVersion, PartId, TableId, WorkerId};
use support::*;

fn mark(copy: CopyId, reason: Option<&str>) -> CommandBody {
    CommandBody::MarkDamage { copy, reason: reason.map(str::to_owned) }
}

fn part(bench: &Bench, table: TableId, id: u64) -> &Part {
    &bench.state.tables[&table].parts[&PartId(id)]
}

fn reasons(bench: &Bench, table: TableId, id: u64) -> Vec<(Option<WorkerId>, &str, u64)> {
    let damage = bench.state.damage_of(part(bench, table, id));
    damage.iter().map(|row| (row.copy.worker, row.reason.as_str(), row.found_ms)).collect()
}

#[test]
fn damage_is_noted_until_the_copy_is_whole_again() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "a", &[1, 2]));
    let copy = part(&bench, table, 1).copies()[0];
    let worker = copy.worker;
    bench.time_ms = 50;
    bench.done(mark(copy, Some("cut")));
    bench.time_ms = 60;
    // Found again, and otherwise: since when stays.
    bench.done(mark(copy, Some("cut")));
    bench.done(mark(copy, Some("missing")));
    assert_eq!(reasons(&bench, table, 1), [(worker, "missing", 50)]);
    assert_eq!(reasons(&bench, table, 2), []);
    let damaged = |bench: &Bench| bench.state.damaged_on(worker.unwrap_or(WorkerId(0)));
    assert_eq!(damaged(&bench), HashSet::from([PartId(1)]));
    assert_eq!(bench.state.damaged_on(WorkerId(77)), HashSet::new());
    bench.done(mark(copy, None));
    assert_eq!(reasons(&bench, table, 1), []);
    assert_eq!(damaged(&bench), HashSet::new());
}

#[test]
fn copies_that_nobody_has_are_not_noted() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "a", &[1]));
    let copy = part(&bench, table, 1).copies()[0];
    for unknown in [
        CopyId { part: PartId(9), ..copy },
        CopyId { table: TableId(99), ..copy },
        CopyId { worker: None, ..copy },
        CopyId { worker: Some(WorkerId(77)), ..copy },
    ] {
        bench.done(mark(unknown, Some("cut")));
        bench.done(mark(unknown, None));
    }
    assert!(bench.state.damage.is_empty());
}

#[test]
fn damage_goes_with_the_part() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "a", &[1]));
    let copy = part(&bench, table, 1).copies()[0];
    bench.done(mark(copy, Some("cut")));
    bench.done(CommandBody::TruncateTable { table });
    // A query of before may still read it.
    assert_eq!(reasons(&bench, table, 1).len(), 1);
    bench.forget(bench.state.version);
    assert!(bench.state.damage.is_empty());
}

#[test]
fn damage_is_of_files_whoever_shows_them() {
    let mut bench = Bench::with_workers(1);
    let (from, to) = (bench.table("t", 1), bench.table("u", 1));
    bench.inserted(bench.commit(from, "a", &[1]));
    let copy = part(&bench, from, 1).copies()[0];
    bench.done(CommandBody::CopyPartitions(CopyPartitions {
        from,
        to,
        partitions: Partitions::All,
        replace: false,
        remove: true,
    }));
    bench.forget(bench.state.version);
    assert_eq!(bench.visible(from), Vec::<u64>::new());
    let shown = bench.visible(to)[0];
    bench.done(mark(copy, Some("cut")));
    assert_eq!(reasons(&bench, to, shown).len(), 1);
    let holder = copy.worker.unwrap_or(WorkerId(0));
    assert_eq!(bench.state.damaged_on(holder), HashSet::from([PartId(shown)]));
}

#[test]
fn whole_copies_are_read_first() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "a", &[1]));
    let (first, second) = (WorkerId(1), WorkerId(2));
    let two = Part {
        location: PartLocation::Local { copies: vec![first, second], disk: None },
        ..part(&bench, table, 1).clone()
    };
    let put = Change::Put(Row::Part(two.clone()));
    let version = CatalogVersion(bench.state.version.0 + 1);
    bench.state = bench.state.with_changes(version, &[put]);
    let copy = |worker| CopyId { table, part: PartId(1), worker: Some(worker) };
    let read = |bench: &Bench| match bench.state.readable_location(&two) {
        PartLocation::Local { copies, .. } => copies,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&bench), [first, second]);
    bench.done(mark(copy(first), Some("cut")));
    assert_eq!(read(&bench), [second]);
    // Nothing is left to choose from: the reader says what is wrong.
    bench.done(mark(copy(second), Some("cut")));
    assert_eq!(read(&bench), [first, second]);
    assert_eq!(two.bucket, BucketIndex(0));
}

#[test]
fn deletions_in_files_are_committed_under_a_lease_only() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "a", &[1]));
    let commit = |bench: &Bench, name: &str| {
        let mut commit = bench.commit(table, name, &[]);
        let known = KnownPart { part: PartId(1), deletions: None };
        let content = DeletionContent::File { name: name.to_owned(), bytes: 1, crc32c: 0 };
        commit.tables[0].buckets[0].deletions =
            vec![NewDeletions { known, rows: 1, content, synced: Vec::new() }];
        commit
    };
    let swept = commit(&bench, "deletions-5000");
    bench.refused(CommandBody::CommitWrite(swept), granary_common::ErrorKind::Conflict);
    bench.inserted(commit(&bench, "deletions-500"));
    assert_eq!(part(&bench, table, 1).deletions.len(), 1);
}

#[test]
fn a_damaged_copy_is_given_up_for_a_whole_one_only() {
    let mut bench = Bench::with_workers(2);
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "a", &[1]));
    let copies = |bench: &Bench| part(bench, table, 1).copies();
    let [first, second] = copies(&bench)[..] else { panic!("not two copies") };
    let change = |copy: CopyId, change| {
        let known = KnownPart { part: PartId(1), deletions: None };
        let worker = copy.worker.unwrap_or(WorkerId(0));
        CommandBody::ChangeCopies(CopiesChange { table, worker, change, parts: vec![known] })
    };
    bench.done(mark(first, Some("cut")));
    bench.done(mark(second, Some("missing")));
    bench.done(change(first, CopyChange::Lost));
    bench.done(change(second, CopyChange::Lost));
    assert_eq!(copies(&bench), [first, second], "rows may be saved from either");

    bench.done(mark(second, None));
    bench.done(change(second, CopyChange::Lost));
    assert_eq!(copies(&bench), [first, second], "the only whole one");
    bench.done(change(first, CopyChange::Lost));
    assert_eq!(copies(&bench), [second]);
    // Its files are still there, for a query of before to ask for.
    bench.forget(bench.state.version);
    assert!(bench.state.damage.contains_key(&first));
    assert_eq!(reasons(&bench, table, 1), []);
    bench.done(change(first, CopyChange::Added));
    assert_eq!(copies(&bench), [second, first]);
    assert!(bench.state.damage.is_empty());
}
