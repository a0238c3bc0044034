//! The order of rows in a part.
//!
//! Rows ascend by the columns of the sort key, the first column first; rows with equal keys keep the
//! order in which they were inserted. Within a column:
//!
//! - NULL is after every value (NULLS LAST).
//! - Numbers, decimals, dates and times ascend by value; FALSE is before TRUE.
//! - In floats NaN is after every number, and all NaNs are equal; -0 equals 0. So that Arrow's
//!   total order agrees with this one, parts store every -0 as 0 and every NaN as the one quiet NaN
//!   of positive sign ([`canonical_floats`]).
//! - Text and bytes compare byte by byte, a prefix before what it begins; so text is in the order of
//!   code points, without a collation. Enums, UUIDs and IPv6 addresses are text here.
//! - Lists and tuples compare element by element.
//!
//! This is the order of [`granary_catalog::Scalar`], and what Arrow calls ascending with nulls last.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, UInt32Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::record_batch::RecordBatch;
use arrow_row::{RowConverter, Rows, SortField};
use granary_common::{Error, Result};

/// The order of every sort key column, in Arrow's words.
pub const SORT_OPTIONS: SortOptions = SortOptions { descending: false, nulls_first: false };

/// `rows` with the floats of its columns in their one stored form.
pub fn canonical_floats(rows: RecordBatch) -> Result<RecordBatch> {
    let is_float =
        |array: &ArrayRef| matches!(array.data_type(), DataType::Float32 | DataType::Float64);
    if !rows.columns().iter().any(is_float) {
        return Ok(rows);
    }
    let columns = rows.columns().iter().map(canonical_float_column).collect();
    let schema = rows.schema();
    RecordBatch::try_new(schema, columns).map_err(|error| Error::internal(error.to_string()))
}

/// A column with its floats, if it holds any, in their one stored form.
pub fn canonical_float_column(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let floats: &PrimitiveArray<Float32Type> = array.as_primitive();
            if floats.values().iter().all(|v| v.to_bits() == canonical_f32(*v).to_bits()) {
                return Arc::clone(array);
            }
            Arc::new(floats.unary::<_, Float32Type>(canonical_f32))
        }
        DataType::Float64 => {
            let floats: &PrimitiveArray<Float64Type> = array.as_primitive();
            if floats.values().iter().all(|v| v.to_bits() == canonical_f64(*v).to_bits()) {
                return Arc::clone(array);
            }
            Arc::new(floats.unary::<_, Float64Type>(canonical_f64))
        }
        _ => Arc::clone(array),
    }
}

fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(0x7fc0_0000) } else { value + 0.0 }
}

/// The one form of a float: -0 as 0, every NaN as the quiet NaN of positive sign.
pub fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { value + 0.0 }
}

/// The order in which rows must be taken so that `columns` are sorted, or `None` when they are
/// already. Floats must be canonical. Kind `InvalidInput` for a type that has no order.
pub fn sort_permutation(columns: &[ArrayRef]) -> Result<Option<UInt32Array>> {
    let Some(length) = columns.first().map(|column| column.len()) else { return Ok(None) };
    let length = u32::try_from(length).map_err(|_| {
        Error::invalid("a block has more than 4294967295 rows; send smaller blocks")
    })?;
    let rows = comparable_rows(columns)?;
    if (1..rows.num_rows()).all(|row| rows.row(row - 1) <= rows.row(row)) {
        return Ok(None);
    }
    // Most keys differ within their first 16 bytes, which are compared without following them into
    // the rows.
    let mut keys: Vec<(u64, u64, u32)> = (0..length)
        .map(|row| {
            let (first, second) = prefix(rows.row(row as usize).data());
            (first, second, row)
        })
        .collect();
    keys.sort_unstable_by(|a, b| {
        (a.0, a.1)
            .cmp(&(b.0, b.1))
            .then_with(|| rows.row(a.2 as usize).cmp(&rows.row(b.2 as usize)))
            .then_with(|| a.2.cmp(&b.2))
    });
    Ok(Some(UInt32Array::from_iter_values(keys.into_iter().map(|key| key.2))))
}

/// Rows whose bytes compare as [this module](self) orders the values.
pub fn comparable_rows(columns: &[ArrayRef]) -> Result<Rows> {
    rows_in_order(columns, SORT_OPTIONS)
}

/// Rows whose bytes compare as the values do with `options`. Kind `InvalidInput` for a type without an
/// order.
pub fn rows_in_order(columns: &[ArrayRef], options: SortOptions) -> Result<Rows> {
    let fields: Vec<_> = columns
        .iter()
        .map(|column| SortField::new_with_options(column.data_type().clone(), options))
        .collect();
    let unordered = |error: arrow::error::ArrowError| {
        Error::invalid(format!("the key has a type without an order: {error}"))
    };
    let converter = RowConverter::new(fields).map_err(unordered)?;
    converter.convert_columns(columns).map_err(unordered)
}

fn prefix(row: &[u8]) -> (u64, u64) {
    let mut bytes = [0; 16];
    let length = row.len().min(16);
    bytes[..length].copy_from_slice(&row[..length]);
    let both = u128::from_be_bytes(bytes);
    ((both >> 64) as u64, both as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        BooleanArray, Decimal128Array, Float64Array, Int32Array, StringViewArray, UInt64Array,
    };

    /// Frozen: parts on disk are in this order.
    #[test]
    fn frozen_orders() {
        check(
            Arc::new(Float64Array::from(vec![
                Some(f64::NAN),
                None,
                Some(1.5),
                Some(-0.0),
                Some(f64::NEG_INFINITY),
                Some(0.0),
                Some(f64::INFINITY),
                Some(-f64::NAN),
            ])),
            &[4, 3, 5, 2, 6, 0, 7, 1],
        );
        check(Arc::new(Int32Array::from(vec![Some(3), None, Some(-1), Some(3)])), &[2, 0, 3, 1]);
        check(Arc::new(UInt64Array::from(vec![u64::MAX, 0, 1 << 63])), &[1, 2, 0]);
        check(Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])), &[2, 0, 1]);
        check(
            Arc::new(StringViewArray::from(vec![
                Some("b"),
                Some("a longer text than a view holds inline, b"),
                Some(""),
                None,
                Some("ä"),
                Some("B"),
                Some("a longer text than a view holds inline, a"),
                Some("ab"),
            ])),
            &[2, 5, 6, 1, 7, 0, 4, 3],
        );
        check(
            Arc::new(
                Decimal128Array::from(vec![5, -5, 0]).with_precision_and_scale(20, 2).unwrap(),
            ),
            &[1, 2, 0],
        );
    }

    fn check(column: ArrayRef, expected: &[u32]) {
        let column = canonical_float_column(&column);
        let order = sort_permutation(&[column]).unwrap().expect("it is not sorted");
        assert_eq!(order.values(), expected);
    }

    #[test]
    fn equal_keys_keep_their_order() {
        let first: ArrayRef = Arc::new(Int32Array::from(vec![2, 1, 2, 1]));
        let order = sort_permutation(&[first]).unwrap().unwrap();
        assert_eq!(order.values(), &[1, 3, 0, 2]);
        let sorted: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(1), None]));
        assert!(sort_permutation(&[sorted]).unwrap().is_none());
    }
}
