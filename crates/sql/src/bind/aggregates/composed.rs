//! Aggregates that are made of others.

use granary_common::{Error, Result};
use sqlparser::ast::{Expr, Function};

use super::{keep_clauses, only_argument, parameters};
use crate::bind::calls::{plain_arguments, substitute};
use crate::bind::templates;

/// The call in other words.
pub(super) fn rewrite(function: &Function, base: &str, name: &str) -> Result<Expr> {
    let parameter = parameters(function)?.into_iter().next();
    let or = |text: &str| parameter.clone().map_or_else(|| templates::expression(text), Ok);
    match base {
        "topk" => {
            let arguments = [only_argument(function, name)?, or("10")?];
            keep_clauses(substitute("topk($1, $2)", &arguments)?, function)
        }
        "sumcount" => {
            let value = [only_argument(function, name)?];
            let sum = keep_clauses(substitute("sum($1)", &value)?, function)?;
            let count = keep_clauses(substitute("count($1)", &value)?, function)?;
            substitute("struct($1, $2)", &[sum, count])
        }
        "uniqupto" => {
            let count = substitute("count(DISTINCT $1)", &[only_argument(function, name)?])?;
            substitute("least($1, ($2) + 1)", &[keep_clauses(count, function)?, or("100")?])
        }
        "groupconcat" => {
            let value = substitute("toString($1)", &[only_argument(function, name)?])?;
            keep_clauses(substitute("string_agg($1, $2)", &[value, or("''")?])?, function)
        }
        _ => avg_weighted(function, name),
    }
}

/// The mean where each value counts as often as its weight says.
fn avg_weighted(function: &Function, name: &str) -> Result<Expr> {
    let arguments = plain_arguments(function).unwrap_or_default();
    if arguments.len() != 2 {
        return Err(Error::invalid(format!("{name} takes a value and its weight")));
    }
    let sum = |text: &str| keep_clauses(substitute(text, &arguments)?, function);
    let weighted = sum("sum(CAST($1 AS Float64) * CAST($2 AS Float64))")?;
    let weights = sum("sum(CAST($2 AS Float64))")?;
    substitute("($1) / ($2)", &[weighted, weights])
}
