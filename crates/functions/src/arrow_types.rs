//! Arrow's types as column types: what a column must be to hold the values of an expression, or
//! of a table that a client sends.

use arrow::datatypes::{DataType, Field, TimeUnit};
use granary_catalog::ColumnType;
use granary_common::{Error, Result};

/// The column type whose values Arrow carries as `data_type`.
///
/// # Errors
/// Unsupported for Arrow types that no column has.
pub fn column_type_from_arrow(data_type: &DataType, nullable: bool) -> Result<ColumnType> {
    let plain = match data_type {
        DataType::Boolean => ColumnType::Bool,
        DataType::Int8 => ColumnType::Int8,
        DataType::Int16 => ColumnType::Int16,
        DataType::Int32 => ColumnType::Int32,
        DataType::Int64 => ColumnType::Int64,
        DataType::UInt8 => ColumnType::UInt8,
        DataType::UInt16 => ColumnType::UInt16,
        DataType::UInt32 => ColumnType::UInt32,
        DataType::UInt64 => ColumnType::UInt64,
        DataType::Float16 | DataType::Float32 => ColumnType::Float32,
        DataType::Float64 => ColumnType::Float64,
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s)
            if *s >= 0 =>
        {
            ColumnType::Decimal(*p, *s as u8)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::String,
        DataType::FixedSizeBinary(length) if *length > 0 => ColumnType::FixedString(*length as u32),
        // How long the values of a FixedString are is not known there.
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => ColumnType::Binary,
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Time32(unit) | DataType::Time64(unit) => ColumnType::Time(digits(*unit)),
        DataType::Interval(_) => ColumnType::Interval,
        DataType::Timestamp(unit, zone) => {
            let zone = zone.as_deref().map(str::to_owned);
            match unit {
                TimeUnit::Second => ColumnType::DateTime(zone),
                finer => ColumnType::DateTime64(digits(*finer), zone),
            }
        }
        DataType::Dictionary(_, value) => return column_type_from_arrow(value, nullable),
        // Of NULL alone nothing more is known than that it can be stored.
        DataType::Null => return Ok(ColumnType::String.into_nullable()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _) => {
            return Ok(ColumnType::Array(Box::new(element(item)?)));
        }
        DataType::Struct(fields) => {
            if let Some(state) = ColumnType::state_from_arrow(data_type) {
                return Ok(ColumnType::AggregateFunction(Box::new(state)));
            }
            let named =
                |field: &std::sync::Arc<Field>| Ok((Some(field.name().clone()), element(field)?));
            return Ok(ColumnType::Tuple(fields.iter().map(named).collect::<Result<_>>()?));
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                let key = column_type_from_arrow(fields[0].data_type(), false)?;
                return Ok(ColumnType::Map(Box::new(key), Box::new(element(&fields[1])?)));
            }
            _ => return Err(refused(data_type)),
        },
        _ => return Err(refused(data_type)),
    };
    Ok(match nullable {
        true => plain.into_nullable(),
        false => plain,
    })
}

/// Of a second, behind the point.
fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

fn element(field: &Field) -> Result<ColumnType> {
    column_type_from_arrow(field.data_type(), field.is_nullable())
}

fn refused(data_type: &DataType) -> Error {
    Error::unsupported(format!("no column type holds Arrow's {data_type}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_types_come_back_from_arrow() {
        for text in [
            "Bool",
            "UInt16",
            "Nullable(Int64)",
            "Decimal(15, 2)",
            "Decimal(76, 10)",
            "String",
            "Date",
            "DateTime",
            "DateTime64(9)",
            "Nullable(Time(9))",
            "Interval",
            "Nullable(Binary)",
            "Array(Nullable(String))",
            "Map(String, Float64)",
            "Tuple(a UInt8, b String)",
            "AggregateFunction(quantile(0.9), Float64)",
        ] {
            let column_type: ColumnType = text.parse().expect(text);
            let back = column_type_from_arrow(&column_type.arrow(), column_type.is_nullable());
            assert_eq!(back, Ok(column_type), "{text}");
        }
    }
}
