//! Calls and intervals that name a unit of time.

use granary_common::{Error, Result};
use sqlparser::ast::{DateTimeField, Expr, Interval, Value};

use super::calls::substitute;

/// Calls whose first argument is a unit of time.
pub(super) fn call_with_unit(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    let [unit, first, second] = arguments else { return Ok(None) };
    let form = match lower {
        "timestampdiff" | "datediff" => "date_diff('{}', $1, $2)",
        "age" => "age('{}', $1, $2)",
        "dateadd" | "date_add" | "timestampadd" | "timestamp_add" => "($2) + toInterval($1, '{}')",
        "datesub" | "date_sub" | "timestampsub" | "timestamp_sub" => "($2) - toInterval($1, '{}')",
        _ => return Ok(None),
    };
    let text = form.replace("{}", &unit_text(unit)?);
    substitute(&text, &[first.clone(), second.clone()]).map(Some)
}

/// A unit, written as a word or as a text.
fn unit_text(unit: &Expr) -> Result<String> {
    let text = match unit {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.to_string(),
    };
    match text.chars().all(|c| c.is_ascii_alphabetic()) {
        true => Ok(text.to_lowercase()),
        false => Err(Error::invalid(format!("'{text}' is not a unit of time"))),
    }
}

/// `INTERVAL (expression) SECOND`; intervals of literals are DataFusion's.
pub(super) fn computed_interval(interval: &Interval) -> Result<Option<Expr>> {
    let Some(unit) = &interval.leading_field else { return Ok(None) };
    match interval.value.as_ref() {
        // DataFusion knows no quarters.
        Expr::Value(_) | Expr::UnaryOp { .. } if *unit != DateTimeField::Quarter => Ok(None),
        value => {
            let text = format!("toInterval($1, '{}')", unit.to_string().to_lowercase());
            substitute(&text, std::slice::from_ref(value)).map(Some)
        }
    }
}
