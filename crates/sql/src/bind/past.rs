//! `t AS OF ...`: the point of the past becomes a part of the table's name, which says how the table
//! is read.

use std::ops::ControlFlow;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMillisecondType, UInt64Type};
use datafusion::execution::SessionState;
use granary_catalog::Past;
use granary_common::{CatalogVersion, Error, Result};
use granary_execution::TableReading;
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, Ident, Query,
    TableAlias, TableFactor, TableVersion, Value, Visitor, VisitorMut,
};

use super::answered;
use super::names::rename;
use crate::statement::{PastClause, Statement, TableName, parse};
use crate::walk::{visit_expressions, walk, walk_mut};

/// Whether a query reads something as it was.
pub fn reads_past(query: &Query) -> bool {
    !clauses_of(query).is_empty()
}

fn clauses_of(query: &Query) -> Vec<TableVersion> {
    let mut found = Clauses(Vec::new());
    let _ = walk(query, &mut found);
    found.0
}

struct Clauses(Vec<TableVersion>);

impl Visitor for Clauses {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { version: Some(version), .. } = factor {
            self.0.push(version.clone());
        }
        ControlFlow::Continue(())
    }
}

/// Moves every AS OF of the query into the name of its table.
pub(super) async fn settle(query: &mut Query, state: &SessionState) -> Result<()> {
    let clauses = clauses_of(query);
    if clauses.is_empty() {
        return Ok(());
    }
    let mut points = Vec::with_capacity(clauses.len());
    for clause in &clauses {
        points.push(point(state, clause).await?);
    }
    match walk_mut(query, &mut Readings { points: points.into_iter() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Readings {
    points: std::vec::IntoIter<Past>,
}

impl VisitorMut for Readings {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table { name, alias, args, version, .. } = factor else {
            return ControlFlow::Continue(());
        };
        if version.take().is_none() {
            return ControlFlow::Continue(());
        }
        let Some(point) = self.points.next() else {
            return ControlFlow::Break(Error::internal("an AS OF was not looked at"));
        };
        if args.is_some() {
            return ControlFlow::Break(Error::unsupported("AS OF is for tables, not functions"));
        }
        match TableName::of(name) {
            Ok(written) => {
                let reading = TableReading::parse(&written.name);
                let shown = reading.table.clone();
                rename(name, TableReading { past: Some(point), ..reading }.name());
                alias.get_or_insert_with(|| TableAlias {
                    explicit: true,
                    name: Ident::with_quote('`', shown),
                    columns: Vec::new(),
                    at: None,
                });
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// The point of the past that a statement names.
///
/// # Errors
/// InvalidInput when its expression is no version or time; Unsupported for points of other databases.
pub async fn past_point(state: &SessionState, clause: &PastClause) -> Result<Past> {
    point(state, &clause.0).await
}

async fn point(state: &SessionState, clause: &TableVersion) -> Result<Past> {
    match clause {
        TableVersion::ForSystemTimeAsOf(time) | TableVersion::TimestampAsOf(time) => {
            Ok(Past::TimeMs(time_ms(state, time).await?))
        }
        TableVersion::VersionAsOf(version) => version_of(state, version).await,
        TableVersion::Function(Expr::Function(function)) => {
            let is_before = function.name.to_string().eq_ignore_ascii_case("BEFORE");
            let FunctionArguments::List(list) = &function.args else { return Err(unknown(clause)) };
            let [
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(value),
                    operator: FunctionArgOperator::RightArrow,
                },
            ] = list.args.as_slice()
            else {
                return Err(unknown(clause));
            };
            let found = match name.value.to_uppercase().as_str() {
                "TIMESTAMP" => Past::TimeMs(time_ms(state, value).await?),
                "VERSION" => version_of(state, value).await?,
                "OFFSET" => Past::TimeMs(offset_ms(state, value).await?),
                _ => return Err(unknown(clause)),
            };
            Ok(match (is_before, found) {
                (false, found) => found,
                (true, Past::TimeMs(time_ms)) => Past::TimeMs(time_ms.saturating_sub(1)),
                (true, Past::Version(version)) => {
                    Past::Version(CatalogVersion(version.0.saturating_sub(1)))
                }
            })
        }
        _ => Err(unknown(clause)),
    }
}

fn unknown(clause: &TableVersion) -> Error {
    Error::unsupported(format!(
        "'{clause}': AS OF takes VERSION n or TIMESTAMP time, AT and BEFORE take TIMESTAMP, VERSION or \
         OFFSET"
    ))
}

async fn version_of(state: &SessionState, expression: &Expr) -> Result<Past> {
    let value = value(state, expression, expression.to_string(), &DataType::UInt64).await?;
    let version = value.as_primitive::<UInt64Type>().value(0);
    Ok(Past::Version(CatalogVersion(version)))
}

async fn time_ms(state: &SessionState, expression: &Expr) -> Result<u64> {
    let text = format!("toDateTime64({expression}, 3)");
    let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
    let value = value(state, expression, text, &millis).await?;
    let time_ms = value.as_primitive::<TimestampMillisecondType>().value(0);
    u64::try_from(time_ms).map_err(|_| Error::invalid(format!("{expression} is before 1970")))
}

/// So many seconds from now, which are below zero.
async fn offset_ms(state: &SessionState, expression: &Expr) -> Result<u64> {
    let text = format!("CAST(({expression}) * 1000 AS Int64)");
    let value = value(state, expression, text, &DataType::Int64).await?;
    let offset_ms = value.as_primitive::<arrow::datatypes::Int64Type>().value(0);
    if offset_ms > 0 {
        return Err(Error::invalid(format!("OFFSET => {expression}: seconds back are below zero")));
    }
    let now = state.execution_props().query_execution_start_time;
    let now_ms = now.map_or(0, |now| now.timestamp_millis());
    u64::try_from(now_ms.saturating_add(offset_ms))
        .map_err(|_| Error::invalid(format!("OFFSET => {expression} is before 1970")))
}

/// The value of `text`, which stands for `expression`, as one value of a type.
async fn value(
    state: &SessionState,
    expression: &Expr,
    text: String,
    data_type: &DataType,
) -> Result<arrow::array::ArrayRef> {
    let is_open = visit_expressions(expression, |part| match part {
        Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    if is_open.is_break() {
        return Err(Error::unsupported("AS OF takes no parameters: write the version or the time"));
    }
    let wrong = |why: &dyn std::fmt::Display| Error::invalid(format!("AS OF {expression}: {why}"));
    let mut statements = parse(&format!("SELECT {text}"))?;
    let Some(Statement::Query(query)) = statements.pop() else {
        return Err(wrong(&"this is no value"));
    };
    let within = |error: Error| error.context(format!("AS OF {expression}"));
    let batches = answered::rows(&query, state, "", 1).await.map_err(within)?;
    let mut values = batches.iter().filter(|batch| batch.num_rows() > 0);
    match (values.next(), values.next()) {
        (Some(batch), None) if batch.num_rows() == 1 && batch.column(0).null_count() == 0 => {
            cast(batch.column(0), data_type).map_err(|error| wrong(&error))
        }
        _ => Err(wrong(&"this is no single value")),
    }
}
