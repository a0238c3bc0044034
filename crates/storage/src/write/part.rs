//! One part: its files, written and synced.

use std::sync::Arc;

use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::future::try_join_all;
use granary_catalog::{KeyRange, NewPart, PartLocation, PartitionValue, Scalar};
use granary_common::{Error, PartId, Result, TableId};
use object_store::ObjectStoreExt;

use super::WriteOptions;
use super::partition::Slice;
use super::projected::{self, WrittenProjection};
use crate::documents::{Chosen, DocumentReader};
use crate::part::descriptor::{Descriptor, FileEntry};
use crate::part::format::{compute, encode};
use crate::part::index::PartIndex;
use crate::part::key_range::key_range;
use crate::part::{DATA_FILE, DESCRIPTOR_FILE, INDEX_FILE, file_path};
use crate::scalar::{has_scalars, scalar_at};
use crate::schema::PartSchema;
use crate::skip::SkipBuilder;
use crate::ttl::TtlMark;
use crate::volume::{Volume, store_error};

/// Writes the rows of `slice` as part `id`.
pub async fn write(
    volume: &Volume,
    location: PartLocation,
    schema: Arc<PartSchema>,
    id: PartId,
    block: RecordBatch,
    slice: Slice,
    options: &WriteOptions,
) -> Result<NewPart> {
    let describing = Arc::clone(&schema);
    let (rows_of, partition) = (slice.rows, slice.partition);
    let skip = options.skip.as_ref();
    let skip = skip.map(|skip| SkipBuilder::new(skip, &schema)).transpose()?;
    let projecting = projected::begin(options.projections.as_ref(), &schema)?;
    let documents = options.documents.clone();
    let (schema, rows, index, key_range, skip, projected) = compute(move || {
        let rows = match &rows_of {
            Some(rows) => take_record_batch(&block, rows)
                .map_err(|error| Error::internal(format!("cannot sort the rows: {error}")))?,
            None => block,
        };
        let (describing, rows) = with_documents(documents.as_ref(), describing, rows)?;
        let index = PartIndex::of(&describing, &rows)?;
        let mut key_range = KeyRangeBuilder::default();
        key_range.push(&describing, &rows)?;
        let skip = match skip {
            Some(mut skip) => {
                skip.push(&rows)?;
                skip.finish()?
            }
            None => Vec::new(),
        };
        let projected = projected::all_of(projecting, &rows)?;
        Ok::<_, Error>((describing, rows, index, key_range.finish(), skip, projected))
    })
    .await??;
    let owner = (schema.table, id);
    let projections = projected.into_iter().map(|projected| projected.write_light(volume, owner));
    let (data, projections) = futures::try_join!(encode(&schema, rows), try_join_all(projections))?;
    let projections = projections.into_iter().flatten().collect();
    let entry = FileEntry::in_blocks(DATA_FILE, &data);
    let ttl = Vec::new();
    let written = Written { id, partition, index, key_range, data: entry, ttl, skip, projections };
    futures::try_join!(
        put(volume, schema.table, id, DATA_FILE, data),
        describe(volume, location, &schema, written)
    )
    .map(|((), part)| part)
}

/// The rows with parts of their documents, where many have the same ones.
fn with_documents(
    reader: Option<&Arc<dyn DocumentReader>>,
    schema: Arc<PartSchema>,
    rows: RecordBatch,
) -> Result<(Arc<PartSchema>, RecordBatch)> {
    Ok(match Chosen::of_rows(reader, &schema, &rows)? {
        Some(chosen) => (Arc::new(chosen.schema(&schema)), chosen.rows(&schema, &rows)?),
        None => (schema, rows),
    })
}

/// A part whose data is encoded.
pub struct Written {
    pub id: PartId,
    pub partition: PartitionValue,
    pub index: PartIndex,
    pub key_range: Option<KeyRange>,
    /// The file with the columns.
    pub data: FileEntry,
    /// When its rows are due.
    pub ttl: Vec<TtlMark>,
    /// Skip indexes with the names of their files.
    pub skip: Vec<(String, Bytes)>,
    /// Projections whose files are there.
    pub projections: Vec<WrittenProjection>,
}

/// Writes the small files of a part.
pub async fn describe(
    volume: &Volume,
    location: PartLocation,
    schema: &PartSchema,
    written: Written,
) -> Result<NewPart> {
    let Written { id, partition, index, key_range, data, ttl, skip, projections } = written;
    let (rows, data_bytes) = (index.rows, data.bytes);
    let index = index.encode()?;
    let mut files = vec![data, FileEntry::of(INDEX_FILE, &index)];
    let mut skip_bytes = 0;
    for (name, content) in skip {
        files.push(FileEntry::of(&name, &content));
        skip_bytes += content.len();
        put(volume, schema.table, id, &name, content).await?;
    }
    let (projections, of_projections): (Vec<_>, Vec<_>) =
        projections.into_iter().map(|written| (written.descriptor, written.files)).unzip();
    let of_projections = of_projections.into_iter().flatten();
    let mut projection_bytes = 0;
    files.extend(of_projections.inspect(|file| projection_bytes += file.bytes));
    let mut stored = PartSchema::clone(schema);
    // The part has all of its columns.
    stored.columns.iter_mut().for_each(|column| column.computed = None);
    stored.document_paths_max = 0;
    let descriptor = Descriptor {
        part: id,
        schema: stored,
        partition: partition.clone(),
        rows,
        key_range: key_range.clone(),
        files,
        ttl,
        projections,
    };
    let projections = descriptor.listed_projections()?;
    let descriptor = descriptor.encode()?;
    let small_bytes = (index.len() + descriptor.len() + skip_bytes) as u64;
    let bytes = data_bytes + projection_bytes + small_bytes;
    futures::try_join!(
        put(volume, schema.table, id, INDEX_FILE, index),
        put(volume, schema.table, id, DESCRIPTOR_FILE, descriptor)
    )?;
    Ok(NewPart { id, partition, rows, bytes, key_range, location, projections })
}

pub async fn put(
    volume: &Volume,
    table: TableId,
    part: PartId,
    file: &str,
    content: Bytes,
) -> Result<()> {
    let path = volume.path(&file_path(table, part, file));
    match volume.store.put(&path, content.into()).await {
        Ok(_) => Ok(()),
        Err(error) => Err(store_error(&error)
            .context(format!("part {part} on volume {}: file {file}", volume.name))),
    }
}

/// Makes the range of primary keys of sorted rows that come in batches.
#[derive(Debug, Default)]
pub struct KeyRangeBuilder {
    first: Option<Option<Vec<Scalar>>>,
    last: Option<Vec<Scalar>>,
}

impl KeyRangeBuilder {
    /// The next rows, in the order of `schema.columns`.
    pub fn push(&mut self, schema: &PartSchema, rows: &RecordBatch) -> Result<()> {
        let mut key = Vec::new();
        for id in schema.primary_key() {
            key.push(rows.column(schema.position(*id)?));
        }
        if key.iter().any(|values| !has_scalars(values.data_type())) || rows.num_rows() == 0 {
            return Ok(());
        }
        // A decimal beyond 128 bits has no canonical value; the part then has no range.
        let at = |row: usize| {
            key.iter().map(|values| scalar_at(values, row)).collect::<Result<Vec<_>>>().ok()
        };
        self.first.get_or_insert_with(|| at(0));
        self.last = at(rows.num_rows() - 1);
        Ok(())
    }

    /// The range, unless there is no key or it has no canonical values.
    pub fn finish(self) -> Option<KeyRange> {
        let (first, last) = (self.first??, self.last?);
        (!first.is_empty()).then(|| key_range(first, last))
    }
}
