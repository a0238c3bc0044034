//! From a bound logical plan to batches: tables of the catalog as providers, pruning against the
//! catalog, colocated joins, and the cut into stages.
//!
//! ```text
//!   LogicalPlan ─ optimize ─► one-node plan ─ colocate ─► cut into stages ─ validate ─► execute
//! ```
//!
//! Only [`distribution`] names `datafusion_distributed`.

pub mod engine;
pub mod settings;

pub use engine::{EngineConfig, EngineMode, MemoryLimits, QueryEngine, SessionInputs};
pub use settings::QuerySettings;
