//! Rows to Flight messages.

use std::pin::Pin;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use futures::stream::{Stream, StreamExt};
use granary_common::Result;
use granary_proto::status::to_status;
use tonic::{Response, Status};

use super::internal;

/// The answer of DoGet.
pub type FlightStream =
    Pin<Box<dyn Stream<Item = std::result::Result<FlightData, Status>> + Send + 'static>>;

/// Encodes batches as they are asked for: nothing is gathered, and a message holds at most about
/// `message_bytes_max`.
pub fn stream(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    message_bytes_max: usize,
) -> Response<FlightStream> {
    let batches =
        batches.map(|batch| batch.map_err(|error| FlightError::Tonic(Box::new(to_status(&error)))));
    let encoded = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_max_flight_data_size(message_bytes_max)
        .build(batches);
    Response::new(Box::pin(encoded.map(|data| data.map_err(Status::from))))
}

/// Encodes one batch.
pub fn rows(batch: RecordBatch, message_bytes_max: usize) -> Response<FlightStream> {
    let schema = batch.schema();
    stream(schema, futures::stream::iter([Ok(batch)]), message_bytes_max)
}

/// The answer of GetFlightInfo for rows of `schema` behind `ticket`; without a ticket there are none.
pub fn flight_info(
    descriptor: FlightDescriptor,
    schema: &SchemaRef,
    ticket: Option<Vec<u8>>,
) -> std::result::Result<FlightInfo, Status> {
    let info = FlightInfo::new().with_descriptor(descriptor).with_ordered(true);
    let info = info.try_with_schema(schema).map_err(internal)?;
    Ok(match ticket {
        Some(ticket) => info.with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(ticket))),
        None => info,
    })
}
