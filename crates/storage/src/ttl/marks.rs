//! When a part has rows that are due: what its merge wrote down, or what a scan found.

use arrow::array::{BooleanArray, Int64Array};
use granary_catalog::{ColumnCodec, TtlAction, TtlPlace, TtlRule, codec};
use granary_common::Result;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::part::format::Effort;
use crate::schema::PartSchema;

/// What is known of one rule and one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TtlMark {
    /// [`fingerprint`] of the rule.
    pub rule: u64,
    /// The first second at which a row is due that the rule has not treated; `None`: never.
    pub due_s: Option<i64>,
    /// The second from which on every row is due; `None`: never.
    pub last_s: Option<i64>,
}

/// Tells rules apart by what they do, whatever their columns are called.
pub fn fingerprint(rule: &TtlRule) -> Result<u64> {
    Ok(xxh3_64(&codec::encode(rule)?))
}

/// Makes a mark of rows that come in batches.
#[derive(Debug)]
pub(super) struct MarkBuilder {
    rule: u64,
    due_s: Option<i64>,
    last_s: Option<i64>,
    /// Some row is never due.
    is_endless: bool,
    /// Rows that are due by then are treated already.
    treated_s: Option<i64>,
}

impl MarkBuilder {
    pub fn new(rule: &TtlRule, treated_s: Option<i64>) -> Result<MarkBuilder> {
        let rule = fingerprint(rule)?;
        Ok(MarkBuilder { rule, due_s: None, last_s: None, is_endless: false, treated_s })
    }

    /// Rows by when they are due; `applies` are those that the rule's condition lets pass.
    pub fn push(&mut self, expiries: &Int64Array, applies: Option<&BooleanArray>) {
        for (row, expiry) in expiries.iter().enumerate() {
            let Some(expiry) = expiry else {
                self.is_endless = true;
                continue;
            };
            self.last_s = Some(self.last_s.map_or(expiry, |last| last.max(expiry)));
            let is_treated = self.treated_s.is_some_and(|treated| expiry <= treated);
            if !is_treated && applies.is_none_or(|applies| applies.value(row)) {
                self.due_s = Some(self.due_s.map_or(expiry, |due| due.min(expiry)));
            }
        }
    }

    pub fn finish(&self) -> TtlMark {
        let last_s = self.last_s.filter(|_| !self.is_endless);
        TtlMark { rule: self.rule, due_s: self.due_s, last_s }
    }
}

/// How a part is encoded whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recompression {
    /// As densely as the format can.
    Densest,
    /// Columns without a CODEC of their own with these; without any, as the writer chooses.
    With(Vec<ColumnCodec>),
}

impl Recompression {
    /// How much work encoding may be.
    pub fn effort(&self) -> Effort {
        match self {
            Recompression::Densest => Effort::Dense,
            Recompression::With(_) => Effort::Full,
        }
    }

    /// `schema` with the codecs that its columns are written with.
    pub fn applied(&self, mut schema: PartSchema) -> PartSchema {
        if let Recompression::With(codecs) = self {
            for column in schema.columns.iter_mut().filter(|column| column.codecs.is_empty()) {
                column.codecs.clone_from(codecs);
            }
        }
        schema
    }
}

/// When something becomes of a part: seconds since the epoch, `None` for never.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartLife {
    /// A merge treats rows from then on.
    pub due_s: Option<i64>,
    /// No row is left from then on.
    pub gone_s: Option<i64>,
    /// How it is to be encoded again from when on.
    pub recompressions: Vec<(i64, Recompression)>,
    /// Where it is to be from when on, in the order of the rules.
    pub moves: Vec<(i64, TtlPlace)>,
}

impl PartLife {
    /// The life of a part under `rules`, of which `marks` are. Rules without a mark are passed over.
    pub fn of(rules: &[TtlRule], marks: &[TtlMark]) -> Result<PartLife> {
        let mut life = PartLife::default();
        let earlier = |known: Option<i64>, other: Option<i64>| known.into_iter().chain(other).min();
        for rule in rules {
            let id = fingerprint(rule)?;
            let Some(mark) = marks.iter().find(|mark| mark.rule == id) else { continue };
            match &rule.action {
                TtlAction::Delete => {
                    life.due_s = earlier(life.due_s, mark.due_s);
                    if rule.condition.is_none() {
                        life.gone_s = earlier(life.gone_s, mark.last_s);
                    }
                }
                TtlAction::Reset { .. } | TtlAction::GroupBy(_) => {
                    life.due_s = earlier(life.due_s, mark.due_s);
                }
                TtlAction::Recompress | TtlAction::RecompressWith(_) if mark.due_s.is_none() => {}
                TtlAction::Recompress => {
                    let densest = |last_s| (last_s, Recompression::Densest);
                    life.recompressions.extend(mark.last_s.map(densest));
                }
                TtlAction::RecompressWith(codecs) => {
                    let named = |last_s| (last_s, Recompression::With(codecs.clone()));
                    life.recompressions.extend(mark.last_s.map(named));
                }
                TtlAction::Move(place) => {
                    life.moves.extend(mark.last_s.map(|last_s| (last_s, place.clone())));
                }
            }
        }
        Ok(life)
    }

    /// Whether rows are due at `now_s`.
    pub fn is_due(&self, now_s: i64) -> bool {
        self.due_s.is_some_and(|due_s| due_s <= now_s)
    }

    /// Whether no row is left at `now_s`.
    pub fn is_gone(&self, now_s: i64) -> bool {
        self.gone_s.is_some_and(|gone_s| gone_s <= now_s)
    }

    /// How it is to be encoded again at `now_s`: of several ways the one whose time came last.
    pub fn recompression(&self, now_s: i64) -> Option<&Recompression> {
        let due = self.recompressions.iter().filter(|(at_s, _)| *at_s <= now_s);
        due.max_by_key(|(at_s, _)| *at_s).map(|(_, how)| how)
    }

    /// Where it is to be at `now_s`: of several places the one whose time came last.
    pub fn place(&self, now_s: i64) -> Option<&TtlPlace> {
        let due = self.moves.iter().filter(|(at_s, _)| *at_s <= now_s);
        due.max_by_key(|(at_s, _)| *at_s).map(|(_, place)| place)
    }
}
