//! What inserts through views and groups of inserts commit.

mod support;

use granary_catalog::*;
use granary_common::ErrorKind::{Conflict, InvalidInput};
use granary_common::TableId;
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
