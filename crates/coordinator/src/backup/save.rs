//! The way to the volume.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use granary_catalog::{
    Backup, BackupTable, Part, PartLocation, Relation, Snapshot, TableState, View,
};
use granary_common::units::display_time_ms;
use granary_common::{CatalogVersion, DatabaseId, Error, PartId, Result, TableId, WorkerId};
use granary_execution::{FileRead, WorkerDirectory};
use granary_sql::{BackupScope, BackupStatement, find_database, resolve_name};
use granary_storage::backup::{backup, backups, put_backup};
use granary_storage::merge::Throttle;
use granary_storage::{FileSource, PartCopy, Volume, copy_part};

use crate::core::Coordinator;
use crate::query::{StatementRequest, snapshot_at};

/// Parts that are copied at the same time.
const COPIES: usize = 4;

/// What a backup came to.
pub(super) struct Saved {
    pub name: String,
    pub version: CatalogVersion,
    pub tables: u64,
    pub parts: u64,
    pub rows: u64,
    pub copied_bytes: u64,
}

pub(super) async fn save(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: &BackupStatement,
    volume: &Arc<Volume>,
) -> Result<Saved> {
    let begun_ms = core.with.clock.now_ms();
    // Everything is of this version, and its files stay while the pin holds.
    let (snapshot, _pin) = snapshot_at(core, None).await?;
    let cluster = snapshot.cluster.as_ref().map(|cluster| cluster.id.0.clone());
    let cluster = cluster.ok_or_else(|| Error::unavailable("the catalog was not read yet"))?;
    let known = backups(volume).await?;
    if let Some(newest) = known.last() {
        let other = backup(volume, newest).await?.cluster;
        if other != cluster {
            return Err(Error::invalid(format!(
                "there are backups of another cluster ({other}); use a folder of its own for each"
            )));
        }
    }
    let name = name_of(begun_ms, snapshot.version, statement.name.as_deref())?;
    let made = contents(&snapshot, &request.session.database, &statement.what, cluster, begun_ms)?;
    let copied = Arc::new(Copied::default());
    let parts: Vec<&Part> = made.tables.iter().flat_map(|table| &table.parts).collect();
    let (count, rows) = (parts.len(), parts.iter().map(|part| part.rows_at(snapshot.version)).sum());
    let copies: Vec<BoxFuture<'_, Result<()>>> =
        parts.into_iter().map(|part| copy(core, volume, part, &copied).boxed()).collect();
    stream::iter(copies).buffer_unordered(COPIES).try_collect::<Vec<()>>().await?;
    if !core.holds_lease() {
        return Err(Error::unavailable(
            "this coordinator lost the metadata group, so what the backup holds was not protected; \
             run it again",
        ));
    }
    put_backup(volume, &name, &made).await?;
    Ok(Saved {
        name,
        version: snapshot.version,
        tables: made.tables.len() as u64,
        parts: count as u64,
        rows,
        copied_bytes: copied.0.load(Ordering::Relaxed),
    })
}

/// Names ascend with time.
fn name_of(begun_ms: u64, version: CatalogVersion, own: Option<&str>) -> Result<String> {
    let time = display_time_ms(begun_ms).replace(' ', "T").replace(':', "-");
    let own = match own {
        None => String::new(),
        Some(own)
            if own.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
                && !own.is_empty() =>
        {
            format!("-{own}")
        }
        Some(own) => {
            return Err(Error::invalid(format!(
                "backup_name takes letters, digits, - and _, not '{own}'"
            )));
        }
    };
    Ok(format!("{time}-v{version}{own}"))
}

/// What the statement names, as it is in `snapshot`.
fn contents(
    snapshot: &Snapshot,
    current: &str,
    what: &[BackupScope],
    cluster: String,
    begun_ms: u64,
) -> Result<Backup> {
    let mut databases: BTreeSet<DatabaseId> = BTreeSet::new();
    let mut relations: BTreeSet<TableId> = BTreeSet::new();
    for scope in what {
        match scope {
            BackupScope::All => databases.extend(snapshot.databases.keys()),
            BackupScope::Database(name) => drop(databases.insert(find_database(snapshot, name)?)),
            BackupScope::Table { name, .. } => {
                let found = resolve_name(snapshot, current, name)?;
                let (database, exact) = found.name();
                match snapshot.find_relation(database, exact) {
                    Some(Relation::Table(state)) => drop(relations.insert(state.table.id)),
                    Some(Relation::View(view)) => {
                        relations.insert(view.id);
                        relations.extend(view.kind.owned());
                    }
                    None => {}
                }
            }
        }
    }
    let name = |id: &DatabaseId| snapshot.databases.get(id).map(|row| row.name.clone());
    let is_chosen = |id: TableId, database: DatabaseId| {
        relations.contains(&id) || databases.contains(&database)
    };
    let tables = snapshot.tables.values().filter(|state| {
        state.table.dropped.is_none() && is_chosen(state.table.id, state.table.database)
    });
    let tables = tables.filter_map(|state| {
        Some(saved_table(name(&state.table.database)?, state, snapshot.version))
    });
    let mut views: Vec<&Arc<View>> =
        snapshot.views.values().filter(|view| is_chosen(view.id, view.database)).collect();
    views.sort_by_key(|view| (view.created, view.id));
    let views =
        views.into_iter().filter_map(|view| Some((name(&view.database)?, View::clone(view))));
    Ok(Backup {
        cluster,
        version: snapshot.version,
        begun_ms,
        tables: tables.collect(),
        views: views.collect(),
        databases: databases.iter().filter_map(&name).collect(),
    })
}

fn saved_table(database: String, state: &TableState, version: CatalogVersion) -> BackupTable {
    let as_it_is = |part: &Arc<Part>| {
        let deletions = part.deletions_at(version).cloned().into_iter().collect();
        Part { deletions, ..Part::clone(part) }
    };
    let mut parts: Vec<Part> = state.visible_parts(version).map(as_it_is).collect();
    parts.sort_by_key(|part| (part.inserted, part.id));
    BackupTable { database, table: (*state.table).clone(), parts }
}

/// Copies what the volume lacks of a part.
async fn copy(
    core: &Arc<Coordinator>,
    volume: &Arc<Volume>,
    part: &Part,
    copied: &Arc<Copied>,
) -> Result<()> {
    let sources = match &part.location {
        PartLocation::Local { copies, .. } => copies.clone(),
        PartLocation::Shared { .. } => {
            core.with.workers.live().into_iter().map(|(worker, _)| worker).collect()
        }
    };
    let holders = Holders {
        workers: Arc::clone(&core.with.workers),
        files: part.file_owner(),
        sources,
        turn: AtomicUsize::new(0),
    };
    copy_part(volume, &PartCopy::of(part), &holders, &**copied).await
}

/// The workers that have a part's files, in turn.
struct Holders {
    workers: Arc<dyn WorkerDirectory>,
    files: (TableId, PartId),
    sources: Vec<WorkerId>,
    turn: AtomicUsize,
}

#[async_trait]
impl FileSource for Holders {
    async fn read(&self, file: &str, offset: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        let mut failure = Error::unavailable("no worker that is alive has it");
        for _ in &self.sources {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let source = self.sources[turn % self.sources.len()];
            let wanted = FileRead { files: self.files, name: file.to_owned(), offset };
            let opened = async { self.workers.api(source)?.read_file(wanted).await };
            match opened.await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// Counts bytes that were copied; never waits.
#[derive(Debug, Default)]
struct Copied(AtomicU64);

#[async_trait]
impl Throttle for Copied {
    async fn admit(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ascend_and_are_plain() {
        let version = CatalogVersion(7);
        let name = |ms, own| name_of(ms, version, own);
        assert_eq!(name(0, None).unwrap(), "1970-01-01T00-00-00.000-v7");
        assert_eq!(name(1, Some("night_1")).unwrap(), "1970-01-01T00-00-00.001-v7-night_1");
        assert!(name(0, None).unwrap() < name(1, None).unwrap());
        for wrong in ["", "a/b", "..", "ü"] {
            assert!(name(0, Some(wrong)).is_err(), "{wrong}");
        }
    }
}
