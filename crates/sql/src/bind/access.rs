//! Parts of values: `items[1].name`, `t.2`, `tupleElement(t, 'name')`.

use granary_common::{Error, Result};
use sqlparser::ast::{AccessExpr, Expr, Subscript, Value};

use super::lambdas;

/// A dot behind a subscript is no column of a table but a part of the value.
pub(super) fn settle(root: &Expr, chain: &mut [AccessExpr]) {
    let is_value = !matches!(root, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    let first = match is_value {
        true => Some(0),
        false => chain.iter().position(|part| matches!(part, AccessExpr::Subscript(_))),
    };
    if let Some(first) = first {
        dots_as_subscripts(&mut chain[first..]);
    }
}

/// `.name` is `['name']`.
pub(super) fn dots_as_subscripts(chain: &mut [AccessExpr]) {
    for part in chain {
        if let AccessExpr::Dot(Expr::Identifier(name)) = part {
            let index = Expr::Value(Value::SingleQuotedString(name.value.clone()).into());
            *part = AccessExpr::Subscript(Subscript::Index { index });
        }
    }
}

/// `tupleElement(tuple, name or place)`.
pub(super) fn tuple_element(tuple: &Expr, element: &Expr) -> Result<Expr> {
    let name = match element {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(name) => name.clone(),
            Value::Number(digits, _) => digits.clone(),
            other => other.to_string(),
        },
        other => {
            return Err(Error::invalid(format!(
                "tupleElement takes the name or the place of an element, not {other}"
            )));
        }
    };
    Ok(lambdas::access(tuple.clone(), [name.as_str()]))
}
