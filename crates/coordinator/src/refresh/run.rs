//! One run: begun, kept alive, committed or noted as failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{CommandBody, Outcome, RefreshStep, ViewKind};
use granary_common::{Error, ErrorKind, Result, TableId};

use super::schedule::Due;
use crate::core::Coordinator;
use crate::insert::{Effect, InsertRequest, insert_with};
use crate::query::snapshot_at;
use crate::session::{Session, parse_settings};
use crate::views::ViewRows;

/// How long a run may stay without a sign of its coordinator.
const LEASE: Duration = Duration::from_secs(15);
/// The user of a refresh.
const USER: &str = "system";

/// A run that this coordinator makes.
#[derive(Clone, Copy, Debug)]
struct Run {
    view: TableId,
    number: u64,
}

/// Makes the run that is due, unless somebody else does.
pub(super) async fn run(core: &Arc<Coordinator>, due: Due) {
    let run = match begin(core, due).await {
        Ok(run) => run,
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
            tracing::debug!(view = due.view.0, %error, "a refresh is not for this coordinator");
            return;
        }
        Err(error) => {
            tracing::warn!(view = due.view.0, %error, "a refresh was not begun");
            return;
        }
    };
    let outcome = tokio::select! {
        outcome = refreshed(core, run) => outcome,
        lost = keep_alive(core, run) => Err(lost),
    };
    let Err(error) = outcome else { return };
    tracing::warn!(view = run.view.0, run = run.number, %error, "a refresh failed");
    let (code, message) = (error.kind().code().to_owned(), error.message().to_owned());
    let failed = step(run, RefreshStep::Fail { run: run.number, code, message });
    if let Err(error) = core.execute_until_known(failed).await {
        // Kind Cancelled: the run is not ours any more. Else its lease will end it.
        tracing::debug!(view = run.view.0, run = run.number, %error, "the failure is not noted");
    }
}

fn step(run: Run, step: RefreshStep) -> CommandBody {
    CommandBody::Refresh { view: run.view, step }
}

async fn begin(core: &Arc<Coordinator>, due: Due) -> Result<Run> {
    let Due { view, runs } = due;
    let lease_ms = LEASE.as_millis() as u64;
    let coordinator = core.identity.clone();
    let step = RefreshStep::Begin { coordinator, runs, lease_ms };
    let begun = core.with.catalog.execute(CommandBody::Refresh { view, step }).await;
    match begun {
        Ok((_, Outcome::RefreshBegun(number))) => Ok(Run { view, number }),
        Ok(_) => Err(Error::internal("a refresh was answered with something else")),
        Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {
            // It may have been done all the same.
            let snapshot = core.with.catalog.read_latest().await?;
            let running = snapshot.refreshes.get(&view).and_then(|row| row.running.as_ref());
            let own = running
                .filter(|run| run.number == runs + 1 && run.coordinator == core.identity)
                .map(|run| Run { view, number: run.number });
            own.ok_or(error)
        }
        Err(error) => Err(error),
    }
}

/// Renews the lease until somebody else has the run, and gives the error that says so.
async fn keep_alive(core: &Arc<Coordinator>, run: Run) -> Error {
    let lease_ms = LEASE.as_millis() as u64;
    loop {
        core.with.clock.sleep(LEASE / 4).await;
        let renewal = step(run, RefreshStep::Renew { run: run.number, lease_ms });
        match core.with.catalog.execute(renewal).await {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::NotFound) => {
                return error;
            }
            // The commit is refused if it comes too late; nothing is lost by going on.
            Err(error) => tracing::warn!(%error, "the lease of a refresh was not renewed"),
        }
    }
}

/// Runs the query and commits its rows, again when somebody was faster or a worker was lost.
async fn refreshed(core: &Arc<Coordinator>, run: Run) -> Result<()> {
    let mut backoff = core.backoff();
    loop {
        match attempt(core, run).await {
            Err(error) if error.kind().is_retryable() && backoff.wait().await => {
                tracing::warn!(view = run.view.0, %error, "trying a refresh again");
            }
            outcome => return outcome,
        }
    }
}

async fn attempt(core: &Arc<Coordinator>, run: Run) -> Result<()> {
    let (snapshot, _pin) = snapshot_at(core, None).await?;
    let view = snapshot.views.get(&run.view).cloned();
    let view = view.ok_or_else(|| Error::not_found("the view was dropped"))?;
    let ViewKind::Refreshable { append, .. } = view.kind else {
        return Err(Error::internal(format!("view '{}' has no schedule", view.name)));
    };
    let now_ms = core.with.clock.now_ms();
    let mut session = Session::new(core.queries.draw_id().0, USER.to_owned(), now_ms);
    session.database.clone_from(&view.query_database);
    let mut settings = parse_settings(&BTreeMap::new())?;
    let _permit = core.query_admission.admit().await?;
    let rows = ViewRows::open(core, &snapshot, &session, &settings, &view).await?;
    // The same for every attempt of the run: whichever is committed, it is committed once.
    settings.insert.token = format!("refresh-{}-{}", run.view.0, run.number);
    let request = InsertRequest {
        id: core.queries.draw_id(),
        session: session.clone(),
        table: rows.table.clone(),
        columns: Some(rows.columns()),
        digest: Some(settings.insert.token.clone()),
        settings,
        text: format!("REFRESH VIEW {}: {}", view.name, view.query),
    };
    let effect = Effect::Refresh { view: run.view, run: run.number, append };
    let done = insert_with(core, request, effect, rows.schema.clone(), rows.batches).await?;
    tracing::debug!(view = view.name, rows = done.rows, "refreshed");
    Ok(())
}
