//! Statements that changed or deleted rows, and what a commit belongs to.

use granary_common::{CatalogVersion, TableId};
use serde::{Deserialize, Serialize};

/// Mutations of a table that are remembered.
pub const MUTATIONS_PER_TABLE_MAX: usize = 100;

/// What a write is, for the parts of the catalog that follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteOrigin {
    /// Rows of a client.
    #[default]
    Insert,
    /// A run of a refreshable view: it is refused once another run has begun.
    Refresh {
        view: TableId,
        run: u64,
    },
    Mutation(MutationNote),
    /// What POPULATE makes of the rows that the view's source had when the view was made. Came with
    /// the third protocol version.
    Populate {
        view: TableId,
    },
}

/// What is remembered of a mutation beside what its commit says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MutationNote {
    /// The id of its statement.
    pub id: String,
    /// The statement, cut to a bounded length.
    pub command: String,
    pub created_ms: u64,
    /// Rows that it changed, deleted or added.
    pub rows: u64,
}

/// A mutation that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mutation {
    pub table: TableId,
    /// The version at which it took effect.
    pub version: CatalogVersion,
    pub note: MutationNote,
    pub done_ms: u64,
    /// Parts that lost rows.
    pub parts: u64,
}
