//! Refreshable views with their schedules, and how their last runs went.

use granary_catalog::{View as ViewRow, ViewKind, ViewRefresh};
use granary_sql::refresh_text;

use super::View;
use super::columns::Columns;

type Refreshed<'a> = (&'a str, &'a ViewRow, &'a ViewRefresh);

pub(super) fn view_refreshes(view: &View) -> Columns {
    let views = view.views().into_iter();
    let rows: Vec<Refreshed<'_>> = views
        .filter_map(|(database, of)| Some((database, of, &**view.snapshot.refreshes.get(&of.id)?)))
        .collect();
    let now_ms = view.core.with.clock.now_ms();
    let success = |of: fn(&granary_catalog::RefreshSuccess) -> u64| {
        rows.iter().map(move |(_, _, row)| row.last_success.as_ref().map(of))
    };
    Columns::new()
        .texts("database", rows.iter().map(|(database, ..)| database))
        .texts("view", rows.iter().map(|(_, of, _)| &of.name))
        .texts("schedule", rows.iter().map(|(_, of, _)| schedule(of)))
        .texts("status", rows.iter().map(|(_, _, row)| status(row, now_ms)))
        .optional_times("last_success_time", success(|run| run.ended_ms))
        .optional_numbers("last_success_duration_ms", success(|run| run.ended_ms - run.started_ms))
        .optional_numbers("written_rows", success(|run| run.rows))
        .optional_times("last_refresh_time", rows.iter().map(|(_, _, row)| last(row).map(|l| l.0)))
        .optional_texts("coordinator", rows.iter().map(|(_, _, row)| last(row).map(|l| l.1)))
        .optional_times("next_refresh_time", rows.iter().map(|(_, _, row)| next(row)))
        .optional_texts(
            "exception",
            rows.iter().map(|(_, _, row)| {
                row.last_failure.as_ref().map(|failure| failure.error().to_string())
            }),
        )
        .numbers("retry", rows.iter().map(|(_, _, row)| u64::from(row.failures)))
        .numbers("runs", rows.iter().map(|(_, _, row)| row.runs))
        .numbers("successes", rows.iter().map(|(_, _, row)| row.successes))
}

fn schedule(view: &ViewRow) -> String {
    match &view.kind {
        ViewKind::Refreshable { schedule, append, .. } => refresh_text(schedule, *append),
        _ => String::new(),
    }
}

fn status(row: &ViewRefresh, now_ms: u64) -> &'static str {
    match (&row.running, row.requested, row.stopped) {
        (Some(run), ..) if now_ms < run.lease_until_ms => "Running",
        (Some(_), ..) => "Abandoned",
        (None, true, _) => "Requested",
        (None, false, true) => "Stopped",
        (None, false, false) => "Scheduled",
    }
}

/// When the last run began, also one that failed or goes on, and where.
fn last(row: &ViewRefresh) -> Option<(u64, String)> {
    let running = row.running.iter().map(|run| (run.started_ms, &run.coordinator));
    let success = row.last_success.iter().map(|run| (run.started_ms, &run.coordinator));
    let failure = row.last_failure.iter().map(|run| (run.started_ms, &run.coordinator));
    let newest = running.chain(success).chain(failure).max_by_key(|(started_ms, _)| *started_ms);
    newest.map(|(started_ms, coordinator)| (started_ms, coordinator.clone()))
}

fn next(row: &ViewRefresh) -> Option<u64> {
    (!row.stopped && row.running.is_none()).then_some(row.next_ms)
}
