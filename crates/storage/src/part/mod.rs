//! The files of a part.

pub mod format;
pub mod statistics;
