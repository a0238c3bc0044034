use granary_common::CatalogVersion;
use serde::{Deserialize, Serialize};

/// A function that is written in SQL: a name for an expression, without a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlFunction {
    pub name: String,
    /// The names that its body has for the arguments.
    pub parameters: Vec<String>,
    /// Its expression, as text that `sql` puts in the place of a call.
    pub body: String,
    pub created: CatalogVersion,
}
