//! Texts of the catalog that name columns, when a column gets another name.

use granary_common::Result;
use sqlparser::ast::{Expr, Ident, VisitMut};

use super::{Draft, usage};
use crate::show::identifier;
use crate::statement::{TtlClause, TtlClauseAction, parse_expression, parse_ttl, ttl_text};
use crate::walk::visit_expressions_mut;
use granary_catalog::ColumnRole;

impl Draft<'_> {
    /// Puts the new name into keys, defaults, indexes, projections and the engine's arguments.
    pub(super) fn rename_in_texts(&mut self, from: &str, to: &str) -> Result<()> {
        let expression = |text: &str| renamed(text, from, to);
        for column in self.columns.as_mut() {
            if let ColumnRole::KeyExpression(text) = &column.role {
                let text = expression(text)?;
                if column.role != ColumnRole::KeyExpression(text.clone()) {
                    column.name = text.clone();
                    column.role = ColumnRole::KeyExpression(text);
                }
            }
            if let Some(default) = &column.default {
                column.default = Some(default.with_text(expression(default.text())?));
            }
            if let Some(ttl) = &column.ttl {
                column.ttl = Some(expression(ttl)?);
            }
        }
        for key in self.next.order_by.iter_mut().chain(&mut self.next.partition_by) {
            key.text = expression(&key.text)?;
        }
        if let Some(ttl) = &self.next.options.ttl {
            let mut rules = parse_ttl(ttl)?;
            rules.iter_mut().for_each(|rule| rename_in_rule(rule, from, to));
            self.next.options.ttl = Some(ttl_text(&rules));
        }
        for index in &mut self.next.options.indexes {
            index.expression = expression(&index.expression)?;
        }
        for constraint in &mut self.next.options.constraints {
            constraint.condition = expression(&constraint.condition)?;
        }
        for projection in &mut self.next.options.projections {
            let mut query = usage::query_of(&projection.query)?;
            rename(&mut query, from, to);
            projection.query = query.to_string();
        }
        for argument in &mut self.next.engine.arguments {
            if let Ok(text) = expression(argument) {
                *argument = text;
            }
        }
        Ok(())
    }
}

fn rename_in_rule(rule: &mut TtlClause, from: &str, to: &str) {
    rename(&mut rule.expiry, from, to);
    if let Some(condition) = &mut rule.condition {
        rename(condition, from, to);
    }
    if let TtlClauseAction::GroupBy { keys, set } = &mut rule.action {
        for key in keys {
            rename(key, from, to);
        }
        for (column, value) in set {
            rename(value, from, to);
            if column == from {
                to.clone_into(column);
            }
        }
    }
}

/// The text with another name for a column; the same text when it does not name it.
fn renamed(text: &str, from: &str, to: &str) -> Result<String> {
    let mut expression = parse_expression(text)?;
    match rename(&mut expression, from, to) {
        true => Ok(expression.to_string()),
        false => Ok(text.to_owned()),
    }
}

fn rename<T: VisitMut>(tree: &mut T, from: &str, to: &str) -> bool {
    let quote = (identifier(to) != to).then_some('`');
    let mut found = false;
    let _ = visit_expressions_mut(tree, |expression| {
        if let Expr::Identifier(ident) = expression
            && ident.value == from
        {
            *ident = Ident { quote_style: quote, ..Ident::new(to) };
            found = true;
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    found
}
