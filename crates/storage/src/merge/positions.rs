//! The positions in a part of the rows that a scan without its deleted rows gives.

use std::ops::Range;

use super::row_map::RowSource;
use crate::deletions::Deletions;

/// The rows of a part that are not deleted, handed out in order.
#[derive(Debug)]
pub struct Positions {
    scanned: Range<u64>,
    /// Ascending and apart.
    ranges: Vec<Range<u64>>,
    /// The range and the row of it that comes next.
    next: (usize, u64),
    /// The range that was asked for last, and how many rows are in those before.
    asked: (usize, u64),
}

impl Positions {
    /// Of a scan of the rows `scanned` of a part.
    pub fn new(scanned: Range<u64>, deleted: Option<&Deletions>) -> Positions {
        let mut ranges = Vec::new();
        let mut start = scanned.start;
        let ends = deleted.into_iter().flat_map(Deletions::iter).map(u64::from);
        for end in ends.filter(|row| scanned.contains(row)).chain([scanned.end]) {
            if start < end {
                ranges.push(start..end);
            }
            start = end + 1;
        }
        let next = (0, ranges.first().map_or(0, |range| range.start));
        Positions { scanned, ranges, next, asked: (0, 0) }
    }

    /// How many rows are not deleted.
    pub fn rows(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// The scanned rows that are deleted.
    pub fn deleted(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let Range { start, end } = self.scanned;
        let starts = std::iter::once(start).chain(self.ranges.iter().map(|range| range.end));
        let ends = self.ranges.iter().map(|range| range.start).chain([end]);
        starts.zip(ends).map(|(start, end)| start..end).filter(|range| !range.is_empty())
    }

    /// Where the `row`th row of the scan is; rows are asked for in ascending order.
    pub fn of(&mut self, row: u64) -> Option<u32> {
        let (place, before) = &mut self.asked;
        loop {
            let range = self.ranges.get(*place)?;
            let rows = range.end - range.start;
            if row < *before + rows {
                // Positions in parts are below 2^32.
                return Some((range.start + row - *before) as u32);
            }
            (*place, *before) = (*place + 1, *before + rows);
        }
    }

    /// Appends where the next rows of the scan are.
    pub fn extend(&mut self, input: u32, rows: usize, sources: &mut Vec<Option<RowSource>>) {
        let mut left = rows as u64;
        while left > 0 {
            let (place, row) = self.next;
            let Some(range) = self.ranges.get(place) else { return };
            let end = range.end.min(row + left);
            // Positions in parts are below 2^32.
            sources.extend((row..end).map(|row| Some(RowSource { input, row: row as u32 })));
            left -= end - row;
            self.next = match end == range.end {
                true => (place + 1, self.ranges.get(place + 1).map_or(0, |range| range.start)),
                false => (place, end),
            };
        }
    }
}
