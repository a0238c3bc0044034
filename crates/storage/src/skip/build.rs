//! Indexes of rows that come in batches.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::TryStreamExt;
use granary_catalog::{BoundIndex, IndexKind, Scalar};
use granary_common::{ColumnId, Error, Result};

use super::bloom::{Bloom, hash_of};
use super::dictionary::{Bounds, DictionaryBuilder};
use super::file::{Entries, Entry};
use super::term::hashes_of_text;
use super::{SkipIndexes, file_name};
use crate::part::format::compute;
use crate::part::statistics::GranuleStatistics;
use crate::read::{PartRef, PartScan, PartStore};
use crate::scalar::scalar_at;
use crate::schema::{PartColumn, PartSchema};
use crate::ttl::{RowComputation, RowEvaluator, row_schema};
use crate::write::put;

/// Makes every index of a part.
pub struct SkipBuilder {
    indexes: Vec<One>,
}

impl fmt::Debug for SkipBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SkipBuilder {{ {} indexes }}", self.indexes.len())
    }
}

struct One {
    index: BoundIndex,
    computation: Arc<dyn RowComputation>,
    file: Entries,
    /// Of the run that is not complete.
    open: Run,
    /// In place of entries, where a part has its words in one dictionary.
    words: Option<DictionaryBuilder>,
    open_rows: u64,
}

/// What is gathered of a run.
enum Run {
    Bounds(Option<GranuleStatistics>),
    Values(BTreeSet<Scalar>),
    TooMany,
    Hashes(HashSet<u64>),
}

impl SkipBuilder {
    /// For rows in the order of `schema.columns`.
    pub fn new(indexes: &SkipIndexes, schema: &PartSchema) -> Result<SkipBuilder> {
        let fields = row_schema(&schema.columns);
        Self::over(&indexes.indexes, &*indexes.evaluator, &fields, schema.granularity)
    }

    pub(super) fn over(
        indexes: &[BoundIndex],
        evaluator: &dyn RowEvaluator,
        fields: &Schema,
        granularity: usize,
    ) -> Result<SkipBuilder> {
        let one = |index: &BoundIndex| {
            let run_rows = (granularity.max(1) as u64).saturating_mul(index.granularity.max(1));
            Ok(One {
                computation: evaluator.compile(&index.expression, fields)?,
                file: Entries { kind: index.kind.clone(), rows: 0, run_rows, entries: Vec::new() },
                open: Run::of(&index.kind),
                words: (index.kind == IndexKind::Words)
                    .then(|| DictionaryBuilder::new(Bounds::default())),
                open_rows: 0,
                index: index.clone(),
            })
        };
        Ok(SkipBuilder { indexes: indexes.iter().map(one).collect::<Result<_>>()? })
    }

    /// The next rows.
    pub fn push(&mut self, rows: &RecordBatch) -> Result<()> {
        self.indexes.iter_mut().try_for_each(|one| one.push(rows))
    }

    /// The files, with their names.
    pub fn finish(self) -> Result<Vec<(String, Bytes)>> {
        let finished = self.indexes.into_iter().map(|mut one| {
            if one.open_rows > 0 {
                one.close()?;
            }
            let content = match one.words {
                Some(words) => words.finish(one.file.rows, one.file.run_rows)?,
                None => one.file.encode()?,
            };
            Ok((file_name(&one.index)?, content))
        });
        finished.collect()
    }
}

impl One {
    fn push(&mut self, rows: &RecordBatch) -> Result<()> {
        let values = self.computation.evaluate(rows)?;
        let mut start = 0;
        while start < values.len() {
            let left = self.file.run_rows - self.open_rows;
            let length = (values.len() - start).min(usize::try_from(left).unwrap_or(usize::MAX));
            let of_run = values.slice(start, length);
            match &mut self.words {
                Some(words) => texts(&of_run)?.iter().flatten().for_each(|text| words.add(text)),
                None => self.open.add(&self.file.kind, &of_run)?,
            }
            self.open_rows += length as u64;
            start += length;
            if self.open_rows == self.file.run_rows {
                self.close()?;
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.file.rows += std::mem::take(&mut self.open_rows);
        if let Some(words) = &mut self.words {
            return words.close_run();
        }
        let run = std::mem::replace(&mut self.open, Run::of(&self.file.kind));
        self.file.entries.push(run.entry(&self.file.kind));
        Ok(())
    }
}

impl Run {
    fn of(kind: &IndexKind) -> Run {
        match kind {
            IndexKind::MinMax => Run::Bounds(None),
            IndexKind::Set { .. } => Run::Values(BTreeSet::new()),
            _ => Run::Hashes(HashSet::new()),
        }
    }

    fn add(&mut self, kind: &IndexKind, values: &ArrayRef) -> Result<()> {
        match self {
            Run::Bounds(known) => {
                let more = GranuleStatistics::of(values);
                *known = Some(match known.take() {
                    Some(known) => both(known, more),
                    None => more,
                });
            }
            Run::Values(set) => {
                let IndexKind::Set { values_max } = kind else { return Ok(()) };
                let max = if *values_max == 0 { u64::MAX } else { *values_max };
                for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
                    set.insert(scalar_at(&**values, row)?);
                    if set.len() as u64 > max {
                        *self = Run::TooMany;
                        return Ok(());
                    }
                }
            }
            Run::TooMany => {}
            Run::Hashes(hashes) => match kind {
                IndexKind::Ngrams { .. } | IndexKind::Tokens { .. } => {
                    for text in texts(values)?.iter().flatten() {
                        hashes.extend(hashes_of_text(kind, text));
                    }
                }
                _ => {
                    for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
                        hashes.insert(hash_of(&scalar_at(&**values, row)?));
                    }
                }
            },
        }
        Ok(())
    }

    fn entry(self, kind: &IndexKind) -> Entry {
        match (self, kind) {
            (Run::Bounds(known), _) => Entry::Bounds(known.unwrap_or(GranuleStatistics {
                rows: 0,
                min: None,
                max: None,
                exact: false,
                null_count: 0,
            })),
            (Run::Values(values), _) => Entry::Values(Some(values.into_iter().collect())),
            (Run::TooMany, _) => Entry::Values(None),
            (Run::Hashes(hashes), kind) => {
                let mut bloom = match kind {
                    IndexKind::Ngrams { bytes, hashes, .. }
                    | IndexKind::Tokens { bytes, hashes, .. } => {
                        Bloom::of_bytes(*bytes as usize, *hashes)
                    }
                    IndexKind::Bloom { false_per_million } => {
                        Bloom::for_entries(hashes.len(), *false_per_million)
                    }
                    _ => Bloom::of_bytes(1, 1),
                };
                hashes.into_iter().for_each(|hash| bloom.insert(hash));
                Entry::Bloom(bloom)
            }
        }
    }
}

/// The texts of the rows, or those in their arrays.
fn texts(values: &ArrayRef) -> Result<StringViewArray> {
    let elements = match values.data_type() {
        DataType::List(_) => elements(values.as_list::<i32>()),
        DataType::LargeList(_) => elements(values.as_list::<i64>()),
        _ => Arc::clone(values),
    };
    let texts = cast(&elements, &DataType::Utf8View)
        .map_err(|error| Error::internal(format!("an index of texts: {error}")))?;
    Ok(texts.as_string_view().clone())
}

/// What the arrays have in them; what an array that is NULL covers is no harm.
fn elements<O: OffsetSizeTrait>(arrays: &GenericListArray<O>) -> ArrayRef {
    let (Some(first), Some(last)) = (arrays.offsets().first(), arrays.offsets().last()) else {
        return arrays.values().slice(0, 0);
    };
    let first = first.as_usize();
    arrays.values().slice(first, last.as_usize() - first)
}

/// The statistics of both runs.
fn both(a: GranuleStatistics, b: GranuleStatistics) -> GranuleStatistics {
    let has_values = |known: &GranuleStatistics| known.null_count < known.rows;
    let bound = |a_bound: Option<Scalar>, b_bound: Option<Scalar>, larger: bool| {
        match (a_bound, b_bound) {
            (Some(a), Some(b)) => Some(if (a < b) == larger { b } else { a }),
            // One that is not known leaves both unknown, unless it has no values.
            (known, None) if !has_values(&b) => known,
            (None, known) if !has_values(&a) => known,
            _ => None,
        }
    };
    GranuleStatistics {
        rows: a.rows + b.rows,
        min: bound(a.min.clone(), b.min.clone(), false),
        max: bound(a.max.clone(), b.max.clone(), true),
        exact: a.exact && b.exact,
        null_count: a.null_count + b.null_count,
    }
}

/// Makes the file of an index for a part that was written without it. Deleted rows are in it: files
/// are for the part whatever is deleted. Nothing happens when it is there already.
pub async fn build_index(
    store: &PartStore,
    schema: &Arc<PartSchema>,
    part: &PartRef,
    index: &BoundIndex,
    evaluator: &dyn RowEvaluator,
) -> Result<bool> {
    let name = file_name(index)?;
    // Of a shared volume, another worker may have made it.
    store.forget_skip_file(part, &name).await;
    if store.skip_file(part, &name).await?.is_some() {
        return Ok(false);
    }
    let whole = PartRef { deletions: None, rows_deleted: 0, ..part.clone() };
    let open = store.open(&whole).await?;
    let columns: Vec<ColumnId> = index.expression.columns.clone();
    let read: Vec<&PartColumn> =
        columns.iter().map(|column| schema.column(*column)).collect::<Result<_>>()?;
    let fields = row_schema(read);
    let granularity = open.granularity() as usize;
    let one = std::slice::from_ref(index);
    let mut builder = SkipBuilder::over(one, evaluator, &fields, granularity)?;
    let scan = PartScan {
        columns,
        filter: None,
        ordered: true,
        rows: None,
        batch_rows: 8192,
        limit: None,
        hints: Vec::new(),
    };
    let mut batches = open.scan(Arc::clone(schema), scan);
    while let Some(rows) = batches.try_next().await? {
        builder = compute(move || builder.push(&rows).map(|()| builder)).await??;
    }
    let volume = store.volumes().holding(&part.location).ok_or_else(|| {
        Error::unavailable(format!("part {} is not on a volume of this worker", part.id))
    })?;
    let (table, owner) = part.files;
    for (name, content) in builder.finish()? {
        put(volume, table, owner, &name, content).await?;
    }
    store.forget_skip_file(part, &name).await;
    Ok(true)
}
