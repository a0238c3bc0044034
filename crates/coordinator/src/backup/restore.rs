//! The way back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use granary_catalog::{
    Backup, BackupTable, Column, CommandBody, ExistingView, NewTable, NewView, Outcome, Part,
    PartLocation, View, ViewKind,
};
use granary_common::{CatalogVersion, ColumnId, DatabaseId, Error, Result, TableId};
use granary_sql::{BackupScope, BackupStatement, Notice, TableName, find_database};
use granary_storage::backup::{backup, backups};
use granary_storage::{PartRef, PartScan, PartSchema, PartStore, PartStoreOptions, Volume, Volumes};

use crate::core::Coordinator;
use crate::insert::{InsertRequest, insert};
use crate::query::StatementRequest;
use crate::session::{StatementSettings, parse_settings};

/// Rows of an insert into a table with a unique key, which takes no longer ones.
const KEYED_ROWS: usize = 1 << 18;

/// What a restoration came to.
pub(super) struct Restored {
    pub name: String,
    pub version: CatalogVersion,
    pub begun_ms: u64,
    pub tables: u64,
    pub views: u64,
    pub rows: u64,
}

/// What is restored, and under which names.
struct Choice<'a> {
    databases: Vec<&'a str>,
    /// Database and name.
    tables: Vec<(&'a BackupTable, String, String)>,
    views: Vec<(&'a View, String, String)>,
}

pub(super) async fn restore(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: &BackupStatement,
    volume: &Arc<Volume>,
    notices: &mut Vec<Notice>,
) -> Result<Restored> {
    let (name, backup) = find(volume, statement.name.as_deref()).await?;
    let choice = choose(&backup, &request.session.database, &statement.what)?;
    for database in &choice.databases {
        let command =
            CommandBody::CreateDatabase { name: (*database).to_owned(), if_not_exists: true };
        core.with.catalog.execute(command).await?;
    }
    check_free(core, &choice).await?;
    let volumes = Volumes::new([Arc::clone(volume)]);
    let store = Arc::new(PartStore::new(volumes, PartStoreOptions::default()));
    let way = Way { core, request, store, volume: &volume.name };
    let mut ids = BTreeMap::new();
    let mut rows = 0;
    for (table, database, target) in &choice.tables {
        let (id, restored) = way.table(table, database, target, notices).await?;
        ids.insert(table.table.id, id);
        rows += restored;
    }
    for (view, database, target) in &choice.views {
        way.view(view, database, target, &ids).await?;
    }
    Ok(Restored {
        name,
        version: backup.version,
        begun_ms: backup.begun_ms,
        tables: choice.tables.len() as u64,
        views: choice.views.len() as u64,
        rows,
    })
}

/// The newest backup, or the one of this name.
async fn find(volume: &Volume, name: Option<&str>) -> Result<(String, Backup)> {
    let known = backups(volume).await?;
    let ends = |known: &String, name: &str| {
        known == name || known.strip_suffix(name).is_some_and(|rest| rest.ends_with('-'))
    };
    let found = known.iter().rfind(|known| name.is_none_or(|name| ends(known, name)));
    match found {
        Some(found) => Ok((found.clone(), backup(volume, found).await?)),
        None if known.is_empty() => Err(Error::not_found("there is no backup")),
        None => {
            let last: Vec<&str> = known.iter().rev().take(5).map(String::as_str).collect();
            let name = name.unwrap_or_default();
            Err(Error::not_found(format!(
                "there is no backup '{name}'; the newest are {}",
                last.join(", ")
            )))
        }
    }
}

/// What the statement names of the backup.
fn choose<'a>(backup: &'a Backup, current: &str, what: &[BackupScope]) -> Result<Choice<'a>> {
    let mut choice = Choice { databases: Vec::new(), tables: Vec::new(), views: Vec::new() };
    let tables = || backup.tables.iter();
    let views = || backup.views.iter();
    for scope in what {
        let before = choice.tables.len() + choice.views.len() + choice.databases.len();
        let in_database = |database: &str| match scope {
            BackupScope::Database(wanted) => wanted == database,
            _ => true,
        };
        match scope {
            BackupScope::All | BackupScope::Database(_) => {
                let own = backup.databases.iter().map(String::as_str);
                let of_tables = tables().map(|table| table.database.as_str());
                let all: BTreeSet<&str> = own.chain(of_tables).collect();
                choice.databases.extend(all.into_iter().filter(|database| in_database(database)));
                for table in tables().filter(|table| in_database(&table.database)) {
                    choice.tables.push((table, table.database.clone(), table.table.name.clone()));
                }
                for (database, view) in views().filter(|(database, _)| in_database(database)) {
                    choice.views.push((view, database.clone(), view.name.clone()));
                }
            }
            BackupScope::Table { name, target } => {
                let database = name.database.as_deref().unwrap_or(current);
                let target = target.as_ref().unwrap_or(name);
                let to = target.database.as_deref().unwrap_or(current).to_owned();
                for table in tables() {
                    if table.database == database && table.table.name == name.name {
                        choice.tables.push((table, to.clone(), target.name.clone()));
                    }
                }
                for (of, view) in views() {
                    if of == database && view.name == name.name {
                        let owned = tables().filter(|t| Some(t.table.id) == view.kind.owned());
                        for table in owned {
                            let own_name = table.table.name.clone();
                            choice.tables.push((table, to.clone(), own_name));
                        }
                        choice.views.push((view, to.clone(), target.name.clone()));
                    }
                }
            }
        }
        if choice.tables.len() + choice.views.len() + choice.databases.len() == before {
            return Err(Error::not_found(format!("the backup has nothing of {scope:?}")));
        }
    }
    let mut seen = BTreeSet::new();
    choice.tables.retain(|(table, database, name)| {
        seen.insert((table.table.id, database.clone(), name.clone()))
    });
    Ok(choice)
}

/// Refuses names that are taken, before anything is made.
async fn check_free(core: &Coordinator, choice: &Choice<'_>) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    let tables = choice.tables.iter().map(|(_, database, name)| (database, name));
    let views = choice.views.iter().map(|(_, database, name)| (database, name));
    for (database, name) in tables.chain(views) {
        let database = find_database(&snapshot, database)?;
        let found = snapshot.find_relation(database, name);
        if found.is_some_and(|found| found.name() == name) {
            return Err(Error::already_exists(format!(
                "'{name}' already exists; drop or rename it first, or restore it AS another name"
            )));
        }
    }
    Ok(())
}

/// What all tables of a restoration have in common.
struct Way<'a> {
    core: &'a Arc<Coordinator>,
    request: &'a StatementRequest,
    store: Arc<PartStore>,
    volume: &'a str,
}

impl Way<'_> {
    /// Makes a table under another name, fills it, and gives it its own.
    async fn table(
        &self,
        table: &BackupTable,
        database: &str,
        name: &str,
        notices: &mut Vec<Notice>,
    ) -> Result<(TableId, u64)> {
        let catalog = &self.core.with.catalog;
        let id = find_database(&*catalog.read_latest().await?, database)?;
        let hidden = format!("{name}.restoring-{}", &self.core.with.random.next_hex()[..8]);
        let new = self.new_table(table, id, &hidden, notices);
        let create = CommandBody::CreateTable { table: new, if_not_exists: false };
        let (_, Outcome::TableCreated(made)) = catalog.execute(create).await? else {
            return Err(Error::internal("a table was created and is not there"));
        };
        let filled = async {
            let target = TableName { database: Some(database.to_owned()), name: hidden.clone() };
            let rows = self.fill(table, &target).await?;
            let wanted = rows_of(&table.parts);
            if rows != wanted {
                return Err(Error::corruption(format!("{rows} rows came of {wanted}")));
            }
            let name = name.to_owned();
            catalog.execute(CommandBody::RenameTable { table: made, database: id, name }).await?;
            Ok(rows)
        };
        match filled.await {
            Ok(rows) => Ok((made, rows)),
            Err(error) => {
                // What is left of it otherwise can be dropped by its name.
                let _ = catalog.execute(CommandBody::DropTable { table: made }).await;
                Err(error.context(format!("restoring table '{database}.{name}'")))
            }
        }
    }

    fn new_table(
        &self,
        table: &BackupTable,
        database: DatabaseId,
        name: &str,
        notices: &mut Vec<Notice>,
    ) -> NewTable {
        let table = &table.table;
        // No row is older than its columns here.
        let column = |column: &Column| Column { earlier: Vec::new(), added: None, ..column.clone() };
        let mut settings = table.settings.clone();
        let policy = settings.get("storage_policy").cloned();
        if let Some(policy) = policy.filter(|policy| self.core.config.tiers.policy(policy).is_none())
        {
            notices.push(Notice::new(format!(
                "table '{}': storage policy '{policy}' is not configured here",
                table.name
            )));
            settings.remove("storage_policy");
        }
        NewTable {
            database,
            name: name.to_owned(),
            engine: table.engine.clone(),
            columns: table.columns.iter().map(column).collect(),
            order_by: table.order_by.clone(),
            primary_key_len: table.primary_key_len,
            partition_by: table.partition_by.clone(),
            distribution: table.distribution.clone(),
            buckets: Some(table.buckets),
            colocation_group: table.colocation_group.clone(),
            settings,
            comment: table.comment.clone(),
            unique_key: table.unique_key.clone(),
            options: table.options.clone(),
        }
    }

    async fn fill(&self, table: &BackupTable, target: &TableName) -> Result<u64> {
        let part_schema = Arc::new(PartSchema::of(&table.table));
        let columns: Vec<ColumnId> =
            table.table.insertable_columns().map(|column| column.id).collect();
        let schema = part_schema.project(&columns)?;
        let rows = self.rows(part_schema, columns, table.parts.clone());
        if table.table.unique_key.is_empty() {
            return self.insert(target, &schema, rows).await;
        }
        let mut rows = rows.chunks(KEYED_BATCHES).boxed();
        let mut inserted = 0;
        while let Some(some) = rows.next().await {
            let some: Vec<RecordBatch> = some.into_iter().collect::<Result<_>>()?;
            let some = stream::iter(some.into_iter().map(Ok)).boxed();
            inserted += self.insert(target, &schema, some).await?;
        }
        Ok(inserted)
    }

    /// The rows of parts one after the other, each part compared with its checksums first.
    fn rows(
        &self,
        schema: Arc<PartSchema>,
        columns: Vec<ColumnId>,
        parts: Vec<Part>,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let (store, volume) = (Arc::clone(&self.store), self.volume.to_owned());
        let opened = stream::iter(parts).then(move |part| {
            let (store, volume) = (Arc::clone(&store), volume.clone());
            let (schema, columns) = (Arc::clone(&schema), columns.clone());
            async move {
                let location = PartLocation::Shared { volume };
                let part = PartRef { location, ..PartRef::at(&part, CatalogVersion(u64::MAX)) };
                let open = store.open(&part).await?;
                open.verify().await?;
                let scan = PartScan {
                    columns,
                    filter: None,
                    ordered: true,
                    rows: None,
                    batch_rows: BATCH_ROWS,
                    limit: None,
                    hints: Vec::new(),
                };
                Ok::<_, Error>(open.scan(schema, scan))
            }
        });
        opened.try_flatten().boxed()
    }

    async fn insert(
        &self,
        target: &TableName,
        schema: &SchemaRef,
        rows: BoxStream<'_, Result<RecordBatch>>,
    ) -> Result<u64> {
        let core = self.core;
        let names = schema.fields().iter().map(|field| field.name().clone()).collect();
        let mut settings: StatementSettings = parse_settings(&BTreeMap::new())?;
        settings.insert.token = core.with.random.next_hex();
        settings.insert.block_rows_max = (2 * KEYED_ROWS) as u64;
        let request = InsertRequest {
            id: core.queries.draw_id(),
            session: self.request.session.clone(),
            table: target.clone(),
            columns: Some(names),
            digest: Some(settings.insert.token.clone()),
            settings,
            text: self.request.sql.clone(),
        };
        Ok(insert(core, request, Arc::clone(schema), rows).await?.rows)
    }

    /// Makes a view over what was restored with it.
    async fn view(
        &self,
        view: &View,
        database: &str,
        name: &str,
        ids: &BTreeMap<TableId, TableId>,
    ) -> Result<()> {
        let catalog = &self.core.with.catalog;
        let database = find_database(&*catalog.read_latest().await?, database)?;
        let of = |id: &TableId| {
            ids.get(id).copied().ok_or_else(|| {
                Error::not_found(format!("view '{}': restore its tables with it", view.name))
            })
        };
        let mut kind = view.kind.clone();
        match &mut kind {
            ViewKind::Plain => {}
            ViewKind::Materialized { source, target, .. } => {
                (*source, *target) = (of(source)?, of(target)?);
            }
            ViewKind::Refreshable { target, .. } | ViewKind::Alias { target } => {
                *target = of(target)?;
            }
        }
        let new = NewView {
            database,
            name: name.to_owned(),
            query: view.query.clone(),
            query_database: view.query_database.clone(),
            columns: view.columns.clone(),
            kind,
            comment: view.comment.clone(),
            inner: None,
        };
        let create = CommandBody::CreateView { view: new, existing: ExistingView::Refuse };
        catalog.execute(create).await.map(drop)
    }
}

/// Rows of a batch that is read, and batches of an insert into a table with a unique key.
const BATCH_ROWS: usize = 8192;
const KEYED_BATCHES: usize = KEYED_ROWS / BATCH_ROWS;

fn rows_of(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.rows_at(CatalogVersion(u64::MAX))).sum()
}
