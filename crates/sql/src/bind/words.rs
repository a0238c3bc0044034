//! Calls by a word of another dialect that keep their clauses, or whose arguments have names.

use granary_common::{Error, Result};
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, ObjectNamePart, Value,
};

use super::calls::{plain_arguments, substitute, with_arguments};
use super::templates;

/// Word in lower case, and the engine's.
const RENAMED: [(&str, &str); 4] = [
    ("list", "array_agg"),
    ("grouping_id", "grouping"),
    ("concatassumeinjective", "concat"),
    ("concatwithseparatorassumeinjective", "concatWithSeparator"),
];

/// Renames the function, or gives what it means.
pub(super) fn settle(function: &mut Function) -> Result<Option<Expr>> {
    let lower = function.name.to_string().to_lowercase();
    if let Some((_, name)) = RENAMED.iter().find(|(known, _)| *known == lower) {
        function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(*name))]);
        return Ok(None);
    }
    match lower.as_str() {
        "struct_pack" => named_struct(function).map(Some),
        "string_split" | "str_split" => match plain_arguments(function) {
            Some(parts) if parts.len() == 2 => {
                substitute("splitByString($2, $1)", &parts).map(Some)
            }
            _ => Err(Error::invalid(format!("{lower} takes a text and a separator"))),
        },
        _ => Ok(None),
    }
}

/// `struct_pack(a := 1, b := 2)`.
fn named_struct(function: &Function) -> Result<Expr> {
    let wrong = || Error::invalid("struct_pack takes named values: struct_pack(a := 1)");
    let FunctionArguments::List(list) = &function.args else { return Err(wrong()) };
    let mut parts = Vec::with_capacity(list.args.len() * 2);
    for argument in &list.args {
        let (name, value) = match argument {
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                (name.value.clone(), value)
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
                left,
                op: BinaryOperator::Assignment,
                right,
            })) => match left.as_ref() {
                Expr::Identifier(name) => (name.value.clone(), right.as_ref()),
                _ => return Err(wrong()),
            },
            FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg: FunctionArgExpr::Expr(value),
                ..
            } => (name.value.clone(), value),
            _ => return Err(wrong()),
        };
        parts.push(Expr::Value(Value::SingleQuotedString(name).into()));
        parts.push(value.clone());
    }
    Ok(with_arguments(templates::expression("named_struct()")?, parts))
}
