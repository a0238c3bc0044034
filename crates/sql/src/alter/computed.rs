//! Columns whose values in older rows follow from other columns, and are computed as they are read.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr as Planned, ExprSchemable};
use datafusion::logical_expr::{Volatility, cast, lit};
use granary_catalog::{AddedExpression, Column, ColumnType};
use granary_common::Result;
use sqlparser::ast::Expr;

use crate::bind::bind_expression;
use crate::error::error_from_datafusion;
use crate::statement::parse_expression;
use crate::ttl::{schema_of, settled};

/// How `default` gives the values of `column` in rows that are there, over the columns of the
/// table as the statement has made them so far. `None` where the values have to be written: they
/// would be others each time, or what makes them values of the type does not travel.
pub(super) fn computed(
    column: &Column,
    default: &Expr,
    (columns, state): (&[Column], &SessionState),
    since: u64,
) -> Result<Option<AddedExpression>> {
    let schema = schema_of(columns)?;
    let bound = bind_expression(state, default, &schema)?;
    if changes(&bound)? {
        return Ok(None);
    }
    let Some(fitting) = fitting(bound, default, &column.column_type, &schema, state)? else {
        return Ok(None);
    };
    let Ok(expression) = settled(fitting, &schema, columns, state) else {
        return Ok(None);
    };
    let plain = |column: &Column| Column {
        default: None,
        comment: None,
        codec: None,
        ttl: None,
        ..column.clone()
    };
    let read = columns.iter().filter(|column| expression.columns.contains(&column.id));
    Ok(Some(AddedExpression { inputs: read.map(plain).collect(), expression, since }))
}

/// The same value, which the catalog has no other form for, in every row that is there. `None` when it
/// does not travel.
pub(super) fn repeated(
    value: &ArrayRef,
    state: &SessionState,
    since: u64,
) -> Option<AddedExpression> {
    let value = ScalarValue::try_from_array(value.as_ref() as &dyn Array, 0).ok()?;
    let expression = settled(lit(value), &DFSchema::empty(), &[], state).ok()?;
    Some(AddedExpression { expression, inputs: Vec::new(), since })
}

/// Whether the expression may be another value for the same row at another time.
fn changes(bound: &Planned) -> Result<bool> {
    let mut found = false;
    let visited = bound.apply(|inner| {
        if let Planned::ScalarFunction(call) = inner {
            found |= call.func.signature().volatility == Volatility::Volatile;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(|error| error_from_datafusion(error, None))?;
    Ok(found)
}

/// What `default`, which is `bound`, gives as values of the type, as an insert makes them.
fn fitting(
    bound: Planned,
    default: &Expr,
    column_type: &ColumnType,
    schema: &DFSchema,
    state: &SessionState,
) -> Result<Option<Planned>> {
    let wanted = column_type.arrow();
    let data_type = bound.get_type(schema).map_err(|error| error_from_datafusion(error, None))?;
    let base = column_type.base();
    let is_cast = is_cast(base) || (*base == ColumnType::Ipv4 && data_type.is_numeric());
    if is_cast && !data_type.is_nested() {
        return Ok(Some(cast(bound, wanted)));
    }
    if is_kept(base) && is_alike(&data_type, &wanted) {
        return Ok(Some(bound));
    }
    let Some(template) = checked(base).filter(|_| is_text(&data_type)) else { return Ok(None) };
    let text = template.replace("$1", &format!("({default})"));
    let bound = bind_expression(state, &parse_expression(&text)?, schema)?;
    Ok(Some(cast(bound, wanted)))
}

/// Whether values differ at most in the names of their elements, in which of these may be NULL, and in
/// how texts are held. One that is NULL where none may be has no value when it is read.
fn is_alike(from: &DataType, to: &DataType) -> bool {
    let fields = |(from, to): (&FieldRef, &FieldRef)| is_alike(from.data_type(), to.data_type());
    match (from, to) {
        (DataType::List(from), DataType::List(to)) => fields((from, to)),
        (DataType::Map(from, _), DataType::Map(to, _)) => fields((from, to)),
        (DataType::Struct(from), DataType::Struct(to)) => {
            from.len() == to.len() && from.iter().zip(to).all(fields)
        }
        (from, to) => from == to || (is_text(from) && is_text(to)),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether an insert makes values of this type by nothing but a cast.
fn is_cast(base: &ColumnType) -> bool {
    matches!(
        base,
        ColumnType::Bool
            | ColumnType::Int8
            | ColumnType::Int16
            | ColumnType::Int32
            | ColumnType::Int64
            | ColumnType::UInt8
            | ColumnType::UInt16
            | ColumnType::UInt32
            | ColumnType::UInt64
            | ColumnType::Float32
            | ColumnType::Float64
            | ColumnType::Decimal(..)
            | ColumnType::String
            | ColumnType::Date
            | ColumnType::DateTime(_)
            | ColumnType::DateTime64(..)
    )
}

/// Whether an insert leaves what has the type's form already as it is: nothing in it is to be checked
/// or spelled in one way.
fn is_kept(base: &ColumnType) -> bool {
    match base {
        ColumnType::Array(element) => is_kept(element.base()),
        ColumnType::Map(key, value) => is_kept(key.base()) && is_kept(value.base()),
        ColumnType::Tuple(elements) => elements.iter().all(|(_, of)| is_kept(of.base())),
        ColumnType::Binary | ColumnType::Ipv4 | ColumnType::Time(_) | ColumnType::Interval => true,
        base => is_cast(base),
    }
}

/// What makes of the text `$1` a value of a type whose values are texts of a certain form, or fails.
fn checked(base: &ColumnType) -> Option<String> {
    let digits = "lower(replaceAll($1, '-', ''))";
    Some(match base {
        ColumnType::Uuid => {
            let group = |from: u8, length: u8| format!("substring({digits}, {from}, {length})");
            let groups = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)];
            let spelled = groups.map(|(from, length)| group(from, length)).join(", '-', ");
            let four = "-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-";
            let form = format!("^([0-9a-f]{{32}}|[0-9a-f]{{8}}{four}[0-9a-f]{{12}})$");
            let fails = format!("NOT match(lower($1), '{form}')");
            format!("CASE WHEN throwIf({fails}, 'it is no UUID') = 0 THEN concat({spelled}) END")
        }
        ColumnType::Enum8(names) | ColumnType::Enum16(names) => {
            let quoted = |name: &str| name.replace('\\', "\\\\").replace('\'', "''");
            let names: Vec<String> =
                names.iter().map(|(name, _)| format!("'{}'", quoted(name))).collect();
            let fails = format!("$1 NOT IN ({})", names.join(", "));
            format!("CASE WHEN throwIf({fails}, 'it is no value of the enum') = 0 THEN $1 END")
        }
        ColumnType::FixedString(length) => format!("toFixedString($1, {length})"),
        ColumnType::Ipv6 => "toIPv6($1)".to_owned(),
        ColumnType::Ipv4 => "IPv4StringToNum($1)".to_owned(),
        _ => return None,
    })
}
