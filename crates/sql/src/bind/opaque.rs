//! Casts to a coarser type that are compared with another column of the same table, `toDate(at) = day`.
//!
//! From the least and the greatest value of the columns the engine computes which share of the rows meets
//! such a condition. Behind a cast that loses something the range of a column seems to grow by that, the
//! share is more than all of them, and planning fails. So these casts are hidden from it.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Filter, LogicalPlan};
use granary_functions::{AS_IS, call};

use super::fixed::compares;

/// `plan` with such casts hidden.
pub(super) fn hide_casts(plan: LogicalPlan) -> Result<LogicalPlan> {
    let hidden = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Filter(filter) = plan else { return Ok(Transformed::no(plan)) };
        let schema = filter.input.schema();
        let predicate =
            filter.predicate.clone().transform_up(|inner| in_comparison(inner, schema))?;
        if !predicate.transformed {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let filter = Filter::try_new(predicate.data, filter.input)?;
        Ok(Transformed::yes(LogicalPlan::Filter(filter)))
    })?;
    Ok(hidden.data)
}

fn in_comparison(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expression else {
        return Ok(Transformed::no(expression));
    };
    // Columns of several tables are a condition of a join, whose keys are better seen.
    let columns = expression.column_refs();
    let mut relations = columns.iter().map(|column| &column.relation);
    let first = relations.next();
    let of_one_table = relations.all(|relation| Some(relation) == first);
    let both = !left.column_refs().is_empty() && !right.column_refs().is_empty();
    if !compares(op) || !both || !of_one_table {
        return Ok(Transformed::no(expression));
    }
    let hidden = |side: &Expr| -> Result<Expr> {
        let inner = side.clone().transform_up(|inner| match loses(&inner, schema) {
            true => call(AS_IS, vec![inner]).map(Transformed::yes),
            false => Ok(Transformed::no(inner)),
        })?;
        Ok(inner.data)
    };
    let (first, second) = (hidden(left)?, hidden(right)?);
    if first == **left && second == **right {
        return Ok(Transformed::no(expression));
    }
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(first), *op, Box::new(second)))))
}

/// Whether it is a cast that several values of a column have the same result of.
fn loses(expression: &Expr, schema: &DFSchema) -> bool {
    let Expr::Cast(Cast { expr, field }) = expression else { return false };
    let (Ok(from), to) = (expr.get_type(schema), field.data_type()) else { return false };
    match (&from, to) {
        (DataType::Timestamp(..), DataType::Date32) => true,
        (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) => from > to,
        (from, to) if to.is_integer() => {
            from.is_floating() || from.is_decimal() || from.primitive_width() > to.primitive_width()
        }
        _ => false,
    }
}
