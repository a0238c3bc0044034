//! Which rows of parts FINAL does not show as they are. Where the engine only chooses among rows, the
//! others are all that there is; where it makes rows of several, these are made of the hidden ones.
//!
//! ```text
//!   key and rule columns of each part ─► k-way merge ─► collapse ─► places of the rows that are left
//!                                                                             │
//!                        rows of each part that are not shown ◄── all others ─┘
//! ```
//!
//! Ranges of keys are independent of each other, so threads may look at some each.
//!
//! Parts never change, so the answer for a set of parts holds for as long as they are there, and the
//! store remembers it: every further query with FINAL over them reads like one without. Of these and
//! a few rows more, see [`super::later`].

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use granary_common::{ColumnId, Error, PartId, Result, TableId};

use super::chosen::{Choice, Chooser, ChosenRow};
use super::collapse::{CollapseMode, Collapser};
use super::input::open_sorted;
use super::k_way::{KWayMerge, MergedBatch};
use super::positions::Positions;
use super::rule::CollapseRule;
use super::states::NoStates;
use crate::deletions::Deletions;
use crate::read::{PartRef, PartStore};
use crate::schema::{PART_OFFSET_COLUMN, PartSchema};

/// What the rows that a set of parts hides depend on. A deletion vector only grows, so of one part
/// there is one with so many rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HiddenKey {
    table: TableId,
    /// The engine and its columns follow from it.
    schema_version: u64,
    parts: Vec<(PartId, u64)>,
}

impl HiddenKey {
    /// Of `parts`, in insert order, of a table of `schema`.
    pub fn of(schema: &PartSchema, parts: &[PartRef]) -> HiddenKey {
        HiddenKey {
            table: schema.table,
            schema_version: schema.schema_version,
            parts: parts.iter().map(|part| (part.id, part.rows_deleted)).collect(),
        }
    }
}

/// For each of some parts the rows that are not shown as they are, deleted ones included.
#[derive(Debug)]
pub struct HiddenRows {
    parts: Vec<Arc<Deletions>>,
}

impl HiddenRows {
    /// All but the rows of `parts` parts that are shown in ranges of their keys, which follow each
    /// other and together hold every row.
    pub fn others(parts: usize, shown: &[ShownRows]) -> HiddenRows {
        let hidden = |place: usize| {
            let ranges = shown.iter().filter_map(|range| range.parts.get(place));
            Arc::new(ranges.flat_map(|range| range.others()).collect())
        };
        HiddenRows { parts: (0..parts).map(hidden).collect() }
    }

    /// These rows of each part.
    pub fn of_parts(parts: Vec<Arc<Deletions>>) -> HiddenRows {
        HiddenRows { parts }
    }

    /// Of the part at `place`.
    pub fn of(&self, place: usize) -> Option<&Arc<Deletions>> {
        self.parts.get(place)
    }

    /// How many they are in all parts.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|rows| rows.len()).sum()
    }

    /// About how many bytes they take in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.parts.iter().map(|rows| rows.memory_bytes()).sum::<u64>() + 256
    }
}

/// For each of some parts the rows of one range of keys that are shown.
pub struct ShownRows {
    parts: Vec<Shown>,
}

/// Finds what `rule` shows as it is of `rows` of `parts`, which are in insert order and hold every
/// row of the keys of these rows. Reads the sort key and the rule's columns only. Kinds as of
/// [`PartStore::open`].
pub async fn shown_rows(
    store: &PartStore,
    schema: &Arc<PartSchema>,
    rule: &CollapseRule,
    parts: &[PartRef],
    rows: &[Range<u64>],
) -> Result<ShownRows> {
    let columns = schema.with_key(&rule.required_columns());
    let mut inputs = Vec::with_capacity(parts.len());
    let mut positions = Vec::with_capacity(parts.len());
    for (part, rows) in parts.iter().zip(rows) {
        let (input, of) = open_sorted(store, schema, part, &columns, Some(rows.clone())).await?;
        inputs.push(input);
        positions.push(of);
    }
    let mut places = Places { positions, shown: rows.iter().cloned().map(Shown::none).collect() };
    let key = (0..schema.sort_key.len()).collect();
    match Choice::of(rule, &columns)? {
        Some(choice) => places.choose(Chooser::new(inputs, key, choice)).await?,
        None => {
            let merge = KWayMerge::new(inputs, key);
            let fields = schema.project(&columns)?;
            places.fill(merge, collapser(schema, rule, columns, &fields)?).await?;
        }
    }
    Ok(ShownRows { parts: places.shown })
}

/// Leaves what is shown of rows that bring their place as a further column.
fn collapser(
    schema: &PartSchema,
    rule: &CollapseRule,
    mut columns: Vec<ColumnId>,
    fields: &Schema,
) -> Result<Collapser> {
    columns.push(PART_OFFSET_COLUMN);
    let sort_key = schema.sort_key.clone();
    let (rule, states) = (rule.clone(), Arc::new(NoStates));
    let schema = with_place(fields);
    Collapser::new(Arc::new(schema), columns, sort_key, rule, states, CollapseMode::Final)
}

fn with_place(fields: &Schema) -> Schema {
    let place = Arc::new(Field::new("place", DataType::UInt64, false));
    Schema::new(fields.fields().iter().cloned().chain([place]).collect::<Vec<_>>())
}

/// Of some rows of one part those that are shown.
struct Shown {
    /// A bit for each row of `rows`.
    words: Vec<u64>,
    rows: Range<u64>,
}

impl Shown {
    fn none(rows: Range<u64>) -> Shown {
        let words = (rows.end - rows.start).div_ceil(64) as usize;
        Shown { words: vec![0; words], rows }
    }

    fn add(&mut self, row: u32) {
        let Some(row) = u64::from(row).checked_sub(self.rows.start) else { return };
        if let Some(word) = self.words.get_mut(row as usize / 64) {
            *word |= 1 << (row % 64);
        }
    }

    /// The others, ascending.
    fn others(&self) -> impl Iterator<Item = u32> + '_ {
        let others = self.words.iter().enumerate().flat_map(|(at, word)| {
            let (mut left, first) = (!word, self.rows.start + 64 * at as u64);
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                (bit < 64).then(|| first + u64::from(bit))
            })
        });
        // Positions in parts are below 2^32.
        others.take_while(|row| *row < self.rows.end).map(|row| row as u32)
    }
}

/// Where the rows of the inputs are, and which of them are shown.
struct Places {
    positions: Vec<Positions>,
    shown: Vec<Shown>,
}

impl Places {
    async fn choose(&mut self, mut chooser: Chooser) -> Result<()> {
        let mut chosen = Vec::new();
        while chooser.next(&mut chosen).await? {
            for ChosenRow { input, row } in chosen.drain(..) {
                if let Some(row) = self.positions[input].of(row) {
                    self.shown[input].add(row);
                }
            }
            // Other tasks of the thread run in between.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn fill(&mut self, mut merge: KWayMerge, mut collapser: Collapser) -> Result<()> {
        while let Some(merged) = merge.next().await? {
            if let Some(left) = collapser.push(self.placed(merged)?)? {
                self.show(&left);
            }
            // Other tasks of the thread run between batches.
            tokio::task::yield_now().await;
        }
        if let Some(left) = collapser.finish()? {
            self.show(&left);
        }
        Ok(())
    }

    /// The rows with a column of their places: the input, then the row in its part.
    fn placed(&mut self, merged: MergedBatch) -> Result<RecordBatch> {
        let mut sources = Vec::with_capacity(merged.rows.num_rows());
        for run in &merged.runs {
            self.positions[run.input].extend(run.input as u32, run.rows, &mut sources);
        }
        let place = |source: &super::row_map::RowSource| {
            (u64::from(source.input) << 32) | u64::from(source.row)
        };
        let places = UInt64Array::from_iter_values(sources.iter().flatten().map(place));
        let schema = Arc::new(with_place(&merged.rows.schema()));
        let mut columns: Vec<ArrayRef> = merged.rows.columns().to_vec();
        columns.push(Arc::new(places));
        RecordBatch::try_new(schema, columns)
            .map_err(|error| Error::internal(format!("the places of rows: {error}")))
    }

    fn show(&mut self, left: &RecordBatch) {
        let Some(places) = left.columns().last() else { return };
        for place in places.as_primitive::<UInt64Type>().values() {
            if let Some(shown) = self.shown.get_mut((place >> 32) as usize) {
                shown.add(*place as u32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_hidden() {
        for rows in [0_u32, 1, 63, 64, 65, 200] {
            let mut ranges = Vec::new();
            for range in [0..rows / 3, rows / 3..rows / 3, rows / 3..rows] {
                let mut shown = Shown::none(range.start.into()..range.end.into());
                range.filter(|row| row % 3 == 0).for_each(|row| shown.add(row));
                ranges.push(ShownRows { parts: vec![shown] });
            }
            let hidden = HiddenRows::others(1, &ranges);
            let hidden: Vec<u32> = hidden.of(0).unwrap().iter().collect();
            assert_eq!(hidden, (0..rows).filter(|row| row % 3 != 0).collect::<Vec<_>>(), "{rows}");
        }
    }
}
