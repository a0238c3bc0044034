//! Engines against a model: random inserts, deletes, updates, merges and kills, and what `FINAL`
//! must give at any moment. A seed reproduces a run.

mod model;
mod run;

pub use model::{EngineUnderTest, Model};
pub use run::{Plan, run};
