//! What tools ask about catalogs, databases and tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatchOptions, StringArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::sql::metadata::GetCatalogsBuilder;
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTableTypes, CommandGetTables,
};
use datafusion::catalog::SchemaProvider;
use granary_catalog::{Snapshot, Table, View};
use granary_common::{Error, ErrorKind, Result};
use granary_sql::{TableName, resolve_table};

use crate::call::Call;
use crate::core::Coordinator;
use crate::query::{edge_schema, edge_type_of};
use crate::session::{CATALOG_NAME, parse_settings};
use crate::system;

const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";
const SYSTEM_TABLE: &str = "SYSTEM TABLE";

type Encoded<T> = std::result::Result<T, arrow_flight::error::FlightError>;

fn built(batch: Encoded<RecordBatch>) -> Result<RecordBatch> {
    batch.map_err(|error| Error::internal(format!("an answer cannot be built: {error}")))
}

/// The only catalog.
pub fn catalogs() -> Result<RecordBatch> {
    let mut builder = GetCatalogsBuilder::new();
    builder.append(CATALOG_NAME);
    built(builder.build())
}

/// The databases.
pub fn db_schemas(snapshot: &Arc<Snapshot>, command: CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut builder = command.into_builder();
    for name in schema_names(&lasting(snapshot)) {
        builder.append(CATALOG_NAME, name);
    }
    built(builder.build())
}

/// Without the databases of temporary tables.
fn lasting(snapshot: &Arc<Snapshot>) -> Arc<Snapshot> {
    snapshot.without_temporary_of_others(None)
}

fn schema_names(snapshot: &Snapshot) -> Vec<&str> {
    let own = snapshot.databases.values().map(|database| database.name.as_str());
    own.chain(system::SCHEMAS).collect()
}

/// The kinds of tables.
pub fn table_types(command: CommandGetTableTypes) -> Result<RecordBatch> {
    let mut builder = command.into_builder();
    builder.append(TABLE);
    builder.append(SYSTEM_TABLE);
    builder.append(VIEW);
    built(builder.build())
}

/// The tables, with their schemas when asked for.
pub async fn tables(
    core: &Arc<Coordinator>,
    call: &Call,
    snapshot: &Arc<Snapshot>,
    command: CommandGetTables,
) -> Result<RecordBatch> {
    let with_schema = command.include_schema;
    let mut builder = command.into_builder();
    let mut append = |database: &str, table: &str, kind: &str, schema: &Schema| {
        builder
            .append(CATALOG_NAME, database, table, kind, schema)
            .map_err(|error| Error::internal(format!("a table's schema: {error}")))
    };
    for database in lasting(snapshot).databases.values() {
        for state in snapshot.tables_of(database.id) {
            let schema = table_schema(&state.table);
            append(&database.name, &state.table.name, TABLE, &schema)?;
        }
        for view in snapshot.views_of(database.id) {
            let schema = view_schema(view);
            append(&database.name, &view.name, VIEW, &schema)?;
        }
    }
    let settings = parse_settings(&call.session.settings)?;
    for (name, provider) in system::schemas(core, snapshot, &call.session, &settings) {
        for table in provider.table_names() {
            let schema = match with_schema {
                true => system_schema(provider.as_ref(), &table).await?,
                false => Arc::new(Schema::empty()),
            };
            append(&name, &table, SYSTEM_TABLE, &schema)?;
        }
    }
    built(builder.build())
}

/// A table's visible columns as results carry them.
fn table_schema(table: &Table) -> SchemaRef {
    let field = |column: &granary_catalog::Column| {
        let nullable = column.column_type.is_nullable();
        Field::new(&column.name, edge_type_of(&column.column_type), nullable)
    };
    as_sent(table.visible_columns().map(field).collect())
}

fn view_schema(view: &View) -> SchemaRef {
    as_sent(view.columns.iter().map(|(name, of)| of.arrow_field(name)).collect())
}

fn as_sent(fields: Vec<Field>) -> SchemaRef {
    let nullable: Vec<bool> = fields.iter().map(Field::is_nullable).collect();
    let edge = edge_schema(&Schema::new(fields));
    let fields = edge.fields().iter().zip(nullable);
    Arc::new(Schema::new(
        fields.map(|(f, null)| f.as_ref().clone().with_nullable(null)).collect::<Vec<_>>(),
    ))
}

async fn system_schema(provider: &dyn SchemaProvider, table: &str) -> Result<SchemaRef> {
    let found = provider.table(table).await;
    let found = found.map_err(|error| granary_execution::error::from_datafusion(&error))?;
    Ok(found.map_or_else(|| Arc::new(Schema::empty()), |table| table.schema()))
}

/// The schema of [`primary_keys`].
pub fn primary_keys_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("key_name", DataType::Utf8, true),
    ]))
}

/// The columns of a table's primary key, in the order of the key. It sorts, it is not unique.
pub fn primary_keys(
    snapshot: &Snapshot,
    call: &Call,
    command: CommandGetPrimaryKeys,
) -> Result<RecordBatch> {
    let is_elsewhere = command.catalog.is_some_and(|name| !name.is_empty() && name != CATALOG_NAME);
    let database = command.db_schema.filter(|name| !name.is_empty());
    let name = TableName { database, name: command.table };
    let table = match resolve_table(snapshot, &call.session.database, &name) {
        _ if is_elsewhere => None,
        Ok(table) => Some(table),
        // A view has no key.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => None,
        Err(error) => return Err(error),
    };
    let mut rows: Vec<(String, String, String)> = Vec::new();
    if let Some(table) = &table {
        let database = snapshot.databases.get(&table.database);
        let database = database.map(|database| database.name.clone()).unwrap_or_default();
        for key in table.order_by.iter().take(table.primary_key_len) {
            let column = table.column(key.column).filter(|column| column.is_visible());
            // An expression has no column that tools could show.
            let Some(column) = column else { continue };
            rows.push((database.clone(), table.name.clone(), column.name.clone()));
        }
    }
    let text = |of: fn(&(String, String, String)) -> &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
    };
    let catalog = StringArray::from_iter_values(rows.iter().map(|_| CATALOG_NAME));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(catalog),
        text(|row| &row.0),
        text(|row| &row.1),
        text(|row| &row.2),
        Arc::new(Int32Array::from_iter_values(1..=rows.len() as i32)),
        Arc::new(StringArray::from(vec![None::<&str>; rows.len()])),
    ];
    RecordBatch::try_new(primary_keys_schema(), columns)
        .map_err(|error| Error::internal(error.to_string()))
}

/// The schema of exported, imported and cross-referenced keys, of which there are none.
pub fn foreign_keys_schema() -> SchemaRef {
    let text = |name: &str, nullable: bool| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

/// No rows of [`foreign_keys_schema`].
pub fn foreign_keys() -> Result<RecordBatch> {
    let schema = foreign_keys_schema();
    let empty = |field: &Arc<Field>| -> ArrayRef {
        match field.data_type() {
            DataType::Int32 => Arc::new(Int32Array::from(Vec::<i32>::new())),
            DataType::UInt8 => Arc::new(UInt8Array::from(Vec::<u8>::new())),
            _ => Arc::new(StringArray::from(Vec::<&str>::new())),
        }
    };
    let columns = schema.fields().iter().map(empty).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(0));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .map_err(|error| Error::internal(error.to_string()))
}
