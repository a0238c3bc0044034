//! Copies of parts that were found damaged: noted in the catalog, where everybody sees it.
//!
//! ```text
//!   a read meets damage ─► what the query fails with
//!                      └─► Found ─► MarkDamage ─► not merged, read only where nothing else is left
//!   CheckPart ─► MarkDamage, or the note is taken back
//!   what is noted ─► mended by `heal`, while somebody has a whole copy
//! ```

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{Catalog, CommandBody, Snapshot};
use granary_common::{Clock, Error, PartId, Result, TableId, WorkerId};
use granary_storage::{DamageWatch, MetPart};
use tokio::sync::mpsc;

/// Damage that waits to be noted. More is not kept: the next read meets it again.
const WAITING_MAX: usize = 256;
/// Attempts to note one damage.
const ATTEMPTS_MAX: u32 = 60;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);
/// Characters of a reason that the catalog keeps.
const REASON_CHARS_MAX: usize = 300;

/// What this worker knows of damage on its volumes.
#[derive(Debug)]
pub struct Quarantine {
    worker: WorkerId,
    catalog: Arc<dyn Catalog>,
    found: mpsc::Sender<(MetPart, String)>,
}

/// Damage that reads met and that is not noted yet.
#[derive(Debug)]
pub struct Found {
    quarantine: Arc<Quarantine>,
    waiting: mpsc::Receiver<(MetPart, String)>,
}

impl Quarantine {
    /// The quarantine of `worker`. What reads meet is noted while [`Found::run`] does.
    pub fn new(worker: WorkerId, catalog: Arc<dyn Catalog>) -> (Arc<Quarantine>, Found) {
        let (found, waiting) = mpsc::channel(WAITING_MAX);
        let quarantine = Arc::new(Quarantine { worker, catalog, found });
        (Arc::clone(&quarantine), Found { quarantine, waiting })
    }

    /// Whose it is.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Notes damage of a part's copy here, or with no reason that it is whole. Returns whether that was
    /// news. Kind `Unavailable` when the damage is one of deletions that were replaced meanwhile.
    pub async fn note(&self, met: &MetPart, reason: Option<&str>) -> Result<bool> {
        let copy = met.copy(self.worker);
        let reason = reason.map(|text| text.chars().take(REASON_CHARS_MAX).collect::<String>());
        let snapshot = self.catalog.read_latest().await?;
        if snapshot.damage.get(&copy).map(|row| &row.reason) == reason.as_ref() {
            return Ok(false);
        }
        // It was read while it left the catalog, and perhaps the disk.
        if reason.is_some() && !snapshot.has_copy(&copy) {
            return Ok(false);
        }
        if reason.is_some() && is_outdated(&snapshot, met) {
            return Err(outdated(met));
        }
        match &reason {
            Some(reason) => tracing::error!(part = %copy.part, reason, "a part is damaged"),
            None => tracing::info!(part = %copy.part, "a part is whole again"),
        }
        self.catalog.execute(CommandBody::MarkDamage { copy, reason }).await?;
        Ok(true)
    }
}

impl DamageWatch for Quarantine {
    fn damaged(&self, part: &MetPart, error: Error) -> Error {
        let copy = part.copy(self.worker);
        let snapshot = self.catalog.snapshot();
        if is_outdated(&snapshot, part) {
            return outdated(part);
        }
        if !snapshot.damage.contains_key(&copy) {
            // When too many wait, the next read tells of it again.
            let _ = self.found.try_send((*part, error.message().to_owned()));
        }
        complaint(&snapshot, self.worker, part, &error)
    }

    fn is_read_elsewhere(&self, part: &MetPart) -> bool {
        let snapshot = self.catalog.snapshot();
        if !snapshot.damage.contains_key(&part.copy(self.worker)) {
            return false;
        }
        let row = snapshot.tables.get(&part.table).and_then(|state| state.parts.get(&part.part));
        row.is_some_and(|row| snapshot.is_whole_elsewhere(row, self.worker))
    }
}

impl Found {
    /// Notes what is found, for ever.
    pub async fn run(mut self, clock: Arc<dyn Clock>) {
        while let Some((met, reason)) = self.waiting.recv().await {
            for attempt in 1..=ATTEMPTS_MAX {
                let Err(error) = self.quarantine.note(&met, Some(&reason)).await else { break };
                if is_outdated(&self.quarantine.catalog.snapshot(), &met) {
                    break;
                }
                tracing::warn!(part = %met.part, %error, attempt, "damage could not be noted");
                clock.sleep(BETWEEN_ATTEMPTS).await;
            }
        }
    }
}

/// Whether a part was read by deletions that nobody needs any more, so that their file may be gone. A
/// merge or a check that began long ago does that; queries pin what they read.
fn is_outdated(snapshot: &Snapshot, met: &MetPart) -> bool {
    met.deletions.is_some_and(|file| !snapshot.needs_deletions(met.files, file))
}

fn outdated(met: &MetPart) -> Error {
    Error::unavailable(format!(
        "the deletions of part {} were replaced while it was read; it is to be read again",
        met.part
    ))
}

/// What a query fails with that met damage. Where another copy is whole, running it again helps.
fn complaint(snapshot: &Snapshot, worker: WorkerId, met: &MetPart, error: &Error) -> Error {
    let (MetPart { part, .. }, table) = (met, table_name(snapshot, met.table));
    let of = |table: &TableId, part: &PartId| snapshot.tables.get(table)?.parts.get(part).cloned();
    let row = of(&met.table, part);
    let what = format!("part {part} of table {table} on worker {worker} is damaged: {error}");
    if row.as_ref().is_some_and(|row| snapshot.is_whole_elsewhere(row, worker)) {
        return Error::unavailable(format!("{what}; run it again: another copy is read then"));
    }
    let partition = row.map_or(String::new(), |row| format!(" (partition {})", row.partition));
    Error::corruption(format!(
        "{what}. It has no other copy. Restore the files of the part from a backup of the worker's \
         data folder and run CHECK TABLE {table}, or give the rows up by dropping their \
         partition{partition}; system.parts shows all damaged parts in its column damage"
    ))
}

/// `database.table`, or the table's id when it is gone.
fn table_name(snapshot: &Snapshot, id: TableId) -> String {
    let Some(state) = snapshot.tables.get(&id) else { return id.to_string() };
    match snapshot.databases.get(&state.table.database) {
        Some(database) => format!("{}.{}", database.name, state.table.name),
        None => state.table.name.clone(),
    }
}
