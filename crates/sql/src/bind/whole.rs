//! Texts beside whole numbers: `n = '1.0'` means the number that the text says, as `n = '1'` does; and
//! beside times: `at > '2024-01-01 10:00'`. What is none is left to the engine, which says so.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, ExprSchemable, lit};

use granary_functions::full_time;

use super::fixed::compares;
use super::spelled::written;

/// The largest number of which every neighbour is a number of 64 bits with a fraction, too.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// One expression with such texts as the engine reads them.
pub(super) fn settle(mut expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let changed = match &mut expression {
        Expr::BinaryExpr(binary) if compares(&binary.op) => {
            say(&binary.left, vec![binary.right.as_mut()], schema)
                || say(&binary.right, vec![binary.left.as_mut()], schema)
        }
        Expr::InList(list) => say(&list.expr, list.list.iter_mut().collect(), schema),
        Expr::Between(between) => {
            let bounds = vec![between.low.as_mut(), between.high.as_mut()];
            say(&between.expr, bounds, schema)
        }
        _ => false,
    };
    Ok(Transformed::new_transformed(expression, changed))
}

/// Changes the texts among `others`; gives whether it did.
fn say(value: &Expr, others: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    if !others.iter().any(|other| written(other).is_some()) {
        return false;
    }
    let said: fn(&str) -> Option<String> = match value.get_type(schema) {
        Ok(of) if of.is_integer() => whole,
        Ok(DataType::Timestamp(..)) => full_time,
        _ => return false,
    };
    let mut changed = false;
    for other in others {
        if let Some(full) = written(other).and_then(said) {
            *other = lit(full);
            changed = true;
        }
    }
    changed
}

/// The whole number that a text says in more letters than it needs.
fn whole(text: &str) -> Option<String> {
    let text = text.trim();
    let is_number =
        text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    if !is_number || text.parse::<i128>().is_ok() {
        return None;
    }
    // Digits behind the point that are all 0 take nothing from the others.
    if let Some((digits, zeros)) = text.split_once('.')
        && zeros.bytes().all(|byte| byte == b'0')
        && let Ok(number) = digits.parse::<i128>()
    {
        return Some(number.to_string());
    }
    let number: f64 = text.parse().ok()?;
    (number.fract() == 0.0 && number.abs() < EXACT_MAX).then(|| format!("{number:.0}"))
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn texts_say_whole_numbers() {
        for (text, expected) in [
            ("1.0", Some("1")),
            ("-12.000", Some("-12")),
            ("+3.", Some("3")),
            ("1e3", Some("1000")),
            ("9223372036854775807.0", Some("9223372036854775807")),
            // As they are.
            ("1", None),
            ("-5", None),
            // No whole numbers.
            ("1.5", None),
            ("1e-3", None),
            ("x", None),
            ("inf", None),
            ("1.0x", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(whole(text).as_deref(), expected, "{text}");
        }
    }
}
