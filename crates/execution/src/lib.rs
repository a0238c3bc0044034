//! What DataFusion lacks to run over parts: the scan of parts, near or far, that of files from outside,
//! joins and aggregations of colocated buckets, joins that spill, runtime filters, their codec, and the seams to workers.
//!
//! ```text
//!   planner ──plan──► PartScanExec ──► PartStore            (the part is here)
//!                          └────────► WorkerApi::scan_part  (the part is elsewhere)
//! ```
//!
//! Only [`fragments`] names `datafusion_distributed`.

pub mod active;
pub mod colocated_aggregate;
pub mod colocated_join;
pub mod error;
pub mod fragments;
pub mod functions;
pub mod memory;
pub mod outside_scan;
pub mod part_scan;
pub mod row_expression;
pub mod runtime_filter;
pub mod single_value;
pub mod spilling_join;
pub mod subqueries;
pub mod table_reading;
pub mod worker_api;

pub use active::{ActiveGuard, ActiveWork};
pub use colocated_aggregate::ColocatedAggregateExec;
pub use colocated_join::ColocatedJoinExec;
pub use fragments::{
    FragmentChannels, FragmentHost, FragmentSettings, QuerySessions, add_fragment_service,
};
pub use functions::{BuiltinFunctions, FunctionSet, States};
pub use memory::{MemoryLimits, NodeMemory};
pub use outside_scan::{OutsideScanExec, OutsideSpec};
pub use part_scan::PartScanExec;
pub use part_scan::codec::OperatorCodec;
pub use part_scan::facts::{CountsParts, PartChoice, Placement, ScanFacts};
pub use part_scan::layout::{KeyRanges, Layout, ScanSpec, ScannedPart, chunked};
pub use part_scan::read::{PartAccess, PartRead, read_held};
pub use part_scan::skips::{IndexUse, index_uses};
pub use part_scan::statistics::{ColumnSummaries, ColumnSummary};
pub use row_expression::RowExpressions;
pub use runtime_filter::{Announced, BuiltPart, FilterHub, KeySummary, RuntimeFilterExec};
pub use spilling_join::{SpillingJoinExec, let_joins_spill};
pub use table_reading::TableReading;
pub use worker_api::{
    CatalogDirectory, Cleared, CopySpec, DiskReport, FileRead, OptimizeSpec, Optimized, Relocation,
    RemotePartRead, RemotePartScan, RemoteWorker, RunningMerge, ScrubReport, WorkerApi,
    WorkerDirectory, WorkerReport, WriteSpec, WrittenDeletions,
};
