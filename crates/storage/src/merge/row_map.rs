//! Where the rows of a merge's inputs went.

use std::ops::Range;

use granary_common::{Error, Result};
use roaring::RoaringBitmap;

use crate::deletions::Deletions;

/// A row of one input of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowSource {
    pub input: u32,
    /// Its position in the part, deleted rows counted.
    pub row: u32,
}

/// Where the rows of a merge's inputs went. Every input's rows keep their order, so sets of
/// positions are enough: of the n-th row that is as it was, and of the n-th output row that it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowMap {
    inputs: Vec<InputRows>,
    rows: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct InputRows {
    /// Rows that the output lacks and that would have made no difference to it.
    gone: RoaringBitmap,
    /// Rows of which several became fewer.
    collapsed: RoaringBitmap,
    /// Rows that are in the output as they were, and stand for others that are not.
    standing: RoaringBitmap,
    /// The output rows that rows which are neither gone nor collapsed became, in their order.
    outputs: RoaringBitmap,
}

impl RowMap {
    /// Rows of the output.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Deletions of inputs (by their place in [`super::MergeSpec::inputs`]) that happened meanwhile,
    /// as deletions of the merged part; `None` when a touched row was collapsed with others, so that
    /// the merge must be done again. Rows that were deleted before are passed over.
    pub fn translate(&self, deleted: &[(usize, &Deletions)]) -> Option<Deletions> {
        let mut translated = Deletions::new();
        for (input, rows) in deleted {
            let known = self.inputs.get(*input)?;
            for row in rows.iter() {
                if known.gone.contains(row) {
                    continue;
                }
                if known.collapsed.contains(row) || known.standing.contains(row) {
                    return None;
                }
                // `rank` counts values up to and including `row`, which is in neither set.
                let absent = known.gone.rank(row) + known.collapsed.rank(row);
                let place = u64::from(row).checked_sub(absent)?;
                translated.insert(known.outputs.select(u32::try_from(place).ok()?)?);
            }
        }
        Some(translated)
    }
}

/// Notes where rows go while a merge runs.
#[derive(Debug, Default)]
pub(crate) struct RowMapBuilder {
    map: RowMap,
}

impl RowMapBuilder {
    /// For a merge of so many inputs.
    pub fn new(inputs: usize) -> RowMapBuilder {
        RowMapBuilder { map: RowMap { inputs: vec![InputRows::default(); inputs], rows: 0 } }
    }

    /// Rows of an input that were deleted before the merge.
    pub fn deleted(&mut self, input: usize, rows: Range<u64>) {
        let rows = rows.start as u32..=(rows.end - 1) as u32;
        self.input(input as u32).gone.insert_range(rows);
    }

    fn input(&mut self, input: u32) -> &mut InputRows {
        let place = input as usize;
        if self.map.inputs.len() <= place {
            self.map.inputs.resize(place + 1, InputRows::default());
        }
        &mut self.map.inputs[place]
    }

    /// The next output row, and the row that it is, if it is no more than one.
    pub fn kept(&mut self, source: Option<RowSource>) {
        // More rows than that are refused by `finish`.
        let row = self.map.rows as u32;
        self.map.rows += 1;
        if let Some(source) = source {
            self.input(source.input).outputs.insert(row);
        }
    }

    /// The row left the output without a difference to it.
    pub fn gone(&mut self, source: RowSource) {
        self.input(source.input).gone.insert(source.row);
    }

    /// The row was collapsed with others.
    pub fn collapsed(&mut self, source: RowSource) {
        self.input(source.input).collapsed.insert(source.row);
    }

    /// The row is in the output, and so are not others because of it.
    pub fn stands_for_others(&mut self, source: RowSource) {
        self.input(source.input).standing.insert(source.row);
    }

    /// The map. Kind `ResourceExhausted` for more rows than a part can have.
    pub fn finish(self) -> Result<RowMap> {
        if self.map.rows > u64::from(u32::MAX) {
            return Err(Error::exhausted(format!(
                "the merged part would have {} rows, and a part has at most {}",
                self.map.rows,
                u32::MAX
            )));
        }
        Ok(self.map)
    }
}
