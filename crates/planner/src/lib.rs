//! From a bound logical plan to batches: tables of the catalog as providers, pruning against the
//! catalog, colocated joins, and the cut into stages.
//!
//! ```text
//!   LogicalPlan ─ projections ─ documents ─ optimize ─► one-node plan ─ colocate ─► cut into stages ─ validate ─► execute
//! ```
//!
//! Only [`distribution`] names `datafusion_distributed`.

pub mod distribution;
mod documents;
pub mod engine;
mod projections;
pub mod rules;
pub mod settings;
pub mod tables;
pub mod topology;
pub mod validate;

pub use engine::{EngineConfig, EngineMode, QueryEngine, SessionInputs};
pub use granary_execution::MemoryLimits;
pub use projections::{FilledByView, use_views};
pub use settings::QuerySettings;
pub use tables::{OutsideTable, PartTable, ViewBinder, past_reads};
