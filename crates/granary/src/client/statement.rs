//! Statements and their answers.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::{Action, CancelFlightInfoRequest, FlightInfo, IpcMessage};
use futures::StreamExt;
use granary_common::{Error, Result};
use prost::Message;
use std::sync::Arc;

use super::{Client, SessionChannel, flight_error};
use arrow_flight::sql::client::FlightSqlServiceClient;

/// The answer to a statement, read batch by batch.
#[derive(Debug)]
pub struct Answer {
    flight: FlightSqlServiceClient<SessionChannel>,
    info: FlightInfo,
    schema: SchemaRef,
    next_endpoint: usize,
    stream: Option<FlightRecordBatchStream>,
}

impl Client {
    /// Sends one statement. The answer has begun when this returns; its rows come with
    /// [`Answer::next`].
    pub async fn execute(&mut self, sql: &str) -> Result<Answer> {
        let info = self.flight.execute(sql.to_owned(), None).await.map_err(flight_error)?;
        let schema = match info.schema.len() {
            0 => Schema::empty(),
            _ => Schema::try_from(IpcMessage(info.schema.clone()))
                .map_err(|error| Error::internal(format!("the answer's schema: {error}")))?,
        };
        Ok(Answer {
            flight: self.flight.clone(),
            info,
            schema: Arc::new(schema),
            next_endpoint: 0,
            stream: None,
        })
    }

    /// Runs one statement to its end and forgets its rows.
    pub async fn run(&mut self, sql: &str) -> Result<()> {
        let mut answer = self.execute(sql).await?;
        while answer.next().await?.is_some() {}
        Ok(())
    }

    /// Runs one statement and gathers its rows; for answers that are known to be small.
    pub async fn query(&mut self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let mut answer = self.execute(sql).await?;
        let mut batches = Vec::new();
        while let Some(batch) = answer.next().await? {
            batches.push(batch);
        }
        let schema = batches.first().map_or_else(|| answer.schema(), RecordBatch::schema);
        Ok((schema, batches))
    }
}

impl Answer {
    /// The columns of the rows; none for statements that return no rows.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next batch of rows; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(stream) = &mut self.stream {
                match stream.next().await {
                    Some(Ok(batch)) => return Ok(Some(batch)),
                    Some(Err(error)) => return Err(stream_error(error)),
                    None => self.stream = None,
                }
            }
            // Any coordinator serves any ticket, so the locations need not be looked at.
            let Some(endpoint) = self.info.endpoint.get(self.next_endpoint) else {
                return Ok(None);
            };
            self.next_endpoint += 1;
            let Some(ticket) = endpoint.ticket.clone() else { continue };
            self.stream = Some(self.flight.do_get(ticket).await.map_err(flight_error)?);
        }
    }

    /// Tells the coordinator to stop the work for this answer, wherever it runs.
    pub async fn cancel(mut self) -> Result<()> {
        // A stream that is dropped stops the work by itself; the action also covers what has
        // not been asked for yet.
        self.stream = None;
        let request = CancelFlightInfoRequest::new(self.info);
        let action = Action::new("CancelFlightInfo", request.encode_to_vec());
        let mut results = self.flight.do_action(action).await.map_err(flight_error)?;
        while results.message().await.map_err(|e| granary_proto::status::from_status(&e))?.is_some()
        {
        }
        Ok(())
    }
}

/// The error of a stream of rows.
pub fn stream_error(error: FlightError) -> Error {
    flight_error(error)
}
