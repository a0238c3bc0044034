//! Changes of what is kept of users.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What becomes of the settings with which a user's sessions begin, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChange {
    pub user: String,
    /// All settings of before go.
    pub clear: bool,
    /// These go.
    pub reset: Vec<String>,
    /// These get values.
    pub set: BTreeMap<String, String>,
}
