//! The past: read, bounded, forgotten in two steps, brought back.

mod support;

use granary_catalog::*;
use granary_common::ErrorKind::{AlreadyExists, InvalidInput, NotFound};
use granary_common::{BucketIndex, CatalogVersion, ColumnId, PartId, TableId};
use support::*;

/// Milliseconds that the tables of these tests are kept for.
const KEPT_MS: u64 = 100_000;

/// A table that is kept for [`KEPT_MS`].
fn kept_table(bench: &mut Bench, name: &str) -> TableId {
    let settings = [("history_retention_seconds".to_owned(), "100".to_owned())].into();
    let table = NewTable { buckets: Some(1), settings, ..new_table(name) };
    match bench.done(CommandBody::CreateTable { table, if_not_exists: false }) {
        Outcome::TableCreated(id) => id,
        other => panic!("not a table: {other:?}"),
    }
}

fn state(bench: &Bench, table: TableId) -> &TableState {
    &bench.state.tables[&table]
}

fn at(bench: &Bench, table: TableId, version: CatalogVersion) -> Vec<u64> {
    let mut rows: Vec<u64> = state(bench, table)
        .visible_parts(version)
        .map(|part| part.file_owner().1.0 * 100 + part.rows_at(version))
        .collect();
    rows.sort_unstable();
    rows
}

fn delete(bench: &mut Bench, table: TableId, part: u64, rows: u64, bytes: usize) {
    let newest = state(bench, table).parts[&PartId(part)].deletions.last().map(|v| v.since);
    let mut commit = bench.commit(table, &format!("delete {rows} {part}"), &[]);
    commit.tables[0].buckets[0].deletions = vec![NewDeletions {
        known: KnownPart { part: PartId(part), deletions: newest },
        rows,
        content: DeletionContent::Inline(vec![rows as u8; bytes]),
        synced: Vec::new(),
    }];
    bench.inserted(commit);
}

fn add_column(bench: &Bench, table: TableId, name: &str) -> AlterTable {
    let now = &state(bench, table).table;
    let mut columns = now.columns.clone();
    columns.push(Column::new(now.next_column_id, name, ColumnType::String));
    AlterTable {
        table,
        schema_version: now.schema_version,
        view_set_version: now.view_set_version,
        columns,
        next_column_id: ColumnId(now.next_column_id.0 + 1),
        engine: now.engine.clone(),
        order_by: now.order_by.clone(),
        partition_by: now.partition_by.clone(),
        settings: now.settings.clone(),
        comment: None,
        options: now.options.clone(),
        requires_no_parts: false,
        appended_keys: 0,
    }
}

#[test]
fn versions_are_kept_for_their_time_and_not_below_a_pin() {
    let mut bench = Bench::with_workers(1);
    let table = kept_table(&mut bench, "t");
    bench.inserted(bench.commit(table, "a", &[1]));
    let before = bench.state.version;
    bench.time_ms += 10;
    bench.done(CommandBody::TruncateTable { table });
    let truncated = bench.state.version;
    let parts = |bench: &Bench| state(bench, table).parts.len();
    let past = |bench: &Bench, version| {
        bench.state.past(state(bench, table), Past::Version(version)).map(|past| past.version)
    };

    // Within its time nothing goes, whatever is pinned.
    bench.time_ms += KEPT_MS - 20;
    let now = bench.state.version;
    assert!(!bench.state.can_forget(now, bench.time_ms));
    bench.forget(now);
    assert_eq!((parts(&bench), past(&bench, before).expect("kept")), (1, before));

    // Then nothing goes below a pin.
    bench.time_ms += 20;
    assert!(!bench.state.can_forget(before, bench.time_ms));
    bench.forget(before);
    assert_eq!(past(&bench, before).expect("kept"), before);

    // The first command refuses readers, the second one forgets.
    let now = bench.state.version;
    assert!(bench.state.can_forget(now, bench.time_ms));
    bench.done(CommandBody::AdvanceHorizon { horizon: now });
    let refused = past(&bench, before).expect_err("refused");
    assert_eq!((refused.kind(), parts(&bench)), (InvalidInput, 1));
    let names = format!("the oldest is version {truncated}");
    assert!(refused.message().contains(&names), "{refused}");
    assert!(bench.state.can_forget(now, bench.time_ms));
    // Unless a reader came in between who had pinned before.
    bench.done(CommandBody::AdvanceHorizon { horizon: before });
    assert_eq!(parts(&bench), 1);
    bench.done(CommandBody::AdvanceHorizon { horizon: now });
    assert_eq!(parts(&bench), 0);
    assert!(!bench.state.can_forget(now, bench.time_ms));
}

#[test]
fn points_that_are_not_there_are_refused() {
    let mut bench = Bench::with_workers(1);
    bench.time_ms = 5_000_000;
    let table = kept_table(&mut bench, "t");
    let created = bench.state.version;
    bench.time_ms += 1_000;
    bench.inserted(bench.commit(table, "a", &[1]));
    let inserted = bench.state.version;
    bench.done(register("w1"));
    let cases = [
        (Past::Version(CatalogVersion(created.0 - 1)), Err(NotFound)),
        (Past::Version(created), Ok(created)),
        (Past::Version(bench.state.version), Ok(bench.state.version)),
        (Past::Version(CatalogVersion(bench.state.version.0 + 1)), Err(InvalidInput)),
        (Past::TimeMs(4_999_999), Err(InvalidInput)),
        (Past::TimeMs(5_000_999), Ok(created)),
        (Past::TimeMs(5_001_000), Ok(inserted)),
        (Past::TimeMs(u64::MAX), Ok(inserted)),
    ];
    for (past, expected) in cases {
        let found = bench.state.past(state(&bench, table), past);
        let found = found.map(|past| past.version).map_err(|error| error.kind());
        assert_eq!(found, expected, "{past:?}");
    }
}

#[test]
fn times_never_go_back() {
    let mut bench = Bench::with_workers(1);
    let table = kept_table(&mut bench, "t");
    bench.time_ms -= 500;
    bench.inserted(bench.commit(table, "a", &[1]));
    let times: Vec<u64> = bench.state.moments.values().copied().collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(bench.state.time_of(bench.state.version), Some(bench.time_ms + 500));
}

#[test]
fn a_part_that_loses_rows_often_bounds_its_history() {
    let mut bench = Bench::with_workers(1);
    let table = kept_table(&mut bench, "t");
    bench.inserted(bench.commit(table, "a", &[1]));
    let first = bench.state.version;
    for rows in 1..=3 {
        delete(&mut bench, table, 1, rows, 10);
    }
    assert_eq!(at(&bench, table, first), [110]);
    assert_eq!(at(&bench, table, CatalogVersion(first.0 + 2)), [108]);
    assert_eq!(state(&bench, table).parts[&PartId(1)].deletions.len(), 3);
    // Large vectors push the older ones out.
    for rows in 4..=8 {
        delete(&mut bench, table, 1, rows, 16 << 10);
    }
    let kept = &state(&bench, table).parts[&PartId(1)].deletions;
    assert_eq!(kept.len(), 4);
    let from = bench.state.readable_from(state(&bench, table));
    assert_eq!(from, kept[0].since);
    let refused = bench.state.past(state(&bench, table), Past::Version(first));
    assert_eq!(refused.expect_err("refused").kind(), InvalidInput);
}

#[test]
fn definitions_are_kept_with_their_versions() {
    let mut bench = Bench::with_workers(1);
    let table = kept_table(&mut bench, "t");
    let created = bench.state.version;
    for nth in 0..3 {
        let alter = add_column(&bench, table, &format!("c{nth}"));
        bench.done(CommandBody::AlterTable(Box::new(alter)));
    }
    for added in 0..=3 {
        let version = CatalogVersion(created.0 + added);
        let then = bench.state.definition_at(state(&bench, table), version);
        assert_eq!(then.columns.len() as u64, 1 + added);
    }
    for nth in 3..150 {
        let alter = add_column(&bench, table, &format!("c{nth}"));
        bench.done(CommandBody::AlterTable(Box::new(alter)));
    }
    let (known, oldest) = {
        let earlier = &state(&bench, table).earlier;
        (earlier.len(), earlier.get_min().expect("one").0)
    };
    assert_eq!(known, 100);
    assert!(bench.state.readable_from(state(&bench, table)) < oldest);
    let refused = bench.state.past(state(&bench, table), Past::Version(created));
    assert_eq!(refused.expect_err("refused").kind(), InvalidInput);
    bench.time_ms += 2 * KEPT_MS;
    let now = bench.state.version;
    bench.forget(now);
    assert!(state(&bench, table).earlier.is_empty());
}

#[test]
fn a_table_becomes_what_it_was() {
    let mut bench = Bench::with_workers(1);
    let table = kept_table(&mut bench, "t");
    bench.inserted(bench.commit(table, "a", &[1, 2]));
    delete(&mut bench, table, 2, 3, 10);
    let then = bench.state.version;
    let expected = at(&bench, table, then);
    assert_eq!(expected, [110, 207]);
    let order: Vec<_> = state(&bench, table).visible_parts(then).map(|p| p.inserted).collect();

    let alter = add_column(&bench, table, "more");
    bench.done(CommandBody::AlterTable(Box::new(alter)));
    bench.inserted(bench.commit(table, "b", &[3]));
    delete(&mut bench, table, 2, 5, 10);
    let in_flight = bench.commit(table, "late", &[4]);
    bench.done(CommandBody::RestoreTable { table, version: then });

    let now = bench.state.version;
    assert_eq!(at(&bench, table, now), expected);
    assert_eq!(at(&bench, table, CatalogVersion(now.0 - 1)), [110, 205, 310], "as it was before");
    let row = &state(&bench, table).table;
    assert_eq!((row.columns.len(), row.next_column_id), (1, ColumnId(2)), "no id comes again");
    let restored: Vec<_> = state(&bench, table).visible_parts(now).map(|p| p.inserted).collect();
    assert_eq!(restored, order, "the insert order is the same");
    // The part that did not change stays itself.
    assert!(bench.visible(table).contains(&1));
    bench.refused(CommandBody::CommitWrite(in_flight), granary_common::ErrorKind::Conflict);
    // And back.
    bench.done(CommandBody::RestoreTable { table, version: CatalogVersion(now.0 - 1) });
    assert_eq!(at(&bench, table, bench.state.version), [110, 205, 310]);
    let early = CatalogVersion(state(&bench, table).table.created.0 - 1);
    bench.refused(CommandBody::RestoreTable { table, version: early }, NotFound);
}

#[test]
fn a_dropped_table_comes_back_while_it_is_kept() {
    let mut bench = Bench::with_workers(1);
    let table = kept_table(&mut bench, "t");
    bench.inserted(bench.commit(table, "a", &[1]));
    bench.refused(CommandBody::UndropTable { table }, NotFound);
    bench.done(CommandBody::DropTable { table });
    let other = kept_table(&mut bench, "t");
    bench.refused(CommandBody::UndropTable { table }, AlreadyExists);
    let database = DEFAULT_DATABASE;
    bench.done(CommandBody::RenameTable { table: other, database, name: "u".into() });
    bench.done(CommandBody::UndropTable { table });
    assert_eq!(bench.visible(table), [1]);
    bench.done(CommandBody::DropTable { table });
    bench.time_ms += 2 * KEPT_MS;
    let now = bench.state.version;
    bench.forget(now);
    bench.refused(CommandBody::UndropTable { table }, NotFound);
    bench.done(register("w1"));
    assert!(!bench.state.may_reference_part(PartId(1)));
}

#[test]
fn a_clone_shares_files_and_nothing_else() {
    let mut bench = Bench::with_workers(1);
    let source = kept_table(&mut bench, "t");
    bench.inserted(bench.commit(source, "a", &[1]));
    let then = bench.state.version;
    delete(&mut bench, source, 1, 4, 10);
    let clone = |name: &str, version| {
        CommandBody::CloneTable(CloneTable {
            from: source,
            version,
            database: DEFAULT_DATABASE,
            name: name.into(),
            if_not_exists: false,
        })
    };
    let made = |outcome| match outcome {
        Outcome::TableCreated(id) => id,
        other => panic!("not a table: {other:?}"),
    };
    let current = made(bench.done(clone("now", None)));
    let earlier = made(bench.done(clone("then", Some(then))));
    bench.refused(clone("now", None), AlreadyExists);
    let version = bench.state.version;
    assert_eq!(at(&bench, current, version), [106]);
    assert_eq!(at(&bench, earlier, version), [110]);
    let created = state(&bench, earlier).table.created;
    assert_eq!(bench.state.readable_from(state(&bench, earlier)), created);
    // Each goes its own way.
    bench.inserted(bench.commit(current, "b", &[2]));
    assert_eq!(at(&bench, source, bench.state.version), [106]);
    bench.done(CommandBody::DropTable { table: source });
    bench.time_ms += 2 * KEPT_MS;
    let now = bench.state.version;
    bench.forget(now);
    assert!(!bench.state.tables.contains_key(&source));
    bench.done(register("w1"));
    assert!(bench.state.may_reference_part(PartId(1)), "the clones show its files");
    let bucket = |id| (*bench.state.tables[&id].buckets[&BucketIndex(0)]).clone();
    assert_eq!(bucket(current).replicas, bucket(earlier).replicas);
}

/// Deletes rows of part 1, which a file of that id says.
fn delete_into(bench: &mut Bench, table: TableId, rows: u64, file: u64) {
    let newest = state(bench, table).parts[&PartId(1)].deletions.last().map(|v| v.since);
    let mut commit = bench.commit(table, &format!("delete {rows}"), &[]);
    let name = format!("{DELETIONS_FILE_PREFIX}{file}");
    commit.tables[0].buckets[0].deletions = vec![NewDeletions {
        known: KnownPart { part: PartId(1), deletions: newest },
        rows,
        content: DeletionContent::File { name, bytes: 1, crc32c: 1 },
        synced: Vec::new(),
    }];
    bench.inserted(commit);
}

/// What is needed and what is named of files of deletions, as a table goes through its life.
#[test]
fn files_of_deletions_are_needed_as_long_as_somebody_may_read_them() {
    let mut bench = Bench::with_workers(1);
    let table = kept_table(&mut bench, "t");
    bench.inserted(bench.commit(table, "a", &[1]));
    let pinned = bench.state.version;
    let check = |bench: &Bench, when: &str, needed: &[u64], named: &[u64]| {
        let files = DeletionFiles::of(&bench.state, &Default::default());
        let ids = |files: &std::collections::BTreeSet<PartId>| -> Vec<u64> {
            files.iter().map(|file| file.0).collect()
        };
        assert_eq!(ids(&files.needed), needed, "{when}");
        assert_eq!(ids(&files.committed), named, "{when}");
        for file in named {
            let owner = (table, PartId(1));
            let is_needed = bench.state.needs_deletions(owner, PartId(*file));
            assert_eq!(is_needed, needed.contains(file), "{when}: {file}");
        }
    };
    for (rows, file) in [(1, 501), (2, 502), (3, 503)] {
        delete_into(&mut bench, table, rows, file);
    }
    let first = CatalogVersion(pinned.0 + 1);
    bench.forget(bench.state.version);
    check(&bench, "within the retention", &[501, 502, 503], &[501, 502, 503]);
    bench.time_ms += 2 * KEPT_MS;
    bench.forget(pinned);
    check(&bench, "a query reads what was before", &[501, 502, 503], &[501, 502, 503]);
    let clone = CloneTable {
        from: table,
        version: Some(first),
        database: DEFAULT_DATABASE,
        name: "then".into(),
        if_not_exists: false,
    };
    let Outcome::TableCreated(clone) = bench.done(CommandBody::CloneTable(clone)) else {
        panic!("no table")
    };
    bench.forget(first);
    check(&bench, "a query reads the first", &[501, 502, 503], &[501, 502, 503]);
    bench.forget(bench.state.version);
    check(&bench, "the clone shows the first", &[501, 503], &[501, 502, 503]);
    bench.done(CommandBody::DropTable { table: clone });
    check(&bench, "the clone may come back", &[501, 503], &[501, 502, 503]);
    bench.time_ms += 2 * KEPT_MS;
    bench.forget(bench.state.version);
    check(&bench, "the clone is gone", &[503], &[501, 502, 503]);
    let third = bench.state.version;
    delete_into(&mut bench, table, 4, 504);
    check(&bench, "a later commit drops names", &[503, 504], &[503, 504]);
    bench.done(CommandBody::RestoreTable { table, version: third });
    check(&bench, "restored", &[503, 504], &[503, 504]);
    bench.done(CommandBody::DropTable { table });
    check(&bench, "dropped", &[503, 504], &[503, 504]);
    bench.done(CommandBody::UndropTable { table });
    bench.time_ms += 2 * KEPT_MS;
    bench.forget(bench.state.version);
    check(&bench, "and back", &[503], &[503]);
}
