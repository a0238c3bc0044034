//! The BulkInsert service.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use granary_common::{Error, Result};
use granary_proto::status::to_status;
use granary_proto::v1::bulk_insert_server::BulkInsert;
use granary_proto::v1::insert_request::Message;
use granary_proto::v1::{InsertHeader, InsertRequest as WireRequest, InsertResponse};
use granary_sql::TableName;
use tonic::{Request, Response, Status, Streaming};

use super::source::{Piece, stream_error};
use super::{ArrowSource, InsertRequest, Inserted, insert};
use crate::call::Call;
use crate::core::Coordinator;
use crate::session::{Session, parse_settings};
use crate::temporary;

/// Serves `granary.v1.BulkInsert`.
#[derive(Clone, Debug)]
pub struct BulkInsertService {
    core: Arc<Coordinator>,
}

impl BulkInsertService {
    /// The service of `core`.
    pub fn new(core: Arc<Coordinator>) -> Self {
        Self { core }
    }

    async fn insert_stream(
        &self,
        session: Session,
        mut messages: Streaming<WireRequest>,
    ) -> Result<Inserted> {
        self.core.check_accepting()?;
        let limit = self.core.config.limits.message_bytes_max;
        let first = messages.message().await.map_err(|status| stream_error(&status, limit))?;
        let Some(Message::Header(header)) = first.and_then(|request| request.message) else {
            return Err(Error::invalid("the first message of an insert is its header"));
        };
        let pieces = messages.map(move |request| {
            match request.map_err(|status| stream_error(&status, limit))?.message {
                Some(Message::ArrowIpc(bytes)) => Ok(Piece::Stream(bytes)),
                Some(Message::Header(_)) => {
                    Err(Error::invalid("a second header; one call is one insert"))
                }
                None => Ok(Piece::Stream(Bytes::new())),
            }
        });
        let (schema, batches) = ArrowSource::new(pieces.boxed(), limit).open().await?;
        let names = schema.fields().iter().map(|field| field.name().clone()).collect();
        let named = TableName {
            database: Some(header.database.clone()).filter(|name| !name.is_empty()),
            name: header.table.clone(),
        };
        let table = temporary::named(&self.core, &session, named).await?;
        let request = insert_request(&self.core, session, header, table, names)?;
        insert(&self.core, request, schema, batches).await
    }
}

fn insert_request(
    core: &Coordinator,
    mut session: Session,
    header: InsertHeader,
    table: TableName,
    columns: Vec<String>,
) -> Result<InsertRequest> {
    if header.table.is_empty() {
        return Err(Error::invalid("the insert's header names no table"));
    }
    let database = table.database.unwrap_or_else(|| session.database.clone());
    let table = TableName { database: Some(database), name: table.name };
    session.settings.extend(header.settings);
    let mut settings = parse_settings(&session.settings)?;
    if !header.token.is_empty() {
        settings.insert.token = header.token;
    }
    Ok(InsertRequest {
        id: core.queries.draw_id(),
        text: format!("bulk insert into {table}"),
        session,
        table,
        columns: Some(columns),
        settings,
        digest: None,
    })
}

#[tonic::async_trait]
impl BulkInsert for BulkInsertService {
    async fn insert(
        &self,
        mut request: Request<Streaming<WireRequest>>,
    ) -> Result<Response<InsertResponse>, Status> {
        let call = Call::of(&self.core, &mut request).await.map_err(|error| to_status(&error))?;
        let messages = request.into_inner();
        let inserted = self.insert_stream(call.session.clone(), messages).await;
        let inserted = inserted.map_err(|error| to_status(&error))?;
        call.notify(inserted.notices);
        let mut response = Response::new(InsertResponse {
            rows: inserted.rows,
            parts: inserted.parts,
            version: inserted.version.0,
            duplicate: inserted.duplicate,
            token: inserted.token,
        });
        call.answer(&self.core, response.metadata_mut());
        Ok(response)
    }
}
