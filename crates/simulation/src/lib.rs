//! A whole cluster in one thread: metadata group, coordinators, workers, disks and network, under a
//! seed. A seed that fails replays identically.
//!
//! ```text
//!   clients ─► coordinators ─► leaders of buckets ─► copies      inserts with tokens, some block by block,
//!                   │                                            deletions, updates, upserts, reads
//!                   └────────► metadata group                    commits, leases, placement
//!   operator ─► other buckets, comments, drained workers         members replaced, added and removed
//!   machines ─► kill, cut off, freeze, lose, delay, fill, jump   all at once, too
//!   oracle   ─► what was acknowledged is there once, at every later version, with the value it has there
//! ```
//!
//! What decides is real: the consensus library, `apply`, the controller, leases, the plan of copies,
//! the picker of merges, the choice of splits, the commits of both, changes of the members, ids and
//! registration. Disks are maps that forget what was not synced, and the query engine is a loop over rows;
//! real processes are mistreated by `scripts/chaos`.

mod catalog;
mod clients;
mod clock;
mod cluster;
mod coordinator;
mod directory;
mod disk;
mod executor;
mod far;
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
