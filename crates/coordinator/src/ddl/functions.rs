//! CREATE FUNCTION and DROP FUNCTION.

use std::sync::Arc;

use granary_catalog::{CommandBody, ExistingView, FunctionChange};
use granary_common::{Error, Result, did_you_mean};
use granary_sql::{CreateFunction, Statement, check_function};

use super::execute;
use crate::core::Coordinator;
use crate::query::StatementRequest;
use crate::session::parse_settings;

pub(super) async fn change(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: Statement,
) -> Result<()> {
    match statement {
        Statement::CreateFunction(new) => create(core, request, *new).await,
        Statement::DropFunction { name, if_exists, .. } => drop(core, &name, if_exists).await,
        _ => Err(Error::internal("a statement reached the wrong place")),
    }
}

async fn create(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    create: CreateFunction,
) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    let settings = parse_settings(&request.session.settings)?;
    let state = core.session_state(&snapshot, &request.session, &settings)?;
    check_function(&state, &create, &request.sql)?;
    let existing = match (create.or_replace, create.if_not_exists) {
        (true, _) => ExistingView::OrReplace,
        (_, true) => ExistingView::IfNotExists,
        (_, false) => ExistingView::Refuse,
    };
    let CreateFunction { name, parameters, text, .. } = create;
    let change = FunctionChange::Create { name, parameters, body: text, existing };
    execute(core, CommandBody::Function(change)).await
}

async fn drop(core: &Coordinator, name: &str, if_exists: bool) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    let name = match (snapshot.find_function(name), if_exists) {
        (Some(found), _) => found.name.clone(),
        (None, true) => return Ok(()),
        (None, false) => {
            let hint = did_you_mean(name, snapshot.functions.keys().map(String::as_str));
            return Err(Error::not_found(format!("unknown function in SQL '{name}'{hint}")));
        }
    };
    execute(core, CommandBody::Function(FunctionChange::Drop { name, if_exists })).await
}
