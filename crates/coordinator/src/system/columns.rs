//! Columns of a system table as they are collected.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray, TimestampMillisecondArray, UInt64Array};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use granary_common::{Error, Result};

/// Named columns of equal length.
#[derive(Debug, Default)]
pub(super) struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    pub fn new() -> Self {
        Self::default()
    }

    fn add(mut self, name: &str, array: ArrayRef) -> Self {
        let nullable = array.null_count() > 0;
        self.fields.push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
        self
    }

    pub fn texts(self, name: &str, values: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.add(name, Arc::new(StringArray::from_iter_values(values)))
    }

    pub fn numbers(self, name: &str, values: impl IntoIterator<Item = u64>) -> Self {
        self.add(name, Arc::new(UInt64Array::from_iter_values(values)))
    }

    pub fn flags(self, name: &str, values: impl IntoIterator<Item = bool>) -> Self {
        let values: Vec<bool> = values.into_iter().collect();
        self.add(name, Arc::new(BooleanArray::from(values)))
    }

    /// Texts that may be missing.
    pub fn optional_texts(
        mut self,
        name: &str,
        values: impl IntoIterator<Item = Option<String>>,
    ) -> Self {
        let array: StringArray = values.into_iter().collect();
        self = self.add(name, Arc::new(array));
        self.last_is_nullable()
    }

    /// Numbers that may be missing.
    pub fn optional_numbers(
        mut self,
        name: &str,
        values: impl IntoIterator<Item = Option<u64>>,
    ) -> Self {
        let array: UInt64Array = values.into_iter().collect();
        self = self.add(name, Arc::new(array));
        self.last_is_nullable()
    }

    /// Times in milliseconds since the epoch that may be missing.
    pub fn optional_times(
        mut self,
        name: &str,
        values: impl IntoIterator<Item = Option<u64>>,
    ) -> Self {
        let array: TimestampMillisecondArray =
            values.into_iter().map(|ms| ms.map(|ms| ms as i64)).collect();
        self = self.add(name, Arc::new(array));
        self.last_is_nullable()
    }

    /// The type of a column must not depend on its rows.
    fn last_is_nullable(mut self) -> Self {
        if let Some(field) = self.fields.pop() {
            self.fields.push(field.with_nullable(true));
        }
        self
    }

    pub fn build(self) -> Result<RecordBatch> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays)
            .map_err(|error| Error::internal(format!("a system table: {error}")))
    }
}
