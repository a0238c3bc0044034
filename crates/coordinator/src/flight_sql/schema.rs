//! GetSchema: what GetFlightInfo would say, without a plan being kept or a statement being run.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::sql::metadata::SqlInfoDataBuilder;
use arrow_flight::sql::{Any, Command};
use arrow_flight::{FlightDescriptor, SchemaAsIpc, SchemaResult};
use arrow_ipc::writer::IpcWriteOptions;
use granary_common::{Error, Result};
use prost::Message;
use tonic::Status;

use super::service::FlightSql;
use super::{internal, metadata, prepared, statement, status};
use crate::call::Call;
use crate::query::{Parameters, StatementRequest, bind_statement, is_query, one_statement};

/// The schema of what a descriptor stands for.
pub async fn get_schema(
    flight: &FlightSql,
    call: &Call,
    descriptor: FlightDescriptor,
) -> Result<SchemaResult, Status> {
    let schema = schema_of(flight, call, &descriptor.cmd).await.map_err(status)?;
    let options = IpcWriteOptions::default();
    SchemaAsIpc::new(&schema, &options).try_into().map_err(internal)
}

async fn schema_of(flight: &FlightSql, call: &Call, command: &[u8]) -> Result<SchemaRef> {
    let malformed = |error: String| Error::invalid(format!("a malformed command: {error}"));
    let any = Any::decode(command).map_err(|error| malformed(error.to_string()))?;
    let core = &flight.core;
    match Command::try_from(any).map_err(|error| malformed(error.to_string()))? {
        Command::CommandStatementQuery(query) => {
            let none = Parameters::default();
            let request = statement::request(core, &call.session, query.query, none);
            of_statement(flight, request).await
        }
        Command::CommandPreparedStatementQuery(query) => {
            let handle = &query.prepared_statement_handle;
            of_statement(flight, prepared::open(core, &flight.binds, call, handle)?).await
        }
        Command::CommandGetCatalogs(_) => metadata::catalogs().map(|rows| rows.schema()),
        Command::CommandGetDbSchemas(command) => Ok(command.into_builder().schema()),
        Command::CommandGetTables(command) => Ok(command.into_builder().schema()),
        Command::CommandGetTableTypes(command) => Ok(command.into_builder().schema()),
        Command::CommandGetPrimaryKeys(_) => Ok(metadata::primary_keys_schema()),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => Ok(metadata::foreign_keys_schema()),
        Command::CommandGetSqlInfo(_) => Ok(Arc::new(SqlInfoDataBuilder::schema().clone())),
        Command::CommandGetXdbcTypeInfo(_) => flight.xdbc_types(None).map(|rows| rows.schema()),
        other => Err(Error::unsupported(format!("no schema for {}", other.type_url()))),
    }
}

async fn of_statement(flight: &FlightSql, request: StatementRequest) -> Result<SchemaRef> {
    let parsed = one_statement(&flight.core, &request).await?;
    match is_query(&parsed) {
        true => Ok(bind_statement(&flight.core, request, parsed).await?.schema),
        false => Ok(Arc::new(Schema::empty())),
    }
}
