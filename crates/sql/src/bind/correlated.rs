//! Correlated subqueries that DataFusion does not turn into joins: with LIMIT, compared by something
//! else than `=`, without an aggregate, inside of aggregates, and LATERAL ones.
//!
//! ```text
//!   outer rows ──► their different values of the outer columns ──► subquery for all of them at once
//!        └───────────── LEFT JOIN on the outer columns ◄──────────────────┘
//! ```
//!
//! How a subquery is computed for all values at once is in [`spread`].

mod nearest;
mod spread;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, NullEquality, Result, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::logical_plan::{Join, Subquery, SubqueryAlias};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Sort,
};
use granary_execution::subqueries::single_row;

use spread::Outer;

/// `plan` with those subqueries as joins. What cannot be joined stays, and fails as it does.
pub(super) fn join_correlated(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    // Without one there is nothing to copy.
    if !has_candidates(&plan)? {
        return Ok(plan);
    }
    let plan = nearest::refer_to_the_nearest(plan)?;
    let names = &state.execution_props().alias_generator;
    let next = || names.next("__granary_correlated");
    let changed = std::cell::Cell::new(false);
    let joined = plan.transform_up_with_subqueries(|plan| {
        let plan = match changed.get() {
            true => plan.recompute_schema()?,
            false => plan,
        };
        let rewritten = match &plan {
            LogicalPlan::Join(join) => lateral(join, &next)?,
            LogicalPlan::Sort(sort) => match shown_outer_columns(sort)? {
                Some((columns, sort)) => {
                    let sorted = scalars(&sort, &next)?.unwrap_or(sort);
                    Some(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(sorted))?))
                }
                None => scalars(&plan, &next)?,
            },
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::Aggregate(_) => {
                scalars(&plan, &next)?
            }
            _ => None,
        };
        match rewritten {
            Some(rewritten) => {
                changed.set(true);
                Ok(Transformed::yes(rewritten))
            }
            None => Ok(Transformed::new_transformed(plan, changed.get())),
        }
    })?;
    Ok(joined.data)
}

fn has_candidates(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|plan| {
        found |= match plan {
            LogicalPlan::Subquery(subquery) => !subquery.outer_ref_columns.is_empty(),
            other => !subqueries_of(other)?.is_empty(),
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The correlated scalar subqueries of the expressions of one node.
fn subqueries_of(plan: &LogicalPlan) -> Result<Vec<Subquery>> {
    let mut found = Vec::new();
    for expression in plan.expressions() {
        expression.apply(|inner| {
            if let Expr::ScalarSubquery(subquery) = inner
                && !subquery.outer_ref_columns.is_empty()
                && !found.contains(subquery)
            {
                found.push(subquery.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(found)
}

/// `SELECT a ... ORDER BY (SELECT ... WHERE x = t.b)`: a sort whose input also shows the columns that
/// its subqueries take from outside, and the columns that are to be left then.
fn shown_outer_columns(sort: &Sort) -> Result<Option<(Vec<Expr>, LogicalPlan)>> {
    let LogicalPlan::Projection(shown) = sort.input.as_ref() else { return Ok(None) };
    let mut missing: Vec<Expr> = Vec::new();
    for subquery in subqueries_of(&LogicalPlan::Sort(sort.clone()))? {
        for outer in &subquery.outer_ref_columns {
            let Expr::OuterReferenceColumn(_, column) = outer else { continue };
            let column_expression = Expr::Column(column.clone());
            if !shown.schema.has_column(column)
                && shown.input.schema().has_column(column)
                && !missing.contains(&column_expression)
            {
                missing.push(column_expression);
            }
        }
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let columns = shown.schema.columns().into_iter().map(Expr::Column).collect();
    let expressions = shown.expr.iter().cloned().chain(missing).collect();
    let input = Projection::try_new(expressions, Arc::clone(&shown.input))?;
    let sort = Sort {
        expr: sort.expr.clone(),
        input: Arc::new(LogicalPlan::Projection(input)),
        fetch: sort.fetch,
    };
    Ok(Some((columns, LogicalPlan::Sort(sort))))
}

/// Joins the scalar subqueries of a node to its input.
fn scalars(plan: &LogicalPlan, next: &dyn Fn() -> String) -> Result<Option<LogicalPlan>> {
    let takes_simple = matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Filter(_));
    let keeps_columns = matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Sort(_));
    let inputs = plan.inputs();
    let [input] = inputs.as_slice() else { return Ok(None) };
    let mut joined = (*input).clone();
    let mut replaced: Vec<(Subquery, Expr)> = Vec::new();
    for subquery in subqueries_of(plan)? {
        if takes_simple && is_simple(&subquery.subquery) {
            continue;
        }
        let alias = next();
        let Some(outer) = Outer::of(&subquery, &joined, &alias)? else { continue };
        let Some(spread) = outer.spread(&single(&subquery.subquery)?)? else { continue };
        let value = spread.plan.schema().qualified_field(spread.plan.schema().fields().len() - 1);
        let value = Column::new(Some(alias.clone()), value.1.name());
        joined =
            outer.join(joined, spread, Some(TableReference::bare(alias)), JoinType::Left, None)?;
        replaced.push((subquery, Expr::Column(value)));
    }
    if replaced.is_empty() {
        return Ok(None);
    }
    let expressions = plan.expressions().into_iter().map(|expression| -> Result<Expr> {
        // What is above knows the column by the name that it had.
        let name = expression.qualified_name();
        let changed = expression.transform_up(|inner| {
            let known = match &inner {
                Expr::ScalarSubquery(subquery) => replaced.iter().find(|(of, _)| of == subquery),
                _ => None,
            };
            Ok(match known {
                Some((_, column)) => Transformed::yes(column.clone()),
                None => Transformed::no(inner),
            })
        })?;
        Ok(match changed.transformed && !keeps_columns && changed.data.qualified_name() != name {
            true => changed.data.alias_qualified(name.0, name.1),
            false => changed.data,
        })
    });
    let expressions: Vec<Expr> = expressions.collect::<Result<_>>()?;
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let rewritten = plan.with_new_exprs(expressions, vec![joined])?;
    match keeps_columns {
        // It gives what its input has, and no more.
        true => LogicalPlanBuilder::from(rewritten).project(columns)?.build().map(Some),
        false => Ok(Some(rewritten)),
    }
}

/// The subquery with one row at most, an error where it has more.
fn single(plan: &Arc<LogicalPlan>) -> Result<LogicalPlan> {
    match is_single(plan) {
        true => Ok(plan.as_ref().clone()),
        false => single_row(plan),
    }
}

fn is_single(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_single(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_single(&alias.input),
        LogicalPlan::Filter(filter) => is_single(&filter.input),
        LogicalPlan::Sort(sort) => is_single(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Limit(limit) => {
            is_single(&limit.input) || spread::rows_max(limit).is_some_and(|(_, rows)| rows <= 1)
        }
        _ => false,
    }
}

/// Whether DataFusion makes a join of it: an aggregate of rows that equal something of the outside.
fn is_simple(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => {
            !plan.contains_outer_reference() && is_simple(&projection.input)
        }
        LogicalPlan::SubqueryAlias(alias) => is_simple(&alias.input),
        LogicalPlan::Aggregate(aggregate) => {
            aggregate.group_expr.is_empty()
                && !plan.contains_outer_reference()
                && is_equal(&aggregate.input)
        }
        _ => false,
    }
}

/// Whether outer columns stand in filters only, and there beside `=`.
fn is_equal(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Filter(filter) => {
            let parts = split_conjunction(&filter.predicate);
            parts.into_iter().filter(|part| part.contains_outer()).all(is_equality)
                && is_equal(&filter.input)
        }
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            !plan.contains_outer_reference() && plan.inputs().into_iter().all(is_equal)
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            !plan.contains_outer_reference() && is_equal(&join.left) && is_equal(&join.right)
        }
        other => other.all_out_ref_exprs().is_empty(),
    }
}

fn is_equality(part: &Expr) -> bool {
    match part {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let is_outer = |side: &Expr| matches!(side, Expr::OuterReferenceColumn(..));
            (is_outer(left) && !right.contains_outer())
                || (is_outer(right) && !left.contains_outer())
        }
        _ => false,
    }
}

/// `FROM t, LATERAL (subquery)`.
fn lateral(join: &Join, next: &dyn Fn() -> String) -> Result<Option<LogicalPlan>> {
    let (subquery, name) = match join.right.as_ref() {
        LogicalPlan::Subquery(subquery) => (subquery, None),
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => match input.as_ref() {
            LogicalPlan::Subquery(subquery) => (subquery, Some(alias.clone())),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let is_offered = matches!(join.join_type, JoinType::Inner | JoinType::Left);
    if subquery.outer_ref_columns.is_empty() || !is_offered || !join.on.is_empty() {
        return Ok(None);
    }
    let left = join.left.as_ref();
    let Some(outer) = Outer::of(subquery, left, &next())? else { return Ok(None) };
    let Some(spread) = outer.spread(&subquery.subquery)? else { return Ok(None) };
    let shown: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
    let joined = outer.join(left.clone(), spread, name, join.join_type, join.filter.clone())?;
    LogicalPlanBuilder::from(joined).project(shown)?.build().map(Some)
}

impl Outer {
    /// Joins what `spread` has for each value of the outer columns to the rows that have them.
    fn join(
        &self,
        left: LogicalPlan,
        spread: spread::Spread,
        alias: Option<TableReference>,
        join_type: JoinType,
        filter: Option<Expr>,
    ) -> Result<LogicalPlan> {
        let (keys, right) = match alias {
            None => (spread.keys, spread.plan),
            Some(alias) => {
                let key = |key: Column| Column::new(Some(alias.clone()), key.name);
                let right = LogicalPlanBuilder::from(spread.plan).alias(alias.clone())?;
                (spread.keys.into_iter().map(key).collect(), right.build()?)
            }
        };
        LogicalPlanBuilder::from(left)
            .join_detailed(
                right,
                join_type,
                (self.columns.clone(), keys),
                filter,
                NullEquality::NullEqualsNull,
            )?
            .build()
    }
}
