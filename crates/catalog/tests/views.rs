//! What inserts through views and groups of inserts commit.

mod support;

use granary_catalog::*;
use granary_common::ErrorKind::{Conflict, InvalidInput};
use granary_common::{BucketIndex, ColumnId, PartId, TableId};
use support::*;

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

fn create(view: NewView) -> CommandBody {
    CommandBody::CreateView { view, existing: ExistingView::Refuse }
}

fn to(source: TableId, target: TableId) -> ViewKind {
    ViewKind::Materialized { source, target, owns_target: false }
}

fn entry(token: &str, rows: u64) -> TokenEntry {
    TokenEntry { token: token.to_owned(), digest: format!("digest of {token}"), rows }
}

#[test]
fn a_view_is_made_with_its_own_table() {
    let mut bench = Bench::with_workers(1);
    let source = bench.table("t", 1);
    let inner = Some(new_table(".inner.v"));
    let kind = ViewKind::Materialized { source, target: source, owns_target: true };
    bench.done(create(NewView { inner, ..view("v", kind) }));
    let made = bench.state.find_view(DEFAULT_DATABASE, "v").expect("there").kind.clone();
    let own = bench.state.find_table(DEFAULT_DATABASE, ".inner.v").expect("there").table.id;
    assert_eq!(made, ViewKind::Materialized { source, target: own, owns_target: true });
    // The database goes with both.
    bench.done(CommandBody::DropDatabase { name: "default".into(), if_exists: false });
    assert!(bench.state.views.is_empty());
    assert!(bench.state.tables.values().all(|state| state.table.dropped.is_some()));
}

#[test]
fn a_view_that_feeds_itself_is_refused() {
    let mut bench = Bench::with_workers(1);
    let (a, b, c) = (bench.table("a", 1), bench.table("b", 1), bench.table("c", 1));
    bench.refused(create(view("aa", to(a, a))), InvalidInput);
    bench.done(create(view("ab", to(a, b))));
    bench.done(create(view("bc", to(b, c))));
    bench.refused(create(view("ca", to(c, a))), InvalidInput);
    bench.done(create(view("ac", to(a, c))));
}

#[test]
fn staged_parts_of_views_become_visible_with_the_insert() {
    let mut bench = Bench::with_workers(1);
    let (source, target) = (bench.table("t", 1), bench.table("u", 1));
    bench.done(create(view("v", to(source, target))));
    let stage = |bench: &Bench| CommandBody::StageParts {
        transaction: "x".into(),
        write: bench.write(source, &[1]),
        views: vec![bench.write(target, &[2])],
        continues: false,
    };
    let publish = |bench: &Bench| CommitWrite {
        staged: Some("x".into()),
        tables: vec![bench.write(source, &[])],
        ..bench.commit(source, "a", &[])
    };
    bench.done(stage(&bench));
    assert_eq!((bench.visible(source), bench.visible(target)), (vec![], vec![]));
    // A change of the target is one of the insert.
    bench.done(CommandBody::TruncateTable { table: target });
    bench.refused(CommandBody::CommitWrite(publish(&bench)), Conflict);
    bench.done(CommandBody::AbortStaged { transaction: "x".into() });
    bench.done(stage(&bench));
    bench.inserted(publish(&bench));
    assert_eq!((bench.visible(source), bench.visible(target)), (vec![1], vec![2]));
}

#[test]
fn a_group_answers_every_token() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    let group = |bench: &Bench, part: u64, others: &[&str]| {
        let others = others.iter().map(|token| entry(token, 7)).collect();
        CommandBody::CommitWrite(CommitWrite { others, ..bench.commit(table, "a", &[part]) })
    };
    let receipts = |outcome: Outcome| match outcome {
        Outcome::InsertedAll(receipts) => receipts,
        other => panic!("not a group: {other:?}"),
    };
    let first = receipts(bench.done(group(&bench, 1, &["b", "c"])));
    let rows: Vec<u64> = first.iter().map(|receipt| receipt.rows).collect();
    assert_eq!(rows, [10, 7, 7]);
    assert!(first.iter().all(|receipt| !receipt.duplicate && receipt.parts == 1));
    // Repeated after an unknown outcome, and each token alone.
    let again = receipts(bench.done(group(&bench, 2, &["b", "c"])));
    assert!(again.iter().all(|receipt| receipt.duplicate));
    let alone = CommitWrite { rows: 7, ..bench.commit(table, "b", &[3]) };
    assert!(bench.inserted(alone).duplicate);
    // Part of a group: its block must be written again without the rest.
    bench.refused(group(&bench, 4, &["b", "d"]), Conflict);
    assert_eq!(bench.visible(table), [1]);
}

/// A cluster whose nodes know what is known of views' targets.
fn newest() -> Bench {
    let mut bench = Bench::with_workers(1);
    let version = granary_catalog::protocol::PROTOCOL_VERSION;
    bench.done(CommandBody::Cluster(ClusterChange::RaiseProtocol { version }));
    bench
}

fn made(bench: &mut Bench, view: NewView) -> TableId {
    match bench.done(create(view)) {
        Outcome::ViewCreated(id) => id,
        other => panic!("not a view: {other:?}"),
    }
}

fn filled(bench: &Bench, view: TableId) -> Option<Filled> {
    bench.state.views[&view].filled
}

/// Rows for the source, and what the view made of them.
fn through_view(
    bench: &Bench,
    tables: (TableId, TableId),
    token: &str,
    parts: [u64; 2],
) -> CommandBody {
    let mut commit = bench.commit(tables.0, token, &parts[..1]);
    commit.tables.push(bench.write(tables.1, &parts[1..]));
    CommandBody::CommitWrite(commit)
}

#[test]
fn targets_of_views_are_known_from_the_beginning() {
    let mut bench = newest();
    let [t, empty, full] = ["t", "empty", "full"].map(|name| bench.table(name, 1));
    let whole = made(&mut bench, view("whole", to(t, empty)));
    assert_eq!(filled(&bench, whole), Some(Filled::Whole));
    bench.done(through_view(&bench, (t, empty), "a", [1, 2]));
    bench.inserted(bench.commit(full, "b", &[3]));
    let other = bench.table("other", 1);
    let partly = made(&mut bench, view("partly", to(t, other)));
    assert_eq!(filled(&bench, partly), Some(Filled::Partly));
    let unknown = made(&mut bench, view("unknown", to(other, full)));
    assert_eq!(filled(&bench, unknown), None);
    // POPULATE brings the rest.
    let origin = WriteOrigin::Populate { view: partly };
    let populate = CommitWrite { origin, ..bench.commit(other, "populate", &[4]) };
    bench.inserted(populate);
    assert_eq!(filled(&bench, partly), Some(Filled::Whole));
    assert_eq!(filled(&bench, whole), Some(Filled::Whole));
    // Two views in one table: neither is what the table stands for.
    let second = made(&mut bench, view("second", to(t, other)));
    assert_eq!((filled(&bench, partly), filled(&bench, second)), (None, None));
}

#[test]
fn an_older_cluster_knows_nothing_of_targets() {
    let mut bench = Bench::with_workers(1);
    let (t, target) = (bench.table("t", 1), bench.table("target", 1));
    let view = made(&mut bench, view("v", to(t, target)));
    assert_eq!(filled(&bench, view), None);
}

/// Whatever changes rows of the source or of the target but inserts through the view.
#[test]
fn what_changes_rows_lets_targets_be_forgotten() {
    type Change = fn(&mut Bench, TableId, TableId) -> CommandBody;
    let cases: [(&str, bool, Change); 12] = [
        ("an insert", true, |b, t, v| through_view(b, (t, v), "c", [3, 4])),
        ("an insert into the target", false, |b, _, v| {
            CommandBody::CommitWrite(b.commit(v, "c", &[3]))
        }),
        ("a deletion", false, |b, t, _| deletion(b, t, 1)),
        ("a deletion of the target", false, |b, _, v| deletion(b, v, 2)),
        ("an overwrite", false, |b, t, v| {
            let mut commit = b.commit(t, "c", &[3]);
            commit.tables[0].overwrite = Some(Partitions::All);
            commit.tables.push(b.write(v, &[4]));
            CommandBody::CommitWrite(commit)
        }),
        ("a truncation", false, |_, table, _| CommandBody::TruncateTable { table }),
        ("partitions that go", false, |_, table, _| CommandBody::ChangePartitions {
            table,
            change: PartitionChange::Drop(Partitions::All),
        }),
        ("a merge", true, |b, t, _| merge(b, t, 10)),
        ("a merge that loses rows", false, |b, t, _| merge(b, t, 9)),
        ("a column of the source", true, |b, t, _| alter(b, t, |_| ())),
        ("a column of the target", false, |b, _, v| alter(b, v, |_| ())),
        ("a TTL", false, |b, t, _| {
            alter(b, t, |alter| {
                let expiry = RowExpression { plan: vec![1], columns: vec![] };
                let action = TtlAction::Delete;
                alter.options.rules = vec![TtlRule { expiry, condition: None, action }];
            })
        }),
    ];
    for (what, stays, change) in cases {
        let mut bench = newest();
        let (t, target) = (bench.table("t", 1), bench.table("target", 1));
        let view = made(&mut bench, view("v", to(t, target)));
        bench.done(through_view(&bench, (t, target), "a", [1, 2]));
        let change = change(&mut bench, t, target);
        bench.done(change);
        assert_eq!(filled(&bench, view).is_some(), stays, "{what}");
    }
}

fn known(part: u64) -> KnownPart {
    KnownPart { part: PartId(part), deletions: None }
}

fn deletion(bench: &Bench, table: TableId, part: u64) -> CommandBody {
    let mut commit = bench.commit(table, "delete", &[]);
    let content = DeletionContent::Inline(vec![1]);
    commit.tables[0].buckets[0].deletions =
        vec![NewDeletions { known: known(part), rows: 1, content, synced: Vec::new() }];
    CommandBody::CommitWrite(commit)
}

fn merge(bench: &Bench, table: TableId, rows: u64) -> CommandBody {
    let bucket = &bench.state.tables[&table].buckets[&BucketIndex(0)];
    let part = NewPart { rows, ..new_part(9, bucket.leader) };
    CommandBody::MergeParts(MergeParts {
        table,
        schema_version: 1,
        bucket: BucketIndex(0),
        epoch: bucket.epoch,
        in_sync_version: bucket.in_sync_version,
        synced: bucket.in_sync.clone(),
        inputs: vec![known(1)],
        outputs: vec![MergedPart { part, deletions: None }],
        ttl_version: 0,
        is_move: false,
    })
}

/// Adds a column, and what else `with` says.
fn alter(bench: &Bench, table: TableId, with: fn(&mut AlterTable)) -> CommandBody {
    let row = &bench.state.tables[&table].table;
    let mut columns = row.columns.clone();
    columns.push(Column::new(row.next_column_id, "more", ColumnType::Int8));
    let mut alter = AlterTable {
        table,
        schema_version: row.schema_version,
        view_set_version: row.view_set_version,
        columns,
        next_column_id: ColumnId(row.next_column_id.0 + 1),
        engine: row.engine.clone(),
        order_by: row.order_by.clone(),
        partition_by: row.partition_by.clone(),
        settings: row.settings.clone(),
        comment: None,
        options: row.options.clone(),
        requires_no_parts: false,
        appended_keys: 0,
    };
    with(&mut alter);
    CommandBody::AlterTable(Box::new(alter))
}
