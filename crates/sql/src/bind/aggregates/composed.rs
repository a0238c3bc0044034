//! Aggregates that are made of others.

use granary_common::{Error, Result};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, ObjectNamePart,
};

use super::{add_filter, keep_clauses, only_argument, parameters, rename};
use crate::bind::calls::{plain_arguments, substitute};
use crate::bind::templates;

/// What [`rewrite`] knows.
pub(super) const KNOWN: [&str; 14] = [
    "topk",
    "groupconcat",
    "avgweighted",
    "sumcount",
    "uniqupto",
    "listagg",
    "mode",
    "quantile_disc",
    "approx_percentile",
    "product",
    "geomean",
    "map_agg",
    "argandmin",
    "argandmax",
];

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
        "listagg" => list_of_texts(function, name),
        "mode" => {
            let value =
                [ordered_value(function).map_or_else(|| only_argument(function, name), Ok)?];
            let most = keep_clauses(substitute("topk($1, 1)", &value)?, function)?;
            substitute("array_element($1, 1)", &[most])
        }
        "quantile_disc" => {
            let (value, level) = value_and_level(function, name)?;
            let text = format!(
                "array_element(array_sort($1, '{}', 'NULLS LAST'), \
                 greatest(CAST(ceil(CAST($2 AS Float64) * length($1)) AS Int64), 1))",
                direction(function)
            );
            let values = substitute("array_agg($1) FILTER (WHERE ($1) IS NOT NULL)", &[value])?;
            substitute(&text, &[keep_clauses(values, function)?, level])
        }
        "approx_percentile" => approx_percentile(function, name),
        "product" => {
            let value = [only_argument(function, name)?];
            let all =
                keep_clauses(substitute("array_agg(CAST($1 AS Float64))", &value)?, function)?;
            substitute("arrayProduct($1)", &[all])
        }
        "geomean" => {
            let value = [only_argument(function, name)?];
            let mean = keep_clauses(substitute("avg(ln(CAST($1 AS Float64)))", &value)?, function)?;
            substitute("exp($1)", &[mean])
        }
        "argandmin" | "argandmax" => arg_and(function, &base["argand".len()..], name),
        "map_agg" => {
            let arguments = plain_arguments(function).unwrap_or_default();
            if arguments.len() != 2 {
                return Err(Error::invalid(format!("{name} takes a key and a value")));
            }
            let all = |text: &str| keep_clauses(substitute(text, &arguments)?, function);
            let keys = all("array_agg($1) FILTER (WHERE ($1) IS NOT NULL)")?;
            let values = all("array_agg($2) FILTER (WHERE ($1) IS NOT NULL)")?;
            substitute("map($1, $2)", &[keys, values])
        }
        "groupconcat" if plain_arguments(function).is_some_and(|all| all.len() == 2) => {
            list_of_texts(function, name)
        }
        "groupconcat" => {
            let value = substitute("toString($1)", &[only_argument(function, name)?])?;
            keep_clauses(substitute("string_agg($1, $2)", &[value, or("''")?])?, function)
        }
        _ => avg_weighted(function, name),
    }
}

/// `string_agg(x, ',' ORDER BY y)` is the array in that order as a text: arrays of one query may have
/// each an order of its own, the engine's texts may not.
pub(super) fn ordered_texts(function: &Function) -> Result<Option<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return Ok(None) };
    let is_ordered =
        list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)));
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(separator)),
    ] = list.args.as_slice()
    else {
        return Ok(None);
    };
    if !is_ordered || list.duplicate_treatment.is_some() || function.over.is_some() {
        return Ok(None);
    }
    let (value, separator) = (value.clone(), separator.clone());
    let mut array = function.clone();
    if let FunctionArguments::List(list) = &mut array.args {
        list.args.truncate(1);
    }
    rename(&mut array, "array_agg");
    add_filter(&mut array, substitute("($1) IS NOT NULL", &[value])?)?;
    substitute("array_to_string($1, $2)", &[Expr::Function(array), separator]).map(Some)
}

/// The mean where each value counts as often as its weight says.
fn avg_weighted(function: &Function, name: &str) -> Result<Expr> {
    let arguments = plain_arguments(function).unwrap_or_default();
    if arguments.len() != 2 {
        return Err(Error::invalid(format!("{name} takes a value and its weight")));
    }
    let sum = |text: &str| keep_clauses(substitute(text, &arguments)?, function);
    let weighted = sum("sum(CAST($1 AS Float64) * CAST($2 AS Float64))")?;
    let weights = sum("sum(CASE WHEN ($1) IS NOT NULL THEN CAST($2 AS Float64) END)")?;
    substitute("($1) / ($2)", &[weighted, weights])
}

/// The value of `f() WITHIN GROUP (ORDER BY value)`.
/// Which way `WITHIN GROUP (ORDER BY ...)` goes.
fn direction(function: &Function) -> &'static str {
    match function.within_group.first().and_then(|key| key.options.asc) {
        Some(false) => "DESC",
        _ => "ASC",
    }
}

fn ordered_value(function: &Function) -> Option<Expr> {
    function.within_group.first().map(|key| key.expr.clone())
}

/// `f(level) WITHIN GROUP (ORDER BY value)`, `f(value, level)` or `f(level)(value)`.
fn value_and_level(function: &Function, name: &str) -> Result<(Expr, Expr)> {
    let arguments = plain_arguments(function).unwrap_or_default();
    let parameter = parameters(function)?.into_iter().next();
    match (ordered_value(function), arguments.as_slice(), parameter) {
        (Some(value), [level], None) => Ok((value, level.clone())),
        (None, [value, level], None) => Ok((value.clone(), level.clone())),
        (None, [value], Some(level)) => Ok((value.clone(), level)),
        _ => Err(Error::invalid(format!("{name} takes a value and a level from 0 to 1"))),
    }
}

fn parameter_list(parameter: Expr) -> FunctionArguments {
    FunctionArguments::List(FunctionArgumentList {
        duplicate_treatment: None,
        args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(parameter))],
        clauses: Vec::new(),
    })
}

/// `listagg(value, separator) WITHIN GROUP (ORDER BY key)`.
fn list_of_texts(function: &Function, name: &str) -> Result<Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return Err(Error::invalid(format!("{name} takes a value and a separator")));
    };
    let mut call = function.clone();
    call.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new("string_agg"))]);
    call.parameters = FunctionArguments::None;
    let mut list = list.clone();
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) = list.args.first_mut() {
        *value = substitute("toString($1)", std::slice::from_ref(value))?;
    }
    if list.args.len() == 1 {
        let nothing = templates::expression("''")?;
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(nothing)));
    }
    let order = std::mem::take(&mut call.within_group);
    if !order.is_empty() {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    call.args = FunctionArguments::List(list);
    Ok(Expr::Function(call))
}

/// The quantile of `approx_percentile(value, level)`.
fn approx_percentile(function: &Function, name: &str) -> Result<Expr> {
    let (value, level) = value_and_level(function, name)?;
    let call = substitute("quantile($1)", &[value])?;
    let Expr::Function(mut call) = keep_clauses(call, function)? else {
        return Err(Error::internal("quantile is a function"));
    };
    call.parameters = parameter_list(level);
    super::rewrite_base(&mut call, "quantile", name)
        .map(|rewritten| rewritten.unwrap_or(Expr::Function(call)))
}

/// `argAndMax(value, by)`: the value and the greatest `by`. `end` is `min` or `max`.
fn arg_and(function: &Function, end: &str, name: &str) -> Result<Expr> {
    let arguments = plain_arguments(function).unwrap_or_default();
    if arguments.len() != 2 {
        return Err(Error::invalid(format!("{name} takes a value and what to compare")));
    }
    let first = match substitute(&format!("arg{end}($1, $2)"), &arguments)? {
        Expr::Function(mut call) => {
            call.filter.clone_from(&function.filter);
            super::rewrite(&mut call, &format!("arg{end}"))?.unwrap_or(Expr::Function(call))
        }
        other => other,
    };
    let extreme = format!("{end}($2) FILTER (WHERE ($1) IS NOT NULL)");
    let extreme = keep_clauses(substitute(&extreme, &arguments)?, function)?;
    substitute("struct($1, $2)", &[first, extreme])
}
