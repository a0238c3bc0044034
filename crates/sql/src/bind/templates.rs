//! Calls that are another expression in standard SQL: each is one line of text with `$1`, `$2` for
//! its arguments, parsed once.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use granary_common::{Error, Result};
use sqlparser::ast::{Expr, Query, Value, ValueWithSpan, visit_expressions_mut};
use sqlparser::parser::Parser;

use crate::dialect::{GranaryDialect, tokenize};

/// Name, number of arguments, meaning. Names are matched without case.
const CALLS: &[(&str, usize, &str)] = &[
    // Conditions
    ("if", 3, "CASE WHEN $1 THEN $2 ELSE $3 END"),
    ("ifNull", 2, "coalesce($1, $2)"),
    ("isNull", 1, "($1) IS NULL"),
    ("isNotNull", 1, "($1) IS NOT NULL"),
    ("assumeNotNull", 1, "$1"),
    ("toNullable", 1, "$1"),
    ("materialize", 1, "$1"),
    ("identity", 1, "$1"),
    // Conversions
    ("toInt8", 1, "CAST($1 AS Int8)"),
    ("toInt16", 1, "CAST($1 AS Int16)"),
    ("toInt32", 1, "CAST($1 AS Int32)"),
    ("toInt64", 1, "CAST($1 AS Int64)"),
    ("toUInt8", 1, "CAST($1 AS UInt8)"),
    ("toUInt16", 1, "CAST($1 AS UInt16)"),
    ("toUInt32", 1, "CAST($1 AS UInt32)"),
    ("toUInt64", 1, "CAST($1 AS UInt64)"),
    ("toFloat32", 1, "CAST($1 AS Float32)"),
    ("toFloat64", 1, "CAST($1 AS Float64)"),
    ("toBool", 1, "CAST($1 AS Bool)"),
    ("toUUID", 1, "CAST($1 AS String)"),
    ("toDate", 1, "CAST($1 AS Date)"),
    ("toDate32", 1, "CAST($1 AS Date)"),
    ("date", 1, "CAST($1 AS Date)"),
    ("toDateTime", 1, "CAST($1 AS DateTime)"),
    ("fromUnixTimestamp", 1, "CAST(CAST($1 AS Int64) AS DateTime)"),
    ("toInt32OrNull", 1, "TRY_CAST($1 AS Int32)"),
    ("toInt64OrNull", 1, "TRY_CAST($1 AS Int64)"),
    ("toUInt32OrNull", 1, "TRY_CAST($1 AS UInt32)"),
    ("toUInt64OrNull", 1, "TRY_CAST($1 AS UInt64)"),
    ("toFloat64OrNull", 1, "TRY_CAST($1 AS Float64)"),
    ("toDateOrNull", 1, "TRY_CAST($1 AS Date)"),
    ("toInt32OrZero", 1, "coalesce(TRY_CAST($1 AS Int32), CAST(0 AS Int32))"),
    ("toInt64OrZero", 1, "coalesce(TRY_CAST($1 AS Int64), CAST(0 AS Int64))"),
    ("toUInt32OrZero", 1, "coalesce(TRY_CAST($1 AS UInt32), CAST(0 AS UInt32))"),
    ("toUInt64OrZero", 1, "coalesce(TRY_CAST($1 AS UInt64), CAST(0 AS UInt64))"),
    ("toFloat64OrZero", 1, "coalesce(TRY_CAST($1 AS Float64), CAST(0 AS Float64))"),
    // Dates and times
    ("toUnixTimestamp", 1, "CAST(CAST($1 AS DateTime) AS Int64)"),
    ("toUnixTimestamp64Milli", 1, "CAST(CAST($1 AS DateTime64(3)) AS Int64)"),
    ("toUnixTimestamp64Micro", 1, "CAST(CAST($1 AS DateTime64(6)) AS Int64)"),
    ("toUnixTimestamp64Nano", 1, "CAST(CAST($1 AS DateTime64(9)) AS Int64)"),
    ("parseDateTimeBestEffort", 1, "CAST($1 AS DateTime)"),
    ("now", 0, "CAST(current_timestamp AS DateTime)"),
    ("now64", 0, "CAST(current_timestamp AS DateTime64(3))"),
    ("today", 0, "current_date"),
    ("yesterday", 0, "current_date - INTERVAL '1 day'"),
    ("toYear", 1, "date_part('year', $1)"),
    ("year", 1, "date_part('year', $1)"),
    ("toQuarter", 1, "date_part('quarter', $1)"),
    ("toMonth", 1, "date_part('month', $1)"),
    ("month", 1, "date_part('month', $1)"),
    ("toDayOfMonth", 1, "date_part('day', $1)"),
    ("day", 1, "date_part('day', $1)"),
    ("toDayOfYear", 1, "date_part('doy', $1)"),
    ("toDayOfWeek", 1, "date_part('isodow', $1)"),
    ("toHour", 1, "date_part('hour', $1)"),
    ("hour", 1, "date_part('hour', $1)"),
    ("toMinute", 1, "date_part('minute', $1)"),
    ("minute", 1, "date_part('minute', $1)"),
    ("toSecond", 1, "date_part('second', $1)"),
    ("toStartOfYear", 1, "CAST(date_trunc('year', $1) AS Date)"),
    ("toStartOfQuarter", 1, "CAST(date_trunc('quarter', $1) AS Date)"),
    ("toStartOfMonth", 1, "CAST(date_trunc('month', $1) AS Date)"),
    ("toMonday", 1, "CAST(date_trunc('week', $1) AS Date)"),
    ("toStartOfDay", 1, "CAST(date_trunc('day', $1) AS DateTime)"),
    ("toStartOfHour", 1, "CAST(date_trunc('hour', $1) AS DateTime)"),
    ("toStartOfMinute", 1, "CAST(date_trunc('minute', $1) AS DateTime)"),
    ("toStartOfSecond", 1, "date_trunc('second', $1)"),
    ("toStartOfFiveMinutes", 1, "toStartOfInterval($1, INTERVAL '5 minutes')"),
    ("toStartOfTenMinutes", 1, "toStartOfInterval($1, INTERVAL '10 minutes')"),
    ("toStartOfFifteenMinutes", 1, "toStartOfInterval($1, INTERVAL '15 minutes')"),
    ("addYears", 2, "$1 + toInterval($2, 'year')"),
    ("addMonths", 2, "$1 + toInterval($2, 'month')"),
    ("addWeeks", 2, "$1 + toInterval($2, 'week')"),
    ("addDays", 2, "$1 + toInterval($2, 'day')"),
    ("addHours", 2, "$1 + toInterval($2, 'hour')"),
    ("addMinutes", 2, "$1 + toInterval($2, 'minute')"),
    ("addSeconds", 2, "$1 + toInterval($2, 'second')"),
    ("subtractYears", 2, "$1 - toInterval($2, 'year')"),
    ("subtractMonths", 2, "$1 - toInterval($2, 'month')"),
    ("subtractWeeks", 2, "$1 - toInterval($2, 'week')"),
    ("subtractDays", 2, "$1 - toInterval($2, 'day')"),
    ("subtractHours", 2, "$1 - toInterval($2, 'hour')"),
    ("subtractMinutes", 2, "$1 - toInterval($2, 'minute')"),
    ("subtractSeconds", 2, "$1 - toInterval($2, 'second')"),
    // Numbers
    ("modulo", 2, "($1) % ($2)"),
    ("mod", 2, "($1) % ($2)"),
    ("plus", 2, "($1) + ($2)"),
    ("minus", 2, "($1) - ($2)"),
    ("multiply", 2, "($1) * ($2)"),
    ("divide", 2, "($1) / ($2)"),
    ("negate", 1, "-($1)"),
    ("sign", 1, "signum($1)"),
    ("rand", 0, "CAST(random() * 4294967295 AS UInt32)"),
    // Texts
    ("lowerUTF8", 1, "lower($1)"),
    ("upperUTF8", 1, "upper($1)"),
    ("lcase", 1, "lower($1)"),
    ("ucase", 1, "upper($1)"),
    ("lengthUTF8", 1, "character_length($1)"),
    ("position", 2, "strpos($1, $2)"),
    ("positionCaseInsensitive", 2, "strpos(lower($1), lower($2))"),
    ("locate", 2, "strpos($2, $1)"),
    ("startsWith", 2, "starts_with($1, $2)"),
    ("endsWith", 2, "ends_with($1, $2)"),
    ("match", 2, "regexp_like($1, $2)"),
    ("replaceRegexpAll", 3, "regexp_replace($1, $2, $3, 'g')"),
    ("replaceRegexpOne", 3, "regexp_replace($1, $2, $3)"),
    ("extract", 2, "regexExtract($1, $2)"),
    ("replaceAll", 3, "replace($1, $2, $3)"),
    ("trimLeft", 1, "ltrim($1)"),
    ("trimRight", 1, "rtrim($1)"),
    ("trimBoth", 1, "btrim($1)"),
    ("leftPad", 3, "lpad($1, $2, $3)"),
    ("rightPad", 3, "rpad($1, $2, $3)"),
    ("leftPad", 2, "lpad($1, $2)"),
    ("rightPad", 2, "rpad($1, $2)"),
    ("splitByChar", 2, "string_to_array($2, $1)"),
    ("splitByString", 2, "string_to_array($2, $1)"),
    ("arrayStringConcat", 2, "array_to_string($1, $2)"),
    ("arrayStringConcat", 1, "array_to_string($1, '')"),
    ("hex", 1, "upper(to_hex($1))"),
    // Arrays and maps
    ("arrayJoin", 1, "unnest($1)"),
    ("arraySort", 1, "array_sort($1)"),
    ("arrayReverseSort", 1, "array_sort($1, 'DESC', 'NULLS LAST')"),
    ("arrayReverse", 1, "array_reverse($1)"),
    ("arrayDistinct", 1, "array_distinct($1)"),
    ("arrayAvg", 1, "array_avg($1)"),
    ("arrayMin", 1, "array_min($1)"),
    ("arrayMax", 1, "array_max($1)"),
    ("arraySlice", 3, "array_slice($1, $2, ($2) + ($3) - 1)"),
    ("arraySlice", 2, "array_slice($1, $2, -1)"),
    ("arrayPushBack", 2, "array_append($1, $2)"),
    ("arrayPushFront", 2, "array_prepend($2, $1)"),
    ("empty", 1, "length($1) = 0"),
    ("notEmpty", 1, "length($1) <> 0"),
    ("has", 2, "array_has($1, $2)"),
    ("hasAll", 2, "array_has_all($1, $2)"),
    ("hasAny", 2, "array_has_any($1, $2)"),
    ("indexOf", 2, "coalesce(array_position($1, $2), 0)"),
    ("range", 1, "range(0, $1)"),
    ("arrayElement", 2, "($1)[$2]"),
    ("arrayPopBack", 1, "array_pop_back($1)"),
    ("arrayPopFront", 1, "array_pop_front($1)"),
    ("arrayResize", 2, "array_resize($1, $2)"),
    ("arrayResize", 3, "array_resize($1, $2, $3)"),
    ("arrayWithConstant", 2, "array_repeat($2, $1)"),
    ("arrayFlatten", 1, "flatten($1)"),
    ("arrayIntersect", 2, "array_intersect($1, $2)"),
    ("arrayUnion", 2, "array_union($1, $2)"),
    ("arrayExcept", 2, "array_except($1, $2)"),
    ("countEqual", 2, "length(array_filter($1, __granary_element -> __granary_element = $2))"),
    ("emptyArrayString", 0, "CAST([] AS Array(String))"),
    ("emptyArrayInt64", 0, "CAST([] AS Array(Int64))"),
    ("mapFromArrays", 2, "map($1, $2)"),
    ("mapContainsKey", 2, "array_has(map_keys($1), $2)"),
    ("mapContainsValue", 2, "array_has(map_values($1), $2)"),
    ("mapKeys", 1, "map_keys($1)"),
    ("mapValues", 1, "map_values($1)"),
    ("mapContains", 2, "array_has(map_keys($1), $2)"),
    // JSON
    ("simpleJSONHas", 2, "JSONHas($1, $2)"),
    ("simpleJSONExtractInt", 2, "JSONExtractInt($1, $2)"),
    ("simpleJSONExtractUInt", 2, "JSONExtractUInt($1, $2)"),
    ("simpleJSONExtractFloat", 2, "JSONExtractFloat($1, $2)"),
    ("simpleJSONExtractBool", 2, "JSONExtractBool($1, $2)"),
    ("simpleJSONExtractString", 2, "JSONExtractString($1, $2)"),
    ("simpleJSONExtractRaw", 2, "JSONExtractRaw($1, $2)"),
    ("visitParamHas", 2, "JSONHas($1, $2)"),
    ("visitParamExtractInt", 2, "JSONExtractInt($1, $2)"),
    ("visitParamExtractUInt", 2, "JSONExtractUInt($1, $2)"),
    ("visitParamExtractFloat", 2, "JSONExtractFloat($1, $2)"),
    ("visitParamExtractBool", 2, "JSONExtractBool($1, $2)"),
    ("visitParamExtractString", 2, "JSONExtractString($1, $2)"),
    ("visitParamExtractRaw", 2, "JSONExtractRaw($1, $2)"),
];

static TEMPLATES: LazyLock<HashMap<(String, usize), Option<Expr>>> = LazyLock::new(|| {
    let parsed = |(name, arguments, text): &(&str, usize, &str)| {
        ((name.to_lowercase(), *arguments), expression(text).ok())
    };
    CALLS.iter().map(parsed).collect()
});

/// What the call of `name` with `arguments` means; `None` when it is no such call.
pub(super) fn expand(name: &str, arguments: &[Expr]) -> Option<Expr> {
    let template = TEMPLATES.get(&(name.to_lowercase(), arguments.len()))?;
    Some(substitute(template.clone()?, arguments))
}

/// Puts the arguments in the place of `$1`, `$2`.
pub(super) fn substitute(mut template: Expr, arguments: &[Expr]) -> Expr {
    let _ = visit_expressions_mut(&mut template, |expression| {
        if let Some(argument) = placeholder(expression).and_then(|at| arguments.get(at - 1)) {
            *expression = argument.clone();
        }
        ControlFlow::<()>::Continue(())
    });
    template
}

/// The number of a placeholder, from 1.
fn placeholder(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(text), .. }) => {
            text.strip_prefix('$')?.parse().ok().filter(|number| *number > 0)
        }
        _ => None,
    }
}

/// The names that are rewritten.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    CALLS.iter().map(|(name, ..)| *name)
}

/// Parses one of our own texts.
pub(super) fn expression(text: &str) -> Result<Expr> {
    parser(text)?.parse_expr().map_err(|error| own_mistake(text, &error))
}

/// Parses one of our own texts.
pub(super) fn query(text: &str) -> Result<Query> {
    let query = parser(text)?.parse_query().map_err(|error| own_mistake(text, &error))?;
    Ok(*query)
}

fn parser(text: &str) -> Result<Parser<'static>> {
    static DIALECT: GranaryDialect = GranaryDialect;
    let tokens = tokenize(text).map_err(|error| own_mistake(text, &error))?;
    Ok(Parser::new(&DIALECT).with_tokens_with_locations(tokens))
}

fn own_mistake(text: &str, error: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("cannot rewrite to '{text}': {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_sql() {
        for (name, arguments, text) in CALLS {
            let parsed = expression(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            for number in 1..=*arguments {
                let marker = format!("${number}");
                assert!(text.contains(&marker), "{name}: {marker} is missing in {parsed}");
            }
        }
    }

    #[test]
    fn arguments_take_their_places() {
        for (name, arguments, expected) in [
            ("IF", vec!["a > 1", "b", "0"], "CASE WHEN a > 1 THEN b ELSE 0 END"),
            ("addDays", vec!["d", "2"], "d + toInterval(2, 'day')"),
        ] {
            let arguments: Vec<Expr> =
                arguments.iter().map(|text| expression(text).expect("an argument")).collect();
            let expanded = expand(name, &arguments).expect(name);
            assert_eq!(expanded.to_string(), expected);
        }
    }
}
