//! Arrow values as the `.slt` files print them.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};

/// Rows of cells: NULL as `NULL`, the empty string as `(empty)`, booleans as `1` and `0`, dates and
/// times as `YYYY-MM-DD HH:MM:SS[.fraction]`, bytes as text without zero bytes at the end or, when
/// they are none, in hexadecimal digits.
pub fn rows(batches: &[RecordBatch]) -> Result<Vec<Vec<String>>, ArrowError> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<Vec<String>> =
            batch.columns().iter().map(cells).collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column[row].clone()).collect());
        }
    }
    Ok(rows)
}

fn cells(column: &arrow::array::ArrayRef) -> Result<Vec<String>, ArrowError> {
    let options = FormatOptions::new()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_datetime_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_duration_format(DurationFormat::Pretty);
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let is_boolean = column.data_type() == &DataType::Boolean;
    // A null array has no validity bitmap; logically all of it is NULL.
    let nulls = column.logical_nulls();
    (0..column.len())
        .map(|row| {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                return Ok("NULL".to_owned());
            }
            let text = match column.as_binary_opt::<i32>() {
                Some(bytes) => byte_text(bytes.value(row)),
                None => formatter.value(row).try_to_string()?,
            };
            Ok(match (is_boolean, text.as_str()) {
                (true, "true") => "1".to_owned(),
                (true, _) => "0".to_owned(),
                (false, "") => "(empty)".to_owned(),
                (false, _) => text,
            })
        })
        .collect()
}

fn byte_text(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    match std::str::from_utf8(&bytes[..end]) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, NullArray, StringArray,
        TimestampMillisecondArray,
    };

    use super::*;

    fn check(column: ArrayRef, expected: &[&str]) {
        let batch = RecordBatch::try_from_iter([("c", column)]).expect("one column");
        let lines: Vec<String> =
            rows(&[batch]).expect("printable").into_iter().map(|row| row.join("\t")).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn values_are_printed_as_the_files_say() {
        check(
            Arc::new(StringArray::from(vec![Some("a b"), Some(""), None])),
            &["a b", "(empty)", "NULL"],
        );
        check(
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            &["1", "0", "NULL"],
        );
        check(Arc::new(NullArray::new(1)), &["NULL"]);
        check(Arc::new(Float64Array::from(vec![0.5, -3.0])), &["0.5", "-3.0"]);
        let decimals = Decimal128Array::from(vec![150, -5]).with_precision_and_scale(10, 2);
        check(Arc::new(decimals.expect("a decimal type")), &["1.50", "-0.05"]);
        check(Arc::new(Date32Array::from(vec![19_723])), &["2024-01-01"]);
        check(
            Arc::new(TimestampMillisecondArray::from(vec![1_704_067_200_000])),
            &["2024-01-01 00:00:00"],
        );
        check(
            Arc::new(TimestampMillisecondArray::from(vec![1_704_067_200_250])),
            &["2024-01-01 00:00:00.250"],
        );
    }
}
