//! Any statement, to its answer.

use std::sync::Arc;

use granary_common::Result;
use granary_sql::{Statement, mutated_table};

use crate::backup;
use crate::core::Coordinator;
use crate::ddl::{self, Done};
use crate::insert::{Inserted, insert_statement};
use crate::mutate::mutate;
use crate::outside::insert_outside;
use crate::query::{
    BoundQuery, StatementRequest, bind_statement, is_query, one_statement, run_bound,
};

/// What a statement comes to.
pub enum Answer {
    /// Rows, to be run when they are fetched.
    Query(Box<BoundQuery>),
    /// It was run.
    Done(Done),
}

/// Binds a query; runs anything else.
pub async fn answer(core: &Arc<Coordinator>, request: StatementRequest) -> Result<Answer> {
    core.check_accepting()?;
    let statement = one_statement(core, &request).await?;
    match is_query(&statement) {
        true => Ok(Answer::Query(Box::new(bind_statement(core, request, statement).await?))),
        false => Ok(Answer::Done(run(core, request, statement).await?)),
    }
}

/// Runs a statement to its end; rows of a query are counted and dropped.
pub async fn run_to_end(core: &Arc<Coordinator>, request: StatementRequest) -> Result<Done> {
    match answer(core, request).await? {
        Answer::Done(done) => Ok(done),
        Answer::Query(bound) => {
            let mut rows = run_bound(core, *bound).await?;
            let notices = std::mem::take(&mut rows.notices);
            while let Some(batch) = futures::StreamExt::next(&mut rows).await {
                batch?;
            }
            Ok(Done { notices, ..Done::default() })
        }
    }
}

async fn run(
    core: &Arc<Coordinator>,
    request: StatementRequest,
    statement: Statement,
) -> Result<Done> {
    if let Statement::Insert(insert) = &statement {
        let inserted = insert_statement(core, &request, insert).await?;
        let Inserted { rows, notices, .. } = inserted;
        return Ok(Done { rows, notices, ..Done::default() });
    }
    let session = &request.session;
    let handle = core.queries.begin(&request.id, &session.user, &session.database, &request.sql);
    let outcome = match statement {
        Statement::Backup(backup) => {
            // Boxed: what it holds would else lie on the stack of every statement.
            handle.run(Box::pin(backup::run(core, &request, *backup, &handle))).await
        }
        Statement::InsertOutside(insert) => {
            handle.run(Box::pin(insert_outside(core, &request, &insert))).await
        }
        changed if mutated_table(&changed).is_some() => {
            handle.run(mutate(core, &request, &changed, &handle)).await
        }
        other => handle.run(ddl::change(core, &request, other)).await,
    };
    handle.finish(outcome.as_ref().err());
    outcome
}
