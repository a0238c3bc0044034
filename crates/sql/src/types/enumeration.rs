//! The values of enums.

use granary_catalog::ColumnType;
use granary_common::{Error, Result};
use sqlparser::ast::{EnumMember, Expr, UnaryOperator, Value};

/// Numbers that are not written go on from the one before, from 1.
pub(super) fn enumeration(members: &[EnumMember], bits: Option<u8>) -> Result<ColumnType> {
    let mut values: Vec<(String, i16)> = Vec::with_capacity(members.len());
    for member in members {
        let next = values.last().map_or(Some(1), |(_, number)| number.checked_add(1));
        let (name, number) = match member {
            EnumMember::Name(name) => (name.clone(), next),
            EnumMember::NamedValue(name, number) => (name.clone(), small_integer(number)),
        };
        let Some(number) = number else {
            return Err(Error::invalid(format!(
                "the number of enum value '{name}' is out of range"
            )));
        };
        if values.iter().any(|(other, taken)| *other == name || *taken == number) {
            return Err(Error::invalid(format!("enum value '{name}' = {number} is there twice")));
        }
        values.push((name, number));
    }
    let fits_8_bits = values.iter().all(|(_, number)| i8::try_from(*number).is_ok());
    match bits {
        Some(16) => Ok(ColumnType::Enum16(values)),
        Some(_) if !fits_8_bits => {
            Err(Error::invalid("the numbers of an Enum8 are -128 to 127; use Enum16"))
        }
        None if !fits_8_bits => Ok(ColumnType::Enum16(values)),
        _ => Ok(ColumnType::Enum8(values)),
    }
}

fn small_integer(expression: &Expr) -> Option<i16> {
    match expression {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            // -32768 has no positive counterpart.
            unsigned(expr).and_then(|number| i16::try_from(-number).ok())
        }
        other => unsigned(other).and_then(|number| i16::try_from(number).ok()),
    }
}

fn unsigned(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}
