//! CommandStatementIngest: a table filled from a stream, made first when asked for.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use arrow_flight::FlightData;
use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::sql::{
    CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use futures::stream::{BoxStream, StreamExt};
use granary_common::{Error, ErrorKind, Result};
use granary_proto::status::from_status;
use granary_sql::{TableName, resolve_table};
use tonic::Status;

use super::{statement, status};
use crate::call::Call;
use crate::core::Coordinator;
use crate::insert::{ArrowSource, InsertRequest, Inserted, Piece, insert};
use crate::query::Parameters;
use crate::session::{CATALOG_NAME, parse_settings};
use crate::statement::run_to_end;

/// The option and header that carry an insert's token.
const TOKEN_OPTION: &str = "insert_deduplication_token";

/// A Flight stream as pieces to decode.
pub fn pieces(stream: PeekableFlightDataStream) -> BoxStream<'static, Result<Piece>> {
    let piece = |data: Result<FlightData, Status>| async move {
        match data {
            // The descriptor may come in a message of its own.
            Ok(data) if data.data_header.is_empty() => None,
            Ok(data) => Some(Ok(Piece::Message(data.data_header, data.data_body))),
            Err(failed) => Some(Err(from_status(&failed))),
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
    let table = TableName {
        database: command.schema.filter(|name| !name.is_empty()),
        name: command.table,
    };
    let source = ArrowSource::new(pieces(stream), core.config.limits.message_bytes_max);
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
    run_to_end(core, request).await.map(drop)
}

/// The table that fits a schema. Its rows have no order, since nothing says which one is useful.
fn create_table_text(table: &TableName, schema: &Schema) -> Result<String> {
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        let name = type_name(field.data_type()).map_err(|error| {
            error.context(format!("column '{}'", field.name()))
        })?;
        let null = if field.is_nullable() { "NULL" } else { "NOT NULL" };
        Ok(format!("{} {name} {null}", quoted(field.name())))
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

/// The type of a column that holds all values of an Arrow type.
fn type_name(data_type: &DataType) -> Result<String> {
    Ok(match data_type {
        DataType::Boolean => "Bool".to_owned(),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64 => data_type.to_string(),
        DataType::Float16 => "Float32".to_owned(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s)
            if *s >= 0 =>
        {
            format!("Decimal({p}, {s})")
        }
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::Null => "String".to_owned(),
        DataType::Date32 | DataType::Date64 => "Date".to_owned(),
        DataType::Timestamp(unit, zone) => timestamp_name(*unit, zone.as_deref()),
        DataType::Dictionary(_, values) => type_name(values)?,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("Array({})", element_name(item)?)
        }
        other => {
            return Err(Error::unsupported(format!(
                "no column type for Arrow's {other}; create the table first and send what it takes"
            )));
        }
    })
}

fn element_name(item: &arrow::datatypes::Field) -> Result<String> {
    let name = type_name(item.data_type())?;
    let takes_null = !matches!(item.data_type(), DataType::List(_) | DataType::LargeList(_));
    Ok(if item.is_nullable() && takes_null { format!("Nullable({name})") } else { name })
}

fn timestamp_name(unit: TimeUnit, zone: Option<&str>) -> String {
    let precision = match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    match zone {
        Some(zone) => format!("DateTime64({precision}, '{}')", zone.replace('\'', "\\'")),
        None => format!("DateTime64({precision})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;

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
            "CREATE TABLE \"db\".\"t\" (\"id\" Int64 NOT NULL, \"odd \"\"name\"\"\" String NULL, \
             \"at\" DateTime64(6) NULL, \"tags\" Array(String) NOT NULL) \
             ENGINE = MergeTree ORDER BY tuple()"
        );
        let bad = Schema::new(vec![Field::new("d", DataType::Duration(TimeUnit::Second), true)]);
        assert!(create_table_text(&table, &bad).unwrap_err().message().contains("'d'"));
    }
}
