//! Ids are newtypes, so that a table's id never stands where a part's id belongs.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id!(
    /// A database (a schema, in the standard's words); never reused.
    DatabaseId(u64)
);
id!(
    /// A table; never reused, so that a dropped and re-created name is another table.
    TableId(u64)
);
id!(
    /// A column of one table; never reused within the table.
    ColumnId(u32)
);
id!(
    /// A part, unique in the cluster; drawn from a worker's leased range.
    PartId(u64)
);
id!(
    /// A worker; given at its first registration and kept in its data folder.
    WorkerId(u64)
);
id!(
    /// A member of the metadata group.
    NodeId(u64)
);
id!(
    /// The position of a bucket in its table, `0..buckets`.
    BucketIndex(u32)
);
id!(
    /// Counter of a bucket's leadership; a commit with an old epoch is refused.
    Epoch(u64)
);
id!(
    /// The Raft log index after which a state of the catalog holds.
    CatalogVersion(u64)
);

/// Identity of a cluster; every internal connection and data folder carries it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub String);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identity of a query, as users see it in `system.queries` and in spans.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueryId(pub String);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
