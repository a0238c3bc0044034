//! An operator at work: tables are changed, workers emptied and filled again.

use granary_catalog::{AlterTable, BucketChange, Catalog, CommandBody};
use granary_common::Result;

use crate::clients::Clients;
use crate::coordinator::{TABLES, table};

const CHANGE_PAUSE_MS: std::ops::Range<u64> = 2_000..9_000;
const BUCKETS: std::ops::Range<u64> = 1..6;

impl Clients {
    /// Changes one thing after the other until it is over.
    pub(crate) async fn operate(&self, workers: u64) {
        while !self.is_over() {
            self.pause(CHANGE_PAUSE_MS).await;
            // Refused when it does not fit what is; then it is not done.
            let _ = match self.cluster.net.pick(0..5) {
                0 => self.comment().await,
                1 | 2 => self.modify_buckets().await,
                _ => self.drain(workers).await,
            };
        }
    }

    async fn comment(&self) -> Result<()> {
        let snapshot = self.catalog.read_latest().await?;
        let place = self.cluster.net.pick(0..TABLES.len() as u64) as usize;
        let now = &table(&snapshot, TABLES[place])?.table;
        let alter = AlterTable {
            table: now.id,
            schema_version: now.schema_version,
            view_set_version: now.view_set_version,
            columns: now.columns.clone(),
            next_column_id: now.next_column_id,
            engine: now.engine.clone(),
            order_by: now.order_by.clone(),
            partition_by: now.partition_by.clone(),
            settings: now.settings.clone(),
            comment: Some(format!("after {}", snapshot.version)),
            options: now.options.clone(),
            requires_no_parts: false,
            appended_keys: 0,
        };
        self.cluster.note(format!("comment on {}", TABLES[place]));
        self.catalog.execute(CommandBody::AlterTable(Box::new(alter))).await.map(drop)
    }

    /// Gives a table another number of buckets.
    async fn modify_buckets(&self) -> Result<()> {
        let snapshot = self.catalog.read_latest().await?;
        let place = self.cluster.net.pick(0..TABLES.len() as u64) as usize;
        let buckets = self.cluster.net.pick(BUCKETS) as u32;
        let now = &table(&snapshot, TABLES[place])?.table;
        let (table, schema_version) = (now.id, now.schema_version);
        self.cluster.note(format!("{} gets {buckets} buckets", TABLES[place]));
        let change = BucketChange::Count { table, schema_version, buckets };
        self.catalog.execute(CommandBody::Buckets(change)).await.map(drop)
    }

    async fn drain(&self, workers: u64) -> Result<()> {
        let snapshot = self.catalog.read_latest().await?;
        let all: Vec<_> = snapshot.workers.values().collect();
        let place = self.cluster.net.pick(0..workers) as usize;
        let Some(row) = all.get(place) else { return Ok(()) };
        let (worker, drained) = (row.id, !row.drained);
        self.cluster.note(format!("worker {worker} drained: {drained}"));
        self.catalog.execute(CommandBody::DrainWorker { worker, drained }).await.map(drop)
    }
}
