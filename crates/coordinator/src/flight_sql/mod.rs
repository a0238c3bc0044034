//! Flight SQL.
//!
//! ```text
//!   FlightService ─GranaryFlight─► session, drain, headers ─FlightSql─► one file for each concern
//! ```
//!
//! A statement that gives rows is bound by GetFlightInfo and run by DoGet. Any other statement is
//! run by GetFlightInfo itself, once: its answer has no endpoints and says in `total_records` how
//! many rows it wrote. So clients that send everything as a query are served too. Endpoints name no
//! location, which means the connection at hand: behind a load balancer that is any coordinator,
//! and any coordinator redeems the ticket.

mod actions;
mod encode;
mod handshake;
mod ingest;
mod ingest_table;
mod metadata;
mod outer;
mod prepared;
mod schema;
mod service;
mod sql_info;
mod statement;
mod ticket;
mod xdbc;

pub use outer::GranaryFlight;
pub use service::FlightSql;
pub use ticket::{PreparedHandle, Ticket};

use granary_common::Error;
use granary_proto::status::to_status;
use tonic::Status;

/// The status of an error, for `map_err`.
fn status(error: Error) -> Status {
    to_status(&error)
}

/// The status of a failure to encode what is ours.
fn internal(error: impl std::fmt::Display) -> Status {
    status(Error::internal(format!("an answer cannot be encoded: {error}")))
}
