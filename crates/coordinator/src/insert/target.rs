//! The table that an insert goes to, as one snapshot has it, and the writing of a block to the
//! leaders of its buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::{StreamExt, TryStreamExt};
use granary_catalog::{
    Bucket, BucketWrite, InsertToken, PartLocation, Snapshot, Table, TableWrite,
};
use granary_common::{BucketIndex, Error, Result};
use granary_execution::WriteSpec;
use granary_sql::{RowProjection, resolve_table};
use granary_storage::PartSchema;

use super::InsertRequest;
use super::block::{Block, cut};
use crate::core::Coordinator;

/// A table with everything that a block needs to become parts of it.
#[derive(Debug)]
pub(super) struct Target {
    pub snapshot: Arc<Snapshot>,
    pub table: Arc<Table>,
    projection: RowProjection,
    part_schema: PartSchema,
    partitions_per_block_max: usize,
}

impl Target {
    /// Finds the table by the name that the client gave.
    pub async fn find(
        core: &Arc<Coordinator>,
        request: &InsertRequest,
        schema: &SchemaRef,
    ) -> Result<Arc<Self>> {
        let snapshot = core.with.catalog.read_latest().await?;
        let table = resolve_table(&snapshot, &request.session.database, &request.table)?;
        Self::bind(core, request, schema, snapshot, table)
    }

    /// The same table in the newest snapshot.
    pub async fn refreshed(
        &self,
        core: &Arc<Coordinator>,
        request: &InsertRequest,
        schema: &SchemaRef,
    ) -> Result<Arc<Self>> {
        let snapshot = core.with.catalog.read_latest().await?;
        let state = snapshot.tables.get(&self.table.id);
        let table = state.map(|state| Arc::clone(&state.table));
        let table = table.filter(|table| table.dropped.is_none()).ok_or_else(|| {
            Error::not_found(format!("table '{}' was dropped meanwhile", self.table.name))
        })?;
        Self::bind(core, request, schema, snapshot, table)
    }

    fn bind(
        core: &Arc<Coordinator>,
        request: &InsertRequest,
        schema: &SchemaRef,
        snapshot: Arc<Snapshot>,
        table: Arc<Table>,
    ) -> Result<Arc<Self>> {
        let state = core.session_state(&snapshot, &request.session, &request.settings)?;
        let projection = RowProjection::bind(&table, request.columns.as_deref(), schema, &state)?;
        Ok(Arc::new(Self {
            part_schema: PartSchema::of(&table),
            partitions_per_block_max: request.settings.query.max_partitions_per_insert_block,
            snapshot,
            table,
            projection,
        }))
    }

    /// The insert that used `token` before.
    pub fn earlier(&self, token: &str) -> Option<Arc<InsertToken>> {
        self.snapshot.tables.get(&self.table.id)?.tokens.get(token).cloned()
    }

    /// What a prepared write depends on.
    pub fn versions(&self) -> (u64, u64, u64) {
        (self.table.schema_version, self.table.view_set_version, self.table.data_version)
    }

    /// A write of nothing.
    pub fn nothing(&self) -> TableWrite {
        let (schema_version, view_set_version, data_version) = self.versions();
        TableWrite {
            table: self.table.id,
            schema_version,
            view_set_version,
            data_version,
            buckets: Vec::new(),
            overwrite: None,
        }
    }

    /// Writes a block to the leaders of its buckets. Nothing is visible yet.
    pub async fn write(
        self: &Arc<Self>,
        core: &Arc<Coordinator>,
        block: &Arc<Block>,
        turn: u64,
    ) -> Result<TableWrite> {
        let (target, rows) = (Arc::clone(self), Arc::clone(block));
        let cutting = core.with.tasks.spawn_blocking(move || target.project_and_cut(&rows, turn));
        let pieces = cutting.await.map_err(|error| {
            Error::internal(format!("cutting a block into buckets failed: {error}"))
        })??;
        let writes = pieces.into_iter().map(|(index, rows)| self.write_bucket(core, index, rows));
        let mut buckets: Vec<BucketWrite> = futures::stream::iter(writes)
            .buffer_unordered(core.config.limits.bucket_writes_max)
            .try_collect()
            .await?;
        buckets.sort_by_key(|write| write.bucket);
        Ok(TableWrite { buckets, ..self.nothing() })
    }

    fn project_and_cut(
        &self,
        block: &Block,
        turn: u64,
    ) -> Result<BTreeMap<BucketIndex, RecordBatch>> {
        let mut row = block.first_row;
        let mut projected = Vec::with_capacity(block.batches.len());
        for batch in &block.batches {
            projected.push(self.projection.apply(batch, row)?);
            row += batch.num_rows() as u64;
        }
        let schema = match projected.first() {
            Some(batch) => batch.schema(),
            None => self.part_schema.arrow_schema(),
        };
        cut(&self.table, &schema, &projected, turn)
    }

    async fn write_bucket(
        &self,
        core: &Coordinator,
        index: BucketIndex,
        rows: RecordBatch,
    ) -> Result<BucketWrite> {
        let bucket = self.bucket(index)?;
        let leader = bucket.leader;
        let spec = WriteSpec {
            schema: self.part_schema.clone(),
            bucket: index,
            location: PartLocation::Local { copies: vec![leader] },
            partitions_per_block_max: self.partitions_per_block_max,
        };
        let worker = core.with.workers.api(leader)?;
        let parts = worker.write_block(spec, rows).await?;
        Ok(BucketWrite {
            bucket: index,
            epoch: bucket.epoch,
            in_sync_version: bucket.in_sync_version,
            synced: vec![leader],
            parts,
            deletions: Vec::new(),
            removed: Vec::new(),
            upsert_version: None,
        })
    }

    fn bucket(&self, index: BucketIndex) -> Result<&Bucket> {
        let state = self.snapshot.tables.get(&self.table.id);
        let bucket = state.and_then(|state| state.buckets.get(&index));
        bucket.map(|bucket| bucket.as_ref()).ok_or_else(|| {
            Error::internal(format!("table '{}' has no bucket {index}", self.table.name))
        })
    }
}
