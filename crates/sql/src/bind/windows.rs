//! Functions of neighbouring rows as window functions.

use granary_common::{Error, Result};
use sqlparser::ast::{Expr, Function, Ident, ObjectName, ObjectNamePart, UnaryOperator};

use super::calls::{plain_arguments, substitute};
use super::templates;

/// `lagInFrame` and `leadInFrame` with their window. Without a default they have the zero of the type.
pub(super) fn framed(function: &mut Function, lower: &str) -> Result<Option<Expr>> {
    let name = match lower {
        "laginframe" => "lag",
        "leadinframe" => "lead",
        _ => return Ok(None),
    };
    if function.over.is_none() {
        return Err(Error::invalid(format!("{} needs OVER (...)", function.name)));
    }
    let has_default = plain_arguments(function).is_some_and(|arguments| arguments.len() > 2);
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
    let call = Expr::Function(function.clone());
    match has_default {
        true => Ok(Some(call)),
        false => substitute("valueOrDefault($1)", &[call]).map(Some),
    }
}

/// Functions that look at the rows around in the order in which they come.
pub(super) fn rewrite(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    let text = match (lower, arguments) {
        ("runningdifference", [_]) => "coalesce(($1) - lag($1) OVER (), 0)",
        ("runningdifferencestartingwithfirstvalue", [_]) => "coalesce(($1) - lag($1) OVER (), $1)",
        ("rownumberinallblocks" | "rownumberinblock", []) => "row_number() OVER () - 1",
        ("neighbor", [value, offset, rest @ ..]) => {
            let (name, distance) = match offset {
                Expr::UnaryOp { op: UnaryOperator::Minus, expr } => ("lag", (**expr).clone()),
                other => ("lead", other.clone()),
            };
            return match rest {
                [] => substitute(
                    &format!("valueOrDefault({name}($1, $2) OVER ())"),
                    &[value.clone(), distance],
                ),
                [default] => substitute(
                    &format!("{name}($1, $2, $3) OVER ()"),
                    &[value.clone(), distance, default.clone()],
                ),
                _ => Err(Error::invalid("neighbor takes a column, an offset and a default")),
            }
            .map(Some);
        }
        _ => return Ok(None),
    };
    Ok(Some(templates::substitute(templates::expression(text)?, arguments)))
}
