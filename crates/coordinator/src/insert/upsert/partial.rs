//! Partial updates: columns that an insert does not name keep the values of the rows it replaces.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{cast, interleave};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use granary_common::{ColumnId, Error, Result};
use granary_sql::RowProjection;

use super::arrow_failed;
use crate::core::Coordinator;
use crate::insert::target::Target;

/// The columns that are kept and their values so far.
pub(super) struct Kept {
    columns: Vec<ColumnId>,
    /// Rows of the block and, for each column, the values that they keep.
    found: Vec<(UInt32Array, Vec<ArrayRef>)>,
}

impl Kept {
    /// What an insert into `target` keeps; `None` when it brings all columns or is no partial
    /// update. Kind `InvalidInput` when it does not bring the key.
    pub fn of(target: &Target) -> Result<Option<Self>> {
        let Some(named) = target.columns.as_ref().filter(|_| target.settings.insert.partial_update)
        else {
            return Ok(None);
        };
        let table = &target.table;
        let is_named = |name: &str| named.iter().any(|other| other.eq_ignore_ascii_case(name));
        let columns: Vec<ColumnId> = table
            .visible_columns()
            .filter(|column| !is_named(&column.name))
            .map(|column| column.id)
            .collect();
        let missing = columns.iter().find(|id| table.unique_key.contains(id));
        if let Some(column) = missing.and_then(|id| table.column(*id)) {
            return Err(Error::invalid(format!(
                "partial_update: the insert does not name '{}', which is in the UNIQUE KEY",
                column.name
            )));
        }
        Ok((!columns.is_empty()).then_some(Self { columns, found: Vec::new() }))
    }

    /// The columns that are kept.
    pub fn columns(&self) -> impl Iterator<Item = ColumnId> + '_ {
        self.columns.iter().copied()
    }

    /// Takes in what these rows of the block keep.
    pub fn add(&mut self, rows: &UInt32Array, values: Vec<ArrayRef>) {
        self.found.push((rows.clone(), values));
    }

    /// `rows`, which hold defaults, with the values that are kept; key expressions follow them.
    pub fn fill(
        self,
        core: &Arc<Coordinator>,
        target: &Target,
        rows: RecordBatch,
    ) -> Result<RecordBatch> {
        if self.found.is_empty() {
            return Ok(rows);
        }
        // Where each row's values are: the block itself, or what was found.
        let mut places: Vec<(usize, usize)> = (0..rows.num_rows()).map(|row| (0, row)).collect();
        for (number, (found, _)) in self.found.iter().enumerate() {
            for (at, row) in found.values().iter().enumerate() {
                let place = places.get_mut(*row as usize);
                *place.ok_or_else(|| Error::internal("a kept row is of no block"))? =
                    (number + 1, at);
            }
        }
        let table = &target.table;
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (position, column) in table.columns.iter().enumerate() {
            if !column.is_visible() {
                continue;
            }
            let own = rows.column(position);
            fields.push(Arc::clone(&rows.schema().fields()[position]));
            columns.push(match self.columns.iter().position(|id| *id == column.id) {
                Some(at) => self.gathered(own, at, &places)?,
                None => Arc::clone(own),
            });
        }
        let schema = Arc::new(Schema::new(fields));
        let visible = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(arrow_failed)?;
        let state = core.session_state(&target.snapshot, &target.session, &target.settings)?;
        RowProjection::bind(table, None, &schema, &state)?.apply(&visible, 1)
    }

    fn gathered(&self, own: &ArrayRef, at: usize, places: &[(usize, usize)]) -> Result<ArrayRef> {
        let mut sources = vec![Arc::clone(own)];
        for (_, values) in &self.found {
            let values = values.get(at);
            let values = values.ok_or_else(|| Error::internal("a kept column is missing"))?;
            sources.push(cast(values, own.data_type()).map_err(arrow_failed)?);
        }
        let sources: Vec<&dyn Array> = sources.iter().map(AsRef::as_ref).collect();
        interleave(&sources, places).map_err(arrow_failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;

    #[test]
    fn values_come_from_the_block_or_from_what_was_found() {
        let column = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
        let mut kept = Kept { columns: vec![ColumnId(1)], found: Vec::new() };
        kept.add(&UInt32Array::from(vec![2]), vec![column(vec![70])]);
        kept.add(&UInt32Array::from(vec![0]), vec![column(vec![80])]);
        let places = [(2, 0), (0, 1), (1, 0)];
        let gathered = kept.gathered(&column(vec![1, 2, 3]), 0, &places).unwrap();
        assert_eq!(&gathered, &column(vec![80, 2, 70]));
    }
}
