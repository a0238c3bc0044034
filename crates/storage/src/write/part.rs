//! One part: its files, written and synced.

use std::sync::Arc;

use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use granary_catalog::{KeyRange, NewPart, PartLocation};
use granary_common::{Error, PartId, Result, TableId};
use object_store::ObjectStoreExt;

use super::partition::Slice;
use crate::part::descriptor::{Descriptor, FileEntry};
use crate::part::format::{compute, encode};
use crate::part::index::PartIndex;
use crate::part::key_range::key_range;
use crate::part::{DATA_FILE, DESCRIPTOR_FILE, INDEX_FILE, file_path};
use crate::scalar::{has_scalars, scalar_at};
use crate::schema::PartSchema;
use crate::volume::{Volume, store_error};

/// Writes the rows of `slice` as part `id`.
pub async fn write(
    volume: &Volume,
    location: PartLocation,
    schema: Arc<PartSchema>,
    id: PartId,
    block: RecordBatch,
    slice: Slice,
) -> Result<NewPart> {
    let describing = Arc::clone(&schema);
    let (rows, index, key_range) = compute(move || {
        let rows = match &slice.rows {
            Some(rows) => take_record_batch(&block, rows)
                .map_err(|error| Error::internal(format!("cannot sort the rows: {error}")))?,
            None => block,
        };
        let index = PartIndex::of(&describing, &rows)?;
        let key_range = range_of_keys(&describing, &rows)?;
        Ok::<_, Error>((rows, index, key_range))
    })
    .await??;
    let row_count = rows.num_rows() as u64;
    let (data, index) = (encode(&schema, rows).await?, index.encode()?);
    let descriptor = Descriptor {
        part: id,
        schema: PartSchema::clone(&schema),
        partition: slice.partition.clone(),
        rows: row_count,
        key_range: key_range.clone(),
        files: vec![FileEntry::of(DATA_FILE, &data), FileEntry::of(INDEX_FILE, &index)],
    };
    let descriptor = descriptor.encode()?;
    let bytes = (data.len() + index.len() + descriptor.len()) as u64;
    let put = |file: &'static str, content: Bytes| put(volume, schema.table, id, file, content);
    futures::try_join!(
        put(DATA_FILE, data),
        put(INDEX_FILE, index),
        put(DESCRIPTOR_FILE, descriptor)
    )?;
    let partition = slice.partition;
    Ok(NewPart { id, partition, rows: row_count, bytes, key_range, location })
}

async fn put(
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

/// The range of primary keys, unless there is none or it has no canonical values.
fn range_of_keys(schema: &PartSchema, rows: &RecordBatch) -> Result<Option<KeyRange>> {
    let mut key = Vec::new();
    for id in schema.primary_key() {
        key.push(rows.column(schema.position(*id)?));
    }
    if key.is_empty() || key.iter().any(|values| !has_scalars(values.data_type())) {
        return Ok(None);
    }
    let at = |row: usize| key.iter().map(|values| scalar_at(values, row)).collect::<Result<_>>();
    // A decimal beyond 128 bits has no canonical value; the part then has no range.
    Ok(at(0).and_then(|first| Ok(key_range(first, at(rows.num_rows() - 1)?))).ok())
}
