//! Intervals in a file, which knows none: structures of months, days and nanoseconds. Only columns
//! are intervals, never parts of their values.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatchOptions, StructArray,
};
use arrow::datatypes::{
    DataType, Field, Fields, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, Schema, SchemaRef,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The type that the file has for a column of `data_type`.
pub(super) fn stored_type(data_type: &DataType) -> DataType {
    match *data_type == INTERVAL {
        true => DataType::Struct(parts()),
        false => data_type.clone(),
    }
}

/// The fields of a schema with the types that the file has for them.
pub(super) fn stored_fields(schema: &Schema) -> Fields {
    let stored =
        |field: &Arc<Field>| field.as_ref().clone().with_data_type(stored_type(field.data_type()));
    schema.fields().iter().map(stored).collect()
}

fn parts() -> Fields {
    Fields::from(vec![
        Field::new("months", DataType::Int32, false),
        Field::new("days", DataType::Int32, false),
        Field::new("nanoseconds", DataType::Int64, false),
    ])
}

/// The batch as the file has it; its names are not looked at.
pub(super) fn to_stored(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !batch.columns().iter().any(|column| *column.data_type() == INTERVAL) {
        return Ok(batch);
    }
    let schema = Arc::new(Schema::new(stored_fields(&batch.schema())));
    let columns = batch.columns().iter().map(taken_apart).collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &rows)
}

/// The columns as plans have them, under `schema`.
pub(super) fn from_stored(columns: Vec<ArrayRef>, schema: &SchemaRef) -> Vec<ArrayRef> {
    let fields = schema.fields().iter();
    let put_together =
        |(column, field): (ArrayRef, &Arc<Field>)| match *field.data_type() == INTERVAL {
            true => put_together(&column),
            false => column,
        };
    columns.into_iter().zip(fields).map(put_together).collect()
}

fn taken_apart(column: &ArrayRef) -> ArrayRef {
    if *column.data_type() != INTERVAL {
        return Arc::clone(column);
    }
    let values = column.as_primitive::<IntervalMonthDayNanoType>();
    let part = |of: fn(&IntervalMonthDayNano) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(values.values().iter().map(of)))
    };
    let nanoseconds = values.values().iter().map(|value| value.nanoseconds);
    let columns: Vec<ArrayRef> = vec![
        part(|value| value.months),
        part(|value| value.days),
        Arc::new(Int64Array::from_iter_values(nanoseconds)),
    ];
    Arc::new(StructArray::new(parts(), columns, values.nulls().cloned()))
}

fn put_together(column: &ArrayRef) -> ArrayRef {
    let parts = column.as_struct();
    let (months, days) =
        (parts.column(0).as_primitive::<Int32Type>(), parts.column(1).as_primitive::<Int32Type>());
    let nanoseconds = parts.column(2).as_primitive::<Int64Type>();
    let value = |row: usize| {
        parts.is_valid(row).then(|| {
            IntervalMonthDayNano::new(months.value(row), days.value(row), nanoseconds.value(row))
        })
    };
    let values: arrow::array::IntervalMonthDayNanoArray = (0..parts.len()).map(value).collect();
    Arc::new(values)
}

#[cfg(test)]
mod tests {
    use arrow::array::IntervalMonthDayNanoArray;

    use super::*;

    #[test]
    fn intervals_come_back() {
        let values: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![
            Some(IntervalMonthDayNano::new(14, -3, 1_500_000_000)),
            None,
            Some(IntervalMonthDayNano::new(0, 0, 0)),
        ]));
        let columns = [("i", Arc::clone(&values), true)];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let schema = batch.schema();
        let stored = to_stored(batch).unwrap();
        assert_eq!(stored.column(0).data_type(), &stored_type(&INTERVAL));
        assert_eq!(from_stored(stored.columns().to_vec(), &schema), [values]);
    }
}
