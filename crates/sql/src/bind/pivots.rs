//! PIVOT as one aggregate for each value, UNPIVOT as one query for each column.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::execution::SessionState;
use granary_common::{Error, Result};
use sqlparser::ast::{
    Expr, ExprWithAlias, FunctionArguments, Ident, NullInclusion, PivotValueSource, Query, SetExpr,
    TableAlias, TableFactor, Value, VisitorMut,
};

use super::{answered, templates};
use crate::error_from_datafusion;
use crate::walk::{visit_expressions, walk_mut};

/// Most values that a PIVOT without a list of them finds.
const VALUES_MAX: usize = 1000;

/// Writes out the values of `FOR column IN (SELECT ...)`, in their order: the columns of a result are
/// known before it is computed.
pub(super) async fn settle(query: &mut Query, state: &SessionState, sql: &str) -> Result<()> {
    let mut sources = Sources(Vec::new());
    let _ = walk_mut(query, &mut sources);
    if sources.0.is_empty() {
        return Ok(());
    }
    let mut lists = Vec::with_capacity(sources.0.len());
    for mut source in sources.0 {
        if source.with.is_none() {
            source.with.clone_from(&query.with);
        }
        lists.push(values_of(&source, state, sql).await?);
    }
    let _ = walk_mut(query, &mut Lists(lists.into_iter()));
    Ok(())
}

/// The queries that give the values, in the order in which they stand.
struct Sources(Vec<Query>);

impl VisitorMut for Sources {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Pivot { value_source: PivotValueSource::Subquery(query), .. } = factor {
            self.0.push((**query).clone());
        }
        ControlFlow::Continue(())
    }
}

struct Lists(std::vec::IntoIter<Vec<ExprWithAlias>>);

impl VisitorMut for Lists {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Pivot { value_source, .. } = factor
            && matches!(value_source, PivotValueSource::Subquery(_))
            && let Some(list) = self.0.next()
        {
            *value_source = PivotValueSource::List(list);
        }
        ControlFlow::Continue(())
    }
}

async fn values_of(source: &Query, state: &SessionState, sql: &str) -> Result<Vec<ExprWithAlias>> {
    let within = |error: Error| error.context("the values of PIVOT");
    // One more may be NULL, which is no column.
    let found = answered::rows(source, state, sql, VALUES_MAX + 1).await;
    let batches = found.map_err(within)?;
    let failed = |error| within(error_from_datafusion(error, Some(sql)));
    let mut values: Vec<ScalarValue> = Vec::new();
    for batch in &batches {
        let Some(column) = batch.columns().first() else { continue };
        for row in 0..batch.num_rows() {
            let value = ScalarValue::try_from_array(column, row).map_err(failed)?;
            if !value.is_null() && !values.contains(&value) {
                values.push(value);
            }
        }
        if values.len() > VALUES_MAX {
            return Err(Error::exhausted(format!(
                "PIVOT finds more than {VALUES_MAX} values; write IN (...) with those you want"
            )));
        }
    }
    values.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    values.iter().map(listed).collect()
}

/// A value as it is compared, named by its text.
fn listed(value: &ScalarValue) -> Result<ExprWithAlias> {
    let text = match value.cast_to(&DataType::Utf8) {
        Ok(ScalarValue::Utf8(Some(text))) => text,
        _ => {
            return Err(Error::unsupported("PIVOT finds values that have no text: write IN (...)"));
        }
    };
    let is_plain = value.data_type().is_numeric() || value.data_type() == DataType::Boolean;
    let expr = match is_plain {
        true => templates::expression(&text)?,
        false => Expr::Value(Value::SingleQuotedString(text.clone()).into()),
    };
    Ok(ExprWithAlias { expr, alias: Some(Ident::with_quote('`', text)) })
}

/// Puts a query in the place of a table that is turned.
pub(super) fn rewrite(factor: &mut TableFactor) -> Result<()> {
    let (query, alias) = match factor {
        TableFactor::Pivot {
            table,
            aggregate_functions,
            value_column,
            value_source,
            default_on_null,
            alias,
        } => {
            let PivotValueSource::List(values) = value_source else {
                return Err(Error::unsupported("PIVOT takes a list of values: IN ('a', 'b')"));
            };
            let default = default_on_null.as_ref();
            (pivot(table, aggregate_functions, value_column, values, default)?, alias.take())
        }
        TableFactor::Unpivot { table, value, name, columns, null_inclusion, alias } => {
            let keeps_nulls = matches!(null_inclusion, Some(NullInclusion::IncludeNulls));
            (unpivot(table, value, &name.to_string(), columns, keeps_nulls)?, alias.take())
        }
        _ => return Ok(()),
    };
    *factor = derived(query, alias);
    Ok(())
}

fn derived(query: Query, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None }
}

/// Puts the table into all queries of a text, each of which has `(SELECT 1)` in its place.
fn over(text: &str, table: &TableFactor) -> Result<Query> {
    fn fill(body: &mut SetExpr, table: &TableFactor) {
        match body {
            SetExpr::Select(select) => {
                if let Some(from) = select.from.first_mut() {
                    from.relation = table.clone();
                }
            }
            SetExpr::SetOperation { left, right, .. } => {
                fill(left, table);
                fill(right, table);
            }
            _ => {}
        }
    }
    let mut query = templates::query(text)?;
    fill(query.body.as_mut(), table);
    Ok(query)
}

/// The name of a column, also where it is written with its table.
fn column_name(expression: &Expr) -> Result<String> {
    match expression {
        Expr::Identifier(name) => Ok(name.to_string()),
        Expr::CompoundIdentifier(parts) => {
            Ok(parts.last().map(ToString::to_string).unwrap_or_default())
        }
        Expr::Nested(inner) => column_name(inner),
        other => Err(Error::invalid(format!("a column is expected, not {other}"))),
    }
}

fn text_of(value: &Expr) -> String {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Groups by all columns that are neither turned nor aggregated.
fn pivot(
    table: &TableFactor,
    aggregates: &[ExprWithAlias],
    columns: &[Expr],
    values: &[ExprWithAlias],
    default: Option<&Expr>,
) -> Result<Query> {
    let columns = columns.iter().map(column_name).collect::<Result<Vec<String>>>()?;
    let mut gone = columns.clone();
    for aggregate in aggregates {
        let Expr::Function(function) = &aggregate.expr else {
            return Err(Error::invalid(format!("PIVOT takes aggregates, not {}", aggregate.expr)));
        };
        if let FunctionArguments::List(list) = &function.args {
            let _ = visit_expressions(list, |expression| {
                if let Ok(name) = column_name(expression)
                    && !gone.contains(&name)
                {
                    gone.push(name);
                }
                ControlFlow::<()>::Continue(())
            });
        }
    }
    let mut shown = Vec::new();
    for value in values {
        let parts = parts_of(&value.expr, columns.len())?;
        let named = value.alias.as_ref().map(|alias| alias.value.clone());
        let named = named.unwrap_or_else(|| {
            parts.iter().map(|part| text_of(part)).collect::<Vec<_>>().join("_")
        });
        let conditions = columns.iter().zip(&parts);
        let conditions: Vec<String> =
            conditions.map(|(column, part)| format!("{column} = {part}")).collect();
        let condition = conditions.join(" AND ");
        for aggregate in aggregates {
            let name = match (&aggregate.alias, aggregates.len()) {
                (Some(alias), _) => format!("{named}_{}", alias.value),
                (None, 1) => named.clone(),
                (None, _) => format!("{named}_{}", aggregate.expr),
            };
            let call = format!("{} FILTER (WHERE {condition})", aggregate.expr);
            let call = match default {
                Some(default) => format!("coalesce({call}, {default})"),
                None => call,
            };
            shown.push(format!("{call} AS {}", quoted(&name)));
        }
    }
    let text = format!(
        "SELECT * EXCEPT ({}), {} FROM (SELECT 1) GROUP BY ALL",
        gone.join(", "),
        shown.join(", ")
    );
    over(&text, table)
}

/// The value of each of several columns.
fn parts_of(value: &Expr, columns: usize) -> Result<Vec<&Expr>> {
    match value {
        value if columns == 1 => Ok(vec![value]),
        Expr::Tuple(parts) if parts.len() == columns => Ok(parts.iter().collect()),
        other => Err(Error::invalid(format!(
            "PIVOT FOR {columns} columns takes a tuple of as many values, not {other}"
        ))),
    }
}

fn unpivot(
    table: &TableFactor,
    value: &Expr,
    name: &str,
    columns: &[ExprWithAlias],
    keeps_nulls: bool,
) -> Result<Query> {
    let value = column_name(value)?;
    let names = columns.iter().map(|column| column_name(&column.expr));
    let names = names.collect::<Result<Vec<String>>>()?;
    let part = |(column, of): (&ExprWithAlias, &String)| {
        let label = match &column.alias {
            Some(alias) => alias.value.clone(),
            None => of.trim_matches(['`', '"']).to_owned(),
        };
        let there = if keeps_nulls { String::new() } else { format!(" WHERE {of} IS NOT NULL") };
        format!(
            "SELECT * EXCEPT ({}), '{}' AS {name}, {of} AS {value} FROM (SELECT 1){there}",
            names.join(", "),
            label.replace('\'', "''")
        )
    };
    let parts: Vec<String> = columns.iter().zip(&names).map(part).collect();
    over(&parts.join(" UNION ALL "), table)
}
