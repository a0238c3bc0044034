//! The order of rows on disk.
