//! `ORDER BY key WITH FILL`: rows for the values of the key that are missing.
//!
//! All rows become one array, [`crate::functions::fill_rows`] puts the missing ones between them, and
//! the array becomes rows again. A result with gaps to fill is meant to be looked at, so it is small.

use datafusion::common::{Column, DFSchema, NullHandling, Result, UnnestOptions};
use datafusion::functions::core::expr_fn::{get_field, named_struct};
use datafusion::functions_aggregate::expr_fn::array_agg;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, lit};
use sqlparser::ast::{
    Expr as Tree, Interpolate, OrderBy, OrderByExpr, OrderByKind, Query, TableFactor,
};

use super::invalid;
use crate::functions::{FillKey, FillSpec, FilledColumn, NULL, fill_rows, step_type};

/// The column that keeps the order of the filled rows.
pub(crate) const POSITION: &str = "__granary_fill_position";

const BY_COLUMN: &str = "__granary_fill_column_";
const BY_POSITION: &str = "__granary_fill_at_";
const ROWS: &str = "__granary_fill_rows";

/// The key that stands for the result's column of that name.
pub(crate) fn key_of_column(name: &str) -> String {
    format!("{BY_COLUMN}{name}")
}

/// The key that stands for the result's column at that position, from 1.
pub(crate) fn key_of_position(position: &str) -> String {
    format!("{BY_POSITION}{position}")
}

/// Whether the keys of an order stand for columns of the result already.
pub(crate) fn marked_keys(order_by: &OrderBy) -> bool {
    let marked = |key: &OrderByExpr| match &key.expr {
        Tree::Identifier(name) => {
            name.value.starts_with(BY_COLUMN) || name.value.starts_with(BY_POSITION)
        }
        _ => false,
    };
    match &order_by.kind {
        OrderByKind::Expressions(keys) => {
            keys.iter().any(|key| key.with_fill.is_some()) && keys.iter().all(marked)
        }
        OrderByKind::All(_) => false,
    }
}

/// The rows of `query`, whose order is marked, with those that are missing.
pub(super) fn plan(
    mut query: Box<Query>,
    order_by: OrderBy,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    query.order_by = None;
    let rows = TableFactor::Derived { lateral: false, subquery: query, alias: None, sample: None };
    let rows = context.plan(rows)?;
    let columns = rows.schema().columns();
    let mut spec = FillSpec::default();
    let mut bounds: Vec<Expr> = Vec::new();
    if let OrderByKind::Expressions(keys) = order_by.kind {
        for key in keys {
            spec.keys.push(fill_key(key, &rows, &columns, &mut bounds, context)?);
        }
    }
    if let Some(interpolate) = order_by.interpolate {
        spec.carried = carried(interpolate, &columns, &spec)?;
    }
    null_in_new_rows(&rows, &mut spec);
    let mut fields: Vec<Expr> = Vec::with_capacity(columns.len() * 2);
    for (at, column) in columns.iter().enumerate() {
        fields.push(lit(format!("c{at}")));
        fields.push(Expr::Column(column.clone()));
    }
    spec.names = columns.iter().map(|column| column.name.clone()).collect();
    let all = array_agg(named_struct(fields)).alias(ROWS);
    let filled = fill_rows(Expr::Column(Column::from_name(ROWS)), &spec, bounds).alias(ROWS);
    let options = UnnestOptions::new().with_null_handling(NullHandling::Drop);
    let row = || Expr::Column(Column::from_name(ROWS));
    let mut outputs: Vec<Expr> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| get_field(row(), format!("c{at}")).alias(&column.name))
        .collect();
    outputs.push(get_field(row(), "position").alias(POSITION));
    LogicalPlanBuilder::from(rows)
        .aggregate(Vec::<Expr>::new(), vec![all])?
        .project(vec![filled])?
        .unnest_column_with_options(Column::from_name(ROWS), options)?
        .project(outputs)?
        .build()
}

/// Columns that may be NULL are NULL in new rows, the others have the zero of their type.
fn null_in_new_rows(rows: &LogicalPlan, spec: &mut FillSpec) {
    for column in 0..rows.schema().fields().len() {
        let is_known = spec.keys.iter().any(|key| key.column == column)
            || spec.carried.iter().any(|carried| carried.column == column);
        if !is_known && may_be_null(rows, column) {
            spec.carried.push(FilledColumn { column, expression: Some(NULL.to_owned()) });
        }
    }
}

fn may_be_null(rows: &LogicalPlan, column: usize) -> bool {
    match rows {
        LogicalPlan::Projection(projection) => {
            let schema = projection.input.schema();
            let value = projection.expr.get(column).map(|value| value.clone().unalias());
            match value {
                Some(Expr::Column(inner)) => match schema.maybe_index_of_column(&inner) {
                    Some(inner) => may_be_null(&projection.input, inner),
                    None => true,
                },
                Some(value) => crate::bind::may_be_null(&value, schema),
                None => true,
            }
        }
        LogicalPlan::SubqueryAlias(alias) => may_be_null(&alias.input, column),
        LogicalPlan::Filter(filter) => may_be_null(&filter.input, column),
        LogicalPlan::Sort(sort) => may_be_null(&sort.input, column),
        LogicalPlan::Limit(limit) => may_be_null(&limit.input, column),
        other => other.schema().field(column).is_nullable(),
    }
}

/// The key as the function takes it; its bounds and step follow in `bounds`.
fn fill_key(
    key: OrderByExpr,
    rows: &LogicalPlan,
    columns: &[Column],
    bounds: &mut Vec<Expr>,
    context: &mut dyn RelationPlannerContext,
) -> Result<FillKey> {
    let marked = match key.expr {
        Tree::Identifier(name) => name.value,
        other => return Err(invalid(format!("'{other}' is no column of the result"))),
    };
    let found = match marked.strip_prefix(BY_POSITION) {
        Some(position) => position
            .parse::<usize>()
            .ok()
            .and_then(|at| at.checked_sub(1))
            .filter(|at| *at < columns.len()),
        None => {
            let name = marked.strip_prefix(BY_COLUMN).unwrap_or(&marked);
            columns.iter().position(|column| column.name == name)
        }
    };
    let Some(column) = found else {
        let name = marked.trim_start_matches(BY_COLUMN).trim_start_matches(BY_POSITION);
        return Err(invalid(format!("ORDER BY ... WITH FILL: unknown column '{name}'")));
    };
    let ascending = key.options.asc.unwrap_or(true);
    let mut filled = FillKey {
        column,
        ascending,
        nulls_first: key.options.nulls_first.unwrap_or(false),
        ..FillKey::default()
    };
    let Some(fill) = key.with_fill else { return Ok(filled) };
    filled.fills = true;
    let data_type = Expr::Column(columns[column].clone()).get_type(rows.schema())?;
    let nothing = DFSchema::empty();
    let mut value = |tree: Option<Tree>, step: bool| -> Result<bool> {
        let Some(tree) = tree else { return Ok(false) };
        let value = context.sql_to_expr(tree, &nothing)?;
        let given = value.get_type(&nothing)?;
        let wanted = if step { step_type(&data_type, &given)? } else { data_type.clone() };
        bounds.push(if given == wanted { value } else { cast(value, wanted) });
        Ok(true)
    };
    filled.from = value(fill.from, false)?;
    filled.to = value(fill.to, false)?;
    filled.step = value(fill.step, true)?;
    Ok(filled)
}

/// The columns whose value in a new row comes from the row before.
fn carried(
    interpolate: Interpolate,
    columns: &[Column],
    spec: &FillSpec,
) -> Result<Vec<FilledColumn>> {
    let is_key = |at: usize| spec.keys.iter().any(|key| key.column == at);
    let Some(items) = interpolate.exprs else {
        let all = (0..columns.len()).filter(|at| !is_key(*at));
        return Ok(all.map(|column| FilledColumn { column, expression: None }).collect());
    };
    let carried = items.into_iter().map(|item| {
        let name = &item.column.value;
        match columns.iter().position(|column| column.name == *name) {
            Some(column) if !is_key(column) => Ok(FilledColumn {
                column,
                expression: item.expr.map(|expression| expression.to_string()),
            }),
            Some(_) => Err(invalid(format!("INTERPOLATE: '{name}' is a key of the order"))),
            None => Err(invalid(format!("INTERPOLATE: unknown column '{name}'"))),
        }
    });
    carried.collect()
}
