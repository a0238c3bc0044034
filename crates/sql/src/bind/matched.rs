//! ANY joins: at most one row of the other side for each row. Rows that only the first match of
//! matters of are left out before the join. And semi joins whose other side is read.

use std::ops::ControlFlow;

use granary_common::{Error, Result};
use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Join, JoinConstraint, JoinOperator, Query, Select, SetExpr,
    TableAlias, TableFactor, TableWithJoins, VisitorMut,
};

use super::templates;
use crate::dialect::ANY_MARK;
use crate::walk::walk_mut;

/// Rewrites the ANY joins of a SELECT.
pub(super) fn rewrite(select: &mut Select) -> Result<()> {
    for table in &mut select.from {
        for at in 0..table.joins.len() {
            let Some(keys) = take_mark(&mut table.joins[at])? else { continue };
            let (of_left, of_right) = match &table.joins[at].join_operator {
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (false, true),
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
                _ => (true, true),
            };
            if of_left && at > 0 {
                return Err(Error::unsupported(
                    "ANY of other joins than LEFT is offered for the first join only",
                ));
            }
            if of_right {
                one_each(&mut table.joins[at].relation, &keys)?;
            }
            if of_left {
                one_each(&mut table.relation, &keys)?;
            }
        }
    }
    Ok(())
}

/// Semi joins whose other side is read too become joins with one row of it for each key: what is not the
/// key comes from any row. Gives whether there was one.
pub(super) fn show_other_side(query: &mut Query) -> bool {
    struct Selects(bool);
    impl VisitorMut for Selects {
        type Break = ();

        fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            for table in &mut select.from {
                let TableWithJoins { relation, joins } = table;
                for (at, join) in joins.iter_mut().enumerate() {
                    let (constraint, shown) = match &join.join_operator {
                        JoinOperator::Semi(constraint) | JoinOperator::LeftSemi(constraint) => {
                            (constraint.clone(), &mut join.relation)
                        }
                        JoinOperator::RightSemi(constraint) if at == 0 => {
                            (constraint.clone(), &mut *relation)
                        }
                        _ => continue,
                    };
                    let Some(keys) = keys_of(&constraint) else { continue };
                    if one_each(shown, &keys).is_ok() {
                        join.join_operator = JoinOperator::Inner(constraint);
                        self.0 = true;
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut selects = Selects(false);
    let _ = walk_mut(query, &mut selects);
    selects.0
}

/// The keys of a condition of nothing but equal columns.
fn keys_of(constraint: &JoinConstraint) -> Option<Keys> {
    match constraint {
        JoinConstraint::Using(columns) => {
            let names = columns.iter().map(|name| templates::expression(&name.to_string()).ok());
            names.collect::<Option<_>>().map(Keys::Using)
        }
        JoinConstraint::On(condition) => {
            let mut parts = Vec::new();
            conjuncts(condition, &mut parts);
            let pair = |part: &Expr| match part {
                Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                    Some(((**left).clone(), (**right).clone()))
                }
                _ => None,
            };
            parts.iter().map(pair).collect::<Option<_>>().map(Keys::Equal)
        }
        _ => None,
    }
}

/// What both sides are compared by.
enum Keys {
    Using(Vec<Expr>),
    /// Pairs of equal expressions.
    Equal(Vec<(Expr, Expr)>),
}

/// Takes the mark out of the condition of a join; `None` when there is none.
fn take_mark(join: &mut Join) -> Result<Option<Keys>> {
    let Some(constraint) = constraint_of(&mut join.join_operator) else { return Ok(None) };
    match constraint {
        JoinConstraint::Using(columns) => {
            let before = columns.len();
            columns.retain(|column| column.to_string() != ANY_MARK);
            if columns.len() == before {
                return Ok(None);
            }
            let names = columns.iter().map(|name| templates::expression(&name.to_string()));
            Ok(Some(Keys::Using(names.collect::<Result<_>>()?)))
        }
        JoinConstraint::On(condition) => {
            let mut parts = Vec::new();
            conjuncts(condition, &mut parts);
            let is_mark =
                |part: &Expr| matches!(part, Expr::Identifier(name) if name.value == ANY_MARK);
            if !parts.first().is_some_and(is_mark) {
                return Ok(None);
            }
            let rest: Vec<Expr> = parts.split_off(1);
            let mut keys = Vec::with_capacity(rest.len());
            for part in &rest {
                match part {
                    Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                        keys.push(((**left).clone(), (**right).clone()));
                    }
                    other => {
                        return Err(Error::unsupported(format!(
                            "an ANY join takes equal columns as its condition, not {other}"
                        )));
                    }
                }
            }
            let together = rest.into_iter().reduce(|all, next| Expr::BinaryOp {
                left: Box::new(all),
                op: BinaryOperator::And,
                right: Box::new(next),
            });
            match together {
                Some(together) => *condition = together,
                None => return Err(Error::invalid("an ANY join needs a condition")),
            }
            Ok(Some(Keys::Equal(keys)))
        }
        _ => Ok(None),
    }
}

fn conjuncts(condition: &Expr, parts: &mut Vec<Expr>) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(left, parts);
            conjuncts(right, parts);
        }
        Expr::Nested(inner) => conjuncts(inner, parts),
        other => parts.push(other.clone()),
    }
}

fn constraint_of(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

/// Leaves one row of each key in a table of the FROM.
fn one_each(relation: &mut TableFactor, keys: &Keys) -> Result<()> {
    let name = match relation {
        TableFactor::Table { name, alias, .. } => match alias {
            Some(alias) => Some(alias.name.clone()),
            None => name.0.last().and_then(|part| part.as_ident()).cloned(),
        },
        TableFactor::Derived { alias, .. } => alias.as_ref().map(|alias| alias.name.clone()),
        _ => None,
    };
    let Some(name) = name else {
        return Err(Error::unsupported("an ANY join takes tables and named subqueries"));
    };
    let is_own = |side: &Expr| match side {
        Expr::CompoundIdentifier(parts) => {
            parts.len() > 1 && parts[parts.len() - 2].value == name.value
        }
        _ => false,
    };
    let own: Vec<Expr> = match keys {
        Keys::Using(columns) => columns.clone(),
        Keys::Equal(pairs) => {
            let side = |(left, right): &(Expr, Expr)| match (is_own(left), is_own(right)) {
                (true, _) => Ok(left.clone()),
                (_, true) => Ok(right.clone()),
                _ => Err(Error::invalid(format!(
                    "write the columns of an ANY join with their tables: {}.column",
                    name.value
                ))),
            };
            pairs.iter().map(side).collect::<Result<_>>()?
        }
    };
    let mut query = templates::query("SELECT * FROM (SELECT 1)")?;
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(table) = select.from.first_mut()
    {
        table.relation = relation.clone();
        select.distinct = Some(Distinct::On(own));
    }
    *relation = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None }),
        sample: None,
    };
    Ok(())
}
