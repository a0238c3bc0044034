use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What ALTER USER said of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSettings {
    /// The user's name, exactly as clients give it.
    pub user: String,
    /// Values by the names of settings, with which the user's sessions begin.
    pub settings: BTreeMap<String, String>,
}
