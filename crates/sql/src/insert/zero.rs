//! The zero value of a type: what a column holds that an insert leaves out.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, IntervalMonthDayNanoArray, ListArray,
    MapArray, StringViewArray, StructArray, new_empty_array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Fields, IntervalMonthDayNano};
use granary_catalog::ColumnType;

/// `rows` zero values of `column_type`: NULL where that is a value, else 0, '' or empty.
pub(super) fn zero_array(column_type: &ColumnType, rows: usize) -> ArrayRef {
    let data_type = column_type.arrow();
    match column_type {
        ColumnType::Nullable(_) => new_null_array(&data_type, rows),
        ColumnType::LowCardinality(inner) | ColumnType::SimpleAggregateFunction(_, inner) => {
            zero_array(inner, rows)
        }
        // The state of no rows is empty.
        ColumnType::AggregateFunction(_) => empty_states(&data_type, rows),
        ColumnType::Bool => Arc::new(BooleanArray::from(vec![false; rows])),
        ColumnType::String => texts("", rows),
        ColumnType::Uuid => texts("00000000-0000-0000-0000-000000000000", rows),
        ColumnType::Ipv6 => texts("::", rows),
        ColumnType::Enum8(values) | ColumnType::Enum16(values) => {
            texts(values.first().map_or("", |(name, _)| name.as_str()), rows)
        }
        ColumnType::FixedString(length) => {
            let zeros = vec![0_u8; *length as usize];
            Arc::new(BinaryViewArray::from_iter_values(std::iter::repeat_n(&zeros, rows)))
        }
        ColumnType::Binary => {
            Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n([0_u8; 0], rows)))
        }
        ColumnType::Interval => {
            Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::ZERO; rows]))
        }
        ColumnType::Array(_) => empty_lists(&data_type, rows),
        ColumnType::Map(..) => empty_maps(&data_type, rows),
        ColumnType::Tuple(elements) => tuples(elements, &data_type, rows),
        _ => numbers(&data_type, rows),
    }
}

fn empty_states(data_type: &DataType, rows: usize) -> ArrayRef {
    let DataType::Struct(fields) = data_type else { return new_null_array(data_type, rows) };
    let empty = BinaryViewArray::from_iter_values(std::iter::repeat_n([0_u8; 0], rows));
    Arc::new(StructArray::new(fields.clone(), vec![Arc::new(empty)], None))
}

fn texts(text: &str, rows: usize) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(text, rows)))
}

/// Zero casts to every numeric and temporal type; NULL is never reached and would be refused.
fn numbers(data_type: &DataType, rows: usize) -> ArrayRef {
    let zeros: ArrayRef = match data_type {
        DataType::Date32 => Arc::new(arrow::array::Int32Array::from(vec![0; rows])),
        _ => Arc::new(arrow::array::Int64Array::from(vec![0; rows])),
    };
    cast(&zeros, data_type).unwrap_or_else(|_| new_null_array(data_type, rows))
}

fn empty_lists(data_type: &DataType, rows: usize) -> ArrayRef {
    match data_type {
        DataType::List(item) => Arc::new(ListArray::new(
            Arc::clone(item),
            OffsetBuffer::new_zeroed(rows),
            new_empty_array(item.data_type()),
            None,
        )),
        other => new_null_array(other, rows),
    }
}

fn empty_maps(data_type: &DataType, rows: usize) -> ArrayRef {
    let DataType::Map(entries, ordered) = data_type else { return new_null_array(data_type, rows) };
    let DataType::Struct(fields) = entries.data_type() else {
        return new_null_array(data_type, rows);
    };
    let none = StructArray::new_empty_fields(0, None);
    let empty = match fields.is_empty() {
        true => none,
        false => StructArray::new(fields.clone(), empty_columns(fields), None),
    };
    let offsets = OffsetBuffer::new_zeroed(rows);
    Arc::new(MapArray::new(Arc::clone(entries), offsets, empty, None, *ordered))
}

fn empty_columns(fields: &Fields) -> Vec<ArrayRef> {
    fields.iter().map(|field| new_empty_array(field.data_type())).collect()
}

fn tuples(
    elements: &[(Option<String>, ColumnType)],
    data_type: &DataType,
    rows: usize,
) -> ArrayRef {
    match data_type {
        DataType::Struct(fields) if !fields.is_empty() => {
            let columns: Vec<ArrayRef> =
                elements.iter().map(|(_, element)| zero_array(element, rows)).collect();
            Arc::new(StructArray::new(fields.clone(), columns, None))
        }
        other => new_null_array(other, rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_zero_value() {
        for text in [
            "UInt8",
            "Int64",
            "Float64",
            "Decimal(15, 2)",
            "Decimal(76, 5)",
            "Bool",
            "String",
            "FixedString(4)",
            "UUID",
            "IPv4",
            "IPv6",
            "Date",
            "Time(6)",
            "Interval",
            "Binary",
            "DateTime",
            "DateTime64(3, 'UTC')",
            "Enum8('a' = 1)",
            "LowCardinality(String)",
            "Array(Array(UInt8))",
            "Map(String, Array(UInt8))",
            "Tuple(a UInt8, b Map(String, String))",
        ] {
            let column_type: ColumnType = text.parse().expect(text);
            let zeros = zero_array(&column_type, 3);
            assert_eq!(zeros.data_type(), &column_type.arrow(), "{text}");
            assert_eq!((zeros.len(), zeros.null_count()), (3, 0), "{text}");
        }
    }
}
