//! Sort keys of a batch, so that most pairs of them are compared as two numbers.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::SortOptions;
use arrow::datatypes::*;
use arrow_row::{Row, Rows};
use granary_common::Result;

use crate::sort_order::rows_in_order;

/// Keys of rows of one type. Those of batches of one merge compare with each other.
#[derive(Debug)]
pub struct Keys {
    /// The first bytes of each.
    pub heads: Vec<u128>,
    /// The whole of each, where heads do not tell all.
    rows: Option<Rows>,
}

impl Keys {
    /// The keys in `columns`, which compare as their values do with `options`. Kind `InvalidInput` for
    /// a type without an order.
    pub fn of(columns: &[ArrayRef], options: SortOptions) -> Result<Keys> {
        if let [only] = columns
            && let Some(heads) = number_heads(only, options)
        {
            return Ok(Keys { heads, rows: None });
        }
        let rows = rows_in_order(columns, options)?;
        let heads = rows.iter().map(head).collect();
        let widths: Option<usize> = columns.iter().map(row_width).sum();
        let is_whole = widths.is_some_and(|width| width <= size_of::<u128>());
        Ok(Keys { heads, rows: (!is_whole).then_some(rows) })
    }

    /// How the key of `row` compares with that of row `at` of `other`, which has keys of the same type.
    pub fn compare(&self, row: usize, other: &Keys, at: usize) -> Ordering {
        let heads = self.heads[row].cmp(&other.heads[at]);
        heads.then_with(|| self.tail(row).cmp(other.tail(at)))
    }

    /// Whether heads do not tell all.
    pub fn has_tails(&self) -> bool {
        self.rows.is_some()
    }

    /// What the head does not tell of the key of `row`: keys are equal if both are.
    pub fn tail(&self, row: usize) -> &[u8] {
        self.rows.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}

fn head(row: Row<'_>) -> u128 {
    let (mut bytes, data) = ([0; 16], row.data());
    let length = data.len().min(16);
    bytes[..length].copy_from_slice(&data[..length]);
    u128::from_be_bytes(bytes)
}

/// Bytes that a value takes in a row; `None` where this depends on the value.
fn row_width(column: &ArrayRef) -> Option<usize> {
    match column.data_type() {
        DataType::Boolean => Some(2),
        other => other.primitive_width().map(|width| width + 1),
    }
}

/// Evaluates `$body` for a column of whole numbers with `$values`, the array, and `$bits`, how a value
/// of it compares; `None` for other types.
macro_rules! with_numbers {
    ($column:expr, $values:ident, $bits:ident => $body:expr) => {{
        macro_rules! signed {
            ($arrow:ident) => {{
                let $values = $column.as_primitive::<$arrow>();
                let $bits = |value: <$arrow as ArrowPrimitiveType>::Native| {
                    (i64::from(value) as u64) ^ (1 << 63)
                };
                Some($body)
            }};
        }
        macro_rules! unsigned {
            ($arrow:ident) => {{
                let $values = $column.as_primitive::<$arrow>();
                let $bits = |value: <$arrow as ArrowPrimitiveType>::Native| u64::from(value);
                Some($body)
            }};
        }
        match $column.data_type() {
            DataType::Int8 => signed!(Int8Type),
            DataType::Int16 => signed!(Int16Type),
            DataType::Int32 => signed!(Int32Type),
            DataType::Int64 => signed!(Int64Type),
            DataType::Date32 => signed!(Date32Type),
            DataType::Timestamp(TimeUnit::Second, _) => signed!(TimestampSecondType),
            DataType::Timestamp(TimeUnit::Millisecond, _) => signed!(TimestampMillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => signed!(TimestampMicrosecondType),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => signed!(TimestampNanosecondType),
            DataType::UInt8 => unsigned!(UInt8Type),
            DataType::UInt16 => unsigned!(UInt16Type),
            DataType::UInt32 => unsigned!(UInt32Type),
            DataType::UInt64 => unsigned!(UInt64Type),
            _ => None,
        }
    }};
}

/// The heads of NULL and, but for its bits, of a number: a bit above those says whether there is one.
fn null_and_some(options: SortOptions) -> (u128, u128) {
    match options.nulls_first {
        true => (0, 1 << 64),
        false => (1 << 64, 0),
    }
}

/// Whole numbers as they compare, without the detour over rows.
fn number_heads(column: &ArrayRef, options: SortOptions) -> Option<Vec<u128>> {
    if options.descending {
        return None;
    }
    let (null, some) = null_and_some(options);
    with_numbers!(column, values, bits => {
        let head = |value| some | u128::from(bits(value));
        match values.nulls() {
            None => values.values().iter().map(|value| head(*value)).collect(),
            Some(_) => values.iter().map(|value| value.map_or(null, head)).collect(),
        }
    })
}

/// One of them.
fn number_head(column: &ArrayRef, row: usize, options: SortOptions) -> Option<u128> {
    let (null, some) = null_and_some(options);
    with_numbers!(column, values, bits => match values.is_null(row) {
        true => null,
        false => some | u128::from(bits(values.value(row))),
    })
}

/// Keys of a batch of which few are looked at.
pub struct FewKeys<'a> {
    /// The only column, where a key is a whole number.
    number: Option<&'a ArrayRef>,
    options: SortOptions,
    keys: Option<Keys>,
}

impl FewKeys<'_> {
    /// As [`Keys::of`].
    pub fn of(columns: &[ArrayRef], options: SortOptions) -> Result<FewKeys<'_>> {
        if let [only] = columns
            && !options.descending
            && with_numbers!(only, _values, _bits => ()).is_some()
        {
            return Ok(FewKeys { number: Some(only), options, keys: None });
        }
        Ok(FewKeys { number: None, options, keys: Some(Keys::of(columns, options)?) })
    }

    /// How the key of `row` compares with that of row `at` of `other`, which has keys of the same type.
    pub fn compare(&self, row: usize, other: &Keys, at: usize) -> Ordering {
        if let Some(keys) = &self.keys {
            return keys.compare(row, other, at);
        }
        let head = self.number.and_then(|column| number_head(column, row, self.options));
        head.cmp(&other.heads.get(at).copied())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Float64Array, Int8Array, Int64Array, StringViewArray, UInt64Array,
    };
    use arrow::compute::SortOptions;

    use super::*;

    /// Keys compare as their rows do, and what heads tell is right.
    #[test]
    fn keys_compare_as_rows_do() {
        let bytes: ArrayRef = Arc::new(Int8Array::from(vec![Some(-128), None, Some(0), Some(127)]));
        let numbers: ArrayRef =
            Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(-1), None, Some(i64::MAX)]));
        let large: ArrayRef = Arc::new(UInt64Array::from(vec![0, 1, u64::MAX, 1 << 63]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![-1.5, 0.0, f64::NAN, 2.0]));
        let texts = vec![
            Some("the same first letters, then a"),
            None,
            Some(""),
            Some("the same first letters"),
        ];
        let texts: ArrayRef = Arc::new(StringViewArray::from(texts));
        for columns in [
            vec![Arc::clone(&bytes)],
            vec![Arc::clone(&numbers)],
            vec![Arc::clone(&large)],
            vec![Arc::clone(&floats)],
            vec![Arc::clone(&texts)],
            vec![Arc::clone(&bytes), Arc::clone(&bytes)],
            vec![numbers, Arc::clone(&texts)],
            vec![bytes, floats, large],
        ] {
            for nulls_first in [false, true] {
                let options = SortOptions { descending: false, nulls_first };
                let keys = Keys::of(&columns, options).expect("ordered");
                let rows = rows_in_order(&columns, options).expect("ordered");
                let few = FewKeys::of(&columns, options).expect("ordered");
                for (a, b) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
                    assert_eq!(few.compare(a, &keys, b), keys.compare(a, &keys, b));
                    let heads = keys.heads[a].cmp(&keys.heads[b]);
                    let order = heads.then_with(|| keys.tail(a).cmp(keys.tail(b)));
                    assert_eq!(order, rows.row(a).cmp(&rows.row(b)), "{columns:?} {a} {b}");
                }
            }
        }
    }
}
