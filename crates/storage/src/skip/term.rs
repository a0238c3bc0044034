//! What a scan asks, and what a run of rows answers.

use granary_catalog::{IndexKind, Scalar};
use serde::{Deserialize, Serialize};

use super::bloom::{hash_of, hash_of_piece};
use super::file::Entry;
use super::words::{Fragment, fragments, pieces, whole_words, words};
use crate::filter::CompareOp;
use crate::read::{may_compare, may_like};

/// A condition on the values of an index's expression. Values are canonical, as in filters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SkipTerm {
    Compare {
        op: CompareOp,
        value: Scalar,
    },
    In(Vec<Scalar>),
    Like(String),
    /// The text has this word.
    Word(String),
}

impl SkipTerm {
    /// Whether an index of `kind` can say anything about it.
    pub fn suits(&self, kind: &IndexKind) -> bool {
        match (kind, self) {
            (IndexKind::MinMax | IndexKind::Set { .. }, SkipTerm::Word(_)) => false,
            (IndexKind::MinMax | IndexKind::Set { .. }, _) => true,
            (_, SkipTerm::Compare { op, .. }) => *op == CompareOp::Eq,
            (IndexKind::Bloom { .. }, term) => matches!(term, SkipTerm::In(_)),
            _ => true,
        }
    }

    /// The words that a row must have to satisfy it: all of one of these sets.
    pub(super) fn words_needed(&self) -> Vec<Vec<String>> {
        let of_text = |text: &str| words(text).map(str::to_owned).collect();
        let of_value = |value: &Scalar| match value {
            Scalar::Text(text) => of_text(text),
            _ => Vec::new(),
        };
        match self {
            SkipTerm::Compare { value, .. } => vec![of_value(value)],
            SkipTerm::In(values) => values.iter().map(of_value).collect(),
            SkipTerm::Like(pattern) => {
                let fragments = fragments(pattern);
                vec![fragments.iter().flat_map(whole_words).map(str::to_owned).collect()]
            }
            SkipTerm::Word(word) => vec![of_text(word)],
        }
    }

    /// Whether some row of the run that `entry` describes may satisfy it.
    pub(super) fn may_hold(&self, kind: &IndexKind, entry: &Entry) -> bool {
        match (entry, self) {
            (Entry::Bounds(known), SkipTerm::Compare { op, value }) => {
                may_compare(known, *op, value)
            }
            (Entry::Bounds(known), SkipTerm::In(values)) => {
                values.iter().any(|value| may_compare(known, CompareOp::Eq, value))
            }
            (Entry::Bounds(known), SkipTerm::Like(pattern)) => may_like(known, pattern),
            (Entry::Values(None), _) => true,
            (Entry::Values(Some(values)), SkipTerm::Compare { op, value }) => {
                values.iter().any(|known| is_comparable(known, value, *op))
            }
            (Entry::Values(Some(values)), SkipTerm::In(wanted)) => values
                .iter()
                .any(|known| wanted.iter().any(|value| is_comparable(known, value, CompareOp::Eq))),
            // What a pattern means is left to the scan, unless there are no values at all.
            (Entry::Values(Some(values)), SkipTerm::Like(_)) => !values.is_empty(),
            (Entry::Bloom(bloom), SkipTerm::Compare { value, .. }) => {
                self.pieces_of(kind, value).map_or_else(
                    || bloom.may_contain(hash_of(value)),
                    |hashes| hashes.iter().all(|hash| bloom.may_contain(*hash)),
                )
            }
            (Entry::Bloom(bloom), SkipTerm::In(values)) => values.iter().any(|value| {
                self.pieces_of(kind, value).map_or_else(
                    || bloom.may_contain(hash_of(value)),
                    |hashes| hashes.iter().all(|hash| bloom.may_contain(*hash)),
                )
            }),
            (Entry::Bloom(bloom), SkipTerm::Like(pattern)) => {
                hashes_of_pattern(kind, &fragments(pattern))
                    .iter()
                    .all(|hash| bloom.may_contain(*hash))
            }
            (Entry::Bloom(bloom), SkipTerm::Word(word)) => {
                hashes_of_text(kind, word).iter().all(|hash| bloom.may_contain(*hash))
            }
            (Entry::Bounds(_) | Entry::Values(_), SkipTerm::Word(_)) => true,
        }
    }

    /// The pieces that a text must have to be this value; `None` where whole values are kept.
    fn pieces_of(&self, kind: &IndexKind, value: &Scalar) -> Option<Vec<u64>> {
        match (kind, value) {
            (IndexKind::Ngrams { .. } | IndexKind::Tokens { .. }, Scalar::Text(text)) => {
                Some(hashes_of_text(kind, text))
            }
            (IndexKind::Ngrams { .. } | IndexKind::Tokens { .. }, _) => Some(Vec::new()),
            _ => None,
        }
    }
}

/// Whether a value that is there may be what is asked for; values of other kinds may be anything.
fn is_comparable(known: &Scalar, value: &Scalar, op: CompareOp) -> bool {
    if matches!(value, Scalar::Null) {
        return false;
    }
    std::mem::discriminant(known) != std::mem::discriminant(value) || op.holds(known.cmp(value))
}

/// The hashes of what an index keeps of a text.
pub(super) fn hashes_of_text(kind: &IndexKind, text: &str) -> Vec<u64> {
    match kind {
        IndexKind::Ngrams { length, seed, .. } => {
            pieces(text, *length as usize).map(|piece| hash_of_piece(piece, *seed)).collect()
        }
        IndexKind::Tokens { seed, .. } => {
            words(text).map(|word| hash_of_piece(word, *seed)).collect()
        }
        _ => Vec::new(),
    }
}

/// The hashes of what a text like the pattern has in any case.
fn hashes_of_pattern(kind: &IndexKind, fragments: &[Fragment]) -> Vec<u64> {
    match kind {
        IndexKind::Tokens { seed, .. } => {
            let words = fragments.iter().flat_map(whole_words);
            words.map(|word| hash_of_piece(word, *seed)).collect()
        }
        kind => fragments.iter().flat_map(|one| hashes_of_text(kind, &one.text)).collect(),
    }
}
