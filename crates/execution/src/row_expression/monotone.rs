//! Expressions of one column whose values never fall while those of the column rise.

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Operator};

/// Functions of a time that round it down or write it as a number whose order is that of time.
const OF_TIME: [&str; 3] = ["toYYYYMM", "toYYYYMMDD", "toYYYYMMDDhhmmss"];

/// Whether `expression` reads one column and its values never fall while those of the column, which
/// is in `schema`, rise. Says no where nothing is known.
///
/// Times in a zone of their own are not of this kind: an hour of the clock comes twice a year.
pub fn is_monotone(expression: &Expr, schema: &Schema) -> bool {
    match expression {
        Expr::Column(column) => {
            let field = schema.field_with_name(&column.name);
            field.is_ok_and(|field| has_order(field.data_type()))
        }
        Expr::Alias(alias) => is_monotone(&alias.expr, schema),
        Expr::Cast(Cast { expr, field }) => {
            has_order(field.data_type()) && is_monotone(expr, schema)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (op, &**left, &**right) {
            (Operator::Plus, inner, Expr::Literal(by, _)) => {
                is_interval(by) && is_monotone(inner, schema)
            }
            (Operator::Plus, Expr::Literal(by, _), inner) => {
                is_interval(by) && is_monotone(inner, schema)
            }
            (Operator::Minus, inner, Expr::Literal(by, _)) => {
                is_interval(by) && is_monotone(inner, schema)
            }
            _ => false,
        },
        Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
            (name, [inner]) if OF_TIME.contains(&name) => is_monotone(inner, schema),
            ("date_trunc", [Expr::Literal(..), inner]) => is_monotone(inner, schema),
            ("date_part", [Expr::Literal(part, _), inner]) => {
                let is_year = |text: &str| text.eq_ignore_ascii_case("year");
                part.try_as_str().flatten().is_some_and(is_year) && is_monotone(inner, schema)
            }
            ("toStartOfInterval", [inner, Expr::Literal(..)]) => is_monotone(inner, schema),
            _ => false,
        },
        _ => false,
    }
}

/// Types whose values are ordered alike whatever they are cast to among them. Not numbers: a cast
/// of a number to a narrower one may fail.
fn has_order(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, zone) => {
            zone.as_deref().is_none_or(|zone| matches!(zone, "UTC" | "+00:00"))
        }
        DataType::Date32 | DataType::Date64 | DataType::Int64 | DataType::UInt32 => true,
        _ => false,
    }
}

fn is_interval(value: &ScalarValue) -> bool {
    matches!(
        value,
        ScalarValue::IntervalMonthDayNano(Some(_))
            | ScalarValue::IntervalDayTime(Some(_))
            | ScalarValue::IntervalYearMonth(Some(_))
            | ScalarValue::DurationSecond(Some(_))
            | ScalarValue::DurationMillisecond(Some(_))
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::{Field, TimeUnit};
    use datafusion::logical_expr::{cast, col, lit};

    use super::*;

    #[test]
    fn what_keeps_the_order_of_a_column() {
        let zone = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Second, zone.map(Arc::from));
        let schema = Schema::new(vec![
            Field::new("day", DataType::Date32, false),
            Field::new("at", zone(None), false),
            Field::new("local", zone(Some("Europe/Berlin")), false),
            Field::new("text", DataType::Utf8View, false),
        ]);
        let days = |count| lit(ScalarValue::new_interval_mdn(0, count, 0));
        let trunc = |unit: &str, inner| {
            datafusion::functions::datetime::expr_fn::date_trunc(lit(unit), inner)
        };
        for (expression, expected) in [
            (col("day"), true),
            (col("day") + days(30), true),
            (cast(col("at") - days(1), DataType::Date32), true),
            (trunc("month", col("at")), true),
            (cast(col("text"), DataType::Date32), false),
            (col("local") + days(1), false),
            (col("nope"), false),
            (days(1) - col("day"), false),
            (cast(col("at"), DataType::Utf8View), false),
            (col("at") - col("at"), false),
        ] {
            assert_eq!(is_monotone(&expression, &schema), expected, "{expression}");
        }
    }
}
