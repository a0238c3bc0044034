//! Which rows of sorted inputs are shown as they are, from their keys alone: no row is put together.
//!
//! Only for rules that show a row that has its key to itself, as nearly all have in practice; what
//! becomes of a group of several is decided by one column at most.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use futures::stream::BoxStream;
use granary_common::{ColumnId, Error, Result};

use super::collapse::is_zero;
use super::k_way::Cursor;
use super::keys::Keys;
use super::rule::CollapseRule;

/// Without a value a version is below all others.
pub(super) const VERSION_ORDER: SortOptions = SortOptions { descending: false, nulls_first: true };

/// How rows are chosen, with columns by their places in the batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Of rows with equal keys the last one of the highest version.
    Last { version: Option<usize> },
    /// Rows that have their key to themselves, but for those in which all of these columns, if there
    /// are any, are zero or NULL.
    Alone { sums: Vec<usize> },
}

impl Choice {
    /// How `rule` chooses, in batches of `columns`; `None` where a row that has its key to itself may
    /// not be shown for other reasons. Kind `Internal` for a column that is not there.
    pub fn of(rule: &CollapseRule, columns: &[ColumnId]) -> Result<Option<Choice>> {
        let place = |id: &ColumnId| {
            let place = columns.iter().position(|column| column == id);
            place.ok_or_else(|| Error::internal(format!("column {id} is not read")))
        };
        Ok(match rule {
            CollapseRule::Replacing { version, is_deleted: None } => {
                Some(Choice::Last { version: version.as_ref().map(place).transpose()? })
            }
            CollapseRule::Summing { columns, states } if states.is_empty() => {
                Some(Choice::Alone { sums: columns.iter().map(place).collect::<Result<_>>()? })
            }
            CollapseRule::Summing { .. }
            | CollapseRule::Aggregating { .. }
            | CollapseRule::Coalescing { .. } => Some(Choice::Alone { sums: Vec::new() }),
            CollapseRule::None
            | CollapseRule::Replacing { .. }
            | CollapseRule::Collapsing { .. }
            | CollapseRule::VersionedCollapsing { .. } => None,
        })
    }
}

/// A row among those that its input gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChosenRow {
    pub input: usize,
    pub row: u64,
}

/// What is looked at of the batch of an input beside its keys.
#[derive(Default)]
struct Beside {
    versions: Option<Keys>,
    /// Rows that are not shown even alone.
    zero: Vec<bool>,
}

/// A row of the batch that its input is at. Heads are mostly so close to each other that what they are
/// above the lowest one is half as long.
#[derive(Clone, Copy)]
struct Row<Head = u64> {
    head: Head,
    input: u32,
    at: u32,
}

/// A whole key that is kept apart from the batch that it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct WholeKey {
    head: u128,
    tail: Vec<u8>,
}

impl WholeKey {
    fn set(&mut self, (head, tail): (u128, &[u8])) {
        self.head = head;
        self.tail.clear();
        self.tail.extend_from_slice(tail);
    }

    fn cmp_to(&self, (head, tail): (u128, &[u8])) -> Ordering {
        self.head.cmp(&head).then_with(|| self.tail.as_slice().cmp(tail))
    }
}

/// The rows with the key of a bound so far.
struct Group {
    rows: u64,
    /// The row that is shown if no other comes.
    best: ChosenRow,
    best_is_zero: bool,
    version: WholeKey,
}

/// Gives the rows that are shown.
///
/// ```text
///   input 0  . . . . . │ .          all that is below the first end of a batch is sorted at once, and
///   input 1  . . . ────┤            its groups are whole; the group of the bound itself may go on in
///   input 2  . . . . . │ . . .      the next batches, and is looked at row by row
/// ```
///
/// The sort is stable and makes use of rows that are in order already, so it merges the inputs' rows
/// in a few passes over memory; taking them one by one would cost several times as much.
pub(super) struct Chooser {
    inputs: Vec<Cursor>,
    choice: Choice,
    beside: Vec<Beside>,
    close: Vec<Row<u64>>,
    wide: Vec<Row<u128>>,
}

impl Chooser {
    /// Of sorted `inputs`, batches of one schema with the sort key at the places `key`.
    pub fn new(
        inputs: Vec<BoxStream<'static, Result<RecordBatch>>>,
        key: Vec<usize>,
        choice: Choice,
    ) -> Chooser {
        let beside = inputs.iter().map(|_| Beside::default()).collect();
        let key: Arc<[usize]> = key.into();
        let inputs = inputs.into_iter().map(|batches| Cursor::new(batches, &key)).collect();
        Chooser { inputs, choice, beside, close: Vec::new(), wide: Vec::new() }
    }

    /// Appends rows that are shown to `chosen`, those of an input in its order; whether there may be
    /// more.
    pub async fn next(&mut self, chosen: &mut Vec<ChosenRow>) -> Result<bool> {
        for input in 0..self.inputs.len() {
            if self.inputs[input].rows_left() == 0 {
                self.fill(input).await?;
            }
        }
        let ends = self.inputs.iter().filter_map(Cursor::last_key);
        let Some((head, tail)) = ends.min() else { return Ok(false) };
        let bound = WholeKey { head, tail: tail.to_vec() };
        self.choose_below(&bound, chosen);
        self.choose_of_bound(&bound, chosen).await?;
        Ok(true)
    }

    /// Gives an input its next batch, if there is one.
    async fn fill(&mut self, input: usize) -> Result<bool> {
        let is_filled = self.inputs[input].fill().await?;
        if let Some(batch) = self.inputs[input].batch.as_ref().filter(|_| is_filled) {
            look_beside(&self.choice, batch, &mut self.beside[input])?;
        }
        Ok(is_filled)
    }

    /// Chooses among the rows below `bound` and passes them.
    fn choose_below(&mut self, bound: &WholeKey, chosen: &mut Vec<ChosenRow>) {
        let first = |cursor: &Cursor| (cursor.rows_left() > 0).then(|| cursor.head());
        let low = self.inputs.iter().filter_map(first).min().unwrap_or(bound.head);
        if bound.head - low <= u128::from(u64::MAX) {
            let mut window = std::mem::take(&mut self.close);
            self.choose_of_window(bound, &mut window, |head| (head - low) as u64, chosen);
            self.close = window;
        } else {
            let mut window = std::mem::take(&mut self.wide);
            self.choose_of_window(bound, &mut window, |head| head, chosen);
            self.wide = window;
        }
    }

    /// The same by way of `window`, which is empty before and after.
    fn choose_of_window<Head: Ord + Copy>(
        &mut self,
        bound: &WholeKey,
        window: &mut Vec<Row<Head>>,
        shortened: impl Fn(u128) -> Head,
        chosen: &mut Vec<ChosenRow>,
    ) {
        let (mut has_tails, mut sources) = (false, 0);
        for (input, cursor) in self.inputs.iter_mut().enumerate() {
            let rows = cursor.pass_below(|key| bound.cmp_to(key).is_gt());
            let Some(keys) = cursor.keys.as_ref().filter(|_| !rows.is_empty()) else { continue };
            (sources, has_tails) = (sources + 1, has_tails || keys.has_tails());
            let of_row = |(at, head): (usize, &u128)| Row {
                head: shortened(*head),
                input: input as u32,
                at: at as u32,
            };
            window.extend(rows.clone().zip(&keys.heads[rows]).map(of_row));
        }
        // Equal keys stay in the order of their inputs.
        match (sources, has_tails) {
            (0 | 1, _) => {}
            (_, false) => window.sort_by_key(|row| row.head),
            (_, true) => window
                .sort_by(|a, b| a.head.cmp(&b.head).then_with(|| self.tail(a).cmp(self.tail(b)))),
        }
        let tails_meet = |a: &Row<Head>, b: &Row<Head>| !has_tails || self.tail(a) == self.tail(b);
        let groups = window.chunk_by(|a, b| a.head == b.head && tails_meet(a, b));
        chosen.extend(groups.filter_map(|group| self.best_of(group)).map(|row| self.chosen(row)));
        window.clear();
    }

    fn tail<Head>(&self, row: &Row<Head>) -> &[u8] {
        self.inputs[row.input as usize].tail(row.at as usize)
    }

    /// The row that is shown of all rows with one key.
    fn best_of<'a, Head>(&self, group: &'a [Row<Head>]) -> Option<&'a Row<Head>> {
        match (&self.choice, group) {
            (Choice::Alone { .. }, [only]) => (!self.is_zero(only)).then_some(only),
            (Choice::Alone { .. }, _) => None,
            // Of equal ones the last.
            (Choice::Last { version: Some(_) }, [_, _, ..]) => {
                group.iter().max_by(|a, b| self.version(a).cmp(&self.version(b)))
            }
            (Choice::Last { .. }, _) => group.last(),
        }
    }

    fn version<Head>(&self, row: &Row<Head>) -> (u128, &[u8]) {
        let at = row.at as usize;
        let versions = self.beside[row.input as usize].versions.as_ref();
        versions.map_or((0, &[]), |versions| (versions.heads[at], versions.tail(at)))
    }

    fn is_zero<Head>(&self, row: &Row<Head>) -> bool {
        self.beside[row.input as usize].zero.get(row.at as usize).copied().unwrap_or(false)
    }

    fn chosen<Head>(&self, row: &Row<Head>) -> ChosenRow {
        let input = row.input as usize;
        ChosenRow { input, row: self.inputs[input].rows_before + u64::from(row.at) }
    }

    /// The group of `bound`, which is the first of what is left, input by input.
    async fn choose_of_bound(
        &mut self,
        bound: &WholeKey,
        chosen: &mut Vec<ChosenRow>,
    ) -> Result<()> {
        let mut group: Option<Group> = None;
        for input in 0..self.inputs.len() {
            loop {
                let rows = self.inputs[input].pass_below(|key| bound.cmp_to(key).is_ge());
                for at in rows {
                    let row = Row { head: bound.head, input: input as u32, at: at as u32 };
                    match &mut group {
                        Some(group) => self.join(group, &row),
                        None => group = Some(self.begin(&row)),
                    }
                }
                if self.inputs[input].rows_left() > 0 || !self.fill(input).await? {
                    break;
                }
            }
        }
        let is_shown = |group: &Group| match &self.choice {
            Choice::Last { .. } => true,
            Choice::Alone { .. } => group.rows == 1 && !group.best_is_zero,
        };
        chosen.extend(group.filter(is_shown).map(|group| group.best));
        Ok(())
    }

    fn begin<Head>(&self, row: &Row<Head>) -> Group {
        let mut version = WholeKey::default();
        version.set(self.version(row));
        Group { rows: 1, best: self.chosen(row), best_is_zero: self.is_zero(row), version }
    }

    /// A further row of the group, later than its others.
    fn join<Head>(&self, group: &mut Group, row: &Row<Head>) {
        group.rows += 1;
        if group.version.cmp_to(self.version(row)).is_le() {
            group.version.set(self.version(row));
            group.best = self.chosen(row);
        }
    }
}

/// Looks at the other columns of a new batch.
fn look_beside(choice: &Choice, batch: &RecordBatch, beside: &mut Beside) -> Result<()> {
    match choice {
        Choice::Last { version: Some(place) } => {
            let column = std::slice::from_ref(batch.column(*place));
            beside.versions = Some(Keys::of(column, VERSION_ORDER)?);
        }
        Choice::Last { version: None } => {}
        Choice::Alone { sums } => {
            beside.zero.clear();
            beside.zero.resize(batch.num_rows(), !sums.is_empty());
            for place in sums {
                is_zero(batch.column(*place), &mut beside.zero)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use futures::{FutureExt, StreamExt, stream};
    use proptest::prelude::*;

    use super::*;

    /// The key, and the version or the sum.
    type Pair = (i64, Option<i64>);

    /// Keys as numbers, or as texts whose difference is not in their heads.
    fn batch(rows: &[Pair], as_texts: bool) -> RecordBatch {
        let text = |key: &i64| format!("the same first letters {key:03}");
        let keys = rows.iter().map(|(key, _)| key);
        let keys: ArrayRef = match as_texts {
            true => Arc::new(StringArray::from_iter_values(keys.map(text))),
            false => Arc::new(Int64Array::from_iter_values(keys.copied())),
        };
        let values: Int64Array = rows.iter().map(|(_, value)| *value).collect();
        RecordBatch::try_from_iter_with_nullable([
            ("key", keys, false),
            ("value", Arc::new(values) as ArrayRef, true),
        ])
        .unwrap()
    }

    /// What is shown of inputs whose batches end after so many rows, by input.
    fn found(inputs: &[Vec<Pair>], cut: usize, as_texts: bool, choice: Choice) -> Vec<Vec<u64>> {
        let batches = |rows: &Vec<Pair>| {
            let batches: Vec<_> = rows.chunks(cut).map(|rows| Ok(batch(rows, as_texts))).collect();
            stream::iter(batches).boxed()
        };
        let streams = inputs.iter().map(batches).collect();
        let mut chooser = Chooser::new(streams, vec![0], choice);
        let mut shown = vec![Vec::new(); inputs.len()];
        let mut chosen = Vec::new();
        while chooser.next(&mut chosen).now_or_never().unwrap().unwrap() {
            for ChosenRow { input, row } in chosen.drain(..) {
                shown[input].push(row);
            }
        }
        shown
    }

    fn expected(inputs: &[Vec<Pair>], choice: &Choice) -> Vec<Vec<u64>> {
        let mut groups: BTreeMap<i64, Vec<(usize, u64, Option<i64>)>> = BTreeMap::new();
        for (input, rows) in inputs.iter().enumerate() {
            for (row, (key, value)) in rows.iter().enumerate() {
                groups.entry(*key).or_default().push((input, row as u64, *value));
            }
        }
        let mut shown = vec![Vec::new(); inputs.len()];
        for group in groups.into_values() {
            let best = match (choice, group.as_slice()) {
                (Choice::Last { version: None }, _) => group.last(),
                (Choice::Last { .. }, _) => group.iter().max_by_key(|row| row.2),
                (Choice::Alone { sums }, [only]) => {
                    (sums.is_empty() || only.2.unwrap_or(0) != 0).then_some(only)
                }
                (Choice::Alone { .. }, _) => None,
            };
            if let Some((input, row, _)) = best {
                shown[*input].push(*row);
            }
        }
        shown
    }

    proptest! {
        #[test]
        fn rows_are_chosen_wherever_batches_end(
            inputs in prop::collection::vec(
                prop::collection::vec((0..12_i64, prop::option::of(0..3_i64)), 0..30),
                1..5,
            ),
            cut in 1..9_usize,
            as_texts: bool,
        ) {
            let sorted = inputs.into_iter().map(|mut rows| {
                rows.sort_by_key(|(key, _)| *key);
                rows
            });
            let sorted: Vec<Vec<Pair>> = sorted.collect();
            for choice in [
                Choice::Last { version: None },
                Choice::Last { version: Some(1) },
                Choice::Alone { sums: Vec::new() },
                Choice::Alone { sums: vec![1] },
            ] {
                let expected = expected(&sorted, &choice);
                let found = found(&sorted, cut, as_texts, choice.clone());
                prop_assert_eq!(&found, &expected, "{:?}", choice);
            }
        }
    }
}
