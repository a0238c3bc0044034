//! The texts of the 22 queries.

use std::path::Path;

use granary_common::{Error, Result};

/// How many queries TPC-H has.
const QUERIES: u32 = 22;

/// A query of TPC-H.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// From 1.
    pub(super) number: u32,
    pub(super) text: String,
}

/// Reads `queries/q01.sql` to `queries/q22.sql` below `folder`.
pub(super) fn read(folder: &Path) -> Result<Vec<Query>> {
    let one = |number| {
        let path = folder.join("queries").join(format!("q{number:02}.sql"));
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Error::not_found(format!(
                "cannot read {}: {error}; run the demo in the repository or name --tpch-dir",
                path.display()
            ))
        })?;
        Ok(Query { number, text: text.trim().trim_end_matches(';').to_owned() })
    };
    (1..=QUERIES).map(one).collect()
}
