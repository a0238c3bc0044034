//! The coordinator.
pub mod auth;
pub mod config;
pub mod insert;
pub mod seal;
pub mod session;
