//! Skip indexes: what is known of runs of granules beside the least and greatest value that every
//! column has anyway. Each is a file beside the part's, written with it or later.
//!
//! ```text
//!   write, merge: rows ─► expression ─► [`SkipBuilder`] ─► file `skip-<fingerprint>`
//!   scan: [`SkipTerm`]s that every passing row satisfies ─► runs that may hold such a row
//! ```
//!
//! A file is named by what the index is, not by what it is called. A part never changes, so a file
//! is right for ever; a part without it is read whole. One that is made later is made at each copy of
//! the part, and copies that are made after it fetch it ([`copy_index_files`]).

mod bloom;
mod build;
mod copy;
mod dictionary;
mod file;
mod term;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

use granary_catalog::{BoundIndex, codec};
use granary_common::{ColumnId, Result};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::schema::PartColumn;
use crate::ttl::RowEvaluator;

pub use build::{SkipBuilder, build_index};
pub use copy::copy_index_files;
pub use file::SkipFile;
pub use term::SkipTerm;

/// What the names of all indexes' files begin with.
const PREFIX: &str = "skip-";

/// The indexes that a new part gets.
#[derive(Clone, Debug)]
pub struct SkipIndexes {
    pub indexes: Vec<BoundIndex>,
    pub evaluator: Arc<dyn RowEvaluator>,
}

impl SkipIndexes {
    /// Those that read no other columns than `columns`; the rest stays.
    pub(crate) fn take_over(&mut self, columns: &[PartColumn]) -> SkipIndexes {
        let has = |id: &ColumnId| columns.iter().any(|column| column.id == *id);
        let over = |index: &mut BoundIndex| index.expression.columns.iter().all(has);
        let indexes = self.indexes.extract_if(.., over).collect();
        SkipIndexes { indexes, evaluator: Arc::clone(&self.evaluator) }
    }
}

/// What a scan asks of an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SkipHint {
    /// For people.
    pub name: String,
    /// [`file_name`] of the index.
    pub file: String,
    /// Every row that the scan must give satisfies this.
    pub term: SkipTerm,
}

/// The name of the file of an index.
pub fn file_name(index: &BoundIndex) -> Result<String> {
    Ok(format!("{PREFIX}{:016x}", xxh3_64(&codec::encode(index)?)))
}

/// Whether a file of a part is an index's.
pub(crate) fn is_skip_file(name: &str) -> bool {
    name.starts_with(PREFIX)
}
