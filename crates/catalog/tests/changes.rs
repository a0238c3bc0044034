//! Rows and parts that go away: deletions, merges, partitions, upserts; and views.

mod support;

use granary_catalog::*;
use granary_common::ErrorKind::{AlreadyExists, Conflict, InvalidInput, NotFound};
use granary_common::{BucketIndex, CatalogVersion, ColumnId, PartId, TableId};
use support::*;

fn known(part: u64, deletions: Option<u64>) -> KnownPart {
    KnownPart { part: PartId(part), deletions: deletions.map(CatalogVersion) }
}

fn deleting(bench: &Bench, table: TableId, known: KnownPart, rows: u64) -> CommitWrite {
    let mut commit = bench.commit(table, &format!("delete {rows} of {}", known.part), &[]);
    let content = DeletionContent::Inline(vec![rows as u8]);
    commit.tables[0].buckets[0].deletions =
        vec![NewDeletions { known, rows, content, synced: Vec::new() }];
    commit
}

fn merging(bench: &Bench, table: TableId, inputs: &[KnownPart], output: Option<u64>) -> MergeParts {
    let state = &bench.state.tables[&table];
    let bucket = &state.buckets[&BucketIndex(0)];
    let part = output.map(|id| NewPart { rows: 20, ..new_part(id, bucket.leader) });
    MergeParts {
        table,
        schema_version: state.table.schema_version,
        bucket: BucketIndex(0),
        epoch: bucket.epoch,
        in_sync_version: bucket.in_sync_version,
        synced: bucket.in_sync.clone(),
        inputs: inputs.to_vec(),
        outputs: part.map(|part| MergedPart { part, deletions: None }).into_iter().collect(),
        ttl_version: state.table.options.ttl_version,
        is_move: false,
    }
}

fn part(bench: &Bench, table: TableId, id: u64) -> &Part {
    &bench.state.tables[&table].parts[&PartId(id)]
}

#[test]
fn deletions_hold_from_their_version_on() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    let inserted = bench.inserted(bench.commit(table, "a", &[1])).version;
    let first = bench.inserted(deleting(&bench, table, known(1, None), 2)).version;
    let rows = |bench: &Bench, version| part(bench, table, 1).rows_at(version);
    assert_eq!((rows(&bench, inserted), rows(&bench, first)), (10, 8));
    // Somebody who did not know of the first deletion would bring its rows back.
    let stale = deleting(&bench, table, known(1, None), 3);
    bench.refused(CommandBody::CommitWrite(stale), Conflict);
    let next = deleting(&bench, table, known(1, Some(first.0)), 3);
    let second = bench.inserted(next).version;
    assert_eq!((rows(&bench, first), rows(&bench, second)), (8, 7));
    // A part without a row left is gone.
    let all = deleting(&bench, table, known(1, Some(second.0)), 10);
    bench.inserted(all);
    assert_eq!(bench.visible(table), Vec::<u64>::new());
    // What nobody can ask for any more is forgotten with the next change, and nothing else.
    assert_eq!(part(&bench, table, 1).deletions.len(), 3);
    let mut old = part(&bench, table, 1).clone();
    old.forget_deletions_below(second);
    assert_eq!(old.rows_at(second), 7);
    assert_eq!(old.deletions.len(), 2);
}

#[test]
fn a_write_takes_parts_away_and_adds_others_at_one_version() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "a", &[1, 2]));
    let mut update = bench.commit(table, "u", &[3]);
    update.tables[0].buckets[0].removed = vec![known(1, None)];
    let version = bench.inserted(update.clone()).version;
    assert_eq!(bench.visible(table), [2, 3]);
    assert_eq!(part(&bench, table, 1).removed, Some(version));
    assert_eq!(part(&bench, table, 3).added, version);
    update.token = "again".to_owned();
    bench.refused(CommandBody::CommitWrite(update.clone()), Conflict);
    update.tables[0].buckets[0].removed = vec![known(77, None)];
    bench.refused(CommandBody::CommitWrite(update), Conflict);
}

#[test]
fn merges_swap_what_they_knew() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    let before = bench.inserted(bench.commit(table, "a", &[1])).version;
    let between = bench.inserted(bench.commit(table, "b", &[2])).version;
    let merge = merging(&bench, table, &[known(1, None), known(2, None)], Some(9));
    bench.done(CommandBody::MergeParts(merge.clone()));
    assert_eq!(bench.visible(table), [9]);
    let merged = part(&bench, table, 9);
    assert_eq!((merged.level, merged.inserted), (1, ((before, 0), (between, 0))));
    // The inputs are gone: another merge of them is dropped.
    bench.refused(CommandBody::MergeParts(merge), Conflict);
    // A deletion that the merge did not see is not lost.
    let deleted = bench.inserted(deleting(&bench, table, known(9, None), 1)).version;
    let blind = merging(&bench, table, &[known(9, None)], Some(10));
    bench.refused(CommandBody::MergeParts(blind), Conflict);
    let mut aware = merging(&bench, table, &[known(9, Some(deleted.0))], Some(10));
    aware.outputs[0].deletions = Some((1, DeletionContent::Inline(vec![1])));
    bench.done(CommandBody::MergeParts(aware.clone()));
    let now = bench.state.version;
    assert_eq!(part(&bench, table, 10).rows_at(now), 19);
    // Nothing may be left, and an id of no lease is refused.
    let strange = merging(&bench, table, &[known(10, Some(now.0))], Some(999_999));
    bench.refused(CommandBody::MergeParts(strange), Conflict);
    bench.done(CommandBody::MergeParts(merging(&bench, table, &[known(10, Some(now.0))], None)));
    assert_eq!(bench.visible(table), Vec::<u64>::new());
}

#[test]
fn a_merge_under_an_earlier_ttl_is_refused() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "a", &[1, 2]));
    let merge = merging(&bench, table, &[known(1, None), known(2, None)], Some(9));
    let now = bench.state.tables[&table].table.clone();
    let altered = AlterTable {
        table,
        schema_version: now.schema_version,
        view_set_version: now.view_set_version,
        columns: now.columns.clone(),
        next_column_id: now.next_column_id,
        engine: now.engine.clone(),
        order_by: now.order_by.clone(),
        partition_by: now.partition_by.clone(),
        settings: now.settings.clone(),
        comment: None,
        options: TableOptions { ttl_version: 1, ..now.options.clone() },
        requires_no_parts: false,
        appended_keys: 0,
    };
    bench.done(CommandBody::AlterTable(Box::new(altered)));
    bench.refused(CommandBody::MergeParts(merge.clone()), granary_common::ErrorKind::Conflict);
    bench.done(CommandBody::MergeParts(MergeParts { ttl_version: 1, ..merge }));
    assert_eq!(bench.visible(table), [9]);
}

#[test]
fn only_new_columns_are_appended_to_the_sorting_key() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "a", &[1]));
    let altered = |bench: &Bench, appended: &[u32], said: usize| {
        let now = bench.state.tables[&table].table.clone();
        let mut columns = now.columns.clone();
        columns.push(Column::new(now.next_column_id, "new", ColumnType::Int8));
        let key = |id: &u32| KeyExpression { text: "new".into(), column: ColumnId(*id) };
        CommandBody::AlterTable(Box::new(AlterTable {
            table,
            schema_version: now.schema_version,
            view_set_version: now.view_set_version,
            columns,
            next_column_id: ColumnId(now.next_column_id.0 + 1),
            engine: now.engine.clone(),
            order_by: now.order_by.iter().cloned().chain(appended.iter().map(key)).collect(),
            partition_by: now.partition_by.clone(),
            settings: now.settings.clone(),
            comment: None,
            options: now.options.clone(),
            requires_no_parts: false,
            appended_keys: said,
        }))
    };
    let next = bench.state.tables[&table].table.next_column_id.0;
    for (appended, said) in [(vec![next], 0), (vec![0], 1), (vec![], 1), (vec![next], 2)] {
        let refused = altered(&bench, &appended, said);
        bench.refused(refused, granary_common::ErrorKind::Internal);
    }
    let before = bench.state.tables[&table].table.clone();
    bench.done(altered(&bench, &[next], 1));
    let after = &bench.state.tables[&table].table;
    assert_eq!(after.order_by.len(), before.order_by.len() + 1);
    assert_eq!(after.primary_key_len, before.primary_key_len);
    assert_eq!(bench.visible(table), [1]);
}

#[test]
fn a_moved_part_is_what_it_was() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "a", &[1]));
    let before = part(&bench, table, 1).clone();
    let mut moved = merging(&bench, table, &[known(1, None)], Some(9));
    moved.is_move = true;
    bench.refused(CommandBody::MergeParts(moved.clone()), granary_common::ErrorKind::Internal);
    let disk = Some("cold".to_owned());
    let location = PartLocation::Local { copies: moved.synced.clone(), disk };
    let output = &mut moved.outputs[0].part;
    (output.rows, output.location) = (before.rows, location.clone());
    bench.done(CommandBody::MergeParts(moved));
    let after = part(&bench, table, 9).clone();
    assert_eq!((after.level, after.inserted), (before.level, before.inserted));
    assert_eq!((after.schema_version, after.location), (before.schema_version, location));
    assert_eq!(bench.visible(table), [9]);
}

#[test]
fn partitions_go_and_come_back() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "a", &[1, 2]));
    let in_flight = bench.commit(table, "late", &[3]);
    let change = |change| CommandBody::ChangePartitions { table, change };
    bench.done(change(PartitionChange::Detach(Partitions::All)));
    assert_eq!(bench.visible(table), Vec::<u64>::new());
    bench.refused(CommandBody::CommitWrite(in_flight), Conflict);
    // What is detached outlives every horizon, with its files.
    let horizon = bench.state.version;
    bench.forget(horizon);
    assert!(bench.state.may_reference_part(PartId(1)));
    bench.done(change(PartitionChange::Attach(Partitions::These(vec![PartitionValue::default()]))));
    let back = bench.visible(table);
    assert_eq!(back.len(), 2);
    assert_eq!(part(&bench, table, back[0]).file_owner(), (table, PartId(1)));
    let horizon = bench.state.version;
    bench.forget(horizon);
    assert!(!bench.state.tables[&table].parts.contains_key(&PartId(1)));
    let elsewhere = Partitions::These(vec![PartitionValue(vec![Scalar::Int(1)])]);
    bench.done(change(PartitionChange::Drop(elsewhere)));
    assert_eq!(bench.visible(table), back);
    bench.done(change(PartitionChange::Drop(Partitions::All)));
    assert_eq!(bench.visible(table), Vec::<u64>::new());
}

#[test]
fn files_stay_while_another_table_shows_them() {
    let mut bench = Bench::with_workers(1);
    let (source, target) = (bench.table("s", 1), bench.table("t", 1));
    bench.inserted(bench.commit(source, "a", &[1]));
    bench.inserted(bench.commit(target, "b", &[2]));
    let copy = |replace, remove| {
        let partitions = Partitions::All;
        CommandBody::CopyPartitions(CopyPartitions {
            from: source,
            to: target,
            partitions,
            replace,
            remove,
        })
    };
    bench.done(copy(true, true));
    assert_eq!(bench.visible(source), Vec::<u64>::new());
    let shown = bench.visible(target);
    assert_eq!(part(&bench, target, shown[0]).file_owner(), (source, PartId(1)));
    bench.done(CommandBody::DropTable { table: source });
    bench.done(register("w1"));
    let horizon = bench.state.version;
    bench.forget(horizon);
    assert!(!bench.state.tables.contains_key(&source));
    assert!(bench.state.may_reference_part(PartId(1)));
    assert!(!bench.state.may_reference_part(PartId(2)));
    bench.done(CommandBody::DropTable { table: target });
    let horizon = bench.state.version;
    bench.forget(horizon);
    assert!(!bench.state.may_reference_part(PartId(1)));
}

#[test]
fn only_like_tables_share_parts() {
    let mut bench = Bench::with_workers(1);
    let (source, other) = (bench.table("s", 1), bench.table("t", 2));
    bench.refused(
        CommandBody::CopyPartitions(CopyPartitions {
            from: source,
            to: other,
            partitions: Partitions::All,
            replace: true,
            remove: false,
        }),
        InvalidInput,
    );
}

#[test]
fn an_overwrite_replaces_what_is_there_by_then() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    let mut overwrite = bench.commit(table, "o", &[5]);
    overwrite.tables[0].overwrite = Some(Partitions::All);
    bench.inserted(bench.commit(table, "a", &[1]));
    let in_flight = bench.commit(table, "late", &[2]);
    bench.inserted(overwrite);
    assert_eq!(bench.visible(table), [5]);
    bench.refused(CommandBody::CommitWrite(in_flight), Conflict);
}

#[test]
fn keys_are_checked_at_one_state_of_the_bucket() {
    let mut bench = Bench::with_workers(1);
    let table = NewTable { unique_key: vec![ColumnId(0)], buckets: Some(1), ..new_table("t") };
    let Outcome::TableCreated(table) =
        bench.done(CommandBody::CreateTable { table, if_not_exists: false })
    else {
        panic!("not a table")
    };
    let upsert = |bench: &Bench, token: &str, part: u64, version: Option<u64>| {
        let mut commit = bench.commit(table, token, &[part]);
        commit.tables[0].buckets[0].upsert_version = version;
        commit
    };
    let first = upsert(&bench, "a", 1, Some(0));
    let second = upsert(&bench, "b", 2, Some(0));
    let unchecked = upsert(&bench, "c", 3, None);
    bench.inserted(first);
    bench.refused(CommandBody::CommitWrite(second), Conflict);
    bench.refused(CommandBody::CommitWrite(unchecked), Conflict);
    bench.inserted(upsert(&bench, "b", 2, Some(1)));
}

fn view(name: &str, kind: ViewKind) -> NewView {
    NewView {
        database: DEFAULT_DATABASE,
        name: name.to_owned(),
        query: "SELECT id FROM t".to_owned(),
        query_database: "default".to_owned(),
        columns: vec![("id".to_owned(), ColumnType::Int64)],
        kind,
        comment: None,
        inner: None,
    }
}

fn create(view: NewView, existing: ExistingView) -> CommandBody {
    CommandBody::CreateView { view, existing }
}

#[test]
fn views_share_names_with_tables() {
    let mut bench = Bench::with_workers(1);
    bench.table("t", 1);
    let plain = || view("v", ViewKind::Plain);
    let Outcome::ViewCreated(first) = bench.done(create(plain(), ExistingView::Refuse)) else {
        panic!("not a view")
    };
    bench.refused(create(plain(), ExistingView::Refuse), AlreadyExists);
    bench.refused(create(view("t", ViewKind::Plain), ExistingView::OrReplace), AlreadyExists);
    let table = CommandBody::CreateTable { table: new_table("v"), if_not_exists: false };
    bench.refused(table, AlreadyExists);
    let kept = bench.done(create(plain(), ExistingView::IfNotExists));
    assert_eq!(kept, Outcome::ViewCreated(first));
    assert_ne!(bench.done(create(plain(), ExistingView::OrReplace)), kept);
    bench.refused(CommandBody::DropView { view: first }, NotFound);
    assert_eq!(bench.state.views_of(DEFAULT_DATABASE).count(), 1);
}

#[test]
fn a_materialized_view_moves_its_source_and_owns_its_target() {
    let mut bench = Bench::with_workers(1);
    let (source, target) = (bench.table("t", 1), bench.table(".inner.v", 1));
    let in_flight = bench.commit(source, "a", &[1]);
    let kind = ViewKind::Materialized { source, target, owns_target: true };
    let Outcome::ViewCreated(id) = bench.done(create(view("v", kind), ExistingView::Refuse)) else {
        panic!("not a view")
    };
    assert_eq!(bench.state.materialized_views_of(source).count(), 1);
    bench.refused(CommandBody::CommitWrite(in_flight), Conflict);
    for used in [source, target] {
        bench.refused(CommandBody::DropTable { table: used }, InvalidInput);
    }
    let in_flight = bench.commit(source, "b", &[2]);
    bench.done(CommandBody::DropView { view: id });
    assert!(bench.state.tables[&target].table.dropped.is_some());
    bench.refused(CommandBody::CommitWrite(in_flight), Conflict);
    bench.done(CommandBody::DropTable { table: source });
}

#[test]
fn an_alias_may_outlive_its_table() {
    let mut bench = Bench::with_workers(1);
    let target = bench.table("t_local", 1);
    let alias = view("t", ViewKind::Alias { target });
    bench.done(create(alias.clone(), ExistingView::Refuse));
    bench.done(CommandBody::DropTable { table: target });
    let named = NewView { name: "u".to_owned(), ..alias };
    bench.refused(create(named, ExistingView::Refuse), NotFound);
}
