//! The way back.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use granary_catalog::{
    AlterTable, Backup, BackupTable, Column, ColumnDefault, CommandBody, ExistingView,
    FunctionChange, NewTable, NewView, Outcome, Part, PartLocation, SqlFunction, UserChange, View,
};
use granary_common::{CatalogVersion, ColumnId, DatabaseId, Error, Result, TableId};
use granary_execution::RowExpressions;
use granary_sql::{BackupStatement, Notice, TableName, find_database};
use granary_storage::{PartRef, PartScan, PartSchema, PartStore, PartStoreOptions, Volumes};

use super::choice::{Choice, Chosen, choose, kind_here};
use super::undo::Made;
use super::{OWN, Opening, Place};
use crate::core::Coordinator;
use crate::insert::{InsertRequest, insert};
use crate::query::StatementRequest;
use crate::session::{StatementSettings, parse_settings};

/// Rows of a batch that is read.
const BATCH_ROWS: usize = 8192;
/// Rows and bytes of an insert into a table with a unique key, which must fit in one block.
const KEYED_ROWS: usize = 1 << 18;
const KEYED_BYTES: usize = 32 << 20;
/// Blocks span the partitions of the parts that they come of.
const PARTITIONS_MAX: usize = 1 << 20;

/// What a restoration came to.
pub(super) struct Restored {
    pub name: String,
    pub version: CatalogVersion,
    pub begun_ms: u64,
    pub tables: u64,
    pub views: u64,
    pub rows: u64,
}

pub(super) async fn restore(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: &BackupStatement,
    place: &Opening,
    notices: &mut Vec<Notice>,
) -> Result<Restored> {
    let place = place.list().await?;
    let (name, backup) = place.find(statement.name.as_deref()).await?;
    let choice = choose(&backup, &request.session.database, &statement.what)?;
    let snapshot = core.with.catalog.read_latest().await?;
    choice.check(&backup, &snapshot)?;
    let store = open_store(core, &place, &backup).await?;
    let way = Way { core, request, backup: &backup, store };
    let mut made = Made::new(core);
    match way.make(&choice, &mut made, notices).await {
        Ok(rows) => {
            made.keep();
            Ok(Restored {
                name: name.to_owned(),
                version: backup.version,
                begun_ms: backup.begun_ms,
                tables: choice.tables.len() as u64,
                views: choice.views.len() as u64,
                rows,
            })
        }
        Err(error) => {
            made.undo().await;
            Err(error.context(format!("nothing was restored of backup {name}")))
        }
    }
}

/// The place and those that the backup is based on, as volumes.
async fn open_store(core: &Coordinator, place: &Place, backup: &Backup) -> Result<Arc<PartStore>> {
    let mut volumes = vec![Arc::clone(&place.volume)];
    for (at, base) in backup.bases.iter().enumerate() {
        let opened = Place::open_existing(core, base, &base_name(at)).await;
        let opened = opened.map_err(|error| error.context(format!("base_backup {base}")))?;
        volumes.push(opened.0);
    }
    let store = PartStore::new(Volumes::new(volumes), PartStoreOptions::default());
    let evaluator = RowExpressions::new(&*core.with.functions);
    Ok(Arc::new(store.with_evaluator(Arc::new(evaluator))))
}

fn base_name(at: usize) -> String {
    format!("base-{at}")
}

/// What all tables of a restoration have in common.
struct Way<'a> {
    core: &'a Arc<Coordinator>,
    request: &'a StatementRequest,
    backup: &'a Backup,
    store: Arc<PartStore>,
}

impl Way<'_> {
    /// Makes everything that was chosen. Tables get their names when all of them have their rows.
    async fn make(
        &self,
        choice: &Choice<'_>,
        made: &mut Made,
        notices: &mut Vec<Notice>,
    ) -> Result<u64> {
        let catalog = &self.core.with.catalog;
        let before = catalog.read_latest().await?;
        for name in &choice.databases {
            if before.databases.values().any(|database| database.name == **name) {
                continue;
            }
            made.databases.push((*name).to_owned());
            let name = (*name).to_owned();
            catalog.execute(CommandBody::CreateDatabase { name, if_not_exists: true }).await?;
        }
        let mut ids = BTreeMap::new();
        let mut filled = Vec::new();
        let mut rows = 0;
        for table in &choice.tables {
            let within = |error: Error| {
                error.context(format!("table '{}.{}'", table.what.database, table.what.table.name))
            };
            let (id, own) = self.table(table, made, notices).await.map_err(within)?;
            ids.insert(table.what.table.id, id);
            filled.push((id, table));
            rows += own;
        }
        let snapshot = catalog.read_latest().await?;
        for (id, table) in filled {
            let database = find_database(&snapshot, &table.database)?;
            let name = table.name.clone();
            catalog.execute(CommandBody::RenameTable { table: id, database, name }).await?;
        }
        for row in choice.missing_functions(&snapshot) {
            made.functions.push(row.name.clone());
            catalog.execute(created_function(row)).await?;
        }
        for view in &choice.views {
            let created = self.view(view, &ids).await;
            made.views.push(created.map_err(|e| e.context(format!("view '{}'", view.name)))?);
        }
        for row in choice.missing_settings(&snapshot) {
            made.users.push(row.user.clone());
            let (user, set) = (row.user.clone(), row.settings.clone());
            let change = UserChange { user, clear: false, reset: Vec::new(), set };
            catalog.execute(CommandBody::User(change)).await?;
        }
        Ok(rows)
    }

    /// Makes a table under another name and fills it.
    async fn table(
        &self,
        table: &Chosen<'_, BackupTable>,
        made: &mut Made,
        notices: &mut Vec<Notice>,
    ) -> Result<(TableId, u64)> {
        let catalog = &self.core.with.catalog;
        let id = find_database(&*catalog.read_latest().await?, &table.database)?;
        let hidden = format!("{}.restoring-{}", table.name, &self.core.with.random.next_hex()[..8]);
        let new = self.new_table(table.what, id, &hidden, notices);
        let create = CommandBody::CreateTable { table: new, if_not_exists: false };
        let (_, Outcome::TableCreated(created)) = catalog.execute(create).await? else {
            return Err(Error::internal("a table was created and is not there"));
        };
        made.tables.push(created);
        let target = TableName { database: Some(table.database.clone()), name: hidden };
        let rows = self.fill(table.what, &target).await?;
        let wanted = rows_of(&table.what.parts);
        if rows != wanted {
            return Err(Error::corruption(format!("{rows} rows came of {wanted}")));
        }
        self.compute_again(table.what, created).await?;
        Ok((created, rows))
    }

    fn new_table(
        &self,
        table: &BackupTable,
        database: DatabaseId,
        name: &str,
        notices: &mut Vec<Notice>,
    ) -> NewTable {
        let table = &table.table;
        let mut settings = table.settings.clone();
        let policy = settings.get("storage_policy").cloned();
        let is_known = |policy: &String| self.core.config.tiers.policy(policy).is_some();
        if let Some(policy) = policy.filter(|policy| !is_known(policy)) {
            notices.push(Notice::new(format!(
                "table '{}': storage policy '{policy}' is not configured here, so the default one \
                 is taken",
                table.name
            )));
            settings.remove("storage_policy");
        }
        NewTable {
            database,
            name: name.to_owned(),
            engine: table.engine.clone(),
            columns: table.columns.iter().map(fillable).collect(),
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

    /// Makes columns MATERIALIZED again, of which the rows brought the values that they had.
    async fn compute_again(&self, table: &BackupTable, id: TableId) -> Result<()> {
        if !table.table.columns.iter().any(is_materialized) {
            return Ok(());
        }
        let catalog = &self.core.with.catalog;
        let snapshot = catalog.read_latest().await?;
        let state = snapshot.tables.get(&id);
        let now = state.ok_or_else(|| Error::not_found("the table was dropped meanwhile"))?;
        let now = &now.table;
        let column = |column: &Column| {
            let before = table.table.column(column.id).and_then(|column| column.default.clone());
            Column { default: before, ..column.clone() }
        };
        let change = AlterTable {
            table: id,
            schema_version: now.schema_version,
            view_set_version: now.view_set_version,
            columns: now.columns.iter().map(column).collect(),
            next_column_id: now.next_column_id,
            engine: now.engine.clone(),
            order_by: now.order_by.clone(),
            partition_by: now.partition_by.clone(),
            settings: now.settings.clone(),
            comment: now.comment.clone(),
            options: now.options.clone(),
            requires_no_parts: false,
            appended_keys: 0,
        };
        catalog.execute(CommandBody::AlterTable(Box::new(change))).await.map(drop)
    }

    async fn fill(&self, table: &BackupTable, target: &TableName) -> Result<u64> {
        let part_schema = Arc::new(PartSchema::of(&table.table));
        let given = table.table.columns.iter().filter(|column| fillable(column).is_insertable());
        let columns: Vec<ColumnId> = given.map(|column| column.id).collect();
        let schema = part_schema.project(&columns)?;
        let mut rows = self.rows(part_schema, columns, table.parts.clone());
        if table.table.unique_key.is_empty() {
            return self.insert(target, &schema, rows).await;
        }
        let (mut inserted, mut held, mut bytes) = (0, Vec::new(), 0);
        while let Some(batch) = rows.try_next().await? {
            bytes += batch.get_array_memory_size();
            held.push(Ok(batch));
            if held.len() >= KEYED_ROWS / BATCH_ROWS || bytes >= KEYED_BYTES {
                let some = stream::iter(std::mem::take(&mut held)).boxed();
                inserted += self.insert(target, &schema, some).await?;
                bytes = 0;
            }
        }
        Ok(inserted + self.insert(target, &schema, stream::iter(held).boxed()).await?)
    }

    /// The rows of parts one after the other, every byte of a part compared with its checksums first.
    fn rows(
        &self,
        schema: Arc<PartSchema>,
        columns: Vec<ColumnId>,
        parts: Vec<Part>,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let version = self.backup.version;
        let located = parts.into_iter().map(|part| {
            let base = self.backup.elsewhere.get(&part.file_owner().1);
            let volume = base.map_or_else(|| OWN.to_owned(), |base| base_name(*base));
            (PartRef::at(&part, version), volume)
        });
        let located: Vec<(PartRef, String)> = located.collect();
        let store = Arc::clone(&self.store);
        let opened = stream::iter(located).then(move |(part, volume)| {
            let (store, schema, columns) =
                (Arc::clone(&store), Arc::clone(&schema), columns.clone());
            async move {
                let at = |volume: String| PartLocation::Shared { volume };
                let own = PartRef { location: at(OWN.to_owned()), ..part };
                let deletions = store.deletions(&own).await?.unwrap_or_default();
                let part = PartRef { location: at(volume), ..own };
                let open = store.open_without(&part, deletions).await?;
                open.verify().await?;
                // It is read once.
                store.forget(part.files.1).await;
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
        settings.insert.block_bytes_max =
            settings.insert.block_bytes_max.max(4 * KEYED_BYTES as u64);
        settings.query.max_partitions_per_insert_block = PARTITIONS_MAX;
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

    /// Makes a view over what was restored with it, or what is there of the same name.
    async fn view(
        &self,
        view: &Chosen<'_, View>,
        ids: &BTreeMap<TableId, TableId>,
    ) -> Result<TableId> {
        let catalog = &self.core.with.catalog;
        let snapshot = catalog.read_latest().await?;
        let new = NewView {
            database: find_database(&snapshot, &view.database)?,
            name: view.name.clone(),
            query: view.what.query.clone(),
            query_database: view.what.query_database.clone(),
            columns: view.what.columns.clone(),
            kind: kind_here(view.what, ids, self.backup, &snapshot)?,
            comment: view.what.comment.clone(),
            inner: None,
        };
        let create = CommandBody::CreateView { view: new, existing: ExistingView::Refuse };
        match catalog.execute(create).await? {
            (_, Outcome::ViewCreated(id)) => Ok(id),
            _ => Err(Error::internal("a view was created and is not there")),
        }
    }
}

fn is_materialized(column: &Column) -> bool {
    matches!(column.default, Some(ColumnDefault::Materialized(_)))
}

/// The column as rows of a backup fill it: no row is older than it, and it may be given values that
/// were computed once, perhaps of the time then.
fn fillable(column: &Column) -> Column {
    let default = match &column.default {
        Some(ColumnDefault::Materialized(text)) => Some(ColumnDefault::Expression(text.clone())),
        other => other.clone(),
    };
    Column { default, earlier: Vec::new(), added: None, computed: None, ..column.clone() }
}

fn rows_of(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.rows_at(CatalogVersion(u64::MAX))).sum()
}

fn created_function(row: &SqlFunction) -> CommandBody {
    let SqlFunction { name, parameters, body, .. } = row.clone();
    let existing = ExistingView::IfNotExists;
    CommandBody::Function(FunctionChange::Create { name, parameters, body, existing })
}
