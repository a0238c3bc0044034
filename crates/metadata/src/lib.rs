//! The metadata group: Raft over RocksDB, whose state machine is the catalog.
//!
//! ```text
//!   Catalog calls ─► group ─► Raft ─► store/log (synced) ─► followers
//!                      │                  │ committed
//!                      │            store/state: granary_catalog::apply ─► rows on RocksDB
//!                      │                  │
//!                      └── feed ◄─────────┘ ─► watch streams of workers and coordinators
//!   duties (leader): leases ─► controller::decide ─► commands
//! ```
//!
//! Nothing else links openraft and RocksDB, and nothing here knows what rows or queries are. Raft,
//! leases and heartbeats run on threads of their own, so that a heavy query costs no election.

mod balance;
mod catalog;
mod config;
mod controller;
mod departures;
mod dry_run;
mod duties;
mod feed;
mod formation;
mod group;
mod leases;
mod measure;
mod members;
mod membership;
mod node;
mod peers;
mod placement;
mod raft;
mod resumed;
mod service;
mod space;
mod store;
#[cfg(test)]
mod test_support;
mod versions;
mod weights;

pub use config::{MetadataConfig, Retention, Timing};
pub use node::MetadataNode;

/// What the leader decides from what it knows, for whoever drives it in another way: a simulation.
pub mod decisions {
    pub use crate::controller::{View, decide};
    pub use crate::leases::{Lease, LeaseView, Leases};
    pub use crate::members::{GroupMember, GroupView, MemberStep, step_to_add, step_to_remove};
    pub use crate::resumed::Resumed;
}
