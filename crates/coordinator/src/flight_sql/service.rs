//! The dispatch: one short method for each request of Flight SQL.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::metadata::SqlInfoDataBuilder;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionBeginTransactionRequest,
    ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, ActionEndSavepointRequest, ActionEndTransactionRequest,
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
    CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery,
    CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, Ticket,
};
use futures::Stream;
use granary_catalog::Snapshot;
use granary_common::Error;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::encode::{self, FlightStream};
use super::prepared::Binds;
use super::sql_info::SQL_INFO;
use super::xdbc::XDBC_TYPES;
use super::{actions, handshake, ingest, internal, metadata, prepared, statement, status};
use crate::call::Call;
use crate::core::Coordinator;
use crate::query::Parameters;

type Answer<T> = Result<T, Status>;
type Rows = Answer<Response<FlightStream>>;
type Info = Answer<Response<FlightInfo>>;

/// Flight SQL over a coordinator. Requests carry their [`Call`] as an extension.
#[derive(Clone, Debug)]
pub struct FlightSql {
    pub(super) core: Arc<Coordinator>,
    pub(super) binds: Binds,
}

impl FlightSql {
    /// The service of `core`.
    pub fn new(core: Arc<Coordinator>) -> Self {
        Self { core, binds: Binds::new() }
    }

    /// The info of a metadata request: its ticket is the request itself.
    fn info(&self, request: Request<FlightDescriptor>, schema: &SchemaRef) -> Info {
        let descriptor = request.into_inner();
        let ticket = descriptor.cmd.to_vec();
        encode::flight_info(descriptor, schema, Some(ticket)).map(Response::new)
    }

    fn rows(&self, rows: granary_common::Result<RecordBatch>) -> Rows {
        Ok(encode::rows(rows.map_err(status)?, self.core.config.limits.result_message_bytes_max))
    }

    async fn latest(&self) -> Answer<Arc<Snapshot>> {
        self.core.with.catalog.read_latest().await.map_err(status)
    }

    pub(super) fn xdbc_types(&self, data_type: Option<i32>) -> granary_common::Result<RecordBatch> {
        let failed = || Error::internal("the list of types cannot be built");
        let types = XDBC_TYPES.as_ref().ok_or_else(failed)?;
        types.record_batch(data_type).map_err(|_| failed())
    }

    fn foreign_keys_info(&self, request: Request<FlightDescriptor>) -> Info {
        self.info(request, &metadata::foreign_keys_schema())
    }
}

fn no_transactions<T>() -> Answer<T> {
    Err(status(Error::unsupported(
        "transactions are not supported: each statement is atomic; leave autocommit on",
    )))
}

fn check_transaction(id: Option<&prost::bytes::Bytes>) -> Answer<()> {
    match id {
        None => Ok(()),
        Some(_) => no_transactions(),
    }
}

#[tonic::async_trait]
impl FlightSqlService for FlightSql {
    type FlightService = FlightSql;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Answer<Response<Pin<Box<dyn Stream<Item = Answer<HandshakeResponse>> + Send>>>> {
        handshake::handshake(&self.core, request).await
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        check_transaction(query.transaction_id.as_ref())?;
        let call = Call::found(&request)?;
        let none = Parameters::default();
        let statement = statement::request(&self.core, &call.session, query.query, none);
        let info = statement::flight_info(&self.core, &call, statement, request.into_inner());
        info.await.map(Response::new)
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Rows {
        statement::do_get(&self.core, &Call::found(&request)?, ticket).await
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Answer<i64> {
        check_transaction(command.transaction_id.as_ref())?;
        let call = Call::found(&request)?;
        let none = Parameters::default();
        let statement = statement::request(&self.core, &call.session, command.query, none);
        statement::update(&self.core, &call, statement).await
    }

    async fn do_put_statement_ingest(
        &self,
        command: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Answer<i64> {
        let call = Call::found(&request)?;
        ingest::ingest(&self.core, &call, command, request.into_inner()).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Answer<ActionCreatePreparedStatementResult> {
        check_transaction(query.transaction_id.as_ref())?;
        prepared::create(&self.core, &Call::found(&request)?, query.query).await
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Answer<()> {
        prepared::close(&self.core, &self.binds, &query.prepared_statement_handle).map_err(status)
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let call = Call::found(&request)?;
        let (handle, none) = (&query.prepared_statement_handle, Parameters::default());
        let statement = prepared::open_to_run(&self.core, &self.binds, &call, handle, none);
        let statement = statement.map_err(status)?;
        let info = statement::flight_info(&self.core, &call, statement, request.into_inner());
        info.await.map(Response::new)
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Answer<DoPutPreparedStatementResult> {
        let handle = query.prepared_statement_handle;
        prepared::bind_values(&self.core, &self.binds, &handle, request.into_inner()).await
    }

    async fn do_put_prepared_statement_update(
        &self,
        query: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Answer<i64> {
        let call = Call::found(&request)?;
        let handle = query.prepared_statement_handle;
        prepared::update(&self.core, &self.binds, &call, &handle, request.into_inner()).await
    }

    async fn get_flight_info_catalogs(
        &self,
        _query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Info {
        self.info(request, &metadata::catalogs().map_err(status)?.schema())
    }

    async fn do_get_catalogs(&self, _: CommandGetCatalogs, _: Request<Ticket>) -> Rows {
        self.rows(metadata::catalogs())
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Info {
        self.info(request, &query.into_builder().schema())
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, _: Request<Ticket>) -> Rows {
        self.rows(metadata::db_schemas(&self.latest().await?, query))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Info {
        self.info(request, &query.into_builder().schema())
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Rows {
        let call = Call::found(&request)?;
        let snapshot = self.latest().await?;
        self.rows(metadata::tables(&self.core, &call, &snapshot, query).await)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Info {
        self.info(request, &query.into_builder().schema())
    }

    async fn do_get_table_types(&self, query: CommandGetTableTypes, _: Request<Ticket>) -> Rows {
        self.rows(metadata::table_types(query))
    }

    async fn get_flight_info_sql_info(
        &self,
        _query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Info {
        self.info(request, &Arc::new(SqlInfoDataBuilder::schema().clone()))
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, _: Request<Ticket>) -> Rows {
        let info = SQL_INFO.as_ref().ok_or_else(|| internal("the server's information"))?;
        self.rows(query.into_builder(info).build().map_err(|e| Error::internal(e.to_string())))
    }

    async fn get_flight_info_primary_keys(
        &self,
        _query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        self.info(request, &metadata::primary_keys_schema())
    }

    async fn do_get_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<Ticket>,
    ) -> Rows {
        let call = Call::found(&request)?;
        self.rows(metadata::primary_keys(&*self.latest().await?, &call, query))
    }

    async fn get_flight_info_exported_keys(
        &self,
        _query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        self.foreign_keys_info(request)
    }

    async fn do_get_exported_keys(&self, _: CommandGetExportedKeys, _: Request<Ticket>) -> Rows {
        self.rows(metadata::foreign_keys())
    }

    async fn get_flight_info_imported_keys(
        &self,
        _query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        self.foreign_keys_info(request)
    }

    async fn do_get_imported_keys(&self, _: CommandGetImportedKeys, _: Request<Ticket>) -> Rows {
        self.rows(metadata::foreign_keys())
    }

    async fn get_flight_info_cross_reference(
        &self,
        _query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Info {
        self.foreign_keys_info(request)
    }

    async fn do_get_cross_reference(
        &self,
        _: CommandGetCrossReference,
        _: Request<Ticket>,
    ) -> Rows {
        self.rows(metadata::foreign_keys())
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        _query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Info {
        self.info(request, &self.xdbc_types(None).map_err(status)?.schema())
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        _: Request<Ticket>,
    ) -> Rows {
        self.rows(self.xdbc_types(query.data_type))
    }

    async fn do_action_begin_transaction(
        &self,
        _query: ActionBeginTransactionRequest,
        _request: Request<Action>,
    ) -> Answer<ActionBeginTransactionResult> {
        no_transactions()
    }

    async fn do_action_end_transaction(
        &self,
        _query: ActionEndTransactionRequest,
        _request: Request<Action>,
    ) -> Answer<()> {
        no_transactions()
    }

    async fn do_action_begin_savepoint(
        &self,
        _query: ActionBeginSavepointRequest,
        _request: Request<Action>,
    ) -> Answer<ActionBeginSavepointResult> {
        no_transactions()
    }

    async fn do_action_end_savepoint(
        &self,
        _query: ActionEndSavepointRequest,
        _request: Request<Action>,
    ) -> Answer<()> {
        no_transactions()
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        _request: Request<Action>,
    ) -> Answer<ActionCancelQueryResult> {
        let malformed = |_| status(Error::invalid("the FlightInfo to cancel is malformed"));
        let info = FlightInfo::decode(&*query.info).map_err(malformed)?;
        let result = actions::cancel(&self.core, Some(&info)).await.map_err(status)?;
        // Both enumerations count alike.
        Ok(ActionCancelQueryResult { result: result as i32 })
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Answer<Response<<Self as FlightService>::DoActionStream>> {
        let call = Call::found(&request)?;
        let body = actions::run(&self.core, &call, request.get_ref()).await.map_err(status)?;
        let results = futures::stream::iter([Ok(arrow_flight::Result { body })]);
        Ok(Response::new(Box::pin(results)))
    }

    async fn list_custom_actions(&self) -> Option<Vec<Answer<ActionType>>> {
        Some(actions::list().into_iter().map(Ok).collect())
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
