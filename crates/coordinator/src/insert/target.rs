//! The table that an insert goes to, as one snapshot has it, and the writing of a block to the
//! leaders of its buckets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SessionState;
use futures::stream::{StreamExt, TryStreamExt};
use granary_catalog::replication::{CopyTargets, leave_behind};
use granary_catalog::{
    BoundIndex, Bucket, BucketWrite, InsertToken, PartLocation, Snapshot, Table, TableState,
    TableWrite,
};
use granary_common::{BucketIndex, Error, Result, TableId, WorkerId};
use granary_execution::WriteSpec;
use granary_sql::{LazySession, Notice, RowProjection, resolve_table};
use granary_storage::PartSchema;

use super::InsertRequest;
use super::block::{Block, Share, cut};
use super::effect::Effect;
use super::feed::feed_views;
use super::slowdown::{make_room, slowdown_notice};
use super::upsert::{KeyRule, check_filled_once, upserted};
use crate::core::Coordinator;
use crate::lost::while_alive;
use crate::mutate::Removals;
use crate::session::{Session, StatementSettings};
use crate::views::SessionViews;

/// A table with everything that a block needs to become parts of it.
#[derive(Debug)]
pub(super) struct Target {
    pub snapshot: Arc<Snapshot>,
    pub table: Arc<Table>,
    pub session: Session,
    pub settings: StatementSettings,
    /// What becomes of rows with the unique keys of those that come.
    pub keys: KeyRule,
    /// The columns that the rows bring, when not all.
    pub columns: Option<Vec<String>>,
    /// How many views the rows have come through.
    depth: usize,
    /// Whether the table's views see the rows.
    feeds_views: bool,
    projection: RowProjection,
    part_schema: PartSchema,
    partitions_per_block_max: usize,
    waited_ms: AtomicU64,
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
        Self::of_request(core, request, schema, snapshot, table)
    }

    /// The table of rows that are replaced, as their snapshot has it.
    pub fn replaced(
        core: &Arc<Coordinator>,
        request: &InsertRequest,
        schema: &SchemaRef,
        removals: &Removals,
    ) -> Result<Arc<Self>> {
        let snapshot = Arc::clone(&removals.snapshot);
        let table = snapshot.tables.get(&removals.table).map(|state| Arc::clone(&state.table));
        let table = table.ok_or_else(|| Error::internal("the table of a mutation is unknown"))?;
        let mut target = Self::of_request(core, request, schema, snapshot, table)?;
        if let Some(target) = Arc::get_mut(&mut target) {
            target.feeds_views = false;
        }
        Ok(target.with_keys(KeyRule::Settled))
    }

    /// The same table in the newest snapshot.
    pub async fn refreshed(
        &self,
        core: &Arc<Coordinator>,
        request: &InsertRequest,
        schema: &SchemaRef,
    ) -> Result<Arc<Self>> {
        let snapshot = core.with.catalog.read_latest().await?;
        self.at(core, request, schema, snapshot)
    }

    /// The same table at `snapshot`.
    pub fn at(
        &self,
        core: &Arc<Coordinator>,
        request: &InsertRequest,
        schema: &SchemaRef,
        snapshot: Arc<Snapshot>,
    ) -> Result<Arc<Self>> {
        let keys = self.keys;
        let state = snapshot.tables.get(&self.table.id);
        let table = state.map(|state| Arc::clone(&state.table));
        let table = table.filter(|table| table.dropped.is_none()).ok_or_else(|| {
            Error::not_found(format!("table '{}' was dropped meanwhile", self.table.name))
        })?;
        Ok(Self::of_request(core, request, schema, snapshot, table)?.with_keys(keys))
    }

    /// The same for an insert that has this effect: what is overwritten needs no look at.
    pub fn with_keys_under(self: Arc<Self>, effect: &Effect) -> Arc<Self> {
        match (effect.overwritten(), self.keys) {
            (Some(_), KeyRule::Replace) => self.with_keys(KeyRule::LastOfBlock),
            _ => self,
        }
    }

    /// The same with another rule.
    pub fn with_keys(mut self: Arc<Self>, keys: KeyRule) -> Arc<Self> {
        if let Some(target) = Arc::get_mut(&mut self) {
            target.keys = keys;
        }
        self
    }

    /// Whether rows bound to this target can be committed at `snapshot`.
    pub fn is_current(&self, snapshot: &Snapshot) -> bool {
        let now = snapshot.tables.get(&self.table.id).map(|state| &state.table);
        now.is_some_and(|now| {
            now.dropped.is_none()
                && (now.schema_version, now.view_set_version, now.data_version)
                    == (
                        self.table.schema_version,
                        self.table.view_set_version,
                        self.table.data_version,
                    )
        })
    }

    /// Whether what is inserted goes on to views.
    pub fn has_views(&self) -> bool {
        self.snapshot.materialized_views_of(self.table.id).next().is_some()
    }

    fn of_request(
        core: &Arc<Coordinator>,
        request: &InsertRequest,
        schema: &SchemaRef,
        snapshot: Arc<Snapshot>,
        table: Arc<Table>,
    ) -> Result<Arc<Self>> {
        let session =
            LazySession::new(|| core.session_state(&snapshot, &request.session, &request.settings));
        let projection = RowProjection::bind(&table, request.columns.as_deref(), schema, &session)?;
        Ok(Arc::new(Self {
            part_schema: PartSchema::of(&table),
            partitions_per_block_max: request.settings.query.max_partitions_per_insert_block,
            session: request.session.clone(),
            settings: request.settings.clone(),
            keys: KeyRule::of(&table),
            columns: request.columns.clone(),
            depth: 0,
            feeds_views: true,
            snapshot,
            table,
            projection,
            waited_ms: AtomicU64::new(0),
        }))
    }

    /// The target of a view of this table, for rows of `schema` whose columns go by name.
    pub fn of_view(
        &self,
        table: Arc<Table>,
        columns: &[String],
        schema: &SchemaRef,
        state: &SessionState,
    ) -> Result<Arc<Self>> {
        let projection = RowProjection::bind(&table, Some(columns), schema, state)?;
        Ok(Arc::new(Self {
            part_schema: PartSchema::of(&table),
            partitions_per_block_max: self.partitions_per_block_max,
            session: self.session.clone(),
            settings: self.settings.clone(),
            keys: KeyRule::of(&table),
            columns: Some(columns.to_vec()),
            depth: self.depth + 1,
            feeds_views: true,
            snapshot: Arc::clone(&self.snapshot),
            table,
            projection,
            waited_ms: AtomicU64::new(0),
        }))
    }

    /// What the views of the table are bound with.
    pub fn views(&self, core: &Arc<Coordinator>) -> SessionViews {
        SessionViews::new(core, &self.snapshot, &self.session, &self.settings)
    }

    /// How many views the rows have come through, and the most bytes that one may make of a block.
    pub fn view_limits(&self) -> (usize, u64) {
        (self.depth, self.settings.insert.block_bytes_max.saturating_mul(4))
    }

    /// The insert that used `token` before.
    pub fn earlier(&self, token: &str) -> Option<Arc<InsertToken>> {
        self.snapshot.tables.get(&self.table.id)?.tokens.get(token).cloned()
    }

    /// What a prepared write depends on: the versions of the table and of every table that its
    /// views fill.
    pub fn versions(&self) -> Vec<(TableId, u64, u64, u64)> {
        let mut versions: Vec<(TableId, u64, u64, u64)> = Vec::new();
        let mut open = VecDeque::from([Arc::clone(&self.table)]);
        while let Some(table) = open.pop_front() {
            let id = table.id;
            if versions.iter().any(|(known, ..)| *known == id) {
                continue;
            }
            let of = (id, table.schema_version, table.view_set_version, table.data_version);
            versions.push(of);
            let views = self.snapshot.materialized_views_of(id);
            let targets = views.filter_map(|view| self.snapshot.table_behind(view));
            open.extend(targets.map(|state| Arc::clone(&state.table)));
        }
        versions
    }

    /// What the client is told about blocks that were held up.
    pub fn slowdown(&self) -> Vec<Notice> {
        slowdown_notice(self.waited_ms.load(Ordering::Relaxed)).into_iter().collect()
    }

    /// A write of nothing.
    pub fn nothing(&self) -> TableWrite {
        TableWrite::of_nothing(&self.table)
    }

    /// Writes a block to the leaders of its buckets, and what the table's views make of it to
    /// those of their targets: first the table's own write. Nothing is visible yet.
    pub async fn write(
        self: &Arc<Self>,
        core: &Arc<Coordinator>,
        block: &Arc<Block>,
        turn: u64,
    ) -> Result<Vec<TableWrite>> {
        let (target, block) = (Arc::clone(self), Arc::clone(block));
        let projecting = core.with.tasks.spawn_blocking(move || target.project(&block));
        let failed = |error| Error::internal(format!("reading a block failed: {error}"));
        let rows = projecting.await.map_err(failed)??;
        let (rows, removed) = upserted(core, self, rows).await?;
        if self.is_partial() {
            rows.iter().try_for_each(|batch| self.projection.verify(batch, None))?;
        }
        let mut own = self.write_rows(core, rows.clone(), turn).await?;
        own.take_away(&removed);
        let mut all = vec![own];
        if self.feeds_views {
            all.extend(feed_views(core, self, &rows, turn).await?);
            check_filled_once(&all)?;
        }
        Ok(all)
    }

    /// Whether rows are whole only when they have the values of those that they replace.
    fn is_partial(&self) -> bool {
        !self.table.unique_key.is_empty()
            && self.columns.is_some()
            && self.settings.insert.partial_update
    }

    /// A block in the table's columns, which meet the table's constraints.
    pub fn project(&self, block: &Block) -> Result<Vec<RecordBatch>> {
        let mut row = block.first_row;
        let mut projected = Vec::with_capacity(block.batches.len());
        for batch in &block.batches {
            let applied = self.projection.apply(batch, row)?;
            if !self.is_partial() {
                self.projection.verify(&applied, Some(row))?;
            }
            projected.push(applied);
            row += batch.num_rows() as u64;
        }
        Ok(projected)
    }

    /// Writes rows in the table's columns to the leaders of their buckets.
    pub async fn write_rows(
        self: &Arc<Self>,
        core: &Arc<Coordinator>,
        rows: Vec<RecordBatch>,
        turn: u64,
    ) -> Result<TableWrite> {
        let waited = make_room(core, self.table.id).await?;
        self.waited_ms.fetch_add(waited.as_millis() as u64, Ordering::Relaxed);
        let schema = match rows.first() {
            Some(batch) => batch.schema(),
            None => self.part_schema.arrow_schema(),
        };
        let (target, rows) = (Arc::clone(self), Arc::new(rows));
        let cutting = {
            let rows = Arc::clone(&rows);
            core.with.tasks.spawn_blocking(move || cut(&target.table, &rows, turn))
        };
        let failed = |error| Error::internal(format!("cutting a block into buckets: {error}"));
        let shares = cutting.await.map_err(failed)??;
        // Boxed: what a bucket's write holds would else lie on the stack of every statement.
        let write = |(index, share): (BucketIndex, Share)| {
            let (rows, schema) = (Arc::clone(&rows), Arc::clone(&schema));
            Box::pin(async move {
                let gathering = move || share.gather(&schema, &rows);
                let gathered =
                    core.with.tasks.spawn_blocking(gathering).await.map_err(failed)??;
                self.write_bucket(core, index, gathered, turn).await
            })
        };
        let writes = shares.into_iter().map(write);
        let mut buckets: Vec<BucketWrite> = futures::stream::iter(writes)
            .buffer_unordered(core.config.limits.bucket_writes_max)
            .try_collect()
            .await?;
        buckets.sort_by_key(|write| write.bucket);
        Ok(TableWrite { buckets, ..self.nothing() })
    }

    async fn write_bucket(
        &self,
        core: &Coordinator,
        index: BucketIndex,
        rows: RecordBatch,
        turn: u64,
    ) -> Result<BucketWrite> {
        // Who leads and holds the bucket may have changed since the rows were bound.
        let newest = core.with.catalog.snapshot();
        let (state, bucket) = self.bucket(&newest, index)?;
        let leader = bucket.leader;
        let spec = WriteSpec {
            schema: self.part_schema.clone(),
            bucket: index,
            location: self.location(core, leader, turn),
            copies: CopyTargets::of(&newest, state, bucket),
            partitions_per_block_max: self.partitions_per_block_max,
            indexes: self.indexes(),
            projections: self.table.options.bound_projections().collect(),
        };
        let worker = core.with.workers.api(leader)?;
        let writing = worker.write_block(spec, rows);
        let parts = while_alive(core, Some(vec![leader]), writing).await?;
        let (synced, in_sync_version) = match parts.first().map(|part| &part.location) {
            Some(PartLocation::Local { copies, .. }) => {
                let version = leave_behind(&*core.with.catalog, bucket, copies).await?;
                (copies.clone(), version)
            }
            _ => (bucket.in_sync.clone(), bucket.in_sync_version),
        };
        Ok(BucketWrite {
            bucket: index,
            epoch: bucket.epoch,
            in_sync_version,
            synced,
            parts,
            deletions: Vec::new(),
            removed: Vec::new(),
            upsert_version: match self.table.unique_key.is_empty() {
                true => None,
                // Keys were looked up in the snapshot that the rows are bound to.
                false => Some(self.bucket(&self.snapshot, index)?.1.upsert_version),
            },
        })
    }

    /// Skip indexes of new parts.
    fn indexes(&self) -> Vec<BoundIndex> {
        let indexes = self.table.options.indexes.iter();
        indexes.filter_map(|index| index.bound.clone()).collect()
    }

    /// Where the leader puts new parts: on a disk of the first volume of the table's policy.
    fn location(&self, core: &Coordinator, leader: WorkerId, turn: u64) -> PartLocation {
        let tiers = &core.config.tiers;
        tiers.location(tiers.first_disk(&self.table, turn), leader)
    }

    fn bucket<'a>(
        &self,
        snapshot: &'a Snapshot,
        index: BucketIndex,
    ) -> Result<(&'a TableState, &'a Bucket)> {
        let state = snapshot.tables.get(&self.table.id);
        let bucket = state.and_then(|state| Some((state, &**state.buckets.get(&index)?)));
        bucket.ok_or_else(|| {
            Error::conflict(format!("table '{}' was dropped meanwhile", self.table.name))
        })
    }
}
