//! Errors with the place in the statement, and DataFusion's errors in our words.

mod planning;
mod position;

pub use planning::error_from_datafusion;
pub(crate) use position::{as_written, from_parser, from_tokenizer, place_of, too_deep};
