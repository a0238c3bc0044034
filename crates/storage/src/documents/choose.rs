//! Which paths of which columns a new part has columns for.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use granary_catalog::{ColumnType, Scalar};
use granary_common::{ColumnId, Error, Result};

use super::{DocumentPath, DocumentReader};
use crate::part::format::compute;
use crate::read::{OpenPart, PartScan};
use crate::schema::{PartColumn, PartSchema};
use crate::write::sorted::SortedColumns;

/// Rows of a part below which documents are read as fast as anything else.
pub(super) const ROWS_MIN: u64 = 512;
/// Documents that are looked at.
const SAMPLE_ROWS: u64 = 2048;
/// Places of a part where they are taken from: rows next to each other are alike.
const SAMPLE_RUNS: u64 = 4;

/// The paths that a part gets columns for.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    columns: Vec<Documents>,
    reader: Arc<dyn DocumentReader>,
}

/// The paths of one column.
#[derive(Clone, Debug)]
struct Documents {
    column: ColumnId,
    paths: Vec<Vec<String>>,
    /// For the paths.
    added: Vec<PartColumn>,
}

impl Chosen {
    /// The paths for a part of `rows`, which are in the order of `schema.columns`.
    pub fn of_rows(
        reader: Option<&Arc<dyn DocumentReader>>,
        schema: &PartSchema,
        rows: &RecordBatch,
    ) -> Result<Option<Chosen>> {
        let total = rows.num_rows() as u64;
        let Some(reader) = reader.filter(|_| schema.document_paths_max > 0 && total >= ROWS_MIN)
        else {
            return Ok(None);
        };
        let step = total.div_ceil(SAMPLE_ROWS).max(1);
        let sampled: UInt32Array =
            (0..total).step_by(step as usize).map(|row| row as u32).collect();
        let mut chosen = Chosen { columns: Vec::new(), reader: Arc::clone(reader) };
        for column in schema.columns.iter().filter(|column| may_hold_documents(column)) {
            let values = rows.column(schema.position(column.id)?);
            let values = take(values, &sampled, None).map_err(cannot_look)?;
            let paths = reader.frequent_paths(&values, schema.document_paths_max)?;
            chosen.add(schema, column.id, paths);
        }
        Ok(Some(chosen).filter(|chosen| !chosen.columns.is_empty()))
    }

    /// The paths for a part that is made of the rows of `parts`. Kinds as of [`OpenPart::scan`].
    pub async fn of_parts(
        reader: Option<&Arc<dyn DocumentReader>>,
        schema: &PartSchema,
        parts: &[Arc<OpenPart>],
    ) -> Result<Option<Chosen>> {
        let total: u64 = parts.iter().map(|part| part.rows()).sum();
        let Some(reader) = reader.filter(|_| schema.document_paths_max > 0 && total >= ROWS_MIN)
        else {
            return Ok(None);
        };
        let mut chosen = Chosen { columns: Vec::new(), reader: Arc::clone(reader) };
        for column in schema.columns.iter().filter(|column| may_hold_documents(column)) {
            let mut documents: Vec<ArrayRef> = Vec::new();
            for part in parts.iter().filter(|part| may_begin_as_document(part, column.id)) {
                let rows = runs(part.rows(), (SAMPLE_ROWS * part.rows()).div_ceil(total));
                let mut batches = part.scan_once(schema, looked_at(column.id, rows));
                while let Some(batch) = batches.try_next().await? {
                    documents.push(Arc::clone(batch.column(0)));
                }
            }
            let documents: Vec<&dyn Array> = documents.iter().map(|values| &**values).collect();
            if documents.is_empty() {
                continue;
            }
            let documents = concat(&documents).map_err(cannot_look)?;
            let (reader, paths_max) = (Arc::clone(reader), schema.document_paths_max);
            let paths = compute(move || reader.frequent_paths(&documents, paths_max)).await??;
            chosen.add(schema, column.id, paths);
        }
        Ok(Some(chosen).filter(|chosen| !chosen.columns.is_empty()))
    }

    /// Adds paths of one column.
    fn add(&mut self, schema: &PartSchema, column: ColumnId, frequent: Vec<Vec<String>>) {
        let mut taken: BTreeSet<ColumnId> = schema.columns.iter().map(|column| column.id).collect();
        taken.extend(self.columns.iter().flat_map(|of| &of.added).map(|added| added.id));
        let (mut paths, mut added) = (Vec::new(), Vec::new());
        for path in frequent {
            let of_document = DocumentPath { column, path };
            // Of two paths with one id the second has no column.
            if taken.insert(of_document.id()) {
                added.push(of_document.part_column(of_document.path.join(".")));
                paths.push(of_document.path);
            }
        }
        if !paths.is_empty() {
            self.columns.push(Documents { column, paths, added });
        }
    }

    /// How many columns are added for the documents of `column`.
    pub fn added_for(&self, column: ColumnId) -> usize {
        let mut of_column = self.columns.iter().filter(|documents| documents.column == column);
        of_column.next().map_or(0, |documents| documents.paths.len())
    }

    /// The shape with the added columns of those documents that it has, at its end.
    pub fn schema(&self, schema: &PartSchema) -> PartSchema {
        let mut extended = schema.clone();
        let of_schema = self.columns.iter().filter(|of| schema.position(of.column).is_ok());
        extended.columns.extend(of_schema.flat_map(|of| of.added.iter().cloned()));
        extended
    }

    /// The rows, in the order of `schema.columns`, with the added columns.
    pub fn rows(&self, schema: &PartSchema, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        let mut fields = rows.schema().fields().to_vec();
        for documents in &self.columns {
            let Ok(place) = schema.position(documents.column) else { continue };
            columns.extend(self.reader.parts(rows.column(place), &documents.paths)?);
            let field = |added: &PartColumn| {
                // A file has columns under their ids, and names of paths may be those of others.
                Arc::new(added.column_type.arrow_field(&added.id.to_string()))
            };
            fields.extend(documents.added.iter().map(field));
        }
        let fields = Arc::new(Schema::new(fields));
        RecordBatch::try_new(fields, columns)
            .map_err(|error| Error::internal(format!("parts of documents do not fit: {error}")))
    }

    /// The columns of a new part of the shape `schema` with the added ones, and its shape then.
    pub fn beside(
        documents: Option<&Arc<Chosen>>,
        schema: &Arc<PartSchema>,
        groups: Vec<SortedColumns>,
    ) -> (Arc<PartSchema>, Vec<SortedColumns>) {
        match documents {
            None => (Arc::clone(schema), groups),
            Some(chosen) => {
                let groups = groups.into_iter().map(|columns| chosen.columns(columns)).collect();
                (Arc::new(chosen.schema(schema)), groups)
            }
        }
    }

    fn columns(self: &Arc<Self>, columns: SortedColumns) -> SortedColumns {
        let SortedColumns { schema, batches } = columns;
        let extended = Arc::new(self.schema(&schema));
        if extended.columns.len() == schema.columns.len() {
            return SortedColumns { schema, batches };
        }
        let chosen = Arc::clone(self);
        let batches = batches.and_then(move |rows| {
            let (chosen, schema) = (Arc::clone(&chosen), Arc::clone(&schema));
            async move { compute(move || chosen.rows(&schema, &rows)).await? }
        });
        SortedColumns { schema: extended, batches: batches.boxed() }
    }
}

fn may_hold_documents(column: &PartColumn) -> bool {
    *column.column_type.base() == ColumnType::String && column.document.is_none()
}

/// Whether the statistics of the part's column leave room for values that begin with a brace, which is
/// behind all letters.
fn may_begin_as_document(part: &OpenPart, column: ColumnId) -> bool {
    let mut known = part.statistics().iter().filter(|known| known.column == column);
    known.next().is_none_or(|known| match &known.max {
        Some(Scalar::Text(max)) => max.as_str() >= "{",
        Some(_) => false,
        None => known.null_count < part.rows(),
    })
}

fn looked_at(column: ColumnId, rows: Vec<Range<u64>>) -> PartScan {
    PartScan {
        columns: vec![column],
        filter: None,
        ordered: true,
        rows: Some(rows),
        batch_rows: 0,
        limit: None,
        hints: Vec::new(),
    }
}

fn cannot_look(error: ArrowError) -> Error {
    Error::internal(format!("cannot look at documents: {error}"))
}

/// About `wanted` of so many rows, in a few runs.
fn runs(rows: u64, wanted: u64) -> Vec<Range<u64>> {
    let runs = if wanted < rows { SAMPLE_RUNS } else { 1 };
    let length = wanted.div_ceil(runs).max(1);
    let step = rows.div_ceil(runs).max(length);
    (0..rows).step_by(step as usize).map(|start| start..rows.min(start + length)).collect()
}
