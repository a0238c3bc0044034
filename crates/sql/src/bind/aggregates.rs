//! ClickHouse's aggregate functions and their combinators in standard words: `sumIf(x, c)` is
//! `sum(x) FILTER (WHERE c)`, `uniq(x)` is `count(DISTINCT x)`.

mod combinators;
mod composed;

use granary_common::{Error, Result};
use granary_functions::states::takes_text;
use granary_functions::{AGGREGATES, base_and_combinators};
use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, ObjectName, ObjectNamePart, UnaryOperator, WindowFrame,
    WindowFrameBound, WindowType,
};

use super::calls::{plain_arguments, substitute};
use super::templates;

/// The names of the aggregates.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    AGGREGATES.iter().map(|(name, _)| *name)
}

/// Whether this is the name of an aggregate, with combinators or without.
pub(super) fn is_aggregate(name: &str) -> bool {
    base_and_combinators(&name.to_lowercase()).is_some()
}

/// The aggregate in a name with combinators; `None` when there are none.
#[cfg(test)]
pub(super) fn plain(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    base_and_combinators(&lower)
        .filter(|(_, combinators)| !combinators.is_empty())
        .map(|(base, _)| base)
}

/// Rewrites a call of an aggregate; `None` when it is none or needs nothing.
pub(super) fn rewrite(function: &mut Function, name: &str) -> Result<Option<Expr>> {
    let lower = name.to_lowercase();
    if lower == "count" && function_has_several_distinct(function) {
        merge_arguments(function)?;
        return Ok(None);
    }
    // Trino's and DuckDB's word.
    let lower = if lower == "count_if" { "countif".to_owned() } else { lower };
    if lower == "string_agg" {
        return composed::ordered_texts(function);
    }
    let Some((base, combinators)) = base_and_combinators(&lower) else { return Ok(None) };
    let form = combinators::apply(function, &combinators, name)?;
    let rewritten = match form.is_plain() {
        true => rewrite_base(function, base, name)?,
        false => combinators::rewrite(function, base, &form, name)?,
    };
    match form.or_default {
        false => Ok(rewritten),
        true => {
            let value = rewritten.unwrap_or_else(|| Expr::Function(function.clone()));
            substitute("valueOrDefault($1)", &[value]).map(Some)
        }
    }
}

fn rewrite_base(function: &mut Function, base: &str, name: &str) -> Result<Option<Expr>> {
    match base {
        "uniq" => {
            merge_arguments(function)?;
            if let FunctionArguments::List(list) = &mut function.args {
                list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
            }
            rename(function, "count");
            Ok(None)
        }
        "quantile" => {
            let levels = levels(function, name)?;
            let level = levels.into_iter().next().unwrap_or(templates::expression("0.5")?);
            quantile(function, name, &level).map(Some)
        }
        "quantileexact" => {
            let level = parameters(function)?.first().cloned();
            let level = level.unwrap_or(templates::expression("0.5")?);
            quantile_exact(function, name, level).map(Some)
        }
        "quantiles" => quantiles(function, name).map(Some),
        "grouparray" => group_array(function, name, false).map(Some),
        "groupuniqarray" => group_array(function, name, true).map(Some),
        base if composed::KNOWN.contains(&base) => {
            composed::rewrite(function, base, name).map(Some)
        }
        "quantiledeterministic" => {
            if let FunctionArguments::List(list) = &mut function.args {
                list.args.truncate(1);
            }
            rewrite_base(function, "quantile", name)
        }
        base if takes_text(base) => gathered(function, base, name),
        "sum" | "avg" => {
            without_parameters(function, name)?;
            condition_as_number(function)?;
            rename(function, base);
            Ok(None)
        }
        "first_value" | "last_value"
            if name.to_lowercase().starts_with("any") && function.over.is_none() =>
        {
            without_parameters(function, name)?;
            leave_nulls_out(function)?;
            rename(function, base);
            Ok(None)
        }
        "argmax" => arg_extreme(function, name, "DESC").map(Some),
        "argmin" => arg_extreme(function, name, "ASC").map(Some),
        plain => {
            without_parameters(function, name)?;
            rename(function, plain);
            Ok(None)
        }
    }
}

/// The levels of quantiles. Of some the first parameter says how exact they have to be at least.
fn levels(function: &Function, name: &str) -> Result<Vec<Expr>> {
    let mut parameters = parameters(function)?;
    let lower = name.to_lowercase();
    let is_rough = ["gk", "dd"].iter().any(|end| lower.trim_start_matches("quantiles") == *end)
        || ["quantilegk", "quantiledd", "mediangk", "mediandd"].contains(&lower.as_str());
    if is_rough && (parameters.len() > 1 || lower.starts_with("median")) {
        parameters.remove(0);
    }
    Ok(parameters)
}

fn without_parameters(function: &Function, name: &str) -> Result<()> {
    match parameters(function)?.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(format!("{name} takes no parameters before its arguments"))),
    }
}

/// A function over all rows of its group, whose parameters stand as one text behind its arguments.
fn gathered(function: &mut Function, base: &str, name: &str) -> Result<Option<Expr>> {
    let text = combinators::text_of(&parameters(function)?)?;
    let FunctionArguments::List(list) = &mut function.args else {
        return Err(Error::invalid(format!("{name} takes arguments")));
    };
    list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(text)));
    rename(function, base);
    Ok(None)
}

fn rename(function: &mut Function, name: &str) {
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
    function.parameters = FunctionArguments::None;
}

fn function_has_several_distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list)
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) && list.args.len() > 1)
}

/// Several arguments of a distinct count become one tuple. Rows with a NULL are not counted.
fn merge_arguments(function: &mut Function) -> Result<()> {
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    if list.args.len() < 2 {
        return Ok(());
    }
    let arguments: Vec<Expr> = list
        .args
        .iter()
        .filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
            _ => None,
        })
        .collect();
    let mut condition: Option<Expr> = None;
    for argument in &arguments {
        let one = substitute("($1) IS NOT NULL", std::slice::from_ref(argument))?;
        condition = Some(match condition {
            Some(before) => substitute("($1) AND ($2)", &[before, one])?,
            None => one,
        });
    }
    let tuple = super::calls::with_arguments(templates::expression("struct()")?, arguments);
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(tuple))];
    if let Some(condition) = condition {
        add_filter(function, condition)?;
    }
    Ok(())
}

/// The last argument of an -If aggregate is its filter.
fn condition_to_filter(function: &mut Function, name: &str) -> Result<()> {
    let FunctionArguments::List(list) = &mut function.args else {
        return Err(Error::invalid(format!("{name} takes a condition")));
    };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(condition))) = list.args.pop() else {
        return Err(Error::invalid(format!("{name} takes a condition as its last argument")));
    };
    add_filter(function, condition)
}

fn add_filter(function: &mut Function, condition: Expr) -> Result<()> {
    let filter = match function.filter.take() {
        Some(before) => substitute("($1) AND ($2)", &[*before, condition])?,
        None => condition,
    };
    function.filter = Some(Box::new(filter));
    Ok(())
}

/// `any` takes a value that is there, unless it says RESPECT NULLS.
fn leave_nulls_out(function: &mut Function) -> Result<()> {
    if function.null_treatment.is_some() || function.name.to_string().ends_with("_nulls") {
        return Ok(());
    }
    match plain_arguments(function).as_deref() {
        Some([value]) => {
            let is_there = substitute("($1) IS NOT NULL", std::slice::from_ref(value))?;
            add_filter(function, is_there)
        }
        _ => Ok(()),
    }
}

/// What stands in the first brackets of `quantile(0.9)(x)`.
fn parameters(function: &Function) -> Result<Vec<Expr>> {
    let mut only = function.clone();
    only.args = function.parameters.clone();
    match &function.parameters {
        FunctionArguments::None => Ok(Vec::new()),
        _ => plain_arguments(&only)
            .ok_or_else(|| Error::invalid(format!("{} takes plain parameters", function.name))),
    }
}

fn only_argument(function: &Function, name: &str) -> Result<Expr> {
    match plain_arguments(function).as_deref() {
        Some([argument]) => Ok(argument.clone()),
        _ => Err(Error::invalid(format!("{name} takes one argument"))),
    }
}

/// Keeps the filter and the window of the call that is replaced.
fn keep_clauses(mut replaced: Expr, function: &Function) -> Result<Expr> {
    if let Expr::Function(inner) = &mut replaced {
        inner.over = function.over.clone();
        if let Some(filter) = &function.filter {
            add_filter(inner, (**filter).clone())?;
        }
    }
    Ok(replaced)
}

/// The argument of a call with one, and whether DISTINCT stands before it.
fn argument_or_distinct(function: &Function, name: &str) -> Result<(Expr, bool)> {
    let mut plain = function.clone();
    let mut is_distinct = false;
    if let FunctionArguments::List(list) = &mut plain.args {
        is_distinct = list.duplicate_treatment.take() == Some(DuplicateTreatment::Distinct);
    }
    Ok((only_argument(&plain, name)?, is_distinct))
}

/// The element at floor(p * n) of the sorted values.
fn quantile_exact(function: &Function, name: &str, level: Expr) -> Result<Expr> {
    let (value, is_distinct) = argument_or_distinct(function, name)?;
    let distinct = if is_distinct { "DISTINCT " } else { "" };
    let part = |aggregate: &str| {
        let text = format!("{aggregate}({distinct}$1)");
        keep_clauses(substitute(&text, std::slice::from_ref(&value))?, function)
    };
    let text = "array_sort($1)[greatest(least(CAST(floor(CAST($3 AS Float64) * $2) AS Int64) + 1, \
                $2), 1)]";
    substitute(text, &[part("array_agg")?, part("count")?, level])
}

/// An array of them, one for each level.
fn quantiles(function: &mut Function, name: &str) -> Result<Expr> {
    if name.eq_ignore_ascii_case("quantilesDeterministic")
        && let FunctionArguments::List(list) = &mut function.args
    {
        list.args.truncate(1);
    }
    let levels = levels(function, name)?;
    let parts = levels.iter().map(|level| quantile(function, name, level));
    let parts = parts.collect::<Result<Vec<Expr>>>()?;
    Ok(super::calls::with_arguments(templates::expression("make_array()")?, parts))
}

/// Interpolates linearly between the neighbours of position p * (n - 1).
fn quantile(function: &Function, name: &str, level: &Expr) -> Result<Expr> {
    let (value, is_distinct) = argument_or_distinct(function, name)?;
    if is_distinct || function.over.is_some() {
        let distinct = if is_distinct { "DISTINCT " } else { "" };
        let text = format!("percentile_cont({distinct}CAST(($1) AS Float64), {level})");
        return keep_clauses(substitute(&text, std::slice::from_ref(&value))?, function);
    }
    let text = format!("percentile_cont({level}) WITHIN GROUP (ORDER BY CAST(($1) AS Float64))");
    let mut call = templates::expression(&text)?;
    if let Expr::Function(call) = &mut call {
        for key in &mut call.within_group {
            key.expr = templates::substitute(key.expr.clone(), std::slice::from_ref(&value))?;
        }
    }
    keep_clauses(call, function)
}

/// `sum(x > 1)` counts the rows where the condition holds.
fn condition_as_number(function: &mut Function) -> Result<()> {
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_mut_slice() else {
        return Ok(());
    };
    if is_condition(argument) {
        *argument = substitute("CAST($1 AS UInt8)", std::slice::from_ref(argument))?;
    }
    Ok(())
}

fn is_condition(expression: &Expr) -> bool {
    match expression {
        Expr::Nested(inner) => is_condition(inner),
        Expr::BinaryOp { op, .. } => matches!(
            op,
            BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Gt
                | BinaryOperator::GtEq
                | BinaryOperator::And
                | BinaryOperator::Or
        ),
        Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::InList { .. }
        | Expr::Between { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::UnaryOp { op: UnaryOperator::Not, .. } => true,
        _ => false,
    }
}

/// All values that are not NULL, at most as many as the parameter says.
fn group_array(function: &Function, name: &str, distinct: bool) -> Result<Expr> {
    // The combinator -Distinct says the same as the function's name.
    let (value, is_distinct) = argument_or_distinct(function, name)?;
    let distinct = distinct || is_distinct;
    let most = parameters(function)?.first().cloned();
    let all = group_array_of(function, &value, distinct)?;
    // Of no values it is empty: arrays are never NULL.
    let all = substitute("valueOrDefault($1)", &[all])?;
    match most {
        Some(most) => substitute("array_slice($1, 1, $2)", &[all, most]),
        None => Ok(all),
    }
}

fn group_array_of(function: &Function, value: &Expr, distinct: bool) -> Result<Expr> {
    let text = match distinct {
        true => "array_agg(DISTINCT $1) FILTER (WHERE ($1) IS NOT NULL)",
        false => "array_agg($1) FILTER (WHERE ($1) IS NOT NULL)",
    };
    keep_clauses(substitute(text, std::slice::from_ref(value))?, function)
}

fn arg_extreme(function: &Function, name: &str, direction: &str) -> Result<Expr> {
    let Some([value, by]) = plain_arguments(function)
        .as_deref()
        .map(|all| <[Expr; 2]>::try_from(all.to_vec()))
        .and_then(|r| r.ok())
    else {
        return Err(Error::invalid(format!("{name} takes a value and what to compare")));
    };
    if let Some(over) = &function.over {
        let moves =
            |frame: &WindowFrame| !matches!(frame.start_bound, WindowFrameBound::Preceding(None));
        if matches!(over, WindowType::WindowSpec(spec) if spec.window_frame.as_ref().is_some_and(moves))
        {
            return Err(Error::unsupported(format!(
                "{name} over a window whose frame does not begin with UNBOUNDED PRECEDING is not \
                 supported"
            )));
        }
        let own = if direction == "DESC" { "argMax" } else { "argMin" };
        let text = format!("{own}($1, $2) FILTER (WHERE ($1) IS NOT NULL)");
        return keep_clauses(substitute(&text, &[value, by])?, function);
    }
    // Every number is the same, and the engine would take it for the place of a column.
    let order = match &by {
        Expr::Value(_) => String::new(),
        _ => format!(" ORDER BY $2 {direction}"),
    };
    let text =
        format!("first_value($1{order}) FILTER (WHERE ($2) IS NOT NULL AND ($1) IS NOT NULL)");
    keep_clauses(substitute(&text, &[value, by])?, function)
}
