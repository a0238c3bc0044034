//! `sum(arrayJoin(xs))`: what aggregates over the elements of an array is an ARRAY JOIN before it, as the
//! engine unnests behind aggregates only.

use std::ops::ControlFlow;

use granary_common::Result;
use sqlparser::ast::{
    Expr, GroupByExpr, Ident, Join, JoinOperator, Query, Select, SelectItem, SetExpr, TableFactor,
    TableWithJoins, VisitMut, VisitorMut,
};

use super::calls::plain_arguments;
use super::{aggregates, templates};
use crate::walk::walk_mut;

/// The names of the elements.
const ELEMENT: &str = "__granary_joined";

/// Moves the arrays of a SELECT whose elements are aggregated into its FROM.
pub(super) fn join(select: &mut Select) -> Result<()> {
    let mut calls = Calls { aggregates: 0, queries: 0, replaces: false, found: Vec::new() };
    visit(select, &mut calls);
    if calls.found.is_empty() {
        return Ok(());
    }
    calls.replaces = true;
    visit(select, &mut calls);
    if select.from.is_empty() {
        let SetExpr::Select(one) = *templates::query("SELECT 1 FROM (SELECT 1)")?.body else {
            return Ok(());
        };
        select.from = one.from;
    }
    for (at, (_, array)) in calls.found.into_iter().enumerate() {
        let mut arrays = templates::query("SELECT 1")?;
        if let SetExpr::Select(one) = arrays.body.as_mut() {
            let alias = Ident::new(format!("{ELEMENT}_{at}"));
            one.projection = vec![SelectItem::ExprWithAlias { expr: array, alias }];
        }
        let relation = TableFactor::Derived {
            lateral: false,
            subquery: Box::new(arrays),
            alias: None,
            sample: None,
        };
        let join = Join { relation, global: false, join_operator: JoinOperator::ArrayJoin };
        match select.from.as_mut_slice() {
            [only] => only.joins.push(join),
            tables => {
                let all = crossed(tables);
                select.from = vec![TableWithJoins { joins: vec![join], ..all }];
            }
        }
    }
    Ok(())
}

/// Several tables as one.
fn crossed(tables: &[TableWithJoins]) -> TableWithJoins {
    let mut nests = tables.iter().map(|table| match table.joins.is_empty() {
        true => table.relation.clone(),
        false => TableFactor::NestedJoin { table_with_joins: Box::new(table.clone()), alias: None },
    });
    let first = nests.next().unwrap_or_else(|| tables[0].relation.clone());
    let join_operator = || JoinOperator::CrossJoin(sqlparser::ast::JoinConstraint::None);
    let joins = nests
        .map(|relation| Join { relation, global: false, join_operator: join_operator() })
        .collect();
    let together = TableWithJoins { relation: first, joins };
    TableWithJoins {
        relation: TableFactor::NestedJoin { table_with_joins: Box::new(together), alias: None },
        joins: Vec::new(),
    }
}

fn visit(select: &mut Select, calls: &mut Calls) {
    fn part<T: VisitMut>(tree: &mut T, calls: &mut Calls) {
        let _ = walk_mut(tree, calls);
    }
    select.projection.iter_mut().for_each(|item| part(item, calls));
    select.having.iter_mut().for_each(|condition| part(condition, calls));
    select.qualify.iter_mut().for_each(|condition| part(condition, calls));
    if calls.replaces {
        select.selection.iter_mut().for_each(|condition| part(condition, calls));
        if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            keys.iter_mut().for_each(|key| part(key, calls));
        }
    }
}

/// Finds the calls within aggregates, or puts the names of the elements in the place of all.
struct Calls {
    aggregates: usize,
    queries: usize,
    replaces: bool,
    /// The calls as texts, and their arrays.
    found: Vec<(String, Expr)>,
}

fn is_aggregate(expression: &Expr) -> bool {
    matches!(expression, Expr::Function(function)
        if function.over.is_none() && aggregates::is_aggregate(&function.name.to_string()))
}

impl VisitorMut for Calls {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        self.aggregates += usize::from(is_aggregate(expression));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        self.aggregates -= usize::from(is_aggregate(expression));
        let Expr::Function(function) = &*expression else { return ControlFlow::Continue(()) };
        if self.queries > 0 || !function.name.to_string().eq_ignore_ascii_case("arrayJoin") {
            return ControlFlow::Continue(());
        }
        let text = expression.to_string();
        let known = self.found.iter().position(|(found, _)| *found == text);
        match (known, plain_arguments(function).as_deref()) {
            (Some(at), _) if self.replaces => {
                *expression = Expr::Identifier(Ident::new(format!("{ELEMENT}_{at}")));
            }
            (None, Some([array])) if self.aggregates > 0 && !self.replaces => {
                self.found.push((text, array.clone()));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
