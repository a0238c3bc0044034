//! Marks around what functions of texts are given, as long as its type is not known.

use granary_common::Result;
use granary_functions::TEXT_OF;
use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};

use crate::bind::{calls, templates};

/// The engine's functions of texts; those of the dialect take bytes as texts anyway, or are in the
/// texts' templates.
const OF_TEXTS: [&str; 38] = [
    "ascii",
    "bit_length",
    "btrim",
    "char_length",
    "character_length",
    "concat",
    "concat_ws",
    "contains",
    "ends_with",
    "find_in_set",
    "initcap",
    "instr",
    "left",
    "length_utf8",
    "levenshtein",
    "lower",
    "lpad",
    "ltrim",
    "octet_length",
    "overlay",
    "position",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "repeat",
    "replace",
    "reverse",
    "right",
    "rpad",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "substring",
    "upper",
];

/// Others, which are spelled in several ways.
const MORE_OF_TEXTS: [&str; 4] = ["substr_index", "substring_index", "translate", "trim"];

/// Marks the arguments of a call of a function of texts.
pub(in crate::bind) fn mark(function: &mut Function) -> Result<()> {
    let lower = function.name.to_string().to_lowercase();
    let is_of_texts = OF_TEXTS.contains(&lower.as_str())
        || MORE_OF_TEXTS.contains(&lower.as_str())
        || templates::is_of_texts(&lower);
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    if !is_of_texts && !is_choice_with_text(&lower, &list.args) {
        return Ok(());
    }
    for argument in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument {
            mark_one(argument)?;
        }
    }
    Ok(())
}

/// Whether it gives one of its arguments, and one is a text as written.
fn is_choice_with_text(name: &str, arguments: &[FunctionArg]) -> bool {
    let is_text = |argument: &FunctionArg| {
        matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))
            if matches!(value.value, Value::SingleQuotedString(_)))
    };
    matches!(name, "coalesce" | "ifnull" | "nvl") && arguments.iter().any(is_text)
}

/// Marks the texts of functions with a grammar of their own.
pub(in crate::bind) fn mark_parts(expression: &mut Expr) -> Result<()> {
    match expression {
        Expr::Position { expr, r#in } => {
            mark_one(expr)?;
            mark_one(r#in)
        }
        Expr::Trim { expr, .. } | Expr::Substring { expr, .. } => mark_one(expr),
        _ => Ok(()),
    }
}

/// Marks what may be a FixedString.
fn mark_one(argument: &mut Expr) -> Result<()> {
    let may_be = match argument {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Case { .. } => true,
        Expr::Function(function) => {
            let name = function.name.to_string().to_lowercase();
            let known = ["tofixedstring", "coalesce", "nullif", "min", "max", "any"];
            known.contains(&name.as_str()) || name.starts_with("toipv4")
        }
        _ => false,
    };
    if may_be {
        *argument = calls::substitute(&format!("{TEXT_OF}($1)"), std::slice::from_ref(argument))?;
    }
    Ok(())
}
