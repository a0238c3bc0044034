//! Operators and types whose meaning depends on the types of their operands.

use std::mem::take;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{
    Column, DFSchema, DataFusionError, Result, ScalarValue, TableReference, plan_err,
};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr, RawWindowExpr, TypePlanner,
};
use datafusion::logical_expr::{
    Expr, ExprSchemable, GetFieldAccess, Operator, binary_expr, cast, lit, when,
};
use sqlparser::ast::{BinaryOperator, DataType as SqlType};

use granary_functions::{DOCUMENT_PART, ELEMENT, ELEMENTS, call, zero_value};

use super::{floats, intervals, texts, times, windows};
use crate::types::type_from_sql;

/// ClickHouse's arithmetic: `/` is a real division, days are added to dates.
#[derive(Clone, Copy, Debug)]
pub(super) struct DialectPlanner;

impl ExprPlanner for DialectPlanner {
    fn plan_binary_op(
        &self,
        mut raw: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let (Ok(left), Ok(right)) = (type_of(&raw.left, schema), type_of(&raw.right, schema))
        else {
            return Ok(PlannerResult::Original(raw));
        };
        if !matches!(raw.op, BinaryOperator::And | BinaryOperator::Or) {
            say_type_of_long(&mut raw.left, &left);
        }
        floats::settle(&mut raw, &left, &right);
        let planned = match raw.op {
            BinaryOperator::And | BinaryOperator::Or => conditions(&mut raw, &left, &right),
            _ if left == DataType::Boolean || right == DataType::Boolean => {
                return numbered(raw, &left, &right);
            }
            BinaryOperator::StringConcat => texts::joined(&mut raw, &left, &right)?,
            BinaryOperator::Divide => division(&mut raw, &left, &right),
            BinaryOperator::MyIntegerDivide => Some(integer_division(&mut raw, &left, &right)),
            BinaryOperator::Plus | BinaryOperator::Minus => {
                times::arithmetic(&mut raw, &left, &right)
                    .or_else(|| wide_arithmetic(&mut raw, &left, &right))
            }
            BinaryOperator::Multiply => wide_arithmetic(&mut raw, &left, &right),
            _ => intervals::compared(&raw, &left, &right)?,
        };
        Ok(match planned {
            Some(expression) => PlannerResult::Planned(expression),
            None => PlannerResult::Original(raw),
        })
    }

    fn plan_window(&self, raw: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        windows::excluding(raw).map(PlannerResult::Original)
    }

    /// `j.a.b` where the column `j` is a document.
    fn plan_compound_identifier(
        &self,
        field: &Field,
        qualifier: Option<&TableReference>,
        nested_names: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let column = Expr::Column(Column::from((qualifier, field)));
        let names = nested_names.iter().map(|name| lit(name.clone()));
        let arguments: Vec<Expr> = std::iter::once(column).chain(names).collect();
        match field.data_type() {
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
                call(DOCUMENT_PART, arguments).map(PlannerResult::Planned)
            }
            DataType::List(item) if has_element(item, nested_names) => {
                call(ELEMENTS, arguments).map(PlannerResult::Planned)
            }
            _ => Ok(match subcolumn(field, &arguments[0], nested_names)? {
                Some(part) => PlannerResult::Planned(part),
                None => PlannerResult::Original(arguments),
            }),
        }
    }

    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let container = raw.expr.get_type(schema)?;
        let element = match (&container, &raw.field_access) {
            (DataType::Map(entries, _), GetFieldAccess::NamedStructField { name }) => {
                map_element(&raw.expr, lit(name.clone()), entries)?
            }
            (DataType::Map(entries, _), GetFieldAccess::ListIndex { key }) => {
                map_element(&raw.expr, (**key).clone(), entries)?
            }
            (DataType::List(item), GetFieldAccess::NamedStructField { name })
                if name.try_as_str().flatten().is_some_and(|name| {
                    has_element(item, std::slice::from_ref(&name.to_owned()))
                }) =>
            {
                call(ELEMENTS, vec![raw.expr, lit(name.clone())])?
            }
            (DataType::List(item), GetFieldAccess::ListIndex { key }) if item.is_nullable() => {
                call(ELEMENT, vec![raw.expr, (**key).clone()])?
            }
            (DataType::List(item), GetFieldAccess::ListIndex { key }) => {
                let key = (**key).clone();
                or_zero(datafusion::functions_nested::expr_fn::array_element(raw.expr, key), item)
            }
            (DataType::Struct(fields), GetFieldAccess::NamedStructField { name }) => {
                let Some(field) = element_of(fields, name) else {
                    return plan_err!("a tuple has no element {name}: it is {container}");
                };
                let name = field.name().clone();
                datafusion::functions::core::expr_fn::get_field(raw.expr, name)
            }
            _ => return Ok(PlannerResult::Original(raw)),
        };
        Ok(PlannerResult::Planned(element))
    }
}

/// ClickHouse's names for parts of columns: `m.keys`, `m.values`, `a.size0`, `n.null`.
fn subcolumn(field: &Field, column: &Expr, names: &[String]) -> Result<Option<Expr>> {
    use datafusion::functions_nested::expr_fn::{map_keys, map_values};
    let [name] = names else { return Ok(None) };
    Ok(match (field.data_type(), name.as_str()) {
        (DataType::Map(..), "keys") => Some(map_keys(column.clone())),
        (DataType::Map(..), "values") => Some(map_values(column.clone())),
        (DataType::List(_) | DataType::Map(..), "size0") => {
            Some(call("length", vec![column.clone()])?)
        }
        (DataType::Struct(_), _) => None,
        (_, "null") => Some(column.clone().is_null()),
        _ => None,
    })
}

/// Whether the items are tuples with an element of that one name.
fn has_element(item: &Field, names: &[String]) -> bool {
    matches!((item.data_type(), names), (DataType::Struct(fields), [name])
        if fields.iter().any(|field| field.name() == name))
}

/// Operations one in the other, `a + b + c`, whose type is asked for anew at each of them.
const CHAIN_MAX: usize = 16;

/// The type of an expression. Of conditions it is known without a look at what they are made of.
fn type_of(expression: &Expr, schema: &DFSchema) -> Result<DataType> {
    match expression {
        Expr::BinaryExpr(binary) if binary.op.is_logic_operator() => Ok(DataType::Boolean),
        other => other.get_type(schema),
    }
}

/// Says the type of a long chain of operations by a cast, which does nothing when it runs: who asks for
/// the type of what contains it does not look further, so a sum of thousands is bound in linear time.
fn say_type_of_long(operand: &mut Expr, data_type: &DataType) {
    let mut innermost = &*operand;
    for _ in 0..CHAIN_MAX {
        let Expr::BinaryExpr(binary) = innermost else { return };
        innermost = binary.left.as_ref();
    }
    *operand = cast(take(operand), data_type.clone());
}

/// What is missing has the zero value of its type.
fn or_zero(found: Expr, field: &FieldRef) -> Expr {
    match zero_value(field.data_type()) {
        Some(zero) => datafusion::functions::core::expr_fn::coalesce(vec![found, lit(zero)]),
        None => found,
    }
}

/// The value of a key; of one that is missing the zero value. A value may be NULL itself.
fn map_element(map: &Expr, key: Expr, entries: &FieldRef) -> Result<Expr> {
    use datafusion::functions_nested::expr_fn::{array_element, array_has, map_extract, map_keys};
    let found = array_element(map_extract(map.clone(), key.clone()), lit(1_i64));
    let value = match entries.data_type() {
        DataType::Struct(fields) => fields.get(1),
        _ => None,
    };
    let Some(value) = value else { return Ok(found) };
    match zero_value(value.data_type()).filter(|_| value.is_nullable()) {
        Some(zero) => when(array_has(map_keys(map.clone()), key), found)
            .when(map.clone().is_not_null(), lit(zero))
            .end(),
        None => Ok(or_zero(found, value)),
    }
}

/// The element of this name, else at this place, counted from 1.
fn element_of<'f>(fields: &'f Fields, name: &ScalarValue) -> Option<&'f FieldRef> {
    let name = name.try_as_str().flatten()?;
    fields.iter().find(|field| field.name() == name).or_else(|| {
        let place: usize = name.parse().ok()?;
        fields.get(place.checked_sub(1)?)
    })
}

/// A number is true unless it is zero.
fn conditions(raw: &mut RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
    let operator = match raw.op {
        BinaryOperator::And => Operator::And,
        _ => Operator::Or,
    };
    let condition = |operand: &mut Expr, data_type: &DataType| match data_type.is_numeric() {
        true => cast(take(operand), DataType::Boolean),
        false => take(operand),
    };
    (left.is_numeric() || right.is_numeric()).then(|| {
        binary_expr(condition(&mut raw.left, left), operator, condition(&mut raw.right, right))
    })
}

/// A condition beside a number is 1 or 0; other operators with conditions are DataFusion's.
fn numbered(
    mut raw: RawBinaryExpr,
    left: &DataType,
    right: &DataType,
) -> Result<PlannerResult<RawBinaryExpr>> {
    let computes = matches!(
        raw.op,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Modulo
    );
    let number = |operand: &mut Expr| {
        *operand = cast(take(operand), DataType::Int64);
    };
    let as_number = |data_type: &DataType, other: &DataType| {
        *data_type == DataType::Boolean && (computes || other.is_numeric())
    };
    let (first, second) = (as_number(left, right), as_number(right, left));
    if first {
        number(&mut raw.left);
    }
    if second {
        number(&mut raw.right);
    }
    if raw.op == BinaryOperator::Divide {
        let of = |data_type: &DataType, changed| {
            if changed { DataType::Int64 } else { data_type.clone() }
        };
        let quotient = division(&mut raw, &of(left, first), &of(right, second));
        return Ok(quotient.map_or(PlannerResult::Original(raw), PlannerResult::Planned));
    }
    Ok(PlannerResult::Original(raw))
}

/// Whole numbers and decimals divide as floats, so that `2.0 / 3` has all the digits of a float and
/// what is divided by zero is infinite or no number.
fn division(raw: &mut RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
    let is_exact = |data_type: &DataType| data_type.is_integer() || data_type.is_decimal();
    let float = |operand: &mut Expr| cast(take(operand), DataType::Float64);
    (is_exact(left) && is_exact(right))
        .then(|| binary_expr(float(&mut raw.left), Operator::Divide, float(&mut raw.right)))
}

/// Towards zero, whatever the operands are.
fn integer_division(raw: &mut RawBinaryExpr, left: &DataType, right: &DataType) -> Expr {
    let quotient = binary_expr(take(&mut raw.left), Operator::Divide, take(&mut raw.right));
    match left.is_integer() && right.is_integer() {
        true => quotient,
        false => cast(cast(quotient, DataType::Float64), DataType::Int64),
    }
}

/// Whole numbers are added, subtracted and multiplied in 64 bits: in their own width a sum of two
/// bytes would come around. The difference of unsigned numbers has a sign.
fn wide_arithmetic(raw: &mut RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
    let operator = match raw.op {
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        _ => Operator::Multiply,
    };
    if !left.is_integer() || !right.is_integer() {
        return None;
    }
    let is_unsigned = left.is_unsigned_integer() && right.is_unsigned_integer();
    let wide = match is_unsigned && operator != Operator::Minus {
        true => DataType::UInt64,
        false => DataType::Int64,
    };
    // What is wide already is the engine's, unless it would lose the sign.
    let is_wide = |data_type: &DataType| matches!(data_type, DataType::Int64 | DataType::UInt64);
    if is_wide(left) && is_wide(right) && !(is_unsigned && operator == Operator::Minus) {
        return None;
    }
    let widened = |operand: &mut Expr, data_type: &DataType| match *data_type == wide {
        true => take(operand),
        false => cast(take(operand), wide.clone()),
    };
    Some(binary_expr(widened(&mut raw.left, left), operator, widened(&mut raw.right, right)))
}

/// The dialect's type names in CAST and typed literals.
#[derive(Clone, Copy, Debug)]
pub(super) struct DialectTypes;

impl TypePlanner for DialectTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let column_type =
            type_from_sql(sql_type).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Some(Arc::new(Field::new("", column_type.arrow(), true))))
    }
}
