//! The engine's predicates as filters of the storage.
//!
//! Only what means exactly the same on stored values is converted; the rest stays with the engine.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr,
    Literal, NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use granary_catalog::{ColumnType, Scalar};
use granary_storage::{CompareOp, Filter, PartColumn, PartSchema, scalar_at};

use crate::runtime_filter::KeyFilterExpr;

/// The filter that means exactly what `predicate` does. Its columns are positions in
/// `schema.columns`. `None` when there is no such filter.
pub fn to_filter(schema: &PartSchema, predicate: &Arc<dyn PhysicalExpr>) -> Option<Filter> {
    if let Some(binary) = predicate.downcast_ref::<BinaryExpr>() {
        return from_binary(schema, binary);
    }
    if let Some(not) = predicate.downcast_ref::<NotExpr>() {
        return Some(Filter::Not(Box::new(to_filter(schema, not.arg())?)));
    }
    if let Some(is_null) = predicate.downcast_ref::<IsNullExpr>() {
        let column = plain_column(schema, is_null.arg())?.id;
        return Some(Filter::IsNull { column, negated: false });
    }
    if let Some(is_not_null) = predicate.downcast_ref::<IsNotNullExpr>() {
        let column = plain_column(schema, is_not_null.arg())?.id;
        return Some(Filter::IsNull { column, negated: true });
    }
    if let Some(in_list) = predicate.downcast_ref::<InListExpr>() {
        return from_in_list(schema, in_list);
    }
    if let Some(like) = predicate.downcast_ref::<LikeExpr>() {
        return from_like(schema, like);
    }
    if let Some(literal) = predicate.downcast_ref::<Literal>() {
        return match literal.value() {
            ScalarValue::Boolean(Some(true)) => Some(Filter::And(vec![])),
            ScalarValue::Boolean(Some(false)) => Some(Filter::Or(vec![])),
            _ => None,
        };
    }
    let column = comparable_column(schema, predicate)?;
    (*column.column_type.base() == ColumnType::Bool).then_some(Filter::Compare {
        column: column.id,
        op: CompareOp::Eq,
        value: Scalar::Bool(true),
    })
}

/// A filter that every row for which `predicate` is TRUE passes, perhaps with others: dynamic
/// filters as they stand now, and of a conjunction what converts.
pub fn to_weaker_filter(schema: &PartSchema, predicate: &Arc<dyn PhysicalExpr>) -> Option<Filter> {
    let mut terms = Vec::new();
    for term in split_conjunction(predicate) {
        if let Some(dynamic) = term.downcast_ref::<DynamicFilterPhysicalExpr>() {
            let current = dynamic.current().ok();
            terms.extend(current.and_then(|now| to_weaker_filter(schema, &now)));
        } else if let Some(keys) = term.downcast_ref::<KeyFilterExpr>() {
            terms.extend(key_bounds(schema, keys));
        } else {
            terms.extend(to_filter(schema, term));
        }
    }
    terms.retain(|term| *term != Filter::And(vec![]));
    all_of(terms)
}

/// The keys that a join has built, or their bounds.
fn key_bounds(schema: &PartSchema, filter: &KeyFilterExpr) -> Vec<Filter> {
    let Some((keys, summary)) = filter.known() else { return Vec::new() };
    if summary.is_empty() {
        return vec![Filter::Or(vec![])];
    }
    let bounds = keys.iter().enumerate().filter_map(|(at, key)| {
        let (column, range) = (comparable_column(schema, key)?, summary.range(at)?);
        let bound = |value: &i64| {
            let value = ScalarValue::Int64(Some(*value));
            let stored = column.column_type.arrow();
            let value = match stored {
                // Dates are days.
                DataType::Date32 => value.cast_to(&DataType::Int32).ok()?.cast_to(&stored).ok()?,
                _ => value.cast_to(&stored).ok()?,
            };
            canonical(column, &value)
        };
        let values = summary.values().filter(|_| at == 0 && keys.len() == 1);
        let listed = values.and_then(|values| values.iter().map(bound).collect());
        if let Some(values) = listed {
            return Some(vec![Filter::In { column: column.id, values, negated: false }]);
        }
        let compare = |op, value| Filter::Compare { column: column.id, op, value };
        let (min, max) = (bound(range.start())?, bound(range.end())?);
        Some(vec![compare(CompareOp::GtEq, min), compare(CompareOp::LtEq, max)])
    });
    bounds.flatten().collect()
}

/// The conjunction of `terms`; `None` when there are none.
pub fn all_of(mut terms: Vec<Filter>) -> Option<Filter> {
    match terms.len() {
        0 | 1 => terms.pop(),
        _ => Some(Filter::And(terms)),
    }
}

fn from_binary(schema: &PartSchema, binary: &BinaryExpr) -> Option<Filter> {
    let (left, right) = (binary.left(), binary.right());
    let op = match binary.op() {
        Operator::And => {
            return Some(Filter::And(vec![to_filter(schema, left)?, to_filter(schema, right)?]));
        }
        Operator::Or => {
            return Some(Filter::Or(vec![to_filter(schema, left)?, to_filter(schema, right)?]));
        }
        Operator::Eq => CompareOp::Eq,
        Operator::NotEq => CompareOp::NotEq,
        Operator::Lt => CompareOp::Lt,
        Operator::LtEq => CompareOp::LtEq,
        Operator::Gt => CompareOp::Gt,
        Operator::GtEq => CompareOp::GtEq,
        _ => return None,
    };
    if let Some(literal) = right.downcast_ref::<Literal>() {
        let column = comparable_column(schema, left)?;
        let value = canonical(column, literal.value())?;
        return Some(Filter::Compare { column: column.id, op, value });
    }
    if let Some(literal) = left.downcast_ref::<Literal>() {
        let column = comparable_column(schema, right)?;
        let value = canonical(column, literal.value())?;
        return Some(Filter::Compare { column: column.id, op: op.swapped(), value });
    }
    let (left, right) = (comparable_column(schema, left)?, comparable_column(schema, right)?);
    (left.column_type.arrow() == right.column_type.arrow()).then_some(Filter::CompareColumns {
        left: left.id,
        op,
        right: right.id,
    })
}

fn from_in_list(schema: &PartSchema, in_list: &InListExpr) -> Option<Filter> {
    let column = comparable_column(schema, in_list.expr())?;
    let value =
        |item: &Arc<dyn PhysicalExpr>| canonical(column, item.downcast_ref::<Literal>()?.value());
    let values = in_list.list().iter().map(value).collect::<Option<Vec<_>>>()?;
    Some(Filter::In { column: column.id, values, negated: in_list.negated() })
}

fn from_like(schema: &PartSchema, like: &LikeExpr) -> Option<Filter> {
    let column = comparable_column(schema, like.expr())?;
    if *column.column_type.base() != ColumnType::String {
        return None;
    }
    let pattern = like.pattern().downcast_ref::<Literal>()?.value().try_as_str()??;
    Some(Filter::Like {
        column: column.id,
        pattern: pattern.to_owned(),
        negated: like.negated(),
        case_insensitive: like.case_insensitive(),
    })
}

fn plain_column<'a>(
    schema: &'a PartSchema,
    expression: &Arc<dyn PhysicalExpr>,
) -> Option<&'a PartColumn> {
    let column = schema.columns.get(expression.downcast_ref::<Column>()?.index())?;
    // Values that are cast or computed as they are read are compared afterwards.
    (column.earlier.is_empty() && column.computed.is_none()).then_some(column)
}

/// The column, if its stored values compare like its values in plans do.
fn comparable_column<'a>(
    schema: &'a PartSchema,
    expression: &Arc<dyn PhysicalExpr>,
) -> Option<&'a PartColumn> {
    plain_column(schema, expression).filter(|column| compares_as_stored(&column.column_type))
}

/// Whether values of the type are stored and compared in the form in which plans see them. UUIDs,
/// IPv6 addresses and enums are texts in plans and something else on disk; a value of FixedString is
/// compared with others of its length (`granary_sql` fills them).
pub fn compares_as_stored(column_type: &ColumnType) -> bool {
    match column_type.base() {
        ColumnType::Uuid
        | ColumnType::Ipv6
        | ColumnType::Interval
        | ColumnType::Enum8(_)
        | ColumnType::Enum16(_)
        | ColumnType::Array(_)
        | ColumnType::Tuple(_)
        | ColumnType::AggregateFunction(_)
        | ColumnType::Map(..) => false,
        ColumnType::DateTime64(precision, _) => precision.is_multiple_of(3),
        _ => true,
    }
}

/// `value` as the column's canonical value, if nothing is lost.
fn canonical(column: &PartColumn, value: &ScalarValue) -> Option<Scalar> {
    if value.is_null() {
        return Some(Scalar::Null);
    }
    let wanted = column.column_type.arrow();
    let value = match (&wanted, value) {
        (wanted, value) if value.data_type() == *wanted => value.clone(),
        (DataType::Utf8View, ScalarValue::Utf8(_) | ScalarValue::LargeUtf8(_)) => {
            value.cast_to(&wanted).ok()?
        }
        (DataType::Decimal128(precision, scale), ScalarValue::Decimal128(Some(unscaled), _, s))
            if scale == s =>
        {
            ScalarValue::Decimal128(Some(*unscaled), *precision, *scale)
        }
        _ => return None,
    };
    scalar_at(&value.to_array().ok()?, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part_scan::layout::{Layout, tests::spec};
    use datafusion::common::ToDFSchema;
    use datafusion::logical_expr::{Expr, col, lit};
    use datafusion::physical_expr::create_physical_expr;
    use granary_common::ColumnId;

    fn check(expression: Expr, expected: Option<Filter>) {
        let schema = spec(&[], Layout::Spread { partitions: 1 }).schema;
        let arrow = schema.arrow_schema().to_dfschema().unwrap();
        let physical =
            create_physical_expr(&expression, &arrow, &Default::default(), &Default::default())
                .expect("binds");
        assert_eq!(to_filter(&schema, &physical), expected, "{expression}");
    }

    fn compare(column: u32, op: CompareOp, value: Scalar) -> Filter {
        Filter::Compare { column: ColumnId(column), op, value }
    }

    #[test]
    fn what_means_the_same_is_converted() {
        let seven = || compare(0, CompareOp::Gt, Scalar::Int(7));
        check(col("k").gt(lit(7_i64)), Some(seven()));
        check(lit(7_i64).lt(col("k")), Some(seven()));
        check(col("s").eq(lit("a")), Some(compare(1, CompareOp::Eq, Scalar::Text("a".into()))));
        check(col("s").is_null(), Some(Filter::IsNull { column: ColumnId(1), negated: false }));
        check(
            col("k").gt(lit(7_i64)).or(col("b")),
            Some(Filter::Or(vec![seven(), compare(4, CompareOp::Eq, Scalar::Bool(true))])),
        );
        check(
            col("d").lt_eq(lit(ScalarValue::Decimal128(Some(150), 3, 2))),
            Some(compare(2, CompareOp::LtEq, Scalar::Wide(150))),
        );
        check(
            col("k").eq(col("k2")),
            Some(Filter::CompareColumns {
                left: ColumnId(0),
                op: CompareOp::Eq,
                right: ColumnId(5),
            }),
        );
    }

    #[test]
    fn what_may_differ_is_not() {
        check(col("u").eq(lit("F0000000-0000-0000-0000-000000000000")), None);
        check((col("k") + lit(1_i64)).gt(lit(7_i64)), None);
        check(col("d").lt(lit(ScalarValue::Decimal128(Some(15), 3, 1))), None);
        check(col("k").gt(lit(7_i64)).or(col("u").eq(lit("x"))), None);
    }
}
