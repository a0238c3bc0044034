//! A worker: holds parts, writes new ones, runs fragments of queries, and tells the metadata group
//! that it lives. Never sees SQL text.
//!
//! ```text
//!   WriteBlock ─► sort, split, sync ─► NewPart ─► (the coordinator commits)
//!   fragments  ─► PartScanExec over the PartStore ─► Arrow streams
//!   ScanPart   ─► one part, filtered, for whoever does not hold it
//!   CheckPart  ─► every byte of a part's files; damage ─► MarkDamage ─► mended from a peer
//!   a scrub, once in a period ─► the same of every part here
//!   snapshot, OPTIMIZE ─► merges of the buckets that it leads ─► MergeParts
//!   copies of parts go to, and come from, the other replicas of its buckets
//! ```

mod background;
mod data_folder;
mod fullness;
mod heartbeat;
mod join;
mod load;
mod local;
mod merge;
mod metrics;
mod node;
mod part_ids;
mod quarantine;
mod registration;
mod replicate;
mod scrub;
mod server;
mod sweep;
#[cfg(test)]
mod tests;
mod volumes;

pub use merge::MergeSettings;
pub use node::{WorkerConfig, WorkerNode};
pub use scrub::ScrubSettings;
pub use volumes::{Reserves, SHARED_VOLUME};

/// What a worker decides from the catalog, and how it registers and gives ids, for whoever drives it in
/// another way: a simulation.
pub mod decisions {
    pub use crate::merge::decisions::{
        CarryOver, Committer, Ended, Job, Lane, Made, Merger, Replaced, SplitCarryOver,
        SplitDeletions, SplitJob, SplitMade, choose_splits, led,
    };
    pub use crate::part_ids::LeasedPartIds;
    pub use crate::registration::Registration;
    pub use crate::replicate::{Arrivals, Arriving, Plan, Shipper, Wanted, plan};
    pub use crate::sweep::{named, named_shared, sweeps_shared};
}
