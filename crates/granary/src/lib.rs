//! The `granary` binary as a library: settings, roles, the SQL shell, bulk loading, the demo, and
//! [`cluster`], which starts clusters of separate processes.

pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod exit;
pub mod load;
pub mod roles;
pub mod shell;
pub mod telemetry;
