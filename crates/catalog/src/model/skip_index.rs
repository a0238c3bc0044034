use serde::{Deserialize, Serialize};

use super::RowExpression;

/// A data-skipping index. Parts that are written while it is there have it in a file of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipIndex {
    pub name: String,
    pub expression: String,
    /// As `minmax` or `bloom_filter(0.01)`.
    pub kind: String,
    pub granularity: u64,
    /// The same, bound; `None` for kinds that have no effect.
    #[serde(default)]
    pub bound: Option<BoundIndex>,
}

/// What an index keeps of each run of rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BoundIndex {
    pub expression: RowExpression,
    pub kind: IndexKind,
    /// Granules of a run, at least 1.
    pub granularity: u64,
}

/// Kinds of indexes.
///
/// Builds before the third protocol version cannot read [`IndexKind::Words`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IndexKind {
    /// The least and the greatest value.
    MinMax,
    /// The different values, if they are not more than these; 0: however many they are.
    Set { values_max: u64 },
    /// A Bloom filter over the values; how many of a million other values it takes for one of them.
    Bloom { false_per_million: u32 },
    /// A Bloom filter over the pieces of `length` characters of texts.
    Ngrams { length: u32, bytes: u32, hashes: u32, seed: u64 },
    /// A Bloom filter over the words of texts.
    Tokens { bytes: u32, hashes: u32, seed: u64 },
    /// All words of texts, with the runs that have each.
    Words,
}
