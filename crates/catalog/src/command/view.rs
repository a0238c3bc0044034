//! Views that commands make.

use granary_common::DatabaseId;
use serde::{Deserialize, Serialize};

use super::NewTable;
use crate::model::ViewKind;
use crate::types::ColumnType;

/// A view to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewView {
    pub database: DatabaseId,
    pub name: String,
    pub query: String,
    /// The database that unqualified names of `query` belong to.
    pub query_database: String,
    pub columns: Vec<(String, ColumnType)>,
    pub kind: ViewKind,
    pub comment: Option<String>,
    /// The table to make for the view, which then is its target and goes with it.
    #[serde(default)]
    pub inner: Option<NewTable>,
}

/// What becomes of a view that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExistingView {
    Refuse,
    IfNotExists,
    OrReplace,
}
