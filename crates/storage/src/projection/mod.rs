//! Projections: what a SELECT over the rows of a part gives, kept beside the part.
//!
//! ```text
//!   write, merge: rows ─► keys, aggregates ─► [`Projector`] ─► sorted runs ─► `projection-<fingerprint>.*`
//!   scan: a part of another schema ([`schema_of`]) whose files lie in the part's folder
//! ```
//!
//! Files are named by what a projection is, not by what it is called. A part never changes, so they
//! are right for ever; of a part with deleted rows they tell too much, and whoever reads looks at its
//! rows instead. Groups are folded within bounded memory, so that one key may have several rows: the
//! reader folds them again anyway, with those of the other parts.

mod project;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use granary_catalog::{BoundProjection, codec};
use granary_common::{ColumnId, Result, TableId};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::schema::{PartColumn, PartSchema};
use crate::ttl::RowEvaluator;

pub use project::Projector;

/// The projections that a new part gets.
#[derive(Clone, Debug)]
pub struct Projections {
    pub projections: Vec<BoundProjection>,
    pub evaluator: Arc<dyn RowEvaluator>,
}

/// A projection as the writer of its part knew it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionDescriptor {
    pub fingerprint: u64,
    pub schema: PartSchema,
    pub rows: u64,
}

/// What tells projections apart: all that their rows depend on.
pub fn fingerprint(projection: &BoundProjection) -> Result<u64> {
    Ok(xxh3_64(&codec::encode(projection)?))
}

/// The file with the columns of a projection.
pub(crate) fn data_file(fingerprint: u64) -> String {
    format!("projection-{fingerprint:016x}.vortex")
}

/// The file with the statistics of its granules.
pub(crate) fn index_file(fingerprint: u64) -> String {
    format!("projection-{fingerprint:016x}.index")
}

/// The name of the key at `place`.
pub fn key_name(place: usize) -> String {
    format!("key_{place}")
}

/// The name of the value at `place`.
pub fn value_name(place: usize) -> String {
    format!("value_{place}")
}

/// The shape of the projection's rows in parts of `table`: keys, then values. Runs are sorted, and
/// the whole is not, so that it claims no order.
pub fn schema_of(table: TableId, projection: &BoundProjection, granularity: usize) -> PartSchema {
    let keys = projection.keys.iter().enumerate();
    let keys = keys.map(|(place, key)| (key_name(place), key.column_type.clone()));
    let values = projection.values.iter().enumerate();
    let values = values.map(|(place, value)| (value_name(place), value.column_type.clone()));
    let columns = (0..).zip(keys.chain(values));
    PartSchema {
        table,
        schema_version: 0,
        columns: columns
            .map(|(id, (name, column_type))| PartColumn::new(ColumnId(id), name, column_type))
            .collect(),
        sort_key: Vec::new(),
        primary_key_len: 0,
        partition: Vec::new(),
        granularity: granularity.max(1),
        document_paths_max: 0,
    }
}
