//! The types that tables declare for the columns of a plan, which say more than Arrow's.

use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, LogicalPlan};
use granary_catalog::ColumnType;

use super::names::Names;
use super::spelled::made_type;
use crate::statement::TableName;

/// The type of a column of a table that `plan` reads.
pub(super) fn declared_type(
    column: &Column,
    plan: &LogicalPlan,
    names: &Names<'_>,
) -> Option<ColumnType> {
    let at = |schema: &DFSchema| schema.maybe_index_of_column(column);
    match plan {
        LogicalPlan::TableScan(scan) => {
            let name = TableName {
                database: scan.table_name.schema().map(str::to_owned),
                name: scan.table_name.table().to_owned(),
            };
            let table = names.table(&name)?;
            let found = table.columns.iter().find(|candidate| candidate.name == column.name)?;
            Some(found.column_type.clone())
        }
        LogicalPlan::Projection(projection) => {
            let expression = projection.expr.get(at(&projection.schema)?)?;
            match column_of(expression) {
                Some(inner) => declared_type(inner, &projection.input, names),
                None => made_type(expression),
            }
        }
        LogicalPlan::Aggregate(aggregate) => {
            let at = at(&aggregate.schema)?;
            let inner = match aggregate.group_expr.get(at) {
                Some(key) => column_of(key)?,
                None => {
                    chosen(aggregate.aggr_expr.get(at.checked_sub(aggregate.group_expr.len())?)?)?
                }
            };
            declared_type(inner, &aggregate.input, names)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let field = alias.input.schema().qualified_field(at(&alias.schema)?);
            declared_type(&Column::from(field), &alias.input, names)
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(_) => plan
            .inputs()
            .into_iter()
            .filter(|input| input.schema().has_column(column))
            .find_map(|input| declared_type(column, input, names)),
        _ => None,
    }
}

/// The column of which an aggregate gives one value.
fn chosen(aggregate: &Expr) -> Option<&Column> {
    match aggregate {
        Expr::Alias(alias) => chosen(&alias.expr),
        Expr::AggregateFunction(call) => {
            let names = ["min", "max", "first_value", "last_value"];
            names
                .contains(&call.func.name())
                .then(|| column_of(call.params.args.first()?))
                .flatten()
        }
        _ => None,
    }
}

fn column_of(expression: &Expr) -> Option<&Column> {
    match expression {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => column_of(&alias.expr),
        _ => None,
    }
}
