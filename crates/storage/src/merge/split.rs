//! Parts of one bucket become parts of the buckets that their rows belong to when a table gets another
//! number of them.
//!
//! ```text
//! part scans ─► k-way merge ─► dealt out by hash ─┬─► part writer ─► a part of bucket 4
//!     └─ positions ─► row map                     ├─► part writer ─► a part of bucket 8
//!                                                 └─► …
//! ```
//!
//! Rows stay as they are, in the order of a merge; nothing collapses and nothing expires. Memory is
//! bounded by the inputs and by as many outputs as are written at once, times a few batches.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use futures::SinkExt;
use futures::channel::mpsc;
use futures::future::try_join_all;
use futures::stream::StreamExt;
use granary_catalog::{NewPart, PartLocation, PartitionValue};
use granary_common::{ColumnId, Error, Result};
use roaring::RoaringBitmap;

use super::input::{metered, open_sorted};
use super::k_way::KWayMerge;
use super::positions::Positions;
use super::progress::MergeProgress;
use super::row_map::{RowMap, RowMapBuilder};
use crate::bucket_hash::{bucket_of, hash_columns};
use crate::deletions::Deletions;
use crate::documents::Chosen;
use crate::part::format::Effort;
use crate::projection::Projections;
use crate::read::{PartRef, PartStore};
use crate::schema::PartSchema;
use crate::skip::SkipIndexes;
use crate::volume::Volume;
use crate::write::sorted::{NewPartSpec, SortedColumns, write_sorted};
use crate::write::{Begun, PartIds};

/// Parts that are written at once; for more, the inputs are read again.
const OUTPUTS_MAX: usize = 8;
/// Batches that wait for the writer of each.
const WAITING_BATCHES: usize = 1;
/// Rows that stay together where rows are dealt out in turn.
pub const TURN_ROWS: u64 = 1 << 16;

/// Which of the new buckets a row goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dealing {
    /// By the hash over these columns.
    Hash(Vec<ColumnId>),
    /// In turn, from this position on.
    Turns(u32),
}

/// Parts to split.
#[derive(Clone, Debug)]
pub struct SplitSpec {
    /// Of the new parts; the inputs may be of older versions of it.
    pub schema: Arc<PartSchema>,
    /// In insert order, of one partition; their deleted rows are left out.
    pub inputs: Vec<PartRef>,
    pub location: PartLocation,
    pub partition: PartitionValue,
    pub dealing: Dealing,
    /// How many buckets there are now.
    pub buckets: u32,
    /// The positions of those that rows may go to.
    pub targets: Vec<u32>,
    /// The indexes that the parts get.
    pub skip: Option<SkipIndexes>,
    /// The projections that they get, made of their rows.
    pub projections: Option<Projections>,
}

/// What a split made.
#[derive(Debug, Default)]
pub struct SplitResult {
    /// With the positions of their buckets; none for a bucket that got no row.
    pub parts: Vec<(u32, NewPart)>,
    pub rows: SplitMap,
}

/// Where the rows of a split's inputs went: their places in the order of all, and of those that each
/// part has.
#[derive(Debug, Default)]
pub struct SplitMap {
    all: RowMap,
    of_bucket: BTreeMap<u32, RoaringBitmap>,
}

impl SplitMap {
    /// Deletions of inputs (by their place in [`SplitSpec::inputs`]) that happened meanwhile, as
    /// deletions of each new part. Rows that were deleted before are passed over.
    pub fn translate(&self, deleted: &[(usize, &Deletions)]) -> Result<BTreeMap<u32, Deletions>> {
        let unknown = || Error::internal("a deleted row of a split part has no place");
        let places = self.all.translate(deleted).ok_or_else(unknown)?;
        let mut translated: BTreeMap<u32, Deletions> = BTreeMap::new();
        for place in places.iter() {
            let found = self.of_bucket.iter().find(|(_, rows)| rows.contains(place));
            let (bucket, rows) = found.ok_or_else(unknown)?;
            // `rank` counts the row itself as well.
            let row = u32::try_from(rows.rank(place) - 1).map_err(|_| unknown())?;
            translated.entry(*bucket).or_default().insert(row);
        }
        Ok(translated)
    }
}

/// Splits parts of one partition into one part on `volume` for each target that gets rows; every file
/// and folder is synced before it returns. Nothing refers to the parts until they are committed.
///
/// Must run on a tokio runtime. Dropping the future stops it; what it wrote is left to the sweep, and
/// what a split wrote that fails is deleted as far as that can be done. Kinds: those of
/// [`super::merge_parts`].
pub async fn split_parts(
    store: &PartStore,
    volume: &Volume,
    ids: &dyn PartIds,
    spec: SplitSpec,
    progress: Arc<MergeProgress>,
) -> Result<SplitResult> {
    volume.check_room(spec.inputs.iter().map(|part| part.bytes).sum())?;
    let passes = spec.targets.len().div_ceil(OUTPUTS_MAX).max(1) as u64;
    let rows_total: u64 = spec.inputs.iter().map(PartRef::rows_visible).sum();
    progress.rows_total.store(rows_total * passes, Ordering::Relaxed);
    let begun = Begun::default();
    let documents = documents_of(store, &spec).await?;
    let documents = documents.as_ref();
    let mut result = SplitResult::default();
    for targets in spec.targets.chunks(OUTPUTS_MAX) {
        let (spec, progress) = (&spec, &progress);
        let pass = Pass { store, volume, ids, spec, progress, begun: &begun, documents };
        match pass.run(targets).await {
            Ok(made) => {
                result.parts.extend(made.parts);
                result.rows.all = made.rows.all;
                result.rows.of_bucket.extend(made.rows.of_bucket);
            }
            Err(error) => {
                begun.delete(volume, spec.schema.table).await;
                return Err(error);
            }
        }
    }
    Ok(result)
}

/// One reading of the inputs.
struct Pass<'a> {
    store: &'a PartStore,
    volume: &'a Volume,
    ids: &'a dyn PartIds,
    spec: &'a SplitSpec,
    progress: &'a Arc<MergeProgress>,
    begun: &'a Begun,
    documents: Option<&'a Arc<Chosen>>,
}

/// The parts of documents that all new parts get columns for.
async fn documents_of(store: &PartStore, spec: &SplitSpec) -> Result<Option<Arc<Chosen>>> {
    let Some(reader) = store.documents() else { return Ok(None) };
    let mut parts = Vec::with_capacity(spec.inputs.len());
    for part in &spec.inputs {
        parts.push(store.open(part).await?);
    }
    Ok(Chosen::of_parts(Some(&reader), &spec.schema, &parts).await?.map(Arc::new))
}

impl Pass<'_> {
    async fn run(&self, targets: &[u32]) -> Result<SplitResult> {
        let mut senders = BTreeMap::new();
        let mut writes = Vec::with_capacity(targets.len());
        for target in targets {
            let (sender, batches) = mpsc::channel(WAITING_BATCHES);
            senders.insert(*target, sender);
            let new_part = NewPartSpec {
                id: self.ids.next().await?,
                partition: self.spec.partition.clone(),
                location: self.spec.location.clone(),
                effort: Effort::Full,
                bytes_written: Arc::clone(&self.progress.bytes_written),
                ttl: Arc::new(OnceLock::new()),
                skip: self.spec.skip.clone(),
                projections: self.spec.projections.clone(),
            };
            self.begun.note(new_part.id);
            let target = *target;
            writes.push(async move {
                let schema = &self.spec.schema;
                let columns =
                    SortedColumns { schema: Arc::clone(schema), batches: batches.boxed() };
                let (schema, columns) = Chosen::beside(self.documents, schema, vec![columns]);
                let written = write_sorted(self.volume, &schema, new_part, columns).await;
                written.map(|part| part.map(|part| (target, part)))
            });
        }
        // The rows end when the senders do, and the writers then.
        let (dealt, written) = futures::join!(self.deal(senders), try_join_all(writes));
        let parts = written?.into_iter().flatten().collect();
        Ok(SplitResult { parts, rows: dealt? })
    }

    /// Reads the inputs and hands each row to the writer of its bucket.
    async fn deal(&self, senders: BTreeMap<u32, Writer>) -> Result<SplitMap> {
        let mut senders = senders;
        let dealt = self.deal_to(&mut senders).await;
        if let Err(error) = &dealt {
            // Nobody takes a part of some of the rows for one of all of them.
            for sender in senders.values_mut() {
                let _ = sender.send(Err(error.clone())).await;
            }
        }
        dealt
    }

    async fn deal_to(&self, senders: &mut BTreeMap<u32, Writer>) -> Result<SplitMap> {
        let schema = &self.spec.schema;
        let (mut merge, mut positions, mut map) = self.open().await?;
        let mut of_bucket: BTreeMap<u32, RoaringBitmap> =
            senders.keys().map(|target| (*target, RoaringBitmap::new())).collect();
        let mut first_row = 0_u64;
        while let Some(merged) = merge.next().await? {
            tokio::task::yield_now().await;
            let mut sources = Vec::with_capacity(merged.rows.num_rows());
            for run in &merged.runs {
                positions[run.input].extend(run.input as u32, run.rows, &mut sources);
            }
            sources.into_iter().for_each(|source| map.kept(source));
            let buckets = self.buckets_of(schema, &merged.rows, first_row)?;
            let mut rows_of: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            for (row, bucket) in buckets.into_iter().enumerate() {
                if !self.spec.targets.contains(&bucket) {
                    return Err(Error::internal(format!(
                        "a row of a split goes to bucket {bucket}"
                    )));
                }
                if let Some(places) = of_bucket.get_mut(&bucket) {
                    // More rows than that are refused by `finish`.
                    places.insert((first_row + row as u64) as u32);
                    rows_of.entry(bucket).or_default().push(row as u32);
                }
            }
            first_row += merged.rows.num_rows() as u64;
            for (bucket, rows) in rows_of {
                let count = rows.len() as u64;
                let taken = take_record_batch(&merged.rows, &UInt32Array::from(rows));
                let taken =
                    taken.map_err(|error| Error::internal(format!("splitting rows: {error}")))?;
                let ended = |_| Error::internal("the writer of a split part has ended");
                if let Some(sender) = senders.get_mut(&bucket) {
                    sender.send(Ok(taken)).await.map_err(ended)?;
                }
                self.progress.rows_written.fetch_add(count, Ordering::Relaxed);
            }
        }
        Ok(SplitMap { all: map.finish()?, of_bucket })
    }

    async fn open(&self) -> Result<(KWayMerge, Vec<Positions>, RowMapBuilder)> {
        let schema = &self.spec.schema;
        let columns: Vec<ColumnId> = schema.columns.iter().map(|column| column.id).collect();
        let mut inputs = Vec::with_capacity(self.spec.inputs.len());
        let mut positions = Vec::with_capacity(self.spec.inputs.len());
        let mut map = RowMapBuilder::new(self.spec.inputs.len());
        for (input, part) in self.spec.inputs.iter().enumerate() {
            let (batches, of) = open_sorted(self.store, schema, part, &columns, None).await?;
            of.deleted().for_each(|rows| map.deleted(input, rows));
            positions.push(of);
            let row_bytes = part.bytes as f64 / part.rows.max(1) as f64;
            inputs.push(metered(batches, row_bytes, 1.0, Arc::clone(self.progress)));
        }
        let place = |id: &ColumnId| schema.position(*id);
        let key = schema.sort_key.iter().map(place).collect::<Result<Vec<_>>>()?;
        Ok((KWayMerge::new(inputs, key), positions, map))
    }

    /// The position of each row's bucket; `first_row` is the place of the first in the order of all.
    fn buckets_of(
        &self,
        schema: &PartSchema,
        rows: &RecordBatch,
        first_row: u64,
    ) -> Result<Vec<u32>> {
        let buckets = self.spec.buckets;
        match &self.spec.dealing {
            Dealing::Hash(columns) => {
                let column = |id: &ColumnId| Ok(Arc::clone(rows.column(schema.position(*id)?)));
                let keys = columns.iter().map(column).collect::<Result<Vec<ArrayRef>>>()?;
                let hashes = hash_columns(&keys)?;
                Ok(hashes.into_iter().map(|hash| bucket_of(hash, buckets).0).collect())
            }
            Dealing::Turns(from) => {
                let row_count = rows.num_rows() as u64;
                let turn = |row: u64| {
                    let turn = u64::from(*from) + row / TURN_ROWS;
                    (turn % u64::from(buckets.max(1))) as u32
                };
                Ok((first_row..first_row + row_count).map(turn).collect())
            }
        }
    }
}

type Writer = mpsc::Sender<Result<RecordBatch>>;
