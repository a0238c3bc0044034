//! A whole cluster in one thread: metadata group, coordinators, workers, disks and network, under a
//! seed. A seed that fails replays identically.
//!
//! ```text
//!   clients ─► coordinators ─► leaders of buckets ─► copies      inserts with tokens, deletions, reads
//!                   └────────► metadata group                    commits, leases, placement
//!   machines ─► kill, cut off, freeze, lose, delay, fill, jump   all at once, too
//!   oracle   ─► what was acknowledged is there once, at every later version
//! ```
//!
//! What decides is real: the consensus library, `apply`, the controller, leases, the plan of copies,
//! the picker of merges, ids and registration. Disks are maps that forget what was not synced, and
//! the query engine is a loop over rows; real processes are mistreated by `scripts/chaos`.

mod catalog;
mod clients;
mod clock;
mod cluster;
mod coordinator;
mod directory;
mod disk;
mod executor;
mod faults;
mod keys;
mod long;
mod member;
mod merges;
mod mutate;
mod net;
mod operator;
mod oracle;
mod raft;
mod reform;
mod rows;
mod run;
mod runtime;
mod sabotage;
mod trace;
mod upkeep;
mod upsert;
mod ways;
mod worker;
mod workloads;

pub use run::{Plan, Report, run};
pub use sabotage::Sabotage;
