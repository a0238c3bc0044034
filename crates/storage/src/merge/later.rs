//! What parts that came later hide of parts of which it is known already which rows FINAL shows.
//!
//! ```text
//!   keys of the later parts ─► sorted, in memory ─► by key: the row that is shown
//!                                       │
//!   granules of an earlier part ────────┴──► rows that are hidden as well, or that hide the later one
//!   that may hold one of the keys
//! ```
//!
//! So a small insert costs a look at the granules that its keys fall into, and not at the keys of all
//! rows. Earlier parts are independent of each other, and so are ranges of their rows.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use futures::TryStreamExt;
use granary_catalog::Scalar;
use granary_common::{ColumnId, Error, Result};

use super::chosen::{Choice, VERSION_ORDER};
use super::collapse::is_zero;
use super::hidden::HiddenRows;
use super::input::open_sorted;
use super::keys::{FewKeys, Keys};
use super::ranges::common_key;
use super::rule::CollapseRule;
use crate::deletions::Deletions;
use crate::part::index::PartIndex;
use crate::part::key_range::{is_whole, lower_bound};
use crate::read::{OpenPart, PartRef, PartScan, PartStore};
use crate::scalar::scalar_at;
use crate::schema::PartSchema;
use crate::sort_order::SORT_OPTIONS;

/// Rows of later parts that are held in memory, at most.
pub const LATER_ROWS_MAX: u64 = 1 << 17;
/// Keys that are looked up in the index of a part, at most: with more of them hardly a granule is left
/// out.
const LOOKED_UP_MAX: usize = 1 << 12;

/// The rows of later parts by their keys.
pub struct LaterRows {
    columns: Vec<ColumnId>,
    choice: Choice,
    /// Of each row, by its place in `sources`.
    keys: Keys,
    versions: Option<Keys>,
    /// The later part and the row in it.
    sources: Vec<(usize, u32)>,
    /// By key.
    groups: Vec<Group>,
    /// The keys as values where they are few.
    values: Option<Vec<Vec<Scalar>>>,
}

/// The rows of one key.
struct Group {
    /// The one that is shown if no earlier part has the key, or any.
    best: usize,
    is_shown: bool,
}

/// What rows of one earlier part have to do with those of later ones.
#[derive(Default)]
pub struct MetRows {
    /// Rows of the earlier part that are hidden now.
    hidden: Vec<u32>,
    /// Groups whose row is not shown.
    lost: Vec<usize>,
}

impl LaterRows {
    /// The rows of `parts`, in insert order, of a table that follows `rule`; `None` where what is shown
    /// of a key does not follow from what is shown of earlier and of later rows. Kinds as of
    /// [`PartStore::open`].
    pub async fn read(
        store: &PartStore,
        schema: &Arc<PartSchema>,
        rule: &CollapseRule,
        parts: &[PartRef],
    ) -> Result<Option<LaterRows>> {
        let columns = schema.with_key(&rule.required_columns());
        let Some(choice) = Choice::of(rule, &columns)? else { return Ok(None) };
        if schema.sort_key.is_empty() {
            return Ok(None);
        }
        let (mut batches, mut sources) = (Vec::new(), Vec::new());
        for (place, part) in parts.iter().enumerate() {
            let (input, mut positions) = open_sorted(store, schema, part, &columns, None).await?;
            let read: Vec<RecordBatch> = input.try_collect().await?;
            let rows = read.iter().map(|batch| batch.num_rows() as u64).sum();
            sources.extend((0..rows).filter_map(|row| Some((place, positions.of(row)?))));
            batches.extend(read);
        }
        let rows = concat_batches(&schema.project(&columns)?, &batches)
            .map_err(|error| Error::internal(format!("the rows of later parts: {error}")))?;
        let keys = Keys::of(&rows.columns()[..schema.sort_key.len()], SORT_OPTIONS)?;
        let mut later = LaterRows {
            columns,
            choice,
            keys,
            versions: None,
            sources,
            groups: vec![],
            values: None,
        };
        later.group(&rows)?;
        if later.groups.len() <= LOOKED_UP_MAX {
            later.values = Some(later.values_of(&rows.columns()[..schema.sort_key.len()])?);
        }
        Ok(Some(later))
    }

    fn group(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut zero = Vec::new();
        match &self.choice {
            Choice::Last { version } => self.versions = versions(rows, *version)?,
            Choice::Alone { sums } => {
                zero.resize(rows.num_rows(), !sums.is_empty());
                for place in sums {
                    is_zero(rows.column(*place), &mut zero)?;
                }
            }
        }
        let mut order: Vec<usize> = (0..rows.num_rows()).collect();
        // Equal keys stay in insert order.
        order.sort_by(|a, b| self.keys.compare(*a, &self.keys, *b));
        let groups = order.chunk_by(|a, b| self.keys.compare(*a, &self.keys, *b).is_eq());
        let group = |rows: &[usize]| match &self.choice {
            Choice::Last { .. } => {
                let best = rows.iter().copied().max_by(|a, b| self.compare_versions(*a, *b));
                Some(Group { best: best?, is_shown: true })
            }
            Choice::Alone { .. } => {
                let best = *rows.first()?;
                let is_zero = zero.get(best).copied().unwrap_or(false);
                Some(Group { best, is_shown: rows.len() == 1 && !is_zero })
            }
        };
        self.groups = groups.filter_map(group).collect();
        Ok(())
    }

    fn compare_versions(&self, a: usize, b: usize) -> Ordering {
        self.versions.as_ref().map_or(Ordering::Equal, |versions| versions.compare(a, versions, b))
    }

    fn values_of(&self, key: &[ArrayRef]) -> Result<Vec<Vec<Scalar>>> {
        let value =
            |row| key.iter().map(move |values| scalar_at(values, row).map(|it| lower_bound(&it)));
        self.groups.iter().map(|group| value(group.best).collect()).collect()
    }

    /// The rows of `part` among which there may be any with one of the keys: ranges that follow each
    /// other, of about `rows_max` rows at most. Kinds as of [`PartStore::open`].
    pub async fn near(
        &self,
        store: &PartStore,
        schema: &PartSchema,
        part: &PartRef,
        rows_max: u64,
    ) -> Result<Vec<Vec<Range<u64>>>> {
        let open = store.open_without(part, Arc::default()).await?;
        let columns = common_key(schema, &open).min(schema.sort_key.len());
        let ranges = match &self.values {
            Some(keys) if columns > 0 => granules_near(open.index(), keys, columns),
            _ => open.all_rows().ranges,
        };
        Ok(in_pieces(ranges, rows_max.max(1)))
    }

    /// Looks for the keys among `rows` of `part`, of which `known` are hidden already. Kinds as of
    /// [`PartStore::open`].
    pub async fn meet(
        &self,
        store: &PartStore,
        schema: &Arc<PartSchema>,
        part: &PartRef,
        rows: Vec<Range<u64>>,
        known: &Deletions,
    ) -> Result<MetRows> {
        let deleted = store.deletions(part).await?;
        let mut walk = Walk { later: self, group: 0, met: MetRows::default(), known, deleted };
        let open: Arc<OpenPart> = store.open_without(part, Arc::default()).await?;
        let mut places = rows.clone().into_iter().flatten();
        let scan = PartScan {
            columns: self.columns.clone(),
            filter: None,
            ordered: true,
            rows: Some(rows),
            batch_rows: 0,
            limit: None,
            hints: Vec::new(),
        };
        let mut batches = open.scan(Arc::clone(schema), scan);
        while let Some(batch) = batches.try_next().await? {
            walk.pass(&batch, schema.sort_key.len(), &mut places)?;
            // Other tasks of the thread run in between.
            tokio::task::yield_now().await;
        }
        Ok(walk.met)
    }

    /// What is hidden of all parts: of the earlier ones what was `known` and what `met` says of each, of
    /// the later ones, which have so many rows, all that is not shown.
    pub fn hidden(
        &self,
        known: &HiddenRows,
        met: &[Vec<MetRows>],
        later_rows: impl IntoIterator<Item = u64>,
    ) -> HiddenRows {
        let earlier = met.iter().enumerate().filter_map(|(place, met)| {
            let mut hidden = Arc::clone(known.of(place)?);
            for row in met.iter().flat_map(|met| &met.hidden) {
                Arc::make_mut(&mut hidden).insert(*row);
            }
            Some(hidden)
        });
        let mut is_lost = vec![false; self.groups.len()];
        met.iter().flatten().flat_map(|met| &met.lost).for_each(|group| is_lost[*group] = true);
        let mut shown = Vec::new();
        for (group, is_lost) in self.groups.iter().zip(is_lost) {
            if group.is_shown && !is_lost {
                shown.push(self.sources[group.best]);
            }
        }
        let later = later_rows.into_iter().enumerate().map(|(place, rows)| {
            let shown = shown.iter().filter(|(part, _)| *part == place).map(|(_, row)| *row);
            Arc::new(Deletions::all_but(rows, &shown.collect()))
        });
        HiddenRows::of_parts(earlier.chain(later).collect())
    }
}

/// The versions of `rows`, in the column at `place` if there is one.
fn versions(rows: &RecordBatch, place: Option<usize>) -> Result<Option<Keys>> {
    let column = place.map(|place| std::slice::from_ref(rows.column(place)));
    column.map(|column| Keys::of(column, VERSION_ORDER)).transpose()
}

/// Goes through the rows of an earlier part and the groups of later ones at the same time.
struct Walk<'a> {
    later: &'a LaterRows,
    /// The first one that may come among the rows that are left.
    group: usize,
    met: MetRows,
    known: &'a Deletions,
    deleted: Option<Arc<Deletions>>,
}

impl Walk<'_> {
    /// Passes the rows of a sorted `batch` with a key of so many columns, which are at the next of
    /// `places` in the part.
    fn pass(
        &mut self,
        batch: &RecordBatch,
        key_columns: usize,
        places: &mut impl Iterator<Item = u64>,
    ) -> Result<()> {
        let keys = FewKeys::of(&batch.columns()[..key_columns], SORT_OPTIONS)?;
        let versions = match &self.later.choice {
            Choice::Last { version: Some(place) } => {
                let column = std::slice::from_ref(batch.column(*place));
                Some(FewKeys::of(column, VERSION_ORDER)?)
            }
            Choice::Last { version: None } | Choice::Alone { .. } => None,
        };
        let (rows, mut row, mut passed) = (batch.num_rows(), 0, 0);
        while let Some(group) = self.later.groups.get(self.group) {
            let order = |row: usize| keys.compare(row, &self.later.keys, group.best);
            row = first_from(row, rows, |row| order(row).is_lt());
            while row < rows && order(row).is_eq() {
                // Positions in parts are below 2^32.
                let place = places.nth(row - passed).unwrap_or_default() as u32;
                passed = row + 1;
                self.meet(place, row, versions.as_ref());
                row += 1;
            }
            if row == rows {
                // The next batch may go on with this key.
                break;
            }
            self.group += 1;
        }
        if let Some(left) = (rows - passed).checked_sub(1) {
            places.nth(left);
        }
        Ok(())
    }

    /// A row of the part at `place`, in the batch at `row`, that has the key of the current group.
    fn meet(&mut self, place: u32, row: usize, versions: Option<&FewKeys<'_>>) {
        if self.deleted.as_ref().is_some_and(|deleted| deleted.contains(place)) {
            return;
        }
        let is_later_lost = match (&self.later.choice, versions, &self.later.versions) {
            (Choice::Alone { .. }, ..) => {
                self.met.hidden.push(place);
                true
            }
            // Another row of the key decides.
            _ if self.known.contains(place) => false,
            (_, Some(versions), Some(later)) => {
                let best = self.later.groups[self.group].best;
                versions.compare(row, later, best).is_gt()
            }
            _ => false,
        };
        match is_later_lost {
            true => self.met.lost.push(self.group),
            false => self.met.hidden.push(place),
        }
    }
}

/// The first of `start..end` that is not `before`, which holds up to some row and not after; quickly
/// found when it is near.
fn first_from(start: usize, end: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut step) = (start, 1);
    while low + step <= end && before(low + step - 1) {
        (low, step) = (low + step, step * 2);
    }
    let mut high = end.min(low + step - 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match before(middle) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

/// The rows of the granules that may hold one of `keys`, ascending ones cut as bounds are, by the first
/// so many columns.
fn granules_near(index: &PartIndex, keys: &[Vec<Scalar>], columns: usize) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for key in keys {
        let key = &key[..columns];
        let below = index.first_keys.partition_point(|first| compare_cut(first, key).is_lt());
        let upto = index.first_keys.partition_point(|first| compare_cut(first, key).is_le());
        // The granule before the first that begins with the key may end with it.
        let rows = index.rows_of(below.saturating_sub(1)..upto);
        match ranges.last_mut() {
            _ if rows.is_empty() => {}
            Some(last) if last.end >= rows.start => last.end = last.end.max(rows.end),
            _ => ranges.push(rows),
        }
    }
    ranges
}

/// Keys of which only beginnings may be known: equal where these are.
fn compare_cut(first: &[Scalar], key: &[Scalar]) -> Ordering {
    for (a, b) in first.iter().zip(key) {
        match a.cmp(b) {
            Ordering::Equal if !is_whole(a) => return Ordering::Equal,
            Ordering::Equal => {}
            different => return different,
        }
    }
    Ordering::Equal
}

/// Ranges in groups of about so many rows.
fn in_pieces(ranges: Vec<Range<u64>>, rows_max: u64) -> Vec<Vec<Range<u64>>> {
    let mut pieces: Vec<Vec<Range<u64>>> = Vec::new();
    let mut room = 0;
    for mut range in ranges {
        while range.start < range.end {
            if room == 0 {
                pieces.push(Vec::new());
                room = rows_max;
            }
            let end = range.end.min(range.start + room);
            room -= end - range.start;
            if let Some(piece) = pieces.last_mut() {
                piece.push(range.start..end);
            }
            range.start = end;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_that_is_not_before_is_found() {
        for end in 0..20 {
            for (start, bound) in (0..=end).flat_map(|start| (0..=end).map(move |b| (start, b))) {
                let found = first_from(start, end, |row| row < bound);
                assert_eq!(found, bound.max(start), "{start} {end} {bound}");
            }
        }
    }

    #[test]
    fn ranges_are_cut_into_pieces() {
        let pieces = in_pieces(vec![0..5, 7..8, 10..20], 4);
        let of_piece = |piece: &Vec<Range<u64>>| format!("{piece:?}");
        let pieces: Vec<String> = pieces.iter().map(of_piece).collect();
        assert_eq!(pieces, ["[0..4]", "[4..5, 7..8, 10..12]", "[12..16]", "[16..20]"]);
        assert!(in_pieces(vec![], 4).is_empty());
    }

    #[test]
    fn keys_that_are_cut_are_equal_where_their_beginnings_are() {
        let text = |end: &str| Scalar::Text(format!("{}{end}", "a".repeat(23)));
        let int = Scalar::Int;
        let cases = [
            // The second column does not count after a text of which only the beginning is known.
            ([text("b"), int(9)], [text("b"), int(1)], Ordering::Equal),
            ([text(""), int(9)], [text(""), int(1)], Ordering::Greater),
            ([text("a"), int(1)], [text("b"), int(1)], Ordering::Less),
            ([int(1), int(2)], [int(1), int(2)], Ordering::Equal),
        ];
        for (first, key, expected) in cases {
            assert_eq!(compare_cut(&first, &key), expected, "{first:?} {key:?}");
        }
    }
}
