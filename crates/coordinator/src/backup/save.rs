//! The way to the place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use granary_catalog::{
    Backup, BackupPlace, BackupTable, Database, Part, PartLocation, Relation, Snapshot, TableState,
    TemporaryDatabase, View, ViewKind,
};
use granary_common::units::display_time_ms;
use granary_common::{
    CatalogVersion, DatabaseId, Error, ErrorKind, PartId, Result, TableId, WorkerId,
};
use granary_execution::{FileRead, WorkerDirectory};
use granary_sql::{BackupScope, BackupStatement, find_database, resolve_name};
use granary_storage::backup::{back_up_part, backup, put_backup};
use granary_storage::merge::Throttle;
use granary_storage::{FileSource, PartCopy, Volume};

use super::{Opening, Place, given_name};
use crate::core::Coordinator;
use crate::query::{QueryHandle, StatementRequest, snapshot_at};

/// Parts that are copied at the same time.
const COPIES: usize = 4;

/// What a backup came to.
pub(super) struct Saved {
    pub name: String,
    pub version: CatalogVersion,
    pub tables: u64,
    pub parts: u64,
    pub rows: u64,
    pub copied_parts: u64,
    pub copied_bytes: u64,
}

pub(super) async fn save(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: &BackupStatement,
    place: &Opening,
    handle: &QueryHandle,
) -> Result<Saved> {
    let begun_ms = core.with.clock.now_ms();
    // Everything is of this version, and its files stay while the pin holds; the statement is cancelled
    // when that cannot be said any more.
    let (snapshot, _pin) = snapshot_at(core, None).await?;
    handle.reads(snapshot.version);
    let cluster = snapshot.cluster.as_ref().map(|cluster| cluster.id.0.clone());
    let cluster = cluster.ok_or_else(|| Error::unavailable("the catalog was not read yet"))?;
    let place = place.list().await?;
    check_cluster(&place, &cluster).await?;
    let name = name_of(&place.known, begun_ms, snapshot.version, statement.name.as_deref())?;
    let mut made = contents(&snapshot, &request.session.database, &statement.what)?;
    (made.cluster, made.begun_ms) = (cluster, begun_ms);
    if let Some(base) = &statement.base {
        let within = |error: Error| error.context(format!("base_backup {base}"));
        based_on(core, base, &mut made).await.map_err(within)?;
    }
    let copied = Arc::new(Copied::default());
    let parts: Vec<&Part> = made.tables.iter().flat_map(|table| &table.parts).collect();
    let (count, rows) =
        (parts.len(), parts.iter().map(|part| part.rows_at(snapshot.version)).sum());
    let copy = |part| {
        let is_elsewhere = made.elsewhere.contains_key(&Part::file_owner(part).1);
        copy(core, &place.volume, part, !is_elsewhere, &copied).boxed()
    };
    let copies: Vec<BoxFuture<'_, Result<()>>> = parts.into_iter().map(copy).collect();
    stream::iter(copies).buffer_unordered(COPIES).try_collect::<Vec<()>>().await?;
    if !core.holds_lease() {
        return Err(Error::unavailable(
            "this coordinator lost the metadata group, so what the backup holds was not protected; \
             run it again",
        ));
    }
    put_backup(&place.volume, &name, &made).await?;
    Ok(Saved {
        name,
        version: snapshot.version,
        tables: made.tables.len() as u64,
        parts: count as u64,
        rows,
        copied_parts: copied.parts.load(Ordering::Relaxed),
        copied_bytes: copied.bytes.load(Ordering::Relaxed),
    })
}

/// Ids of parts, which name the files, mean something in one cluster only.
async fn check_cluster(place: &Place, cluster: &str) -> Result<()> {
    let Some(newest) = place.known.last() else { return Ok(()) };
    let other = backup(&place.volume, newest).await?.cluster;
    match other == cluster {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "these are backups of another cluster ({other}); take another place"
        ))),
    }
}

/// Notes which parts the newest backup at `base` has, itself or at one of its own bases.
async fn based_on(core: &Coordinator, base: &BackupPlace, made: &mut Backup) -> Result<()> {
    let place = Place::open_existing(core, base, "base").await?.list().await?;
    let (_, older) = place.find(None).await?;
    if older.cluster != made.cluster {
        return Err(Error::invalid(format!("it is of another cluster ({})", older.cluster)));
    }
    made.bases = older.bases.iter().chain([base]).cloned().collect();
    let own = older.bases.len();
    let parts = older.tables.iter().flat_map(|table| &table.parts);
    let there: BTreeMap<PartId, usize> = parts
        .map(|part| part.file_owner().1)
        .map(|part| (part, older.elsewhere.get(&part).copied().unwrap_or(own)))
        .collect();
    let wanted = made.tables.iter().flat_map(|table| &table.parts);
    let wanted = wanted.map(|part| part.file_owner().1);
    made.elsewhere = wanted.filter_map(|part| Some((part, *there.get(&part)?))).collect();
    Ok(())
}

/// Names ascend with time.
fn name_of(
    known: &[String],
    begun_ms: u64,
    version: CatalogVersion,
    own: Option<&str>,
) -> Result<String> {
    let time = display_time_ms(begun_ms).replace(' ', "T").replace(':', "-");
    let Some(own) = own else { return Ok(format!("{time}-v{version}")) };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if own.is_empty() || !own.chars().all(is_plain) {
        return Err(Error::invalid(format!(
            "backup_name takes letters, digits, - and _, not '{own}'"
        )));
    }
    match known.iter().any(|known| given_name(known) == Some(own)) {
        true => Err(Error::already_exists(format!("there is a backup '{own}' already"))),
        false => Ok(format!("{time}-v{version}-{own}")),
    }
}

/// The databases without those of temporary tables.
fn lasting(snapshot: &Snapshot) -> impl Iterator<Item = DatabaseId> {
    let lasts = |row: &&Arc<Database>| TemporaryDatabase::parse(&row.name).is_none();
    snapshot.databases.values().filter(lasts).map(|row| row.id)
}

/// What the statement names, as it is in `snapshot`; of no cluster and time yet.
fn contents(snapshot: &Snapshot, current: &str, what: &[BackupScope]) -> Result<Backup> {
    let mut databases: BTreeSet<DatabaseId> = BTreeSet::new();
    let mut relations: BTreeSet<TableId> = BTreeSet::new();
    for scope in what {
        match scope {
            BackupScope::All => databases.extend(lasting(snapshot)),
            BackupScope::Database(name) => {
                databases.insert(find_database(snapshot, name)?);
            }
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
    // An alias may have outlived its table; it stands for nothing then.
    let is_alive =
        |id: TableId| snapshot.tables.get(&id).is_some_and(|state| state.table.dropped.is_none());
    let mut views: Vec<&Arc<View>> = snapshot
        .views
        .values()
        .filter(|view| is_chosen(view.id, view.database) && needs(&view.kind).all(is_alive))
        .collect();
    views.sort_by_key(|view| (view.created, view.id));
    let needed = views.iter().flat_map(|view| needs(&view.kind));
    let made_of = needed.filter_map(|id| {
        let table = &snapshot.tables.get(&id)?.table;
        Some((id, (name(&table.database)?, table.name.clone())))
    });
    Ok(Backup {
        cluster: String::new(),
        version: snapshot.version,
        begun_ms: 0,
        made_of: made_of.collect(),
        tables: tables.collect(),
        views: views
            .iter()
            .filter_map(|view| Some((name(&view.database)?, View::clone(view))))
            .collect(),
        databases: databases.iter().filter_map(name).collect(),
        bases: Vec::new(),
        elsewhere: BTreeMap::new(),
        functions: match what.iter().any(|scope| !matches!(scope, BackupScope::Table { .. })) {
            true => snapshot.functions.values().map(|row| (**row).clone()).collect(),
            false => Vec::new(),
        },
        user_settings: match what.contains(&BackupScope::All) {
            true => snapshot.user_settings.values().map(|row| (**row).clone()).collect(),
            false => Vec::new(),
        },
    })
}

/// The tables that a view cannot be without.
fn needs(kind: &ViewKind) -> impl Iterator<Item = TableId> {
    let source = match kind {
        ViewKind::Materialized { source, .. } => Some(*source),
        _ => None,
    };
    source.into_iter().chain(kind.target())
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

/// Copies what the volume lacks of a part, only its deletions when its files are elsewhere.
async fn copy(
    core: &Arc<Coordinator>,
    volume: &Volume,
    part: &Part,
    whole: bool,
    copied: &Copied,
) -> Result<()> {
    let sources = match &part.location {
        PartLocation::Local { copies, .. } => copies.clone(),
        PartLocation::Shared { .. } => {
            core.with.workers.live().into_iter().map(|(worker, _)| worker).collect()
        }
    };
    let wanted = PartCopy { whole, ..PartCopy::of(part, &part.deletions) };
    let from = async |sources: &[WorkerId]| {
        let holders = Holders {
            workers: Arc::clone(&core.with.workers),
            files: part.file_owner(),
            sources: sources.to_vec(),
            turn: AtomicUsize::new(0),
        };
        back_up_part(volume, &wanted, &holders, copied).await
    };
    let mut done = from(&sources).await;
    for source in &sources {
        // Perhaps only the copy that it came from is damaged.
        match done {
            Err(error) if error.kind() == ErrorKind::Corruption => done = from(&[*source]).await,
            _ => break,
        }
    }
    if done? {
        copied.parts.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
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

/// Counts what was copied; never waits.
#[derive(Debug, Default)]
struct Copied {
    parts: AtomicU64,
    bytes: AtomicU64,
}

#[async_trait]
impl Throttle for Copied {
    async fn admit(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ascend_and_are_plain() {
        let version = CatalogVersion(7);
        let name = |ms, own| name_of(&["0-v1-taken".to_owned()], ms, version, own);
        assert_eq!(name(0, None).unwrap(), "1970-01-01T00-00-00.000-v7");
        assert_eq!(name(1, Some("night_1")).unwrap(), "1970-01-01T00-00-00.001-v7-night_1");
        assert!(name(0, None).unwrap() < name(1, None).unwrap());
        for wrong in ["", "a/b", "..", "ü", "taken"] {
            assert!(name(0, Some(wrong)).is_err(), "{wrong}");
        }
    }
}
