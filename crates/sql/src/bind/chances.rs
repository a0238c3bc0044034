//! Second chances for what the engine refuses and ClickHouse takes: sums of conditions, aggregates that
//! differ in a cast only, and numbers beside arrays of floats.

use std::ops::ControlFlow;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query,
};

use super::calls::substitute;
use super::{aggregates, templates};
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
        DataFusionError::Plan(message) => {
            let sums = ["'sum(Boolean)'", "'avg(Boolean)'"];
            let of_arrays = message.contains("List(") && message.contains("Decimal");
            (sums.iter().any(|call| message.contains(call)) && number_conditions(query))
                || (of_arrays && floats_beside_arrays(query))
        }
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

/// `has(xs, 1.5)` of an array of floats: what functions of arrays are given is a float, too.
fn floats_beside_arrays(query: &mut Query) -> bool {
    each_argument(query, |name, argument| {
        if !name.contains("array") && !name.starts_with("__granary") {
            return None;
        }
        let mut floats = argument.clone();
        let changed = match &mut floats {
            Expr::Array(array) => {
                let mut changed = false;
                array.elem.iter_mut().for_each(|item| changed |= as_float(item));
                changed
            }
            one => as_float(one),
        };
        changed.then_some(floats)
    })
}

/// Makes a number with a fraction that is written down a float; gives whether it was one.
fn as_float(value: &mut Expr) -> bool {
    if !super::rows::is_fraction(value) {
        return false;
    }
    match templates::expression(&format!("CAST('{value}' AS Float64)")) {
        Ok(float) => {
            *value = float;
            true
        }
        Err(_) => false,
    }
}

/// The engine names columns without their casts, so that `max(s)`, `max(toInt32(s))` and `max(toInt64(s))`
/// would be one: each type gets a number of marks.
fn show_casts(query: &mut Query) -> bool {
    let mut seen: Vec<(String, String)> = Vec::new();
    each_argument(query, |name, argument| {
        if !aggregates::is_aggregate(name) || argument.to_string().contains(MARKS) {
            return None;
        }
        let mut marked = argument.clone();
        let mut changed = false;
        let _ = visit_expressions_mut(&mut marked, |inner| {
            let Expr::Cast { expr, data_type, .. } = inner else {
                return ControlFlow::Continue(());
            };
            let cast = (expr.to_string(), data_type.to_string());
            let before = |other: &&(String, String)| other.0 == cast.0 && other.1 != cast.1;
            let marks = match seen.iter().position(|other| *other == cast) {
                Some(at) => seen[..at].iter().filter(before).count(),
                None => seen.iter().filter(before).count(),
            };
            if !seen.contains(&cast) {
                seen.push(cast);
            }
            let (open, close) = ("coalesce(".repeat(marks + 2), ")".repeat(marks + 2));
            if let Ok(shown) = substitute(&format!("{open}$1{close}"), std::slice::from_ref(inner))
            {
                *inner = shown;
                changed = true;
            }
            ControlFlow::<()>::Continue(())
        });
        changed.then_some(marked)
    })
}

/// What marks a cast.
const MARKS: &str = "coalesce(coalesce(";

/// Changes arguments of functions, whose names are given in lower case.
fn each_argument(query: &mut Query, mut change: impl FnMut(&str, &Expr) -> Option<Expr>) -> bool {
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
