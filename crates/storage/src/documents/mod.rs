//! Parts of documents as columns of their own: where texts of a column are JSON documents, what a query
//! takes out of them by a path that many of them have is stored beside them, so that it reads a narrow
//! column and no document.
//!
//! ```text
//!   write, merge: rows ─► some documents ─► paths that many have ([`Chosen`]) ─► columns beside the others
//!   scan: a column with a [`DocumentPath`] ─┬─ stored in the part: read
//!                                           └─ else: computed from the documents
//! ```
//!
//! Such a column holds just what the function gives for every document, whatever that has at the path,
//! so that it makes no difference which parts have one. Nothing in a table's definition names them: a
//! column's id follows from the path, and a reader who does not know it passes over it.

mod choose;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::Debug;

use arrow::array::ArrayRef;
use granary_catalog::ColumnType;
use granary_common::{ColumnId, Result};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::schema::{PartColumn, PartSchema};

pub(crate) use choose::Chosen;

/// Ids of columns with parts of documents: those of tables count up from 0.
const FIRST_ID: u32 = 1 << 31;
/// How many such ids there are; the highest of all are of other columns that no table has.
const IDS: u64 = 1 << 30;

/// Reads documents. Storage knows no JSON, so the caller does it.
pub trait DocumentReader: Send + Sync + Debug {
    /// The paths at which at least a quarter of `documents` have a number, a text or a boolean: names
    /// of members from the outermost, the most frequent paths first, at most `paths_max`.
    fn frequent_paths(&self, documents: &ArrayRef, paths_max: usize) -> Result<Vec<Vec<String>>>;

    /// What queries get of each document at each of `paths`, as nullable texts: one column a path.
    fn parts(&self, documents: &ArrayRef, paths: &[Vec<String>]) -> Result<Vec<ArrayRef>>;
}

/// Where in the documents of a column a value is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentPath {
    /// The column with the documents.
    pub column: ColumnId,
    /// Names of members, from the outermost.
    pub path: Vec<String>,
}

impl DocumentPath {
    /// The id of a column with what is there. Different paths may have the same one, so that readers
    /// compare the path as well.
    pub fn id(&self) -> ColumnId {
        let mut bytes = self.column.0.to_le_bytes().to_vec();
        for name in &self.path {
            bytes.extend_from_slice(&(name.len() as u64).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        // Below the number of ids, which fits.
        ColumnId(FIRST_ID + (xxh3_64(&bytes) % IDS) as u32)
    }

    /// The column with what is there, called `name`.
    pub fn part_column(&self, name: impl Into<String>) -> PartColumn {
        let column_type = ColumnType::Nullable(Box::new(ColumnType::String));
        PartColumn {
            document: Some(Box::new(self.clone())),
            ..PartColumn::new(self.id(), name, column_type)
        }
    }
}

/// The shape of a part as far as it goes for a scan of `table`: without columns of the part that are
/// of another path than the table's column with their id.
pub(crate) fn known_columns<'a>(table: &PartSchema, part: &'a PartSchema) -> Cow<'a, PartSchema> {
    let mut wanted = table.columns.iter().filter(|column| column.document.is_some());
    let is_other = |column: &PartColumn| {
        part.columns.iter().any(|own| own.id == column.id && own.document != column.document)
    };
    if !wanted.any(is_other) {
        return Cow::Borrowed(part);
    }
    let mut known = part.clone();
    known.columns.retain(|own| {
        let named = table.columns.iter().find(|column| column.id == own.id);
        named.is_none_or(|column| column.document == own.document)
    });
    Cow::Owned(known)
}
