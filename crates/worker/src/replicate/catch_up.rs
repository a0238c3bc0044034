//! Keeps this worker's copies as the catalog wants them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use granary_catalog::{Catalog, CommandBody, CopiesChange, CopyChange, KnownPart};
use granary_common::{Clock, ErrorKind, Result, TableId, WorkerId};
use granary_storage::PartRef;
use granary_storage::skip::file_name;
use tokio_util::sync::CancellationToken;

use super::plan::{Wanted, plan};
use super::{Arriving, Pace, Receiver};
use crate::merge::bound_indexes;

/// Between two looks at the catalog at least.
const ROUND_MIN: Duration = Duration::from_millis(300);
/// Between two looks when nothing changes: sources may be back.
const ROUND_MAX: Duration = Duration::from_secs(5);
/// Parts that are fetched at the same time.
const FETCHES_MAX: usize = 4;
/// Parts between two commands.
const BATCH: usize = 64;

/// Fetches what is missing here, gives up what is not needed, and joins those in sync.
#[derive(Debug)]
pub struct CatchUp {
    pub worker: WorkerId,
    pub catalog: Arc<dyn Catalog>,
    pub clock: Arc<dyn Clock>,
    pub receiver: Arc<Receiver>,
    pub pace: Pace,
}

impl CatchUp {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.rounds()).await;
    }

    async fn rounds(&self) {
        let mut versions = self.catalog.watch();
        loop {
            versions.mark_unchanged();
            if let Err(error) = self.round().await {
                tracing::warn!(worker = %self.worker, %error, "copies of parts are not all here");
            }
            self.clock.sleep(ROUND_MIN).await;
            tokio::select! {
                changed = versions.changed() => if changed.is_err() { return },
                () = self.clock.sleep(ROUND_MAX) => {}
            }
        }
    }

    async fn round(&self) -> Result<()> {
        let plan = plan(&self.catalog.snapshot(), self.worker);
        if !plan.fetch.is_empty() {
            let bytes: u64 = plan.fetch.iter().map(|wanted| wanted.bytes).sum();
            tracing::info!(parts = plan.fetch.len(), bytes, "fetching copies of parts");
        }
        for batch in plan.fetch.chunks(BATCH) {
            self.fetch(batch).await?;
        }
        for (table, parts) in plan.spare {
            for batch in parts.chunks(BATCH) {
                self.change(table, CopyChange::Spare, batch.to_vec()).await?;
            }
        }
        for placement in plan.join {
            let (table, bucket) = (placement.table, placement.bucket);
            match self.catalog.execute(CommandBody::PlaceBucket(placement)).await {
                Ok(_) => tracing::info!(%table, %bucket, "in sync"),
                // Something came in between; the next look decides anew.
                Err(error) if is_passed(error.kind()) => {
                    tracing::debug!(%table, %bucket, %error, "not in sync yet");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Fetches parts and says so; those that cannot be had now are tried again later.
    async fn fetch(&self, batch: &[Wanted]) -> Result<()> {
        let fetches: Vec<_> = batch.iter().map(|wanted| self.fetch_one(wanted)).collect();
        let fetches = stream::iter(fetches).buffer_unordered(FETCHES_MAX);
        let fetched: Vec<(&Wanted, Arriving)> =
            fetches.filter_map(std::future::ready).collect().await;
        let mut by_table: BTreeMap<TableId, Vec<KnownPart>> = BTreeMap::new();
        for (wanted, _) in &fetched {
            by_table.entry(wanted.table).or_default().push(wanted.known);
        }
        for (table, parts) in by_table {
            self.change(table, CopyChange::Added, parts).await?;
        }
        // Until here a sweep would not have known that the files are wanted.
        drop(fetched);
        Ok(())
    }

    async fn fetch_one<'a>(&self, wanted: &'a Wanted) -> Option<(&'a Wanted, Arriving)> {
        match self.receiver.copy(&wanted.copy, &wanted.sources, &self.pace).await {
            Ok(arriving) => {
                // Without them more is read, and nothing else.
                if let Err(error) = self.fetch_indexes(wanted).await {
                    tracing::warn!(part = %wanted.known.part, %error, "an index was not copied");
                }
                Some((wanted, arriving))
            }
            Err(error) => {
                tracing::warn!(part = %wanted.known.part, %error, "a copy could not be fetched");
                if error.kind() == ErrorKind::Corruption {
                    self.suspect(wanted).await;
                }
                None
            }
        }
    }

    /// Fetches indexes that were made after the part.
    async fn fetch_indexes(&self, wanted: &Wanted) -> Result<()> {
        let snapshot = self.catalog.snapshot();
        let Some(state) = snapshot.tables.get(&wanted.table) else { return Ok(()) };
        let indexes = bound_indexes(&state.table);
        let Some(part) = state.parts.get(&wanted.known.part).filter(|_| !indexes.is_empty()) else {
            return Ok(());
        };
        let names = indexes.iter().map(file_name).collect::<Result<Vec<_>>>()?;
        let part = PartRef::at(part, snapshot.version);
        self.receiver.copy_indexes(&part, &wanted.copy, &wanted.sources, &names).await
    }

    /// Has the sources of bytes that were not what was written check their copies: those that are
    /// damaged are sources no more.
    async fn suspect(&self, wanted: &Wanted) {
        let snapshot = self.catalog.snapshot();
        let state = snapshot.tables.get(&wanted.table);
        // Of a long insert that is under way, none is committed; it is written anew.
        let Some(part) = state.and_then(|state| state.parts.get(&wanted.known.part)) else {
            return;
        };
        let part = PartRef::at(part, snapshot.version);
        for source in &wanted.sources {
            let checking =
                async { self.receiver.workers.api(*source)?.check_part(part.clone()).await };
            if let Err(error) = checking.await {
                tracing::warn!(part = %part.id, %source, %error, "a source was not looked at");
            }
        }
    }

    async fn change(
        &self,
        table: TableId,
        change: CopyChange,
        parts: Vec<KnownPart>,
    ) -> Result<()> {
        let change = CopiesChange { table, worker: self.worker, change, parts };
        match self.catalog.execute(CommandBody::ChangeCopies(change)).await {
            Err(error) if !is_passed(error.kind()) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether what the command was for has gone or changed meanwhile.
fn is_passed(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Conflict | ErrorKind::NotFound)
}
