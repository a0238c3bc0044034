//! Views and aliases: what their statements say, and their queries as plans.

use datafusion::common::Column;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr as PlannedExpr, LogicalPlan, LogicalPlanBuilder};
use granary_catalog::{ColumnType, View};
use granary_common::{Error, Result};
use sqlparser::ast::{Expr, Query, Value};

use crate::error::error_from_datafusion;
use crate::statement::EngineClause;
use crate::{Statement, TableName, bind_query, parse};
use granary_functions::column_type_from_arrow;

/// The arguments of `ENGINE = Distributed(cluster, database, table[, key[, policy]])`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasArguments {
    /// The table that the alias stands for.
    pub target: TableName,
    /// The text of the key, which spreads rows in ClickHouse.
    pub key: Option<String>,
}

/// The arguments of an engine clause when it makes an alias instead of a table.
///
/// # Errors
/// InvalidInput when they are not those of `Distributed`.
pub fn alias_arguments(engine: Option<&EngineClause>) -> Result<Option<AliasArguments>> {
    let Some(EngineClause { name, arguments }) = engine else { return Ok(None) };
    if !name.eq_ignore_ascii_case("Distributed") {
        return Ok(None);
    }
    let [_, database, table, rest @ ..] = arguments.as_slice() else {
        return Err(Error::invalid(
            "engine Distributed takes (cluster, database, table[, key[, policy]])",
        ));
    };
    if rest.len() > 2 {
        return Err(Error::invalid("engine Distributed takes five arguments at most"));
    }
    let database = match database {
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("currentDatabase") => {
            None
        }
        named => Some(name_of(named)?).filter(|name| !name.is_empty()),
    };
    let target = TableName { database, name: name_of(table)? };
    Ok(Some(AliasArguments { target, key: rest.first().map(ToString::to_string) }))
}

fn name_of(argument: &Expr) -> Result<String> {
    match argument {
        Expr::Identifier(name) => Ok(name.value.clone()),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Ok(text.clone()),
            other => Err(Error::invalid(format!("engine Distributed: '{other}' is not a name"))),
        },
        other => Err(Error::invalid(format!("engine Distributed: '{other}' is not a name"))),
    }
}

/// The query of a view.
///
/// # Errors
/// Internal when its text is not a query, which was checked when it was created.
pub fn view_query(view: &View) -> Result<Box<Query>> {
    let mut statements = parse(&view.query)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Ok(query),
        _ => Err(Error::internal(format!("the text of view '{}' is not a query", view.name))),
    }
}

/// The columns that a query's plan gives, as a table could store them.
///
/// # Errors
/// InvalidInput for a column of a type that no table has.
pub fn query_columns(plan: &LogicalPlan) -> Result<Vec<(String, ColumnType)>> {
    let column = |field: &arrow::datatypes::FieldRef| {
        let column_type = column_type_from_arrow(field.data_type(), field.is_nullable())
            .map_err(|error| error.context(format!("column '{}' of the query", field.name())))?;
        Ok((field.name().clone(), column_type))
    };
    plan.schema().fields().iter().map(column).collect()
}

/// Binds the query of a view; the plan has the view's columns. `state` has the database that the
/// view was created in as its current one.
///
/// # Errors
/// Those of the query, and InvalidInput when it lacks a column of the view by now; they name the
/// view.
pub async fn view_plan(state: &SessionState, view: &View) -> Result<LogicalPlan> {
    let bound = async {
        let query = view_query(view)?;
        let plan = bind_query(state, &query, &view.query).await?;
        with_view_columns(plan, view)
    };
    bound.await.map_err(|error| error.context(format!("view '{}'", view.name)))
}

/// By position while the query has as many columns as the view, else by name: a `*` grows with its
/// table.
fn with_view_columns(plan: LogicalPlan, view: &View) -> Result<LogicalPlan> {
    let given: Vec<Column> = plan.schema().columns();
    let by_position = given.len() == view.columns.len();
    let mut outputs = Vec::with_capacity(view.columns.len());
    for (at, (name, _)) in view.columns.iter().enumerate() {
        let found = match by_position {
            true => given.get(at),
            false => given.iter().find(|column| column.name == *name),
        };
        let column = found.ok_or_else(|| {
            Error::invalid(format!("its query does not give the column '{name}' any more"))
        })?;
        outputs.push(PlannedExpr::Column(column.clone()).alias(name));
    }
    LogicalPlanBuilder::from(plan)
        .project(outputs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| error_from_datafusion(error, None))
}
