//! A database in memory: DDL makes the catalog's rows, inserts make batches, queries read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemTable, MemoryCatalogProvider,
    MemoryCatalogProviderList, MemorySchemaProvider, SchemaProvider,
};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use granary_catalog::{Change, Database, Row, Snapshot, Table};
use granary_common::{CatalogVersion, DatabaseId, Result, TableId};

use crate::functions::register;
use crate::{
    DialectSettings, Insert, Notice, RowProjection, SessionSettings, SessionTables, Statement,
    TableSource, bind_insert_source, bind_query, create_table, error_from_datafusion,
    insert_values, parse, resolve_table,
};

/// The database and what its tables hold.
pub(super) struct Memory {
    pub(super) snapshot: Snapshot,
    rows: BTreeMap<TableId, Vec<RecordBatch>>,
    pub(super) settings: DialectSettings,
}

impl Memory {
    /// An empty database `default` with the tables of `ddl`.
    pub(super) async fn with(ddl: &str) -> Memory {
        let database = Database { id: DatabaseId(1), name: "default".to_owned() };
        let first = [Change::Put(Row::Database(database))];
        let mut memory = Memory {
            snapshot: Snapshot::default().with_changes(CatalogVersion(1), &first),
            rows: BTreeMap::new(),
            settings: DialectSettings::default(),
        };
        memory.run(ddl).await.unwrap_or_else(|error| panic!("{ddl}: {error}"));
        memory
    }

    pub(super) fn state(&self) -> SessionState {
        let schema = MemorySchemaProvider::new();
        for state in self.snapshot.tables_of(DatabaseId(1)) {
            let table = &state.table;
            let fields: Vec<Field> =
                table.visible_columns().map(|c| c.column_type.arrow_field(&c.name)).collect();
            let visible: Vec<usize> = (0..fields.len()).collect();
            let rows = self.rows.get(&table.id).into_iter().flatten();
            let rows = rows.map(|batch| batch.project(&visible).expect("visible columns"));
            let provider = MemTable::try_new(Arc::new(Schema::new(fields)), vec![rows.collect()]);
            let provider = Arc::new(provider.expect("rows of the table's schema"));
            schema.register_table(table.name.clone(), provider).expect("a new name");
        }
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema("default", Arc::new(schema)).expect("a new schema");
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog("granary".to_owned(), Arc::new(catalog));
        let mut config = SessionConfig::new().with_default_catalog_and_schema("granary", "default");
        config.options_mut().catalog.create_default_catalog_and_schema = false;
        config.set_extension(Arc::new(SessionTables(Arc::new(self.snapshot.clone()))));
        config.set_extension(Arc::new(SessionSettings(Arc::new(|name: &str| {
            (name == "session_timezone").then(|| "UTC".to_owned())
        }))));
        let builder = SessionStateBuilder::new()
            .with_default_features()
            .with_config(config)
            .with_catalog_list(Arc::new(catalogs));
        register(builder).build()
    }

    /// Runs statements; gives the rows of the last query, cells by ` | `.
    pub(super) async fn run(&mut self, sql: &str) -> Result<Vec<String>> {
        let mut rows = Vec::new();
        for statement in parse(sql)? {
            rows = match statement {
                Statement::Query(query) => {
                    let plan = bind_query(&self.state(), &query, sql).await?;
                    texts(&self.collect(plan, sql).await?)
                }
                Statement::CreateTable(create) => {
                    self.create(&create)?;
                    Vec::new()
                }
                Statement::Insert(insert) => {
                    self.insert(&insert, sql).await?;
                    Vec::new()
                }
                other => panic!("not for this database: {other:?}"),
            };
        }
        Ok(rows)
    }

    /// The batches of one query.
    pub(super) async fn batches(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let Statement::Query(query) = only(sql) else { panic!("no query: {sql}") };
        let plan = bind_query(&self.state(), &query, sql).await?;
        self.collect(plan, sql).await
    }

    pub(super) fn create(&mut self, create: &crate::CreateTable) -> Result<Vec<Notice>> {
        let state = self.state();
        let source = TableSource {
            snapshot: &self.snapshot,
            current_database: "default",
            settings: self.settings,
            state: &state,
            query_columns: &[],
        };
        let (new, notices) = create_table(create, source)?;
        let version = CatalogVersion(self.snapshot.version.0 + 1);
        let next_column_id = new.next_column_id();
        let table = Table {
            id: TableId(version.0),
            database: new.database,
            name: new.name,
            engine: new.engine,
            columns: new.columns,
            next_column_id,
            order_by: new.order_by,
            primary_key_len: new.primary_key_len,
            partition_by: new.partition_by,
            distribution: new.distribution,
            buckets: new.buckets.unwrap_or(4),
            colocation_group: new.colocation_group,
            settings: new.settings,
            comment: new.comment,
            schema_version: 1,
            view_set_version: 1,
            data_version: 1,
            created: version,
            dropped: None,
            merges_stopped: false,
            unique_key: new.unique_key,
            options: new.options,
        };
        self.snapshot = self.snapshot.with_changes(version, &[Change::Put(Row::Table(table))]);
        Ok(notices)
    }

    pub(super) fn table(&self, name: &str) -> Arc<Table> {
        let name = crate::TableName { database: None, name: name.to_owned() };
        resolve_table(&self.snapshot, "default", &name).expect("the table")
    }

    async fn insert(&mut self, insert: &Insert, sql: &str) -> Result<()> {
        let state = self.state();
        let table = resolve_table(&self.snapshot, "default", &insert.table)?;
        let batches = match insert_values(insert, &table, &state)? {
            Some(batch) => vec![batch],
            None => {
                let plan = bind_insert_source(&state, &insert.source, sql).await?;
                self.collect(plan, sql).await?
            }
        };
        let Some(first) = batches.first() else { return Ok(()) };
        let columns = insert.columns.as_deref();
        let projection = RowProjection::bind(&table, columns, &first.schema(), &state)?;
        let mut row = 1;
        for batch in batches {
            let stored = projection.apply(&batch, row)?;
            row += batch.num_rows() as u64;
            self.rows.entry(table.id).or_default().push(stored);
        }
        Ok(())
    }

    /// What is stored, hidden columns included.
    pub(super) fn stored(&self, table: &str) -> Vec<String> {
        texts(self.rows.get(&self.table(table).id).map_or(&[][..], Vec::as_slice))
    }

    /// The rows of a plan as texts.
    pub(super) async fn rows_of(&self, plan: LogicalPlan, sql: &str) -> Result<Vec<String>> {
        Ok(texts(&self.collect(plan, sql).await?))
    }

    async fn collect(&self, plan: LogicalPlan, sql: &str) -> Result<Vec<RecordBatch>> {
        let context = SessionContext::new_with_state(self.state());
        DataFrame::new(context.state(), plan)
            .collect()
            .await
            .map_err(|error| error_from_datafusion(error, Some(sql)))
    }
}

/// One line for each row.
fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let mut lines = Vec::new();
    for batch in batches {
        let formatters: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).expect("a formatter"))
            .collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = formatters.iter().map(|f| f.value(row).to_string()).collect();
            lines.push(cells.join(" | "));
        }
    }
    lines
}

/// The only statement of `sql`.
pub(super) fn only(sql: &str) -> Statement {
    let mut statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0)
}
