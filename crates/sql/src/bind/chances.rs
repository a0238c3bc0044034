//! Second chances for what the engine refuses and ClickHouse takes: sums of conditions, aggregates that
//! differ in a cast only, and elements of all tuples of an array.

use std::ops::ControlFlow;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query,
};

use super::calls::substitute;
use super::{aggregates, calls, templates};
use crate::functions::ELEMENTS;
use crate::walk::visit_expressions_mut;

/// What a condition is added to, to be a number.
const ZERO: &str = " + 0)";

/// Corrects `query` for `error`; false when there is nothing to correct.
pub(super) fn take(query: &mut Query, error: &DataFusionError) -> bool {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            take(query, inner)
        }
        DataFusionError::Shared(inner) => take(query, inner),
        DataFusionError::Collection(errors) => {
            errors.first().is_some_and(|first| take(query, first))
        }
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::DuplicateUnqualifiedField { .. }
            | SchemaError::DuplicateQualifiedField { .. } => show_casts(query),
            _ => false,
        },
        DataFusionError::Plan(message) => match message.strip_prefix(ELEMENTS) {
            Some(column) => elements(query, column),
            None => {
                let sums = ["'sum(Boolean)'", "'avg(Boolean)'"];
                sums.iter().any(|call| message.contains(call)) && number_conditions(query)
            }
        },
        _ => false,
    }
}

/// `sum(ok)` is `sum(ok + 0)`: a condition beside a number is one itself, and numbers stay what they are.
fn number_conditions(query: &mut Query) -> bool {
    each_argument(query, |name, argument| {
        let is_sum = ["sum", "avg"].contains(&name);
        if !is_sum || argument.to_string().ends_with(ZERO) {
            return None;
        }
        substitute("(($1) + 0)", std::slice::from_ref(argument)).ok()
    })
}

/// The engine names columns without their casts, so that `max(s)` and `max(toInt32(s))` would be one.
fn show_casts(query: &mut Query) -> bool {
    each_argument(query, |name, argument| match argument {
        Expr::Cast { .. } if aggregates::is_aggregate(name) => {
            substitute("coalesce($1)", std::slice::from_ref(argument)).ok()
        }
        _ => None,
    })
}

/// Changes arguments of functions, whose names are given in lower case.
fn each_argument(query: &mut Query, change: impl Fn(&str, &Expr) -> Option<Expr>) -> bool {
    let mut changed = false;
    let _ = visit_expressions_mut(query, |expression| {
        if let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) =
            expression
        {
            let name = name.to_string().to_lowercase();
            for argument in &mut list.args {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument
                    && let Some(other) = change(&name, argument)
                {
                    *argument = other;
                    changed = true;
                }
            }
        }
        ControlFlow::<()>::Continue(())
    });
    changed
}

/// `items.sku` of an array of tuples is `arrayMap(x -> x.sku, items)`.
fn elements(query: &mut Query, column: &str) -> bool {
    let mut changed = false;
    let _ = visit_expressions_mut(query, |expression| {
        if let Expr::CompoundIdentifier(parts) = expression
            && let [array @ .., container, element] = parts.as_slice()
            && format!("{}.{}", container.value, element.value) == column
        {
            let array: Vec<Ident> = array.iter().chain([container]).cloned().collect();
            let array = match array.as_slice() {
                [only] => Expr::Identifier(only.clone()),
                _ => Expr::CompoundIdentifier(array),
            };
            let element = element.value.replace('`', "``");
            if let Some(mapped) = mapped(&element, array) {
                *expression = mapped;
                changed = true;
            }
        }
        ControlFlow::<()>::Continue(())
    });
    changed
}

fn mapped(element: &str, array: Expr) -> Option<Expr> {
    let text = format!("arrayMap(__granary_item -> __granary_item.`{element}`, $1)");
    let mut call = templates::expression(&text).ok()?;
    let rewritten =
        visit_expressions_mut(&mut call, |inner| super::or_break(calls::rewrite(inner)));
    if rewritten.is_break() {
        return None;
    }
    templates::substitute(call, &[array]).ok()
}

/// `n.k[1]`, where the table has a column `n.k`, which is `exact`; whether it was such a one.
pub(super) fn nested_root(expression: &mut Expr, whole: &str, exact: &str) -> bool {
    let Expr::CompoundFieldAccess { root, access_chain } = expression else { return false };
    let Expr::Identifier(first) = root.as_ref() else { return false };
    let mut names = vec![first.clone()];
    for part in access_chain.iter() {
        let AccessExpr::Dot(Expr::Identifier(name)) = part else { break };
        names.push(name.clone());
    }
    let Some(at) =
        names.windows(2).position(|pair| format!("{}.{}", pair[0].value, pair[1].value) == whole)
    else {
        return false;
    };
    let column = Ident::with_quote('`', exact);
    match at {
        0 => {
            **root = Expr::Identifier(column);
            access_chain.remove(0);
        }
        at => {
            access_chain[at - 1] = AccessExpr::Dot(Expr::Identifier(column));
            access_chain.remove(at);
        }
    }
    true
}
