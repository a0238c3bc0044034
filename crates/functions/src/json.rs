//! JSON in texts: `JSONExtract...(json, path...)`. A path has names, and places from 1 or, from the end,
//! -1. What is missing or of another type has the zero value.

mod columns;
mod document;
mod parts;
mod path;
mod paths;
mod typed;
mod values;

use super::scalar::Scalar;

pub use columns::JsonDocuments;
pub(super) use document::Value;
pub(super) use paths::documents_of;

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let families = [values::all(), parts::all(), paths::all(), typed::all()];
    families.into_iter().flatten().collect()
}
