//! DELETE, UPDATE and MERGE INTO: rows that are there are taken away, others come, at one version.
//!
//! ```text
//!   statement ─► query at a pinned snapshot ─┬─ part, place ─► a bitmap a part ──────────┐
//!                                            └─ new rows ─► the way of every insert ─────┴─► commit
//! ```
//!
//! The commit names the deletion vectors that the snapshot had. If one of them has moved on, or a
//! merge took the part away, the commit is refused and the statement is planned again, at a newer
//! snapshot. Materialized views see neither what goes nor what comes.
//!
//! A statement returns when it is committed, so a mutation runs as long as its statement does.

mod log;
mod removals;
mod run;

use std::sync::Arc;

use granary_catalog::MutationNote;
use granary_common::{ErrorKind, Result};
use granary_sql::{Notice, Statement, mutated_table};

pub(crate) use log::{MutationLog, MutationRecord};
pub(crate) use removals::Removals;

use crate::core::Coordinator;
use crate::ddl::Done;
use crate::query::{QueryHandle, StatementRequest, shown};
use crate::session::parse_settings;

/// Runs DELETE, UPDATE or MERGE INTO and gives how many rows it concerned.
///
/// Kinds: `InvalidInput` for what does not fit the table; `Conflict` when others changed the same
/// rows again and again: nothing happened, run it again; `DeadlineExceeded`: the outcome is unknown.
pub(crate) async fn mutate(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: &Statement,
    handle: &QueryHandle,
) -> Result<Done> {
    let mut settings = parse_settings(&request.session.settings)?;
    let inherited = settings.notices.len();
    settings.set_all(settings_of(statement))?;
    let notices: Vec<Notice> =
        statement.notices().iter().cloned().chain(settings.notices.drain(inherited..)).collect();
    // Tokens are of inserts; one of the session is not meant for this.
    settings.insert.token.clear();
    let record = record(core, request, statement, handle);
    let note = MutationNote {
        id: record.id.clone(),
        command: record.command.clone(),
        created_ms: record.created_ms,
        rows: 0,
    };
    let running = core.queries.mutations.begin(record);
    let _query = core.query_admission.admit().await?;
    let _insert = core.insert_admission.admit().await?;
    let mut backoff = core.backoff();
    loop {
        let way = run::Way { settings: &settings, handle, running: &running, note: &note };
        let outcome = run::attempt(core, request, statement, &way).await;
        if let Err(error) = &outcome {
            running.failed(core.with.clock.now_ms(), error);
        }
        match outcome {
            Ok(rows) => {
                running.done();
                return Ok(Done { rows, notices, ..Done::default() });
            }
            Err(error) if error.kind().is_retryable() => {
                if !backoff.wait().await {
                    return Err(match error.kind() {
                        ErrorKind::Conflict => error.context(
                            "the rows were changed by others at the same time, again and again; \
                             nothing was done, run the statement again",
                        ),
                        _ => error,
                    });
                }
                tracing::debug!(%error, "planning a mutation again");
            }
            Err(error) => return Err(error),
        }
    }
}

/// What `system.mutations` shows of it as long as it is not done.
fn record(
    core: &Coordinator,
    request: &StatementRequest,
    statement: &Statement,
    handle: &QueryHandle,
) -> MutationRecord {
    let name = mutated_table(statement);
    let database = name.and_then(|name| name.database.clone());
    MutationRecord {
        id: handle.id().0.clone(),
        database: database.unwrap_or_else(|| request.session.database.clone()),
        table: name.map(|name| name.name.clone()).unwrap_or_default(),
        command: shown(&request.sql, log::COMMAND_CHARS_MAX),
        created_ms: core.with.clock.now_ms(),
        is_running: true,
        is_killed: false,
        parts: 0,
        failure: None,
    }
}

fn settings_of(statement: &Statement) -> &[(String, String)] {
    match statement {
        Statement::Delete(delete) => &delete.settings,
        Statement::Update(update) => &update.settings,
        _ => &[],
    }
}
