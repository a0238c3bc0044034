//! Columns of a query two levels up, which DataFusion does not find.
//!
//! ```text
//!   FROM u WHERE EXISTS (FROM e WHERE e.k = u.k AND e.x > (SELECT avg(x) FROM f WHERE f.k = u.k))
//!                                                                                       └► e.k
//! ```
//!
//! A row of the middle query counts only where its column equals the one above, so the innermost query
//! may as well take the middle one's.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, Operator, cast};

/// A column from outside, the column of the query that equals it, and that as a value of its type.
struct Pair {
    outer: Column,
    own: Expr,
    value: Expr,
}

/// `plan` whose innermost subqueries refer to the query around them.
pub(super) fn refer_to_the_nearest(plan: LogicalPlan) -> Result<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Filter(filter) = &plan else { return Ok(Transformed::no(plan)) };
        let equal = equalities(filter)?;
        if equal.is_empty() {
            return Ok(Transformed::no(plan));
        }
        let predicate =
            filter.predicate.clone().transform_up(|inner| in_subquery(inner, &equal))?;
        match predicate.transformed {
            true => {
                let filter = Filter::try_new(predicate.data, Arc::clone(&filter.input))?;
                Ok(Transformed::yes(LogicalPlan::Filter(filter)))
            }
            false => Ok(Transformed::no(plan)),
        }
    })?;
    Ok(changed.data)
}

/// Columns from outside that every row of the filter equals in a column of its own.
fn equalities(filter: &Filter) -> Result<Vec<Pair>> {
    let schema = filter.input.schema();
    let mut equal = Vec::new();
    for part in split_conjunction(&filter.predicate) {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { continue };
        let (outer, own) = match (left.as_ref(), right.as_ref()) {
            (Expr::OuterReferenceColumn(field, outer), Expr::Column(own))
            | (Expr::Column(own), Expr::OuterReferenceColumn(field, outer)) => {
                ((field, outer), own)
            }
            _ => continue,
        };
        let (_, own_field) = schema.qualified_field_from_column(own)?;
        let (own_type, outer_type) = (own_field.data_type(), outer.0.data_type());
        let own = Expr::OuterReferenceColumn(Arc::clone(own_field), own.clone());
        let value = match own_type == outer_type {
            true => own.clone(),
            false if is_wider(outer_type, own_type) => cast(own.clone(), outer_type.clone()),
            false => continue,
        };
        equal.push(Pair { outer: outer.1.clone(), own, value });
    }
    Ok(equal)
}

/// Whether every value of one type of whole numbers is one of the other.
fn is_wider(wide: &DataType, narrow: &DataType) -> bool {
    let bits = |of: &DataType| of.primitive_width().unwrap_or(0);
    let both = wide.is_signed_integer() && narrow.is_integer();
    both && bits(wide) > bits(narrow)
}

fn in_subquery(expression: Expr, equal: &[Pair]) -> Result<Transformed<Expr>> {
    Ok(match expression {
        Expr::ScalarSubquery(subquery) => {
            replaced(subquery, equal)?.update_data(Expr::ScalarSubquery)
        }
        Expr::Exists(Exists { subquery, negated }) => replaced(subquery, equal)?
            .update_data(|subquery| Expr::Exists(Exists { subquery, negated })),
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => replaced(subquery, equal)?
            .update_data(|subquery| Expr::InSubquery(InSubquery { expr, subquery, negated })),
        other => Transformed::no(other),
    })
}

/// The subquery with what equals the columns in their place.
fn replaced(subquery: Subquery, equal: &[Pair]) -> Result<Transformed<Subquery>> {
    let pair_of = |expression: &Expr| match expression {
        Expr::OuterReferenceColumn(_, column) => equal.iter().find(|pair| pair.outer == *column),
        _ => None,
    };
    if !subquery.outer_ref_columns.iter().any(|column| pair_of(column).is_some()) {
        return Ok(Transformed::no(subquery));
    }
    let nearest = |column: &Expr| pair_of(column).map_or(column, |pair| &pair.own).clone();
    let outer_ref_columns = subquery.outer_ref_columns.iter().map(nearest).collect();
    let plan = subquery.subquery.as_ref().clone().transform_up_with_subqueries(|plan| {
        plan.map_expressions(|expression| {
            expression.transform_up(|inner| {
                Ok(match pair_of(&inner) {
                    Some(pair) => Transformed::yes(pair.value.clone()),
                    None => Transformed::no(inner),
                })
            })
        })
    })?;
    let subquery = Subquery { subquery: Arc::new(plan.data), outer_ref_columns, ..subquery };
    Ok(Transformed::yes(subquery))
}
