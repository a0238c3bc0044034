//! CommandStatementIngest: a table filled from a stream, made first when asked for.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow_flight::FlightData;
use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::sql::{
    CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use futures::stream::{BoxStream, StreamExt};
use granary_common::{Error, ErrorKind, Result};
use granary_sql::{TableName, column_type_from_arrow, resolve_table};
use tonic::Status;

use super::{statement, status};
use crate::call::Call;
use crate::core::Coordinator;
use crate::insert::{ArrowSource, InsertRequest, Inserted, Piece, insert, stream_error};
use crate::query::Parameters;
use crate::session::{CATALOG_NAME, parse_settings};
use crate::statement::run_to_end;

/// The option and header that carry an insert's token.
const TOKEN_OPTION: &str = "insert_deduplication_token";

/// A Flight stream as pieces to decode; `message_bytes_max` is what the port takes.
pub fn pieces(
    stream: PeekableFlightDataStream,
    message_bytes_max: usize,
) -> BoxStream<'static, Result<Piece>> {
    let piece = move |data: Result<FlightData, Status>| async move {
        match data {
            // The descriptor may come in a message of its own.
            Ok(data) if data.data_header.is_empty() => None,
            Ok(data) => Some(Ok(Piece::Message(data.data_header, data.data_body))),
            Err(failed) => Some(Err(stream_error(&failed, message_bytes_max))),
        }
    };
    stream.filter_map(piece).boxed()
}

/// Inserts the stream.
pub async fn ingest(
    core: &Arc<Coordinator>,
    call: &Call,
    command: CommandStatementIngest,
    stream: PeekableFlightDataStream,
) -> Result<i64, Status> {
    let inserted = run(core, call, command, stream).await.map_err(status)?;
    call.notify(inserted.notices);
    Ok(i64::try_from(inserted.rows).unwrap_or(i64::MAX))
}

async fn run(
    core: &Arc<Coordinator>,
    call: &Call,
    command: CommandStatementIngest,
    stream: PeekableFlightDataStream,
) -> Result<Inserted> {
    if command.temporary {
        return Err(Error::unsupported("temporary tables are not supported"));
    }
    if command.transaction_id.is_some() {
        return Err(Error::unsupported("transactions are not supported; each ingest is atomic"));
    }
    if let Some(catalog) = command.catalog.filter(|name| !name.is_empty() && name != CATALOG_NAME) {
        return Err(Error::not_found(format!("there is no catalog '{catalog}'")));
    }
    let mut session = call.session.clone();
    session.settings.extend(command.options);
    let settings = parse_settings(&session.settings)?;
    let table =
        TableName { database: command.schema.filter(|name| !name.is_empty()), name: command.table };
    let limit = core.config.limits.message_bytes_max;
    let source = ArrowSource::new(pieces(stream, limit), limit);
    let (schema, batches) = source.open().await?;
    prepare_table(core, call, &table, command.table_definition_options, &schema).await?;
    session.settings.remove(TOKEN_OPTION);
    let request = InsertRequest {
        id: core.queries.draw_id(),
        text: format!("ingest into {table}"),
        session,
        table,
        columns: Some(schema.fields().iter().map(|field| field.name().clone()).collect()),
        settings,
        digest: None,
    };
    call.names_query(&request.id);
    insert(core, request, schema, batches).await
}

/// Does what the client asked for about the table's existence.
async fn prepare_table(
    core: &Arc<Coordinator>,
    call: &Call,
    table: &TableName,
    options: Option<TableDefinitionOptions>,
    schema: &Schema,
) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    let found = match resolve_table(&snapshot, &call.session.database, table) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    let Some(options) = options else {
        return match found {
            true => Ok(()),
            false => Err(Error::not_found(format!("unknown table '{table}'"))),
        };
    };
    match (found, options.if_exists(), options.if_not_exist()) {
        (true, TableExistsOption::Fail, _) => {
            Err(Error::already_exists(format!("table '{table}' already exists")))
        }
        (true, TableExistsOption::Replace, _) => {
            execute(core, call, format!("DROP TABLE {}", quoted_table(table))).await?;
            create(core, call, table, schema).await
        }
        (true, ..) => Ok(()),
        (false, _, TableNotExistOption::Create) => create(core, call, table, schema).await,
        (false, ..) => Err(Error::not_found(format!("unknown table '{table}'"))),
    }
}

async fn create(
    core: &Arc<Coordinator>,
    call: &Call,
    table: &TableName,
    schema: &Schema,
) -> Result<()> {
    execute(core, call, create_table_text(table, schema)?).await
}

/// Runs a statement of our own making.
async fn execute(core: &Arc<Coordinator>, call: &Call, sql: String) -> Result<()> {
    let request = statement::request(core, &call.session, sql, Parameters::default());
    call.notify(run_to_end(core, request).await?.notices);
    Ok(())
}

/// The table that fits a schema. Its rows have no order, since nothing says which one is useful.
fn create_table_text(table: &TableName, schema: &Schema) -> Result<String> {
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        let column_type = column_type_from_arrow(field.data_type(), field.is_nullable())
            .map_err(|error| error.context(format!("column '{}'", field.name())))?;
        Ok(format!("{} {column_type}", quoted(field.name())))
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<String>>>()?;
    Ok(format!(
        "CREATE TABLE {} ({}) ENGINE = MergeTree ORDER BY tuple()",
        quoted_table(table),
        columns.join(", ")
    ))
}

fn quoted_table(table: &TableName) -> String {
    match &table.database {
        Some(database) => format!("{}.{}", quoted(database), quoted(&table.name)),
        None => quoted(&table.name),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, TimeUnit};

    #[test]
    fn a_table_fits_its_stream() {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("odd \"name\"", DataType::Utf8, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Field::new_list("tags", Field::new_list_field(DataType::Utf8, false), false),
        ]);
        let table = TableName { database: Some("db".into()), name: "t".into() };
        assert_eq!(
            create_table_text(&table, &schema).unwrap(),
            "CREATE TABLE \"db\".\"t\" (\"id\" Int64, \"odd \"\"name\"\"\" Nullable(String), \
             \"at\" Nullable(DateTime64(6)), \"tags\" Array(String)) \
             ENGINE = MergeTree ORDER BY tuple()"
        );
        let bad = Schema::new(vec![Field::new("d", DataType::Duration(TimeUnit::Second), true)]);
        assert!(create_table_text(&table, &bad).unwrap_err().message().contains("'d'"));
    }
}
