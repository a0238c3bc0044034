//! Tables, rows and volumes for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, Datum, new_empty_array};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::TryStreamExt;
use granary_catalog::{ColumnType, NewPart, PartitionValue, Scalar};
use granary_common::{ColumnId, PartId, Result, TableId, WorkerId};

use crate::merge::{CollapseMode, CollapseRule, MergeSpec};
use crate::part::format::Effort;
use crate::read::{OpenPart, PartRef, PartScan, PartStore, PartStoreOptions};
use crate::scalar::{scalar_at, to_arrow_scalar};
use crate::schema::{PartColumn, PartSchema};
use crate::volume::{Volume, VolumeKind, Volumes};
use crate::write::{PartIds, WriteOptions, write_block};

/// Ids from 1.
#[derive(Default)]
pub struct Counter(AtomicU64);

#[async_trait]
impl PartIds for Counter {
    async fn next(&self) -> Result<PartId> {
        Ok(PartId(self.0.fetch_add(1, Ordering::SeqCst) + 1))
    }
}

/// A table of columns with ids from 0 and these types, named `a`, `b`, ..., `z`, `c26`, ...
pub fn table(
    types: &[&str],
    sort_key: &[u32],
    partition: &[u32],
    granularity: usize,
) -> PartSchema {
    let column = |(id, text): (usize, &&str)| {
        let name = match id {
            0..26 => char::from(b'a' + id as u8).to_string(),
            _ => format!("c{id}"),
        };
        let column_type = text.parse::<ColumnType>().expect("a type");
        PartColumn::new(ColumnId(id as u32), name, column_type)
    };
    PartSchema {
        table: TableId(7),
        schema_version: 1,
        columns: types.iter().enumerate().map(column).collect(),
        sort_key: sort_key.iter().copied().map(ColumnId).collect(),
        primary_key_len: sort_key.len(),
        partition: partition.iter().copied().map(ColumnId).collect(),
        granularity,
        document_paths_max: 0,
    }
}

/// Rows of canonical values as a block.
pub fn block(schema: &PartSchema, rows: &[Vec<Scalar>]) -> RecordBatch {
    let fields = schema.arrow_schema();
    let column = |place: usize| -> ArrayRef {
        let data_type = fields.field(place).data_type();
        let values: Vec<_> =
            rows.iter().map(|row| to_arrow_scalar(&row[place], data_type).unwrap()).collect();
        let values: Vec<&dyn Array> = values.iter().map(|value| value.get().0).collect();
        match values.is_empty() {
            true => new_empty_array(data_type),
            false => arrow::compute::concat(&values).unwrap(),
        }
    };
    let columns = (0..schema.columns.len()).map(column).collect();
    RecordBatch::try_new(fields, columns).unwrap()
}

/// The rows of batches as canonical values.
pub fn rows(batches: &[RecordBatch]) -> Vec<Vec<Scalar>> {
    let of_batch = |batch: &RecordBatch| {
        let row = |row| batch.columns().iter().map(|c| scalar_at(c, row).unwrap()).collect();
        (0..batch.num_rows()).map(row).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of_batch).collect()
}

/// A local volume over memory.
pub fn memory() -> Arc<Volume> {
    Arc::new(Volume::open("test", local(), "memory://").unwrap())
}

/// A local volume in a folder.
pub fn folder(path: &std::path::Path) -> Arc<Volume> {
    Arc::new(Volume::open("test", local(), path.to_str().unwrap()).unwrap())
}

fn local() -> VolumeKind {
    VolumeKind::Local { worker: WorkerId(1) }
}

/// A store over one volume.
pub fn store(volume: &Arc<Volume>) -> PartStore {
    PartStore::new(Volumes::new([Arc::clone(volume)]), PartStoreOptions::default())
}

/// Writes a block with the default limits.
pub async fn write(
    volume: &Volume,
    schema: &PartSchema,
    block: RecordBatch,
) -> Result<Vec<NewPart>> {
    let ids = Counter::default();
    let options = WriteOptions::default();
    write_block(volume, volume.part_location(), schema, &ids, block, &options).await
}

/// How a plan would name a new part.
pub fn part_ref(schema: &PartSchema, part: &NewPart) -> PartRef {
    PartRef {
        id: part.id,
        table: schema.table,
        files: (schema.table, part.id),
        location: part.location.clone(),
        rows: part.rows,
        rows_deleted: 0,
        deletions: None,
        bytes: part.bytes,
        schema_version: schema.schema_version,
        projection: None,
    }
}

/// A merge of `inputs` that keeps every row, in one go.
pub fn plain_merge(schema: &PartSchema, volume: &Volume, inputs: Vec<PartRef>) -> MergeSpec {
    MergeSpec {
        schema: Arc::new(schema.clone()),
        rule: CollapseRule::None,
        mode: CollapseMode::Merge,
        inputs,
        location: volume.part_location(),
        partition: PartitionValue::default(),
        deduplicate_by: None,
        ttl: None,
        effort: Effort::Full,
        skip: None,
        projections: None,
        memory_bytes: u64::MAX,
    }
}

/// Writes a block that makes one part, and opens it.
pub async fn written(
    volume: &Arc<Volume>,
    schema: &PartSchema,
    block: RecordBatch,
) -> Arc<OpenPart> {
    let parts = write(volume, schema, block).await.unwrap();
    assert_eq!(parts.len(), 1);
    store(volume).open(&part_ref(schema, &parts[0])).await.unwrap()
}

/// A scan of every row and column, in order.
pub fn whole(schema: &PartSchema) -> PartScan {
    PartScan {
        columns: schema.columns.iter().map(|column| column.id).collect(),
        filter: None,
        ordered: true,
        rows: None,
        batch_rows: 0,
        limit: None,
        hints: Vec::new(),
    }
}

/// The rows that a scan gives.
pub async fn scanned(
    part: &OpenPart,
    schema: &PartSchema,
    scan: PartScan,
) -> Result<Vec<RecordBatch>> {
    part.scan(Arc::new(schema.clone()), scan).try_collect().await
}
