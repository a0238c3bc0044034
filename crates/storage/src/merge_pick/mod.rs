//! Which parts to merge, decided for one bucket and partition: a pure function.
//!
//! ```text
//!   parts in insert order   ▇ ▅ ▃ ▂ ▁ ▁ ▁ ▁ ▁          sum / largest >= base
//!                                   └───────┘ ─► ▂      base falls with age and number of parts
//! ```
//!
//! Merges are size-tiered: a run of neighbours is merged when its bytes are at least `base` times
//! those of its largest part, so that a row is written about log(base) of the data's size times.
//! Of the runs that qualify, the one that takes most parts away for the fewest bytes is chosen.
//! Neighbours only, since a part's place in the insert order decides which of two equal keys wins.

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use granary_catalog::Part;
use granary_common::{CatalogVersion, PartId};

/// A part as the picker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub part: PartId,
    /// Rows, deleted ones included.
    pub rows: u64,
    pub rows_deleted: u64,
    pub bytes: u64,
    /// How often its rows were merged.
    pub level: u32,
    /// Its range of the insert order.
    pub inserted: ((CatalogVersion, u32), (CatalogVersion, u32)),
    /// Since it came into being, in milliseconds.
    pub age_ms: u64,
    /// Whether a merge works on it; it then parts its neighbours.
    pub is_busy: bool,
    /// What its table's TTL says.
    pub due: Due,
}

/// What of a part is due by its table's TTL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Due {
    #[default]
    Nothing,
    /// Some rows.
    Some,
    /// Every row, so that nothing is left.
    All,
    /// It is to be encoded more densely.
    Recompress,
    /// It is to be on another disk.
    Move,
}

impl Candidate {
    /// `part` as it is at `version`.
    pub fn of(part: &Part, version: CatalogVersion, age_ms: u64, is_busy: bool) -> Self {
        Self {
            part: part.id,
            rows: part.rows,
            rows_deleted: part.deletions_at(version).map_or(0, |vector| vector.rows),
            bytes: part.bytes,
            level: part.level,
            inserted: part.inserted,
            age_ms,
            is_busy,
            due: Due::Nothing,
        }
    }

    /// Bytes of the rows that a merge keeps.
    fn bytes_kept(&self) -> u64 {
        let kept = u128::from(self.rows.saturating_sub(self.rows_deleted));
        let bytes = u128::from(self.bytes) * kept / u128::from(self.rows.max(1));
        u64::try_from(bytes).unwrap_or(self.bytes)
    }

    fn deleted_ratio(&self) -> f64 {
        self.rows_deleted as f64 / self.rows.max(1) as f64
    }
}

/// What bounds merges.
#[derive(Clone, Debug, PartialEq)]
pub struct PickLimits {
    /// Bytes that one merge reads at most; larger parts stay as they are.
    pub merge_bytes_max: u64,
    /// Parts that one merge takes at most.
    pub merge_parts_max: usize,
    /// How many times its largest part a run must be while its parts are few and young.
    pub base: f64,
    /// A part with at least this share of deleted rows is written again without them.
    pub deleted_ratio_max: f64,
    /// A partition becomes one part when it was left alone for as long as its bytes take at this
    /// rate, and at least for `cold_ms_min`.
    pub cold_bytes_per_s: u64,
    pub cold_ms_min: u64,
}

impl Default for PickLimits {
    fn default() -> Self {
        Self {
            merge_bytes_max: 10 << 30,
            merge_parts_max: 64,
            base: 5.0,
            deleted_ratio_max: 0.3,
            cold_bytes_per_s: 64 << 10,
            cold_ms_min: 3_600_000,
        }
    }
}

/// What runs already, and how much may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Merges that may run together.
    pub merges_max: usize,
    pub merges_running: usize,
    /// Bytes that the running merges read.
    pub bytes_running: u64,
    /// Bytes that merges may read together.
    pub bytes_max: u64,
}

impl Pool {
    /// Bytes that one more merge may read; 0 when none may start. The last places of a pool are for
    /// small merges, so that a few large ones never hold up the many small ones.
    fn bytes_free(&self, limits: &PickLimits) -> u64 {
        let free = self.merges_max.saturating_sub(self.merges_running);
        if free == 0 {
            return 0;
        }
        let share = free as f64 / self.merges_max as f64;
        let smallest = (SMALL_MERGE_BYTES as f64).min(limits.merge_bytes_max as f64).max(1.0);
        let largest = (limits.merge_bytes_max as f64).max(smallest);
        let scaled = smallest * (largest / smallest).powf(share);
        let scaled = if share >= 1.0 { limits.merge_bytes_max } else { scaled as u64 };
        scaled.min(self.bytes_max.saturating_sub(self.bytes_running))
    }

    fn with(mut self, bytes: u64) -> Self {
        self.merges_running += 1;
        self.bytes_running += bytes;
        self
    }
}

/// Why parts are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// They are many for their sizes.
    Sizes,
    /// Too many of its rows are deleted.
    Deletions,
    /// Nothing was written to the partition for long.
    Cold,
    /// Every row is due by the TTL: it goes without being read.
    Expired,
    /// Rows are due by the TTL.
    Due,
    /// Its TTL says that it is to be encoded more densely.
    Recompress,
    /// Its TTL says that it is to be on another disk.
    Move,
    /// Somebody asked for it.
    Wanted,
}

/// Parts to merge into one.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    /// Neighbours, in insert order.
    pub parts: Vec<PartId>,
    /// Bytes that are read.
    pub bytes: u64,
    pub reason: Reason,
    /// Bytes to write for each part less; of several picks the one with the lowest goes first.
    pub score: f64,
}

/// A part costs this much besides its bytes: files, index, an entry of the catalog.
const PART_COST_BYTES: u64 = 128 << 10;
/// What a merge may read when only few places of the pool are left.
const SMALL_MERGE_BYTES: u64 = 64 << 20;
/// Where the base has fallen to when parts are old or many.
const BASE_LOWEST: f64 = 2.0;
/// Parts of a partition between which the base falls.
const PARTS_TO_LOWER_BASE: (f64, f64) = (10.0, 40.0);
/// Sizes between which the age that lowers the base grows, in bytes.
const SIZES_OF_AGE: (f64, f64) = (1_048_576.0, 107_374_182_400.0);
/// Ages that lower the base fully, for runs of those sizes, in milliseconds.
const AGES_TO_LOWER_BASE: (f64, f64) = (3_600_000.0, 2_592_000_000.0);
/// Younger runs wait for more parts, in milliseconds.
const AGE_MIN: f64 = 10_000.0;
/// Parts that are looked at; of more, the newest.
const WINDOW: usize = 4096;

/// The merges to start now, the most useful first. `parts` are all visible parts of one bucket and
/// partition, in any order. Picks never overlap, never skip a part, and keep within `pool`.
pub fn pick(parts: &[Candidate], pool: Pool, limits: &PickLimits) -> Vec<Pick> {
    let mut parts = in_order(parts);
    let mut pool = pool;
    let mut picks = Vec::new();
    loop {
        let bytes_max = pool.bytes_free(limits);
        let best = expired(&parts, bytes_max)
            .or_else(|| due(&parts, bytes_max, limits))
            .or_else(|| by_size(&parts, bytes_max, limits))
            .or_else(|| cold(&parts, bytes_max, limits))
            .or_else(|| by_deletions(&parts, bytes_max, limits))
            .or_else(|| alone(&parts, bytes_max, Due::Recompress, Reason::Recompress))
            .or_else(|| alone(&parts, bytes_max, Due::Move, Reason::Move));
        let Some(best) = best else { return picks };
        for part in parts.iter_mut().filter(|part| best.parts.contains(&part.part)) {
            part.is_busy = true;
        }
        pool = pool.with(best.bytes);
        picks.push(best);
    }
}

/// The best merge of at least two parts, whatever their sizes are to each other: what somebody who
/// asks for a merge gets. Parts above `limits.merge_bytes_max` still stay.
pub fn pick_wanted(parts: &[Candidate], limits: &PickLimits) -> Option<Pick> {
    let parts = in_order(parts);
    let bytes_max = limits.merge_bytes_max;
    let best = by_size(&parts, bytes_max, &PickLimits { base: 0.0, ..limits.clone() });
    let best = best.or_else(|| by_deletions(&parts, bytes_max, limits));
    best.map(|best| Pick { reason: Reason::Wanted, ..best })
}

fn in_order(parts: &[Candidate]) -> Vec<Candidate> {
    let mut parts = parts.to_vec();
    parts.sort_by_key(|part| (part.inserted, part.part));
    parts.drain(..parts.len().saturating_sub(WINDOW));
    parts
}

/// The cheapest run of neighbours whose bytes are enough times those of its largest part.
fn by_size(parts: &[Candidate], bytes_max: u64, limits: &PickLimits) -> Option<Pick> {
    let mut best: Option<(f64, usize, usize)> = None;
    for begin in 0..parts.len() {
        let (mut sum, mut largest, mut youngest_ms) = (0_u64, 0_u64, u64::MAX);
        let run = parts[begin..].iter().take(limits.merge_parts_max);
        for (more, part) in run.enumerate() {
            let bytes = part.bytes_kept();
            sum = sum.saturating_add(bytes);
            if part.is_busy || sum > bytes_max {
                break;
            }
            largest = largest.max(bytes);
            youngest_ms = youngest_ms.min(part.age_ms);
            let count = more + 1;
            if count < 2 || !is_worth(sum, largest, youngest_ms, count, parts.len(), limits.base) {
                continue;
            }
            let score = score(sum, count);
            if best.is_none_or(|(lowest, ..)| score < lowest) {
                best = Some((score, begin, count));
            }
        }
    }
    best.map(|(score, begin, count)| made_of(&parts[begin..begin + count], Reason::Sizes, score))
}

fn is_worth(
    sum: u64,
    largest: u64,
    youngest_ms: u64,
    count: usize,
    parts: usize,
    base: f64,
) -> bool {
    let (from, to) = SIZES_OF_AGE;
    let size = place_between((sum as f64).ln_1p(), from.ln_1p(), to.ln_1p());
    let old_ms = AGES_TO_LOWER_BASE.0 + size * (AGES_TO_LOWER_BASE.1 - AGES_TO_LOWER_BASE.0);
    let age = place_between(youngest_ms as f64, AGE_MIN, old_ms);
    let crowd = place_between(parts as f64, PARTS_TO_LOWER_BASE.0, PARTS_TO_LOWER_BASE.1);
    let lowered = (age + crowd).min(1.0);
    let base = base + lowered * (BASE_LOWEST.min(base) - base);
    let cost = PART_COST_BYTES as f64;
    (sum as f64 + cost * count as f64) / (largest as f64 + cost) >= base
}

/// Where `value` lies between `from` (0) and `to` (1).
fn place_between(value: f64, from: f64, to: f64) -> f64 {
    ((value - from) / (to - from)).clamp(0.0, 1.0)
}

/// Bytes to write for each part less. A pair saves one part of two and counts for little.
fn score(sum: u64, count: usize) -> f64 {
    (sum as f64 + PART_COST_BYTES as f64 * count as f64) / (count as f64 - 1.9)
}

/// All parts of a partition that was left alone long enough for its size.
fn cold(parts: &[Candidate], bytes_max: u64, limits: &PickLimits) -> Option<Pick> {
    let sum: u64 = parts.iter().map(Candidate::bytes_kept).sum();
    if parts.len() < 2 || sum > bytes_max || parts.iter().any(|part| part.is_busy) {
        return None;
    }
    let youngest_ms = parts.iter().map(|part| part.age_ms).min()?;
    let due_ms = (sum / limits.cold_bytes_per_s.max(1)).saturating_mul(1000);
    let parts = &parts[..parts.len().min(limits.merge_parts_max)];
    (youngest_ms >= due_ms.max(limits.cold_ms_min))
        .then(|| made_of(parts, Reason::Cold, score(sum, parts.len())))
}

/// The part with the largest share of deleted rows, if it is too large.
fn by_deletions(parts: &[Candidate], bytes_max: u64, limits: &PickLimits) -> Option<Pick> {
    let due = parts.iter().filter(|part| {
        !part.is_busy
            && part.rows_deleted > 0
            && part.deleted_ratio() >= limits.deleted_ratio_max
            && part.bytes_kept() <= bytes_max
    });
    let most = due.max_by(|a, b| a.deleted_ratio().total_cmp(&b.deleted_ratio()))?;
    // Without a free place nothing fits, not even a part of which nothing is left.
    (bytes_max > 0).then(|| {
        let score = most.bytes_kept() as f64 + PART_COST_BYTES as f64;
        made_of(std::slice::from_ref(most), Reason::Deletions, score)
    })
}

/// A part of which no row is left.
fn expired(parts: &[Candidate], bytes_max: u64) -> Option<Pick> {
    let part = parts.iter().find(|part| part.due == Due::All && !part.is_busy)?;
    let pick = made_of(std::slice::from_ref(part), Reason::Expired, 0.0);
    (bytes_max > 0).then_some(Pick { bytes: 0, ..pick })
}

/// The longest run of neighbours that all have rows which are due, as far as one merge may read.
fn due(parts: &[Candidate], bytes_max: u64, limits: &PickLimits) -> Option<Pick> {
    let mut best: Option<&[Candidate]> = None;
    let is_due = |part: &Candidate| part.due == Due::Some && !part.is_busy;
    for begin in (0..parts.len()).filter(|begin| is_due(&parts[*begin])) {
        let mut bytes = 0_u64;
        let fits = |part: &&Candidate| {
            bytes = bytes.saturating_add(part.bytes_kept());
            is_due(part) && bytes <= bytes_max
        };
        let length = parts[begin..].iter().take(limits.merge_parts_max).take_while(fits).count();
        if length > best.map_or(0, <[_]>::len) {
            best = Some(&parts[begin..begin + length]);
        }
    }
    let run = best?;
    let sum = run.iter().map(Candidate::bytes_kept).sum::<u64>();
    Some(made_of(run, Reason::Due, sum as f64 + PART_COST_BYTES as f64))
}

/// The first part for which something is due that is done to each part by itself. No other merge
/// could take it if it were too large for one.
fn alone(parts: &[Candidate], bytes_max: u64, due: Due, reason: Reason) -> Option<Pick> {
    let fits = |part: &&Candidate| part.due == due && !part.is_busy;
    let part = parts.iter().filter(|_| bytes_max > 0).find(fits)?;
    let score = part.bytes as f64 + PART_COST_BYTES as f64;
    Some(made_of(std::slice::from_ref(part), reason, score))
}

fn made_of(parts: &[Candidate], reason: Reason, score: f64) -> Pick {
    Pick {
        parts: parts.iter().map(|part| part.part).collect(),
        bytes: parts.iter().map(|part| part.bytes).sum(),
        reason,
        score,
    }
}
