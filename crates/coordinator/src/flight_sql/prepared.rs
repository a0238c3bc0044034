//! Prepared statements. The handle is the statement: it carries text, session and bound values.
//!
//! Binding answers with a new handle, which any coordinator runs. For clients that keep the old one,
//! the coordinator where they bound remembers the values, for one run: had the client bound others
//! elsewhere meanwhile, a second run would be wrong without anybody noticing.

use std::sync::Arc;
use std::time::Duration;

use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::sql::{ActionCreatePreparedStatementResult, DoPutPreparedStatementResult};
use arrow_flight::{IpcMessage, SchemaAsIpc};
use arrow_ipc::writer::IpcWriteOptions;
use bytes::Bytes;
use futures::StreamExt;
use granary_common::{Error, Result};
use granary_sql::{Statement, parameter_types};
use tonic::Status;

use super::ingest::pieces;
use super::ticket::PreparedHandle;
use super::{internal, statement, status};
use crate::call::Call;
use crate::core::Coordinator;
use crate::insert::ArrowSource;
use crate::query::{
    Bound, Parameters, StatementRequest, bind_statement, is_query, one_statement, snapshot_at,
};
use crate::session::parse_settings;

/// Values that clients bound and whose new handle they may not take; bounded by bytes and age.
#[derive(Clone, Debug)]
pub struct Binds {
    values: moka::sync::Cache<String, Bytes>,
}

impl Binds {
    const BYTES_MAX: u64 = 64 << 20;
    const IDLE_MAX: Duration = Duration::from_secs(600);

    pub fn new() -> Self {
        let values = moka::sync::Cache::builder()
            .max_capacity(Self::BYTES_MAX)
            .weigher(|id: &String, bytes: &Bytes| {
                u32::try_from(id.len() + bytes.len()).unwrap_or(u32::MAX)
            })
            .time_to_idle(Self::IDLE_MAX)
            .build();
        Self { values }
    }
}

/// Prepares a statement: checks it, and says what rows and what parameters it has.
pub async fn create(
    core: &Arc<Coordinator>,
    call: &Call,
    sql: String,
) -> Result<ActionCreatePreparedStatementResult, Status> {
    core.check_accepting().map_err(status)?;
    let request = statement::request(core, &call.session, sql, Parameters::default());
    let (rows, parameters) = describe(core, request.clone()).await.map_err(status)?;
    let handle = PreparedHandle {
        id: request.id.0,
        sql: request.sql,
        session: request.session,
        parameters: Vec::new(),
        parameters_total: positional(&parameters),
    };
    let sealed = core.sealer().and_then(|sealer| handle.seal(sealer)).map_err(status)?;
    Ok(ActionCreatePreparedStatementResult {
        prepared_statement_handle: sealed.into(),
        dataset_schema: rows.map(|schema| schema_bytes(&schema)).transpose()?.unwrap_or_default(),
        parameter_schema: schema_bytes(&parameters)?,
    })
}

/// The schema of the rows that a statement gives, if it gives any, and that of its parameters.
async fn describe(
    core: &Arc<Coordinator>,
    request: StatementRequest,
) -> Result<(Option<SchemaRef>, Schema)> {
    let statement = one_statement(core, &request).await?;
    if is_query(&statement) {
        let bound = bind_statement(core, request, statement).await?;
        let parameters = match &bound.bound {
            Bound::Plan { plan, .. } | Bound::Explain { plan, .. } => parameter_types(plan)?,
            Bound::Rows(_) | Bound::Check(_) | Bound::Taken => Vec::new(),
        };
        return Ok((Some(bound.schema), parameter_schema(parameters)));
    }
    let Statement::Insert(insert) = &statement else { return Ok((None, Schema::empty())) };
    // Each value is made one of its column, so that a column's may be of different types.
    if insert.formatted.is_none() && granary_sql::has_plain_values(insert) {
        return Ok((None, Schema::empty()));
    }
    let (snapshot, _pin) = snapshot_at(core, None).await?;
    let settings = parse_settings(&request.session.settings)?;
    let table = granary_sql::resolve_table(&snapshot, &request.session.database, &insert.table)?;
    let state = core.session_state(&snapshot, &request.session, &settings)?;
    let plan = granary_sql::bind_insert_source(&state, &insert.source, &request.sql).await?;
    let mut parameters = parameter_types(&plan)?;
    // VALUES (?, ?): each placeholder has the type of its column.
    if let Some(places) = crate::insert::placeholder_columns(&plan) {
        let named = insert.columns.as_deref();
        let types = crate::insert::column_types(&table, named);
        for (place, data_type) in places.into_iter().zip(types) {
            if let Some((_, known)) = parameters.get_mut(place) {
                known.get_or_insert(data_type);
            }
        }
    }
    Ok((None, parameter_schema(parameters)))
}

/// A placeholder whose type nothing tells is announced as text.
fn parameter_schema(parameters: Vec<(String, Option<DataType>)>) -> Schema {
    let field = |(name, data_type): (String, Option<DataType>)| {
        let data_type = match data_type {
            None | Some(DataType::Null | DataType::Utf8View) => DataType::Utf8,
            Some(DataType::BinaryView) => DataType::Binary,
            Some(known) => known,
        };
        Field::new(name, data_type, true)
    };
    Schema::new(parameters.into_iter().map(field).collect::<Vec<_>>())
}

/// How many of the parameters a client has to bind: those with a name may come from the session.
fn positional(parameters: &Schema) -> usize {
    let is_number = |name: &str| name.trim_start_matches('$').parse::<u64>().is_ok();
    parameters.fields().iter().filter(|field| is_number(field.name())).count()
}

fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &options).try_into().map_err(internal)?;
    Ok(bytes)
}

/// Takes values for a statement's placeholders; the new handle carries them.
pub async fn bind_values(
    core: &Arc<Coordinator>,
    binds: &Binds,
    sealed: &[u8],
    stream: PeekableFlightDataStream,
) -> Result<DoPutPreparedStatementResult, Status> {
    let sealer = core.sealer().map_err(status)?;
    let mut handle = PreparedHandle::open(sealer, sealed).map_err(status)?;
    let values = read_parameters(core, stream).await.map_err(status)?;
    handle.parameters = values.to_bytes().map_err(status)?;
    binds.values.insert(handle.id.clone(), handle.parameters.clone().into());
    let sealed = handle.seal(sealer).map_err(status)?;
    Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(sealed.into()) })
}

/// The request of a prepared statement with what was bound to it, if anything is: to look at it.
pub fn open(
    core: &Coordinator,
    binds: &Binds,
    call: &Call,
    sealed: &[u8],
) -> Result<StatementRequest> {
    let handle = PreparedHandle::open(core.sealer()?, sealed)?;
    let kept = binds.values.get(&handle.id);
    request_of(core, call, handle, kept)
}

/// The same to run it: `sent` are the values that came with the call, if any did.
///
/// Kind `InvalidInput` when it needs values and none are known here.
pub fn open_to_run(
    core: &Coordinator,
    binds: &Binds,
    call: &Call,
    sealed: &[u8],
    sent: Parameters,
) -> Result<StatementRequest> {
    let handle = PreparedHandle::open(core.sealer()?, sealed)?;
    let needed = handle.parameters_total;
    let kept = binds.values.remove(&handle.id);
    let mut request = request_of(core, call, handle, kept)?;
    if !sent.is_empty() {
        request.parameters = sent;
    }
    if needed > 0 && request.parameters.is_empty() {
        return Err(Error::invalid(format!(
            "the prepared statement has {needed} parameters and this coordinator knows no values \
             for them: bind them, and run the handle that the binding answers with, which every \
             coordinator knows; a client that keeps the first handle has to bind before each run, \
             at the coordinator that runs it"
        )));
    }
    Ok(request)
}

fn request_of(
    core: &Coordinator,
    call: &Call,
    handle: PreparedHandle,
    kept: Option<Bytes>,
) -> Result<StatementRequest> {
    let parameters = match handle.parameters.is_empty() {
        true => Parameters::from_bytes(&kept.unwrap_or_default())?,
        false => Parameters::from_bytes(&handle.parameters)?,
    };
    let session = call.session_for(&handle.session);
    Ok(statement::request(core, session, handle.sql, parameters))
}

/// Forgets what a statement keeps here.
pub fn close(core: &Coordinator, binds: &Binds, sealed: &[u8]) -> Result<()> {
    let handle = PreparedHandle::open(core.sealer()?, sealed)?;
    binds.values.invalidate(&handle.id);
    Ok(())
}

/// Runs a prepared statement for each row of the values that come with it.
pub async fn update(
    core: &Arc<Coordinator>,
    binds: &Binds,
    call: &Call,
    sealed: &[u8],
    stream: PeekableFlightDataStream,
) -> Result<i64, Status> {
    let values = read_parameters(core, stream).await.map_err(status)?;
    let request = open_to_run(core, binds, call, sealed, values).map_err(status)?;
    statement::update(core, call, request).await
}

/// All rows of values of a call, bounded like one message.
async fn read_parameters(
    core: &Coordinator,
    stream: PeekableFlightDataStream,
) -> Result<Parameters> {
    let limit = core.config.limits.message_bytes_max;
    let source = ArrowSource::new(pieces(stream, limit), limit);
    let Some((schema, mut batches)) = source.open_if_any().await? else {
        return Ok(Parameters::default());
    };
    let (mut all, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = batches.next().await.transpose()? {
        bytes += batch.get_array_memory_size();
        if bytes > limit {
            return Err(Error::exhausted("too many parameters in one call; use bulk ingest"));
        }
        all.push(batch);
    }
    let rows = concat_batches(&schema, &all).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(match rows.num_columns() {
        0 => Parameters::default(),
        _ => Parameters::of(rows),
    })
}
