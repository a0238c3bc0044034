//! The coordinator: the life of a query and of an insert, between clients and workers.
//!
//! ```text
//!   flight_sql, insert::rpc ─► call (session) ─► statement ─┬─ query  ─► engine ─► batches
//!                                                           ├─ insert ─► leaders ─► commit
//!                                                           └─ ddl    ─► catalog commands
//! ```
//!
//! A coordinator keeps nothing that a client needs from another one: tickets, prepared handles and
//! sessions are signed and self-contained ([`seal`]). It never reads or writes parts of tables itself:
//! only those of backups.

pub mod auth;
mod backup;
pub mod call;
mod cancel;
pub mod config;
mod core;
mod ddl;
pub mod flight_sql;
mod heartbeat;
pub mod insert;
mod lost;
mod mutate;
mod node;
mod outside;
mod query;
mod refresh;
pub mod seal;
pub mod session;
mod statement;
mod system;
mod temporary;
mod views;

pub use auth::{AcceptAll, Authenticator, Credentials, Identity};
pub use call::{NOTICE_HEADER, QUERY_ID_HEADER};
pub use config::{CoordinatorConfig, Limits};
pub use core::{Collaborators, Coordinator};
pub use node::CoordinatorNode;
