use granary_common::{CatalogVersion, DatabaseId, TableId};
use serde::{Deserialize, Serialize};

use super::RefreshSchedule;
use crate::types::ColumnType;

/// A name for a query, in one space of names and of ids with tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub id: TableId,
    pub database: DatabaseId,
    pub name: String,
    /// Its SELECT, as text that `sql` binds; empty for an alias.
    pub query: String,
    /// The database that unqualified names of `query` belong to.
    pub query_database: String,
    pub columns: Vec<(String, ColumnType)>,
    pub kind: ViewKind,
    #[serde(default)]
    pub comment: Option<String>,
    pub created: CatalogVersion,
    /// What the target of a materialized view is known to stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filled: Option<Filled>,
}

/// Which rows of its source the target of a materialized view stands for, and for no others. Unknown
/// once anything but inserts has changed either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filled {
    /// All of them.
    Whole,
    /// Those that came after the view: the others come with POPULATE.
    Partly,
}

/// What stands behind a view's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ViewKind {
    /// The query, each time.
    Plain,
    /// `target`, which gets what the query makes of each block inserted into `source`.
    Materialized {
        source: TableId,
        target: TableId,
        /// Whether the target was made for the view and goes with it.
        owns_target: bool,
    },
    /// `target`, which gets the rows of the whole query on a schedule: in place of what it holds,
    /// or with `append` in addition.
    Refreshable { target: TableId, owns_target: bool, schedule: RefreshSchedule, append: bool },
    /// A table under another name, as `ENGINE = Distributed` makes it.
    Alias { target: TableId },
}

impl ViewKind {
    /// The table that is read in place of the view.
    pub fn target(&self) -> Option<TableId> {
        match self {
            ViewKind::Plain => None,
            ViewKind::Materialized { target, .. }
            | ViewKind::Refreshable { target, .. }
            | ViewKind::Alias { target } => Some(*target),
        }
    }

    /// The table that is dropped with the view.
    pub fn owned(&self) -> Option<TableId> {
        match self {
            ViewKind::Materialized { target, owns_target: true, .. }
            | ViewKind::Refreshable { target, owns_target: true, .. } => Some(*target),
            _ => None,
        }
    }
}
