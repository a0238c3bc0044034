//! Parts of texts, and texts as dates and times by a pattern.

use granary_common::Result;
use sqlparser::ast::{DataType, Expr, TypedString, UnaryOperator, Value};

use super::calls::substitute;
use super::zoned;

/// A time without a fraction is one in seconds.
pub(super) fn settle_time(literal: &mut TypedString) {
    let text = literal.value.clone().into_string().unwrap_or_default();
    if matches!(literal.data_type, DataType::Timestamp(None, _)) && !text.contains('.') {
        literal.data_type = DataType::Datetime(None);
    }
}

/// `to_date(text, pattern)` by a pattern of PostgreSQL; others are the engine's.
pub(super) fn by_pattern(lower: &str, value: &Expr, pattern: &Expr) -> Result<Option<Expr>> {
    let Some(text) = zoned::text_of(pattern).filter(|text| !text.contains('%')) else {
        return Ok(None);
    };
    let letters = granary_functions::mysql_pattern(text);
    let pattern = Expr::Value(Value::SingleQuotedString(letters).into());
    let tried = match lower.contains("date") {
        true => "CAST(parseDateTime($1, $2) AS Date)",
        false => "parseDateTime($1, $2)",
    };
    let text = match lower.starts_with("try_") {
        true => tried.replace("parseDateTime", "parseDateTimeOrNull"),
        false => tried.to_owned(),
    };
    substitute(&text, &[value.clone(), pattern]).map(Some)
}

/// `substring(s, from, length)` where one of the numbers is negative.
pub(super) fn part_of_text(
    text: &Expr,
    from: &Expr,
    length: Option<&Expr>,
) -> Result<Option<Expr>> {
    if let Some(found) = from_the_end(text, from, length)? {
        return Ok(Some(found));
    }
    match length {
        // So many characters less than there are from there on.
        Some(Expr::UnaryOp { op: UnaryOperator::Minus, .. }) => {
            let parts: Vec<Expr> = [text, from].into_iter().chain(length).cloned().collect();
            substitute("left(substr($1, $2), $3)", &parts).map(Some)
        }
        _ => Ok(None),
    }
}

/// `substring(s, -n)` counts from the end.
fn from_the_end(text: &Expr, from: &Expr, length: Option<&Expr>) -> Result<Option<Expr>> {
    let Expr::UnaryOp { op: UnaryOperator::Minus, expr } = from else {
        return Ok(None);
    };
    let end = substitute("right($1, $2)", &[text.clone(), (**expr).clone()])?;
    match length {
        Some(length) => substitute("left($1, $2)", &[end, length.clone()]).map(Some),
        None => Ok(Some(end)),
    }
}
