//! A worker: holds parts, writes new ones, runs fragments of queries, and tells the metadata group
//! that it lives. Never sees SQL text.
//!
//! ```text
//!   WriteBlock ─► sort, split, sync ─► NewPart ─► (the coordinator commits)
//!   fragments  ─► PartScanExec over the PartStore ─► Arrow streams
//!   ScanPart   ─► one part, filtered, for whoever does not hold it
//!   snapshot, OPTIMIZE ─► merges of the buckets that it leads ─► MergeParts
//!   copies of parts go to, and come from, the other replicas of its buckets
//! ```

mod data_folder;
mod heartbeat;
mod join;
mod local;
mod merge;
mod metrics;
mod node;
mod part_ids;
mod registration;
mod replicate;
mod server;
mod sweep;
mod volumes;

pub use merge::MergeSettings;
pub use node::{SHARED_VOLUME, WorkerConfig, WorkerNode};
