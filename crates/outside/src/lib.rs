//! Files that others wrote: where they are, which of them a pattern names, what columns they have,
//! and their rows as batches.
//!
//! ```text
//!   location ──Place──► store ──pattern──► files ──the first──► columns
//!                                            └──slices──► bytes ──format──► batches
//! ```
//!
//! Rows also go the other way, to one file. Nothing here knows SQL, tables or workers. Errors name files without what is secret about them.

mod arrow_file;
mod columns;
mod delimited;
mod file;
mod find;
mod format;
mod json_lines;
mod parquet_file;
mod pattern;
mod place;
mod prune;
mod scan;
mod slices;
mod unpack;
mod write;

pub use columns::check_structure;
pub use format::{Compression, Format};
pub use place::{Access, Place};
pub use scan::{FileScan, Wanted};
pub use slices::{OutsideFile, Slice};
pub use write::FileTarget;
