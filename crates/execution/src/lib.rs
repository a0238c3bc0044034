//! What DataFusion lacks to run over parts: the scan of parts, near or far, its codec, and the
//! seams to workers.
//!
//! ```text
//!   planner ──plan──► PartScanExec ──► PartStore            (the part is here)
//!                          └────────► WorkerApi::scan_part  (the part is elsewhere)
//! ```
//!
//! Only [`fragments`] names `datafusion_distributed`.

pub mod error;
pub mod functions;
pub mod worker_api;

pub use functions::{BuiltinFunctions, FunctionSet};
pub use worker_api::{
    CatalogDirectory, RemotePartScan, RemoteWorker, WorkerApi, WorkerDirectory, WriteSpec,
};
