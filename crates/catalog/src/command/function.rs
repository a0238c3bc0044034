//! Changes of the functions that are written in SQL.

use serde::{Deserialize, Serialize};

use super::ExistingView;

/// What becomes of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FunctionChange {
    Create {
        name: String,
        parameters: Vec<String>,
        body: String,
        /// As with views.
        existing: ExistingView,
    },
    /// By its exact name.
    Drop { name: String, if_exists: bool },
}
