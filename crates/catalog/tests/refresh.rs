//! Runs of refreshable views and the memory of mutations, as the state machine has them.

mod support;

use granary_catalog::*;
use granary_common::ErrorKind::{Cancelled, Conflict, NotFound};
use granary_common::TableId;
use support::{Bench, DEFAULT_DATABASE, new_table};

const HOUR_MS: u64 = 3_600_000;
const LEASE_MS: u64 = 15_000;

struct Case {
    bench: Bench,
    target: TableId,
    view: TableId,
}

impl Case {
    /// A view that is refreshed by the hour, 10 minutes past midnight.
    fn new(append: bool) -> Case {
        let mut bench = Bench::with_workers(1);
        bench.time_ms = 600_000;
        let target = bench.table("t", 1);
        let schedule = RefreshSchedule {
            every_ms: HOUR_MS,
            offset_ms: 0,
            after_end: false,
            starts_empty: false,
        };
        let kind = ViewKind::Refreshable { target, owns_target: false, schedule, append };
        let view = NewView {
            database: DEFAULT_DATABASE,
            name: "v".to_owned(),
            query: "SELECT 1 AS id".to_owned(),
            query_database: "default".to_owned(),
            columns: vec![("id".to_owned(), ColumnType::Int64)],
            kind,
            comment: None,
            inner: None,
        };
        let existing = ExistingView::Refuse;
        let Outcome::ViewCreated(view) = bench.done(CommandBody::CreateView { view, existing })
        else {
            panic!("not a view")
        };
        Case { bench, target, view }
    }

    fn row(&self) -> &ViewRefresh {
        &self.bench.state.refreshes[&self.view]
    }

    fn step(&self, step: RefreshStep) -> CommandBody {
        CommandBody::Refresh { view: self.view, step }
    }

    fn begin(&self, coordinator: &str) -> CommandBody {
        let (coordinator, runs) = (coordinator.to_owned(), self.row().runs);
        self.step(RefreshStep::Begin { coordinator, runs, lease_ms: LEASE_MS })
    }

    /// The commit of a run that replaces what is there by part `part`.
    fn commit(&self, run: u64, part: u64) -> CommitWrite {
        let mut commit = self.bench.commit(self.target, &format!("refresh-{run}"), &[part]);
        commit.tables[0].overwrite = Some(Partitions::All);
        commit.origin = WriteOrigin::Refresh { view: self.view, run };
        commit
    }
}

#[test]
fn of_several_coordinators_one_runs() {
    let mut case = Case::new(false);
    let (first, second) = (case.begin("a"), case.begin("b"));
    assert_eq!(case.bench.done(first), Outcome::RefreshBegun(1));
    case.bench.refused(second, Conflict);
    let again = case.begin("b");
    case.bench.refused(again, Conflict);
    case.bench.inserted(case.commit(1, 1));
    assert_eq!(case.bench.visible(case.target), [1]);
    assert_eq!(case.row().next_ms, HOUR_MS);
    let success = case.row().last_success.as_ref().expect("a success");
    assert_eq!((success.coordinator.as_str(), success.rows), ("a", 10));
    // Not before the hour has passed.
    let early = case.begin("b");
    case.bench.refused(early, Conflict);
    case.bench.time_ms = HOUR_MS;
    let due = case.begin("b");
    assert_eq!(case.bench.done(due), Outcome::RefreshBegun(2));
    case.bench.inserted(case.commit(2, 2));
    assert_eq!(case.bench.visible(case.target), [2]);
}

#[test]
fn a_lost_coordinator_is_fenced() {
    let mut case = Case::new(false);
    let begin = case.begin("a");
    case.bench.done(begin);
    let renew = case.step(RefreshStep::Renew { run: 1, lease_ms: LEASE_MS });
    case.bench.time_ms += LEASE_MS - 1;
    case.bench.done(renew.clone());
    case.bench.time_ms += LEASE_MS - 1;
    let early = case.begin("b");
    case.bench.refused(early, Conflict);
    case.bench.time_ms += 1;
    let late = case.begin("b");
    assert_eq!(case.bench.done(late), Outcome::RefreshBegun(2));
    // The first one was not dead, only slow.
    case.bench.refused(renew, Cancelled);
    let commit = CommandBody::CommitWrite(case.commit(1, 1));
    case.bench.refused(commit, Cancelled);
    let fail = RefreshStep::Fail { run: 1, code: "INTERNAL".into(), message: "x".into() };
    let fail = case.step(fail);
    case.bench.refused(fail, Cancelled);
    case.bench.inserted(case.commit(2, 2));
    // A commit whose answer was lost is sent again.
    let again = CommitWrite { digest: "digest of refresh-2".into(), ..case.commit(2, 3) };
    assert!(case.bench.inserted(again).duplicate);
    assert_eq!(case.bench.visible(case.target), [2]);
}

#[test]
fn a_failed_run_is_tried_again_soon() {
    let mut case = Case::new(true);
    let begin = case.begin("a");
    case.bench.done(begin);
    let fail = RefreshStep::Fail { run: 1, code: "NOT_FOUND".into(), message: "no table".into() };
    let fail = case.step(fail);
    case.bench.done(fail);
    let failure = case.row().last_failure.clone().expect("a failure");
    assert_eq!((failure.error().kind(), failure.message.as_str()), (NotFound, "no table"));
    assert_eq!(case.row().next_ms, case.bench.time_ms + 1_000);
    case.bench.time_ms += 1_000;
    let begin = case.begin("a");
    case.bench.done(begin);
    case.bench.inserted(case.commit(2, 1));
    assert_eq!((case.row().failures, case.row().last_failure.is_none()), (0, true));
}

#[test]
fn a_stopped_view_runs_when_asked() {
    let mut case = Case::new(false);
    let begin = case.begin("a");
    case.bench.done(begin);
    let stop = case.step(RefreshStep::Stop);
    case.bench.done(stop);
    let commit = CommandBody::CommitWrite(case.commit(1, 1));
    case.bench.refused(commit, Cancelled);
    case.bench.time_ms += 2 * HOUR_MS;
    assert_eq!(case.row().begins_ms(), None);
    let request = case.step(RefreshStep::Request);
    case.bench.done(request);
    let begin = case.begin("b");
    assert_eq!(case.bench.done(begin), Outcome::RefreshBegun(2));
    case.bench.inserted(case.commit(2, 2));
    assert_eq!((case.row().requested, case.row().begins_ms()), (false, None));
    let start = case.step(RefreshStep::Start);
    case.bench.done(start);
    assert_eq!(case.row().begins_ms(), Some(case.row().next_ms));
    let view = case.view;
    case.bench.done(CommandBody::DropView { view });
    assert!(case.bench.state.refreshes.is_empty());
    let request = case.step(RefreshStep::Request);
    case.bench.refused(request, NotFound);
}

#[test]
fn the_last_mutations_of_a_table_are_remembered() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    for number in 0..MUTATIONS_PER_TABLE_MAX as u64 + 3 {
        let mut commit = bench.commit(table, &format!("m{number}"), &[number + 1]);
        commit.origin = WriteOrigin::Mutation(MutationNote {
            id: format!("m{number}"),
            command: "UPDATE t SET id = 1".to_owned(),
            created_ms: bench.time_ms,
            rows: number,
        });
        bench.inserted(commit);
    }
    let known = &bench.state.tables[&table].mutations;
    assert_eq!(known.len(), MUTATIONS_PER_TABLE_MAX);
    let oldest = known.values().next().expect("a mutation");
    assert_eq!((oldest.note.id.as_str(), oldest.note.rows), ("m3", 3));
    bench.done(CommandBody::DropTable { table });
    let horizon = bench.state.version;
    bench.forget(horizon);
    assert!(!bench.state.tables.contains_key(&table));
}

#[test]
fn only_refreshable_views_have_a_schedule() {
    let mut bench = Bench::with_workers(1);
    let source = bench.table("s", 1);
    let new = NewTable { ..new_table("u") };
    bench.done(CommandBody::CreateTable { table: new, if_not_exists: false });
    let step = RefreshStep::Request;
    bench.refused(CommandBody::Refresh { view: source, step }, NotFound);
}
