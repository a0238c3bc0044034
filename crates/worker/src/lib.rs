//! A worker: holds parts, writes new ones, runs fragments of queries, and tells the metadata group
//! that it lives. Never sees SQL text.

mod node;

pub use node::{WorkerConfig, WorkerNode};
