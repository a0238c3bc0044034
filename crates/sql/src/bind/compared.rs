//! Comparisons that the engine does not know, or does not read as the standard says: of rows, with
//! several patterns, products with intervals, and operators that are functions here.

use granary_common::{Error, Result};
use granary_functions::ON_CLOCKS;
use sqlparser::ast::{
    BinaryOperator, CeilFloorKind, DataType, DateTimeField, Expr, Interval, StructField,
    UnaryOperator, Value,
};

use super::calls::{substitute, with_arguments};
use super::rows::is_fraction;
use super::templates;
use super::zoned::text_of;

/// Rewrites one expression whose parts are rewritten already.
pub(super) fn rewrite(expression: &mut Expr) -> Result<()> {
    let rewritten = match expression {
        Expr::BinaryOp { left, op: BinaryOperator::Multiply, right } => {
            match (left.as_ref(), right.as_ref()) {
                (Expr::Interval(interval), number) | (number, Expr::Interval(interval)) => {
                    multiplied(interval, number)?
                }
                _ => None,
            }
        }
        Expr::BinaryOp { left, op, right } => match (left.as_ref(), right.as_ref()) {
            (Expr::Tuple(left), Expr::Tuple(right)) if left.len() == right.len() => {
                rows(left, op, right)?
            }
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr } => {
            Some(substitute("bitNot($1)", std::slice::from_ref(expr))?)
        }
        Expr::Cast { expr, data_type: DataType::Tuple(fields), .. } => match expr.as_ref() {
            Expr::Tuple(parts) if parts.len() == fields.len() => Some(typed_tuple(parts, fields)?),
            _ => None,
        },
        // A decimal of no more digits than its fraction has no room for the whole number.
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(_) }
        | Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(_) }
            if is_fraction(expr) =>
        {
            **expr = substitute("CAST($1 AS Float64)", std::slice::from_ref(expr.as_ref()))?;
            None
        }
        Expr::Floor { expr, field: CeilFloorKind::Scale(scale) } => {
            rounded("floor", expr, &scale.value)?
        }
        Expr::Ceil { expr, field: CeilFloorKind::Scale(scale) } => {
            rounded("ceil", expr, &scale.value)?
        }
        // The clocks of the zone show this time; a cast to a zone means the same instant.
        Expr::AtTimeZone { timestamp, .. } => {
            let text = format!("{ON_CLOCKS}($1)");
            **timestamp = substitute(&text, std::slice::from_ref(timestamp.as_ref()))?;
            None
        }
        Expr::Interval(interval) if interval.last_field.is_some() => Some(spanned(interval)?),
        // Parts of times that the engine has no name for.
        Expr::Extract { field, expr, .. } => {
            let name = match field {
                DateTimeField::Century => "century($1)",
                DateTimeField::Decade => "decade($1)",
                DateTimeField::Millennium => "millennium($1)",
                _ => return Ok(()),
            };
            Some(substitute(name, std::slice::from_ref(expr.as_ref()))?)
        }
        Expr::Like { negated, any: true, expr, pattern, escape_char: None } => {
            any_pattern("LIKE", *negated, expr, pattern)?
        }
        Expr::ILike { negated, any: true, expr, pattern, escape_char: None } => {
            any_pattern("ILIKE", *negated, expr, pattern)?
        }
        _ => None,
    };
    if let Some(rewritten) = rewritten {
        *expression = rewritten;
    }
    Ok(())
}

/// `(a, b) < (c, d)`: the first parts that differ decide, and NULL where they cannot.
fn rows(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Result<Option<Expr>> {
    let pair = |place: usize, sign: &str| {
        let arguments = [left[place].clone(), right[place].clone()];
        substitute(&format!("(($1) {sign} ($2))"), &arguments)
    };
    let joined = |word: &str, parts: [Expr; 2]| substitute(&format!("(($1) {word} ($2))"), &parts);
    let (sign, last) = match op {
        BinaryOperator::Eq => ("=", "="),
        BinaryOperator::NotEq => ("<>", "<>"),
        BinaryOperator::Lt => ("<", "<"),
        BinaryOperator::LtEq => ("<", "<="),
        BinaryOperator::Gt => (">", ">"),
        BinaryOperator::GtEq => (">", ">="),
        _ => return Ok(None),
    };
    let end = left.len() - 1;
    let mut all = pair(end, last)?;
    for place in (0..end).rev() {
        all = match op {
            BinaryOperator::Eq => joined("AND", [pair(place, "=")?, all])?,
            BinaryOperator::NotEq => joined("OR", [pair(place, "<>")?, all])?,
            _ => {
                let later = joined("AND", [pair(place, "=")?, all])?;
                joined("OR", [pair(place, sign)?, later])?
            }
        };
    }
    Ok(Some(all))
}

/// `x LIKE ANY ('a%', 'b%')`, whose patterns are a list or an array.
fn any_pattern(word: &str, negated: bool, text: &Expr, patterns: &Expr) -> Result<Option<Expr>> {
    let patterns: Vec<&Expr> = match patterns {
        Expr::Tuple(patterns) => patterns.iter().collect(),
        Expr::Array(array) => array.elem.iter().collect(),
        Expr::Nested(inner) => match inner.as_ref() {
            Expr::Array(array) => array.elem.iter().collect(),
            other => vec![other],
        },
        _ => return Ok(None),
    };
    let mut any: Option<Expr> = None;
    for pattern in patterns {
        let matches = substitute(&format!("($1) {word} ($2)"), &[text.clone(), pattern.clone()])?;
        any = Some(match any {
            Some(any) => substitute("($1) OR ($2)", &[any, matches])?,
            None => matches,
        });
    }
    match (any, negated) {
        (Some(any), true) => substitute("NOT ($1)", &[any]).map(Some),
        (Some(any), false) => substitute("($1)", &[any]).map(Some),
        (None, _) => Ok(None),
    }
}

/// `CAST((1, 'x') AS Tuple(a Int8, b String))`: each part by itself.
fn typed_tuple(parts: &[Expr], fields: &[StructField]) -> Result<Expr> {
    let mut arguments = Vec::with_capacity(parts.len() * 2);
    for (place, (part, field)) in parts.iter().zip(fields).enumerate() {
        let name = match &field.field_name {
            Some(name) => name.value.clone(),
            None => format!("c{place}"),
        };
        arguments.push(Expr::Value(Value::SingleQuotedString(name).into()));
        let mut cast = templates::expression("CAST(NULL AS Int8)")?;
        if let Expr::Cast { expr, data_type, .. } = &mut cast {
            **expr = part.clone();
            *data_type = field.field_type.clone();
        }
        arguments.push(cast);
    }
    Ok(with_arguments(templates::expression("named_struct()")?, arguments))
}

/// `floor(x, 2)`, at so many digits behind the point, or before it below zero.
fn rounded(name: &str, number: &Expr, scale: &Value) -> Result<Option<Expr>> {
    let digits = match scale {
        Value::Number(digits, _) => digits.parse::<i32>().ok(),
        _ => None,
    };
    let Some(digits) = digits.filter(|digits| digits.abs() <= 15) else { return Ok(None) };
    let power = format!("1{}", "0".repeat(digits.unsigned_abs() as usize));
    let text = match digits {
        0.. => format!("{name}(($1) * {power}) / {power}"),
        _ => format!("{name}(($1) / {power}) * {power}"),
    };
    substitute(&text, std::slice::from_ref(number)).map(Some)
}

/// `INTERVAL '1-2' YEAR TO MONTH` and `INTERVAL '3 04:05:06' DAY TO SECOND`: a number for each unit.
fn spanned(interval: &Interval) -> Result<Expr> {
    let wrong = || {
        Error::invalid(format!(
            "'{interval}' is no interval: write one number for each unit, as in '1-2' YEAR TO MONTH \
             and '3 04:05:06' DAY TO SECOND"
        ))
    };
    let text = text_of(&interval.value).ok_or_else(wrong)?.trim();
    let (sign, numbers) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let place = |field: &Option<DateTimeField>| {
        let name = field.as_ref()?.to_string().to_lowercase();
        SPANNED.iter().position(|unit| *unit == name)
    };
    let (Some(first), Some(last)) = (place(&interval.leading_field), place(&interval.last_field))
    else {
        return Err(wrong());
    };
    let units = SPANNED.get(first..=last).ok_or_else(wrong)?;
    let numbers: Vec<&str> =
        numbers.split([' ', ':', '-']).filter(|part| !part.is_empty()).collect();
    let is_number = |number: &&str| number.parse::<f64>().is_ok();
    if numbers.len() != units.len() || !numbers.iter().all(is_number) || (first < 2 && last > 1) {
        return Err(wrong());
    }
    let parts: Vec<String> =
        numbers.iter().zip(units).map(|(number, unit)| format!("{sign}{number} {unit}")).collect();
    templates::expression(&format!("INTERVAL '{}'", parts.join(" ")))
}

/// Units of which an interval may have several, from the longest; months and days do not mix.
const SPANNED: [&str; 6] = ["year", "month", "day", "hour", "minute", "second"];

/// `n * INTERVAL '2 days'`, for an interval of one unit.
fn multiplied(interval: &Interval, number: &Expr) -> Result<Option<Expr>> {
    let text = match interval.value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.clone(),
            _ => text_of(&interval.value).unwrap_or_default().to_owned(),
        },
        _ => return Ok(None),
    };
    let mut words = text.split_whitespace();
    let (Some(count), unit, None) = (words.next(), words.next(), words.next()) else {
        return Ok(None);
    };
    let unit = match (&interval.leading_field, unit) {
        (Some(field), None) => field.to_string().to_lowercase(),
        (None, Some(unit)) => unit.to_lowercase(),
        _ => return Ok(None),
    };
    let is_plain = count.parse::<i64>().is_ok() && unit.chars().all(|c| c.is_ascii_alphabetic());
    if !is_plain {
        return Ok(None);
    }
    let unit = unit.trim_end_matches('s');
    let text = format!("toInterval(({count}) * ($1), '{unit}')");
    substitute(&text, std::slice::from_ref(number)).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_become_others() {
        for (text, expected) in [
            ("(a, b) = (1, 2)", "(((a) = (1))) AND (((b) = (2)))"),
            ("(a, b) <> (1, 2)", "(((a) <> (1))) OR (((b) <> (2)))"),
            ("(a, b) <= (1, 2)", "((b) <= (2))"),
            ("x LIKE ANY ('a%', 'b%')", "((x) LIKE ('a%')) OR ((x) LIKE ('b%'))"),
            ("n * INTERVAL '2 days'", "toInterval((2) * (n), 'day')"),
            ("INTERVAL 3 HOUR * n", "toInterval((3) * (n), 'hour')"),
        ] {
            let mut expression = templates::expression(text).expect(text);
            rewrite(&mut expression).expect(text);
            assert!(expression.to_string().contains(expected), "{text}: {expression}");
        }
    }
}
