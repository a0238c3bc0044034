//! What several threads read of the runs of one partition.

use std::ops::Range;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use granary_common::Error;
use granary_storage::merge::{HiddenRows, key_ranges};
use granary_storage::{Deletions, PartRef, PartStore};

use super::Collapsing;
use crate::error::to_datafusion;
use crate::part_scan::layout::{ScanSpec, Unit, cut_part};
use crate::part_scan::stream::Batches;

/// Rows of a part.
pub struct Slice {
    pub unit: Unit,
    /// The rows to leave out, in place of those that are deleted.
    pub without: Option<Arc<Deletions>>,
}

/// What one thread reads: rows whose keys are nowhere else, or are not looked at any more.
pub enum Piece {
    /// The whole of a small run, about which nothing is known yet.
    Run(Vec<Unit>),
    /// Rows that are merged and collapsed: of each part those of a range of keys.
    Merged(Vec<Slice>),
    /// Rows that are as FINAL gives them.
    Shown(Slice),
    /// Rows that were made of several, in the columns that a collapse reads.
    Folded(RecordBatch),
}

/// Rows of a piece that were made of several.
const FOLDED_ROWS: usize = 1 << 16;

impl Collapsing {
    /// How many threads read `units`: one where they are few, or where a few of their rows are
    /// enough.
    pub fn threads_for<'a>(&self, units: impl IntoIterator<Item = &'a Unit>) -> usize {
        if self.wants_few() || self.is_few(units) { 1 } else { self.threads }
    }

    /// Whether the rows of `units` are not worth to be cut into ranges.
    pub fn is_few<'a>(&self, units: impl IntoIterator<Item = &'a Unit>) -> bool {
        self.are_few(rows_of(units))
    }

    /// Whether a few rows are enough.
    pub fn wants_few(&self) -> bool {
        self.spec.fetch.is_some_and(|fetch| self.are_few(fetch as u64))
    }

    fn are_few(&self, rows: u64) -> bool {
        rows / 2 < self.spec.key_ranges.rows_min
    }

    /// What is to be read of a run.
    pub async fn pieces(self: Arc<Self>, units: Vec<Unit>) -> Result<Vec<Piece>, DataFusionError> {
        match self.threads_for(&units) {
            1 => Ok(vec![Piece::Run(units)]),
            threads => self.cut(units, threads).await,
        }
    }

    /// The rows of a run in pieces for so many threads.
    pub async fn cut(
        &self,
        units: Vec<Unit>,
        threads: usize,
    ) -> Result<Vec<Piece>, DataFusionError> {
        if self.is_settled(units.iter().map(|unit| unit.part)) {
            return Ok(self.shown(&units, threads, |_| None));
        }
        let hidden = self.hidden(&units).await?;
        let hidden = hidden.filter(|hidden| self.rule.only_chooses() || few_meet(&units, hidden));
        let Some(hidden) = hidden else {
            let nothing = vec![None; units.len()];
            return self.merged_pieces(&units, &nothing, threads).await;
        };
        let mut pieces = self.shown(&units, threads, |place| hidden.of(place).cloned());
        if self.rule.only_chooses() {
            return Ok(pieces);
        }
        match self.folded(&units, &hidden, threads).await? {
            Some(rows) => {
                let starts = (0..rows.num_rows()).step_by(FOLDED_ROWS);
                let slice = |start| rows.slice(start, FOLDED_ROWS.min(rows.num_rows() - start));
                pieces.extend(starts.map(slice).map(Piece::Folded));
            }
            None => {
                let apart = self.all_but(&units, &hidden).await?;
                pieces.extend(self.merged_pieces(&units, &apart, threads).await?);
            }
        }
        Ok(pieces)
    }

    /// The rows of `units` that are shown, `without` by the place of a unit.
    fn shown(
        &self,
        units: &[Unit],
        threads: usize,
        without: impl Fn(usize) -> Option<Arc<Deletions>>,
    ) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let rows = rows_of(units);
        for (place, unit) in units.iter().enumerate() {
            let without = without(place);
            let part_rows = self.spec.parts[unit.part].part.rows;
            if without.as_ref().is_some_and(|without| without.len() >= part_rows) {
                continue;
            }
            let cut = match threads {
                1 => vec![unit.clone()],
                _ => cut_part(&self.spec, unit.part, rows, threads),
            };
            let slice = |unit| Piece::Shown(Slice { unit, without: without.clone() });
            pieces.extend(cut.into_iter().map(slice));
        }
        pieces
    }

    /// Of each of `units` the rows that are shown or deleted.
    pub async fn all_but(
        &self,
        units: &[Unit],
        hidden: &HiddenRows,
    ) -> Result<Vec<Option<Arc<Deletions>>>, DataFusionError> {
        let Some((store, parts)) = self.own_parts(units) else {
            let gone = "a part is to be read from another copy by now; run the query again";
            return Err(to_datafusion(Error::unavailable(gone)));
        };
        let mut all = Vec::with_capacity(parts.len());
        for (place, part) in parts.iter().enumerate() {
            let hidden = hidden.of(place).map(|hidden| Deletions::all_but(part.rows, hidden));
            let mut apart = hidden.unwrap_or_default();
            if let Some(deleted) = store.deletions(part).await.map_err(to_datafusion)? {
                apart.union(&deleted);
            }
            all.push(Some(Arc::new(apart)));
        }
        Ok(all)
    }

    /// The rows of `units` that are merged, `without` by the place of a unit.
    async fn merged_pieces(
        &self,
        units: &[Unit],
        without: &[Option<Arc<Deletions>>],
        threads: usize,
    ) -> Result<Vec<Piece>, DataFusionError> {
        let slices = self.merged_slices(units, without, threads).await?;
        Ok(slices.into_iter().map(Piece::Merged).collect())
    }

    /// The same as the slices of each range of keys.
    pub async fn merged_slices(
        &self,
        units: &[Unit],
        without: &[Option<Arc<Deletions>>],
        threads: usize,
    ) -> Result<Vec<Vec<Slice>>, DataFusionError> {
        let mut pieces = Vec::new();
        for range in self.key_ranges(units, threads).await? {
            let mut slices = Vec::with_capacity(range.len());
            for ((unit, rows), without) in units.iter().zip(range).zip(without) {
                let part_rows = self.spec.parts[unit.part].part.rows;
                let none = without.as_ref().is_some_and(|without| without.len() >= part_rows);
                if !rows.is_empty() && !none {
                    let unit = Unit { part: unit.part, rows };
                    slices.push(Slice { unit, without: without.clone() });
                }
            }
            if !slices.is_empty() {
                pieces.push(slices);
            }
        }
        Ok(pieces)
    }

    /// The parts of `units`, when this node is to read them all itself.
    pub fn own_parts(&self, units: &[Unit]) -> Option<(&Arc<PartStore>, Vec<PartRef>)> {
        let store = self.access.store.as_ref()?;
        let parts = units.iter().map(|unit| self.spec.parts[unit.part].part.clone());
        let parts: Vec<PartRef> = parts.collect();
        parts.iter().all(|part| store.may_read(part)).then_some((store, parts))
    }

    /// The rows of each of `units` in each range of keys.
    async fn key_ranges(
        &self,
        units: &[Unit],
        threads: usize,
    ) -> Result<Vec<Vec<Range<u64>>>, DataFusionError> {
        let Some((store, parts)) = self.own_parts(units).filter(|_| threads > 1) else {
            return Ok(vec![units.iter().map(|unit| unit.rows.clone()).collect()]);
        };
        let ScanSpec { schema, filter, key_ranges: how, .. } = &*self.spec;
        let ranges = key_ranges(store, schema, &parts, filter.as_ref(), how.cutting(threads));
        ranges.await.map_err(to_datafusion)
    }
}

fn rows_of<'a>(units: impl IntoIterator<Item = &'a Unit>) -> u64 {
    units.into_iter().map(|unit| unit.rows.end - unit.rows.start).sum()
}

/// Whether so few of the rows are hidden that it is cheaper to read parts twice than to merge all of
/// their rows.
fn few_meet(units: &[Unit], hidden: &HiddenRows) -> bool {
    hidden.rows() <= rows_of(units) / 2
}

/// The rows of all `pieces`, read by so many threads in no order, or by one in theirs. Nothing is
/// begun before the first row is asked for, so that runtime filters have a say.
pub fn concurrently<T: Send + 'static>(
    pieces: BoxStream<'static, Result<T, DataFusionError>>,
    read: impl Fn(T) -> Batches + Clone + Send + Sync + 'static,
    threads: usize,
    schema: SchemaRef,
) -> Batches {
    if threads <= 1 {
        return pieces.map_ok(read).try_flatten().boxed();
    }
    let begin = async move {
        let pieces = Arc::new(tokio::sync::Mutex::new(pieces.fuse()));
        let mut builder = RecordBatchReceiverStream::builder(schema, threads);
        for _ in 0..threads {
            let (pieces, read, sender) = (Arc::clone(&pieces), read.clone(), builder.tx());
            builder.spawn(async move {
                loop {
                    let Some(piece) = pieces.lock().await.next().await else { return Ok(()) };
                    let mut batches = read(piece?);
                    while let Some(batch) = batches.try_next().await? {
                        if sender.send(Ok(batch)).await.is_err() {
                            // Nobody wants more.
                            return Ok(());
                        }
                    }
                }
            });
        }
        builder.build()
    };
    stream::once(begin).flatten().boxed()
}
