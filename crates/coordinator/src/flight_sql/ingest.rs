//! CommandStatementIngest: a table filled from a stream, made first when asked for.

use std::sync::Arc;

use arrow_flight::FlightData;
use arrow_flight::sql::CommandStatementIngest;
use arrow_flight::sql::server::PeekableFlightDataStream;
use futures::FutureExt;
use futures::stream::{BoxStream, StreamExt};
use granary_common::{Error, Result};
use granary_sql::TableName;
use tonic::Status;

use super::ingest_table::prepare_table;
use super::status;
use crate::call::Call;
use crate::core::Coordinator;
use crate::insert::{ArrowSource, InsertRequest, Inserted, Piece, insert, stream_error};
use crate::session::{CATALOG_NAME, Session, parse_settings};
use crate::temporary;

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
    if command.transaction_id.is_some() {
        return Err(Error::unsupported("transactions are not supported; each ingest is atomic"));
    }
    if let Some(catalog) = command.catalog.filter(|name| !name.is_empty() && name != CATALOG_NAME) {
        return Err(Error::not_found(format!("there is no catalog '{catalog}'")));
    }
    let mut session = call.session.clone();
    let options = command.options.into_iter();
    session.settings.extend(options.map(|(name, value)| (name.to_ascii_lowercase(), value)));
    let settings = parse_settings(&session.settings)?;
    let table =
        TableName { database: command.schema.filter(|name| !name.is_empty()), name: command.table };
    let held = core.sessions.hold(&session.id);
    let table = match command.temporary {
        true => in_temporary(core, call, &mut session, table).await?,
        false => temporary::named(core, &session, table).await?,
    };
    let limit = core.config.limits.message_bytes_max;
    let source = ArrowSource::new(pieces(stream, limit), limit);
    let (schema, batches) = source.open().await?;
    let id = core.queries.draw_id();
    let options = command.table_definition_options;
    let made = prepare_table(core, call, &id, &table, options, &schema).boxed().await?;
    session.settings.remove(TOKEN_OPTION);
    let request = InsertRequest {
        id,
        text: format!("ingest into {table}"),
        session,
        table: made.as_ref().map_or(table, |made| made.name.clone()),
        columns: Some(schema.fields().iter().map(|field| field.name().clone()).collect()),
        settings,
        digest: None,
    };
    call.names_query(&request.id);
    let inserted = insert(core, request, schema, batches).await;
    let inserted = match made {
        Some(made) => made.settle(inserted).await,
        None => inserted,
    };
    drop(held);
    inserted
}

/// The table of this name among the temporary ones of the session, which may have none yet.
async fn in_temporary(
    core: &Arc<Coordinator>,
    call: &Call,
    session: &mut Session,
    table: TableName,
) -> Result<TableName> {
    if let Some(database) = table.database {
        return Err(Error::invalid(format!(
            "a temporary table belongs to its session and not to database '{database}'"
        )));
    }
    let with_database = temporary::with_database(core, &call.session).await?;
    session.temporary.clone_from(&with_database.temporary);
    if with_database.temporary != call.session.temporary {
        call.change_session(core, with_database);
    }
    Ok(TableName { database: session.temporary.clone(), name: table.name })
}
