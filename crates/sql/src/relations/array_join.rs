//! ARRAY JOIN: a row for each position of the arrays, which are unnested side by side.

use datafusion::common::{Column, NullHandling, Result, TableReference, UnnestOptions};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast::{SelectItem, SetExpr, TableFactor};

use super::invalid;
use granary_functions::zip_arrays;

/// Name of the column that holds one position of all arrays.
const ROW: &str = "__granary_array_join";

/// An array and the column that its elements become.
struct Unnested {
    array: Expr,
    relation: Option<TableReference>,
    name: String,
}

/// `base` with the arrays of `list` unnested; `keeps_empty` gives a row to empty arrays too.
pub(super) fn plan(
    base: LogicalPlan,
    list: TableFactor,
    keeps_empty: bool,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let arrays = unnested(&base, list, context)?;
    let columns: Vec<Column> = base.schema().columns();
    let of_array = |column: &Column| {
        arrays.iter().position(|array| {
            array.name == column.name
                && (array.relation.is_none() || array.relation == column.relation)
        })
    };
    let zipped = zip_arrays(arrays.iter().map(|array| array.array.clone()), keeps_empty)?;
    let kept = columns.iter().filter(|column| of_array(column).is_none());
    let mut inputs: Vec<Expr> = kept.map(|column| Expr::Column(column.clone())).collect();
    inputs.push(zipped.alias(ROW));
    let options = UnnestOptions::new().with_null_handling(NullHandling::Drop);
    let rows = LogicalPlanBuilder::from(base)
        .project(inputs)?
        .unnest_column_with_options(Column::from_name(ROW), options)?;

    // What replaces a column stands in its place; the others follow.
    let element = |at: usize| get_field(Expr::Column(Column::from_name(ROW)), (at + 1).to_string());
    let mut outputs: Vec<Expr> = Vec::with_capacity(columns.len() + arrays.len());
    let mut placed = vec![false; arrays.len()];
    for column in &columns {
        match of_array(column) {
            None => outputs.push(Expr::Column(column.clone())),
            Some(at) if !placed[at] => {
                placed[at] = true;
                let Column { relation, name, .. } = column.clone();
                outputs.push(element(at).alias_qualified(relation, name));
            }
            Some(_) => {}
        }
    }
    for (at, array) in arrays.iter().enumerate().filter(|(at, _)| !placed[*at]) {
        outputs.push(element(at).alias(&array.name));
    }
    rows.project(outputs)?.build()
}

fn unnested(
    base: &LogicalPlan,
    list: TableFactor,
    context: &mut dyn RelationPlannerContext,
) -> Result<Vec<Unnested>> {
    let SetExpr::Select(select) = (match list {
        TableFactor::Derived { subquery, alias: None, .. } => *subquery.body,
        _ => return Err(invalid("ARRAY JOIN takes arrays, not a table")),
    }) else {
        return Err(invalid("ARRAY JOIN takes arrays, not a table"));
    };
    let mut arrays = Vec::with_capacity(select.projection.len());
    for item in select.projection {
        let (array, alias) = match item {
            SelectItem::UnnamedExpr(array) => (array, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.value)),
            other => return Err(invalid(format!("ARRAY JOIN takes arrays, not '{other}'"))),
        };
        let text = array.to_string();
        let nested = columns_of_nested(base, &text);
        if !nested.is_empty() {
            // `n Nested(k T, ...)` is one column for each part.
            arrays.extend(nested.into_iter().map(|column| {
                let part = column.name.rsplit_once('.').map_or("", |(_, part)| part);
                let name = match &alias {
                    Some(alias) => format!("{alias}.{part}"),
                    None => column.name.clone(),
                };
                let relation = alias.is_none().then(|| column.relation.clone()).flatten();
                Unnested { array: Expr::Column(column), relation, name }
            }));
            continue;
        }
        let array = context.sql_to_expr(array, base.schema())?;
        let (relation, name) = match (alias, &array) {
            (Some(alias), _) => (None, alias),
            (None, Expr::Column(column)) => (column.relation.clone(), column.name.clone()),
            (None, _) => {
                return Err(invalid(format!("ARRAY JOIN needs a name: write '{text} AS name'")));
            }
        };
        arrays.push(Unnested { array, relation, name });
    }
    Ok(arrays)
}

/// The columns `n.k` of a nested `n` that is no column itself.
fn columns_of_nested(base: &LogicalPlan, name: &str) -> Vec<Column> {
    let name = name.trim_matches(['`', '"']);
    let columns = base.schema().columns();
    if columns.iter().any(|column| column.name == name) {
        return Vec::new();
    }
    let is_part =
        |column: &Column| column.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    columns.into_iter().filter(is_part).collect()
}
