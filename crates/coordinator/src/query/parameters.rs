//! Values of placeholders: rows of an Arrow batch, as clients bind them.

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use datafusion::common::ScalarValue;
use granary_common::{Error, Result};

/// Rows of values, one column for each placeholder in order.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    batch: Option<RecordBatch>,
}

impl Parameters {
    /// The rows of a bound batch.
    pub fn of(batch: RecordBatch) -> Self {
        Self { batch: Some(batch) }
    }

    /// The rows, if any are bound.
    pub fn batch(&self) -> Option<&RecordBatch> {
        self.batch.as_ref()
    }

    /// How many rows are bound; 0 when nothing is.
    pub fn rows(&self) -> usize {
        self.batch.as_ref().map_or(0, RecordBatch::num_rows)
    }

    /// Whether nothing is bound.
    pub fn is_empty(&self) -> bool {
        self.batch.is_none()
    }

    /// The values of one row; none when nothing is bound.
    pub fn row(&self, row: usize) -> Result<Vec<ScalarValue>> {
        let Some(batch) = &self.batch else { return Ok(Vec::new()) };
        if row >= batch.num_rows() {
            return Err(Error::invalid("a statement with parameters got no row of them"));
        }
        let value = |column: &arrow::array::ArrayRef| {
            ScalarValue::try_from_array(column, row)
                .map_err(|error| Error::invalid(format!("a parameter: {error}")))
        };
        batch.columns().iter().filter(|column| column.len() > row).map(value).collect()
    }

    /// The only row's values, as a query takes them.
    pub fn only_row(&self) -> Result<Vec<ScalarValue>> {
        match self.rows() {
            0 if self.is_empty() => Ok(Vec::new()),
            1 => self.row(0),
            rows => Err(Error::unsupported(format!(
                "a query takes one row of parameters, not {rows}; run it once for each"
            ))),
        }
    }

    /// As bytes of an Arrow stream; empty when nothing is bound.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let Some(batch) = &self.batch else { return Ok(Vec::new()) };
        let write = || {
            let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
            writer.write(batch)?;
            writer.into_inner()
        };
        write().map_err(|error| Error::internal(format!("cannot encode parameters: {error}")))
    }

    /// From bytes that [`Parameters::to_bytes`] gave and a signature protected.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let read = || StreamReader::try_new(bytes, None)?.next().transpose();
        let batch =
            read().map_err(|error| Error::invalid(format!("cannot decode parameters: {error}")))?;
        Ok(Self { batch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use std::sync::Arc;

    fn two_rows() -> Parameters {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        Parameters::of(RecordBatch::try_from_iter([("1", numbers), ("2", texts)]).unwrap())
    }

    #[test]
    fn rows_survive_a_handle() {
        let again = Parameters::from_bytes(&two_rows().to_bytes().unwrap()).unwrap();
        assert_eq!(
            again.row(1).unwrap(),
            [ScalarValue::Int64(None), ScalarValue::Utf8(Some("b".into()))]
        );
        assert!(Parameters::from_bytes(&[]).unwrap().is_empty());
    }

    #[test]
    fn queries_take_one_row() {
        assert!(two_rows().only_row().is_err());
        assert!(Parameters::default().only_row().unwrap().is_empty());
    }
}
