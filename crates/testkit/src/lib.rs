//! What the tests share: clusters of real processes, a Flight SQL and a BulkInsert client, the
//! `.slt` runner, TPC-H data with stored answers, and the house rules.
//!
//! ```text
//!   TestCluster ──► SqlClient (Flight SQL) ──► slt::run_file ──► ExpectedFailures
//!               └─► bulk (BulkInsert)      ──► tpch::load, fault tests, soak
//! ```

pub mod bulk;
pub mod chaos;
pub mod client;
pub mod cluster;
pub mod elastic;
pub mod engines;
pub mod format;
pub mod house_rules;
pub mod load;
pub mod paths;
pub mod process;
pub mod slt;
pub mod soak;
pub mod tpch;

pub use client::{SqlClient, SqlError};
pub use cluster::{Mode, TestCluster};

/// What a test returns when anything may go wrong.
pub type TestResult<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
