//! Which rows of parts FINAL leaves out, for engines that only choose among rows.
//!
//! ```text
//!   key and rule columns of each part ─► k-way merge ─► collapse ─► places of the rows that are left
//!                                                                             │
//!                        rows of each part that are not shown ◄── all others ─┘
//! ```
//!
//! Parts never change, so the answer for a set of parts holds for as long as they are there, and the
//! store remembers it: every further query with FINAL over them reads like one without.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use granary_common::{ColumnId, Error, PartId, Result, TableId};

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

/// For each of some parts the rows that are not shown, deleted ones included.
#[derive(Debug)]
pub struct HiddenRows {
    parts: Vec<Arc<Deletions>>,
}

impl HiddenRows {
    /// Of the part at `place`.
    pub fn of(&self, place: usize) -> Option<&Arc<Deletions>> {
        self.parts.get(place)
    }

    /// About how many bytes they take in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.parts.iter().map(|rows| rows.memory_bytes()).sum::<u64>() + 256
    }
}

/// Finds what `rule` leaves out of all rows of `parts`, which are in insert order and hold every row
/// of their keys. Reads the sort key and the rule's columns only.
///
/// Kinds: those of [`PartStore::open`], and `Internal` for a rule that makes rows of its own.
pub async fn hidden_rows(
    store: &PartStore,
    schema: &Arc<PartSchema>,
    rule: &CollapseRule,
    parts: &[PartRef],
) -> Result<HiddenRows> {
    if !rule.only_chooses() {
        return Err(Error::internal("this engine makes rows of its own"));
    }
    let mut columns = schema.sort_key.clone();
    for id in rule.required_columns() {
        if !columns.contains(&id) {
            columns.push(id);
        }
    }
    let mut inputs = Vec::with_capacity(parts.len());
    let mut positions = Vec::with_capacity(parts.len());
    for part in parts {
        let (input, of) = open_sorted(store, schema, part, &columns).await?;
        inputs.push(input);
        positions.push(of);
    }
    let mut places = Places { positions, shown: parts.iter().map(Shown::none).collect() };
    let fields = schema.project(&columns)?;
    let collapser = collapser(schema, rule, columns, &fields)?;
    let key = (0..schema.sort_key.len()).collect();
    places.fill(KWayMerge::new(inputs, key), collapser).await?;
    Ok(HiddenRows { parts: places.shown.iter().map(|shown| Arc::new(shown.others())).collect() })
}

/// Collapses rows that bring their place as a further column.
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

/// The rows of one part that are shown.
struct Shown {
    words: Vec<u64>,
    rows: u64,
}

impl Shown {
    fn none(part: &PartRef) -> Shown {
        Shown { words: vec![0; part.rows.div_ceil(64) as usize], rows: part.rows }
    }

    fn add(&mut self, row: u32) {
        if let Some(word) = self.words.get_mut(row as usize / 64) {
            *word |= 1 << (row % 64);
        }
    }

    /// The rows that are not shown.
    fn others(&self) -> Deletions {
        let others = self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut left = !word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                (bit < 64).then(|| (at * 64) as u64 + u64::from(bit))
            })
        });
        // Positions in parts are below 2^32.
        others.take_while(|row| *row < self.rows).map(|row| row as u32).collect()
    }
}

/// Where the rows of the inputs are, and which of them are shown.
struct Places {
    positions: Vec<Positions>,
    shown: Vec<Shown>,
}

impl Places {
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
            let mut shown = Shown { words: vec![0; rows.div_ceil(64) as usize], rows: rows.into() };
            (0..rows).filter(|row| row % 3 == 0).for_each(|row| shown.add(row));
            let hidden: Vec<u32> = shown.others().iter().collect();
            assert_eq!(hidden, (0..rows).filter(|row| row % 3 != 0).collect::<Vec<_>>(), "{rows}");
        }
    }
}
