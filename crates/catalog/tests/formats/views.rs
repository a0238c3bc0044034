//! Refreshable views and mutations.

use super::*;

fn schedule() -> RefreshSchedule {
    RefreshSchedule { every_ms: 3_600_000, offset_ms: 60_000, after_end: false, starts_empty: true }
}

fn refresh() -> ViewRefresh {
    ViewRefresh {
        view: TableId(9),
        next_ms: 1_700_000_000_000,
        stopped: true,
        requested: true,
        runs: 5,
        successes: 3,
        running: Some(RefreshRun {
            number: 5,
            coordinator: "c0ffee".into(),
            started_ms: 1_700_000_000_000,
            lease_until_ms: 1_700_000_015_000,
        }),
        last_success: Some(RefreshSuccess {
            coordinator: "c0ffee".into(),
            started_ms: 1,
            ended_ms: 2,
            rows: 3,
        }),
        last_failure: Some(RefreshFailure {
            coordinator: "decaf".into(),
            started_ms: 4,
            ended_ms: 5,
            code: "UNAVAILABLE".into(),
            message: "no worker is alive".into(),
        }),
        failures: 1,
    }
}

fn mutation_note() -> MutationNote {
    let command = "DELETE FROM orders WHERE key = 1".into();
    MutationNote { id: "m-1".into(), command, created_ms: 1_700_000_000_000, rows: 1 }
}

#[test]
fn refreshes_and_mutations() {
    check("row_view_refresh", &Row::ViewRefresh(refresh()));
    let (table, version) = (TableId(7), CatalogVersion(50));
    let note = mutation_note();
    check("row_mutation", &Row::Mutation(Mutation { table, version, note, done_ms: 6, parts: 2 }));
    let kind = ViewKind::Refreshable {
        target: TableId(8),
        owns_target: true,
        schedule: schedule(),
        append: true,
    };
    check("view_kind_refreshable", &kind);
    for (name, step) in [
        ("begin", RefreshStep::Begin { coordinator: "c0ffee".into(), runs: 4, lease_ms: 15_000 }),
        ("renew", RefreshStep::Renew { run: 5, lease_ms: 15_000 }),
        ("fail", RefreshStep::Fail { run: 5, code: "INTERNAL".into(), message: "why".into() }),
        ("request", RefreshStep::Request),
        ("stop", RefreshStep::Stop),
        ("start", RefreshStep::Start),
    ] {
        let body = CommandBody::Refresh { view: TableId(9), step };
        let command = Command { time_ms: 1_700_000_000_000, body };
        check(&format!("command_refresh_{name}"), &command);
    }
    let commit = |origin| {
        let body = CommandBody::CommitWrite(CommitWrite {
            tables: Vec::new(),
            staged: None,
            token: "r-1".into(),
            digest: "d3".into(),
            rows: 1,
            others: Vec::new(),
            origin,
        });
        Command { time_ms: 1_700_000_000_000, body }
    };
    let run = WriteOrigin::Refresh { view: TableId(9), run: 5 };
    check("command_commit_refresh", &commit(run));
    check("command_commit_mutation", &commit(WriteOrigin::Mutation(mutation_note())));
    check("command_commit_populate", &commit(WriteOrigin::Populate { view: TableId(9) }));
}

#[test]
fn what_targets_stand_for() {
    for (name, filled) in [("whole", Filled::Whole), ("partly", Filled::Partly)] {
        let kind =
            ViewKind::Materialized { source: TableId(7), target: TableId(8), owns_target: true };
        let view = View {
            id: TableId(9),
            database: DatabaseId(1),
            name: "v".into(),
            query: "SELECT key, count() AS n FROM orders GROUP BY key".into(),
            query_database: "default".into(),
            columns: vec![("key".into(), ColumnType::UInt64)],
            kind,
            comment: None,
            created: CatalogVersion(10),
            filled: Some(filled),
        };
        check(&format!("row_view_{name}"), &Row::View(view));
    }
}
