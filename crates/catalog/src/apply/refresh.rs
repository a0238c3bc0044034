//! Runs of refreshable views. A run has a number; the catalog takes its commit only while no later
//! run has begun and nobody stopped it, so a coordinator that was thought dead changes nothing.

use granary_common::{Error, ErrorKind, Result, TableId};

use super::Draft;
use crate::command::Outcome;
use crate::model::{
    RefreshRun, RefreshSchedule, RefreshStep, RefreshSuccess, ViewKind, ViewRefresh,
};
use crate::row::{Row, RowKey};

/// The longest lease that a run may take.
const LEASE_MS_MAX: u64 = 600_000;

pub(super) fn created(draft: &mut Draft, view: TableId, kind: &ViewKind) {
    if let ViewKind::Refreshable { schedule, .. } = kind {
        draft.put(Row::ViewRefresh(ViewRefresh::created(view, schedule, draft.time_ms)));
    }
}

pub(super) fn forget(draft: &mut Draft, view: TableId) {
    if draft.next.refreshes.contains_key(&view) {
        draft.delete(RowKey::ViewRefresh(view));
    }
}

pub(super) fn step(draft: &mut Draft, view: TableId, step: &RefreshStep) -> Result<Outcome> {
    let (mut row, schedule) = find(draft, view)?;
    let outcome = match step {
        RefreshStep::Begin { coordinator, runs, lease_ms } => {
            begin(&mut row, &schedule, draft.time_ms, (coordinator, *runs, *lease_ms))?
        }
        RefreshStep::Renew { run, lease_ms } => {
            let until_ms = draft.time_ms.saturating_add((*lease_ms).min(LEASE_MS_MAX));
            running(&mut row, *run)?.lease_until_ms = until_ms;
            Outcome::Done
        }
        RefreshStep::Fail { run, code, message } => {
            running(&mut row, *run)?;
            let kind = ErrorKind::from_code(code).unwrap_or(ErrorKind::Internal);
            row.fail(&schedule, draft.time_ms, &Error::new(kind, message));
            Outcome::Done
        }
        RefreshStep::Request => {
            row.requested = true;
            Outcome::Done
        }
        RefreshStep::Stop => {
            row.fail(&schedule, draft.time_ms, &Error::cancelled("SYSTEM STOP VIEW stopped it"));
            row.stopped = true;
            row.requested = false;
            Outcome::Done
        }
        RefreshStep::Start => {
            row.stopped = false;
            Outcome::Done
        }
    };
    draft.put(Row::ViewRefresh(row));
    Ok(outcome)
}

fn begin(
    row: &mut ViewRefresh,
    schedule: &RefreshSchedule,
    now_ms: u64,
    (coordinator, runs, lease_ms): (&str, u64, u64),
) -> Result<Outcome> {
    if row.runs != runs {
        return Err(Error::conflict("another coordinator has begun to refresh the view"));
    }
    if row.begins_ms().is_none_or(|begins_ms| now_ms < begins_ms) {
        return Err(Error::conflict("the view is not due, or its last run still goes on"));
    }
    let is_requested = row.requested;
    row.fail(schedule, now_ms, &Error::unavailable("its coordinator was lost in the middle"));
    row.requested = is_requested;
    row.runs += 1;
    row.running = Some(RefreshRun {
        number: row.runs,
        coordinator: coordinator.to_owned(),
        started_ms: now_ms,
        lease_until_ms: now_ms.saturating_add(lease_ms.min(LEASE_MS_MAX)),
    });
    Ok(Outcome::RefreshBegun(row.runs))
}

/// Refuses the commit of a run that lost its right to it.
pub(super) fn check(draft: &Draft, view: TableId, run: u64) -> Result<()> {
    let (mut row, _) = find(draft, view)?;
    running(&mut row, run).map(drop)
}

/// The run is committed, with `rows` rows.
pub(super) fn succeeded(draft: &mut Draft, view: TableId, run: u64, rows: u64) -> Result<()> {
    let (mut row, schedule) = find(draft, view)?;
    let run = running(&mut row, run)?.clone();
    row.last_success = Some(RefreshSuccess {
        coordinator: run.coordinator,
        started_ms: run.started_ms,
        ended_ms: draft.time_ms,
        rows,
    });
    row.running = None;
    row.requested = false;
    row.successes += 1;
    row.last_failure = None;
    row.failures = 0;
    row.next_ms = schedule.next_ms(draft.time_ms);
    draft.put(Row::ViewRefresh(row));
    Ok(())
}

fn find(draft: &Draft, view: TableId) -> Result<(ViewRefresh, RefreshSchedule)> {
    let row = draft.next.refreshes.get(&view).map(|row| (**row).clone());
    let schedule = draft.next.views.get(&view).and_then(|view| match view.kind {
        ViewKind::Refreshable { schedule, .. } => Some(schedule),
        _ => None,
    });
    row.zip(schedule)
        .ok_or_else(|| Error::not_found("the refreshable view does not exist any more"))
}

/// The run of this number, if it is the one that goes on.
fn running(row: &mut ViewRefresh, number: u64) -> Result<&mut RefreshRun> {
    let run = row.running.as_mut().filter(|run| run.number == number);
    run.ok_or_else(|| {
        Error::cancelled("this refresh was stopped, or another coordinator has taken it over")
    })
}
