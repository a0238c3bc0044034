//! Function calls and other expressions in the words of DataFusion.

use std::ops::ControlFlow;

use granary_common::{Error, Result};
use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, UnaryOperator, Value, ValueWithSpan,
};

use super::{
    access, accurate, aggregates, digests, digits, fixed, json, lambdas, members, parts, rows,
    templates, units, windows, words, zoned,
};
use crate::walk::visit_expressions_mut;

/// Rewrites one expression whose parts are rewritten already.
pub(super) fn rewrite(expression: &mut Expr) -> Result<()> {
    fixed::mark_parts(expression)?;
    rows::tuples_within(expression)?;
    match expression {
        Expr::Function(function) => {
            if let Some(rewritten) = call(function)? {
                *expression = rewritten;
            }
            Ok(())
        }
        Expr::Interval(interval) => {
            if let Some(rewritten) = units::computed_interval(interval)? {
                *expression = rewritten;
            }
            Ok(())
        }
        Expr::Cast { kind, data_type, expr, array: false, format: None } => {
            if let Some(rewritten) = cast(kind, data_type, expr)? {
                *expression = rewritten;
            }
            Ok(())
        }
        Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
            if let Some(rewritten) = parts::part_of_text(expr, from, substring_for.as_deref())? {
                *expression = rewritten;
            }
            Ok(())
        }
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. })
            if digits.contains(['e', 'E']) =>
        {
            templates::approximate(expression);
            Ok(())
        }
        Expr::TypedString(literal) => {
            parts::settle_time(literal);
            Ok(())
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } if may_be_number(expr) => {
            // Beside AND a number is a condition; the engine's NOT takes none.
            *expression = substitute("NOT (($1) AND true)", &[(**expr).clone()])?;
            Ok(())
        }
        Expr::BinaryOp { left, op, right } if json::is_arrow(op) => {
            *expression = json::by_arrow(left, op, right)?;
            Ok(())
        }
        Expr::RLike { negated, expr, pattern, .. } => {
            *expression = pattern_match(*negated, expr, pattern)?;
            Ok(())
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            access::settle(root, access_chain);
            Ok(())
        }
        Expr::InSubquery { expr, subquery, negated } => {
            if let Expr::Tuple(parts) = expr.as_ref() {
                *expression = members::rewrite(parts, subquery, *negated)?;
            }
            Ok(())
        }
        Expr::Lambda(lambda) => lambdas::settle_body(&mut lambda.body),
        // Texts are compared by their bytes.
        Expr::Collate { expr, .. } => {
            *expression = (**expr).clone();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A cast to a type that a function of ours makes.
fn cast(kind: &CastKind, data_type: &DataType, value: &Expr) -> Result<Option<Expr>> {
    let text = match (kind, data_type) {
        // Times have our own spelling as text, so every text goes one way.
        (_, text) if is_text(text) => "toString($1)".to_owned(),
        // The engine's type has no length.
        (CastKind::Cast | CastKind::DoubleColon, DataType::FixedString(length)) => {
            format!("toFixedString($1, {length})")
        }
        // What is no number is NULL where the type has one.
        (CastKind::Cast | CastKind::DoubleColon, DataType::Nullable(of)) if is_number(of) => {
            format!("TRY_CAST($1 AS {data_type})")
        }
        _ => return Ok(None),
    };
    substitute(&text, std::slice::from_ref(value)).map(Some)
}

fn is_number(data_type: &DataType) -> bool {
    let name = data_type.to_string().to_lowercase();
    ["int", "uint", "float", "decimal"].iter().any(|kind| name.starts_with(kind))
}

/// Whether it could be a number where a condition is wanted.
pub(super) fn may_be_number(expression: &Expr) -> bool {
    match expression {
        Expr::Nested(inner) => may_be_number(inner),
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Function(_)
        | Expr::Cast { .. }
        | Expr::Subquery(_)
        | Expr::Case { .. } => true,
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::BinaryOp { op, .. } => matches!(
            op,
            BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Multiply
                | BinaryOperator::Modulo
                | BinaryOperator::BitwiseAnd
        ),
        _ => false,
    }
}

fn pattern_match(negated: bool, text: &Expr, pattern: &Expr) -> Result<Expr> {
    let matched = substitute("regexp_like($1, $2)", &[text.clone(), pattern.clone()])?;
    match negated {
        true => substitute("NOT ($1)", &[matched]),
        false => Ok(matched),
    }
}

fn whole_division(left: Expr, right: Expr) -> Expr {
    operation(left, BinaryOperator::MyIntegerDivide, right)
}

fn operation(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(left))),
        op,
        right: Box::new(Expr::Nested(Box::new(right))),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::String(_) | DataType::Text | DataType::Varchar(_) | DataType::Char(_)
    )
}

fn call(function: &mut Function) -> Result<Option<Expr>> {
    if let Some(rewritten) = words::settle(function)? {
        return Ok(Some(rewritten));
    }
    fixed::mark(function)?;
    let name = function.name.to_string();
    if let Some(rewritten) = aggregates::rewrite(function, &name)? {
        return Ok(Some(rewritten));
    }
    if !matches!(function.parameters, FunctionArguments::None) {
        return Err(Error::unsupported(format!(
            "'{function}' is not supported: unknown parameters"
        )));
    }
    let lower = name.to_lowercase();
    if let Some(rewritten) = windows::framed(function, &lower)? {
        return Ok(Some(rewritten));
    }
    if function.over.is_some() {
        return Ok(None);
    }
    let Some(mut arguments) = plain_arguments(function) else { return Ok(None) };
    if let Some(moved) = zoned::without_zone(&lower, &arguments)? {
        arguments = moved;
    }
    if let Some(rewritten) = lambdas::rewrite(&name, &arguments)? {
        return Ok(Some(rewritten));
    }
    for rewrite in REWRITES {
        if let Some(rewritten) = rewrite(&lower, &arguments)? {
            return Ok(Some(rewritten));
        }
    }
    // `x / y` in a template must see the arguments as they are, so they go in as a whole.
    arguments.iter_mut().for_each(parenthesize);
    if let Some(mut template) = templates::of_other_dialect(&name, arguments.len()) {
        let rewritten =
            visit_expressions_mut(&mut template, |inner| super::or_break(rewrite(inner)));
        return match rewritten {
            ControlFlow::Continue(()) => templates::substitute(template, &arguments).map(Some),
            ControlFlow::Break(error) => Err(error),
        };
    }
    if let Some(expanded) = templates::expand(&name, &arguments)? {
        return Ok(Some(expanded));
    }
    // The zone was taken out of a call that needs nothing else.
    match plain_arguments(function) {
        Some(before) if before.len() != arguments.len() => {
            let call = templates::expression(&format!("{name}()"))?;
            Ok(Some(with_arguments(call, arguments)))
        }
        _ => Ok(None),
    }
}

/// From a name in lower case and the arguments to what the call means, if it is known.
type Rewrite = fn(&str, &[Expr]) -> Result<Option<Expr>>;

/// The meanings of calls by their names in lower case, the first that knows one.
const REWRITES: [Rewrite; 9] = [
    accurate::rewrite,
    digits::rewrite,
    json::rewrite,
    zoned::rewrite,
    units::call_with_unit,
    array_call,
    windows::rewrite,
    digests::rewrite,
    other_call,
];

/// Calls that are operators, or whose arguments are of a kind of their own.
fn other_call(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    match (lower, arguments) {
        ("decode", [value, pairs @ ..]) if pairs.len() >= 2 => decoded(value, pairs).map(Some),
        ("multiif", _) => multi_if(arguments.to_vec()).map(Some),
        ("concat", [_, _, ..]) => concatenation(arguments).map(Some),
        ("concatwithseparator", [separator, first, rest @ ..]) => {
            let first = substitute("toString($1)", std::slice::from_ref(first))?;
            let joined = rest.iter().try_fold(first, |all, next| {
                substitute("($1) || ($2) || toString($3)", &[all, separator.clone(), next.clone()])
            });
            joined.map(Some)
        }
        ("tuple", _) => {
            Ok(Some(with_arguments(templates::expression("struct()")?, arguments.to_vec())))
        }
        ("and" | "or", [first, rest @ ..]) if !rest.is_empty() => {
            let text = format!("($1) {lower} ($2)");
            let all = rest
                .iter()
                .try_fold(first.clone(), |all, next| substitute(&text, &[all, next.clone()]))?;
            Ok(Some(all))
        }
        // As a text `^` is the power.
        ("bitxor", [left, right]) => {
            Ok(Some(operation(left.clone(), BinaryOperator::BitwiseXor, right.clone())))
        }
        ("intdiv", [left, right]) => Ok(Some(whole_division(left.clone(), right.clone()))),
        ("intdivorzero", [left, right]) => {
            let divisor = substitute("nullIf($1, 0)", std::slice::from_ref(right))?;
            let divided = whole_division(left.clone(), divisor);
            substitute("coalesce($1, 0)", &[divided]).map(Some)
        }
        ("map", []) => templates::expression("map([], [])").map(Some),
        ("to_date" | "to_timestamp" | "try_to_date" | "try_to_timestamp", [value, pattern]) => {
            parts::by_pattern(lower, value, pattern)
        }
        ("to_varchar", [value, pattern]) => {
            substitute("to_char($1, $2)", &[value.clone(), pattern.clone()]).map(Some)
        }
        ("tupleelement", [tuple, element]) => access::tuple_element(tuple, element).map(Some),
        ("untuple", _) => Err(Error::unsupported("untuple is not offered: name the elements, t.1")),
        ("ignore", _) => templates::expression("CAST(0 AS UInt8)").map(Some),
        ("concatassumeinjective", [_, _, ..]) => concatenation(arguments).map(Some),
        ("hasanytokens" | "hasalltokens", [text, wanted]) => {
            let wanted = match zoned::text_of(wanted) {
                Some(_) => substitute("splitByNonAlpha($1)", std::slice::from_ref(wanted))?,
                None => wanted.clone(),
            };
            let has = if lower == "hasanytokens" { "any" } else { "all" };
            let has = format!("array_has_{has}(splitByNonAlpha($1), $2)");
            substitute(&has, &[text.clone(), wanted]).map(Some)
        }
        _ => Ok(None),
    }
}

/// `decode(value, search, result, ..., default)`, where NULL is found by NULL.
fn decoded(value: &Expr, pairs: &[Expr]) -> Result<Expr> {
    let mut rest = pairs.chunks(2).rev();
    let otherwise = match pairs.len() % 2 {
        0 => templates::expression("NULL")?,
        _ => {
            rest.next().map_or_else(|| templates::expression("NULL"), |last| Ok(last[0].clone()))?
        }
    };
    let text = "CASE WHEN ($1) IS NOT DISTINCT FROM ($2) THEN $3 ELSE $4 END";
    rest.try_fold(otherwise, |otherwise, pair| {
        substitute(text, &[value.clone(), pair[0].clone(), pair[1].clone(), otherwise])
    })
}

/// Calls that make or combine arrays, in the engine's words.
fn array_call(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    let named =
        |text: &str| Ok(Some(with_arguments(templates::expression(text)?, arguments.to_vec())));
    match (lower, arguments) {
        ("arrayconcat", _) => named("array_concat()"),
        ("array" | "array_construct" | "list_value" | "list_pack", _) => named("make_array()"),
        ("arrayzip", _) => named("arrays_zip()"),
        ("arrayuniq", [_, _, ..]) => {
            let zipped = with_arguments(templates::expression("arrays_zip()")?, arguments.to_vec());
            substitute("arrayUniq($1)", &[zipped]).map(Some)
        }
        // Beyond the count any order will do.
        ("arraypartialsort", [_, array]) => {
            let text = "array_sort($1, 'ASC', 'NULLS LAST')";
            substitute(text, std::slice::from_ref(array)).map(Some)
        }
        ("arraypartialreversesort", [_, array]) => {
            let text = "array_sort($1, 'DESC', 'NULLS LAST')";
            substitute(text, std::slice::from_ref(array)).map(Some)
        }
        ("arrayintersect", [first, rest @ ..]) if !rest.is_empty() => {
            let all = rest.iter().try_fold(first.clone(), |all, next| {
                substitute("array_intersect($1, $2)", &[all, next.clone()])
            })?;
            Ok(Some(all))
        }
        _ => Ok(None),
    }
}

/// Puts brackets around an operator, so that a template's own operators do not split it.
fn parenthesize(argument: &mut Expr) {
    if matches!(argument, Expr::BinaryOp { .. } | Expr::UnaryOp { .. } | Expr::Between { .. }) {
        *argument = Expr::Nested(Box::new(argument.clone()));
    }
}

/// The arguments when all are plain expressions without DISTINCT or clauses.
pub(crate) fn plain_arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let is_distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    if is_distinct || !list.clauses.is_empty() {
        return None;
    }
    let plain = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
        _ => None,
    };
    list.args.iter().map(plain).collect()
}

/// The call with these arguments instead of its own.
pub(crate) fn with_arguments(mut call: Expr, arguments: Vec<Expr>) -> Expr {
    if let Expr::Function(function) = &mut call
        && let FunctionArguments::List(list) = &mut function.args
    {
        let plain = |argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument));
        list.args = arguments.into_iter().map(plain).collect();
    }
    call
}

pub(super) fn substitute(text: &str, arguments: &[Expr]) -> Result<Expr> {
    templates::substitute(templates::expression(text)?, arguments)
}

fn multi_if(mut arguments: Vec<Expr>) -> Result<Expr> {
    if arguments.len() < 3 || arguments.len().is_multiple_of(2) {
        return Err(Error::invalid(
            "multiIf takes pairs of condition and value, and a last value for all other rows",
        ));
    }
    let mut result = arguments.remove(arguments.len() - 1);
    let template = templates::expression("CASE WHEN $1 THEN $2 ELSE $3 END")?;
    for pair in arguments.chunks(2).rev() {
        let [condition, value] = pair else { continue };
        result =
            templates::substitute(template.clone(), &[condition.clone(), value.clone(), result])?;
    }
    Ok(result)
}

/// NULL in, NULL out, as `||` has it and DataFusion's concat has not.
fn concatenation(arguments: &[Expr]) -> Result<Expr> {
    let template = templates::expression("($1) || ($2)")?;
    let mut parts = arguments.iter();
    let first = parts.next().cloned().ok_or_else(|| Error::invalid("concat takes arguments"))?;
    parts.try_fold(first, |left, right| {
        templates::substitute(template.clone(), &[left, right.clone()])
    })
}
