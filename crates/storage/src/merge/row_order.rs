//! Which row of which input every output row of a merge is.
//!
//! Runs of rows that follow each other in one input are kept as a few bytes each: about a byte a row
//! where inputs interleave, and next to nothing where they do not.

use granary_common::{Error, Result};

/// Bytes of a block of runs, so that growing copies nothing.
const BLOCK_BYTES: usize = 64 << 10;
/// Bytes of a run, at most: two numbers.
const RUN_BYTES_MAX: usize = 20;

/// Rows that follow each other in one input and in the output. Positions are among the rows that a scan
/// of the input gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderRun {
    pub input: usize,
    pub first: u32,
    pub rows: u32,
    /// No row of the input before this is asked for in this run or later.
    pub keep: u32,
}

/// The rows of a merge's output, in their order.
#[derive(Debug, Default)]
pub(super) struct RowOrder {
    inputs: usize,
    blocks: Vec<Vec<u8>>,
    /// Rows of the output.
    rows: u64,
    /// For each input the output rows at which it goes back to an earlier row, as only rows of equal
    /// keys do, with the first row of the input that is asked for from there on.
    back: Vec<Vec<(u64, u32)>>,
}

impl RowOrder {
    /// Rows of the output.
    #[cfg(test)]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes in memory.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        let back: usize = self.back.iter().map(|back| back.len() * 16).sum();
        self.blocks.iter().map(Vec::len).sum::<usize>() + back
    }
}

/// Notes output rows as they come.
#[derive(Debug)]
pub(super) struct RowOrderBuilder {
    order: RowOrder,
    /// Of each input the row after the last one.
    next: Vec<u32>,
    /// Of each input the row after the furthest one.
    end: Vec<u32>,
    /// Input, first row and rows of the run that may go on.
    open: Option<(usize, u32, u32)>,
}

impl RowOrderBuilder {
    /// For a merge of so many inputs.
    pub fn new(inputs: usize) -> RowOrderBuilder {
        let order = RowOrder { inputs, back: vec![Vec::new(); inputs], ..RowOrder::default() };
        RowOrderBuilder { order, next: vec![0; inputs], end: vec![0; inputs], open: None }
    }

    /// The next output row.
    pub fn push(&mut self, input: u32, row: u32) {
        let input = input as usize;
        match &mut self.open {
            Some((open, first, rows)) if *open == input && *first + *rows == row => *rows += 1,
            _ => {
                self.close();
                if row < self.end[input] {
                    self.order.back[input].push((self.order.rows, row));
                }
                self.open = Some((input, row, 1));
            }
        }
        self.end[input] = self.end[input].max(row + 1);
        self.order.rows += 1;
    }

    fn close(&mut self) {
        let Some((input, first, rows)) = self.open.take() else { return };
        let jumps = first != self.next[input];
        let blocks = &mut self.order.blocks;
        if blocks.last().is_none_or(|block| block.len() + RUN_BYTES_MAX > BLOCK_BYTES) {
            blocks.push(Vec::with_capacity(BLOCK_BYTES));
        }
        if let Some(block) = blocks.last_mut() {
            let run = u64::from(rows - 1) * self.order.inputs as u64 + input as u64;
            put(block, run << 1 | u64::from(jumps));
            if jumps {
                let jump = i64::from(first) - i64::from(self.next[input]);
                put(block, ((jump << 1) ^ (jump >> 63)) as u64);
            }
        }
        self.next[input] = first + rows;
    }

    /// The order, after the last row.
    pub fn finish(mut self) -> RowOrder {
        self.close();
        for back in &mut self.order.back {
            let mut least = u32::MAX;
            for (_, row) in back.iter_mut().rev() {
                least = least.min(*row);
                *row = least;
            }
        }
        self.order
    }
}

/// Reads an order from its beginning.
#[derive(Debug)]
pub(super) struct OrderReader<O> {
    order: O,
    /// The block and the byte in it that come next.
    at: (usize, usize),
    /// The output row that comes next.
    row: u64,
    next: Vec<u32>,
    /// Of each input the next place in `back`.
    back: Vec<usize>,
    /// What is left of the run that was read.
    open: Option<(usize, u32, u32)>,
}

impl<O: std::ops::Deref<Target = RowOrder>> OrderReader<O> {
    pub fn new(order: O) -> OrderReader<O> {
        let inputs = order.inputs;
        let (next, back) = (vec![0; inputs], vec![0; inputs]);
        OrderReader { order, at: (0, 0), row: 0, next, back, open: None }
    }

    /// The next run, of at most so many rows; `None` after the last. Kind `Internal` for an order that
    /// cannot be.
    pub fn next(&mut self, rows_max: u32) -> Result<Option<OrderRun>> {
        let Some((input, first, left)) =
            self.open.take().map_or_else(|| self.read(), |r| Ok(Some(r)))?
        else {
            return Ok(None);
        };
        let rows = left.min(rows_max.max(1));
        if rows < left {
            self.open = Some((input, first + rows, left - rows));
        }
        let back = &self.order.back[input];
        let place = &mut self.back[input];
        while back.get(*place).is_some_and(|(row, _)| *row < self.row) {
            *place += 1;
        }
        let keep = back.get(*place).map_or(first, |(_, row)| first.min(*row));
        self.row += u64::from(rows);
        Ok(Some(OrderRun { input, first, rows, keep }))
    }

    fn read(&mut self) -> Result<Option<(usize, u32, u32)>> {
        let (mut block, mut at) = self.at;
        if self.order.blocks.get(block).is_some_and(|bytes| at == bytes.len()) {
            (block, at) = (block + 1, 0);
        }
        let Some(bytes) = self.order.blocks.get(block) else { return Ok(None) };
        let run = take(bytes, &mut at)?;
        let (inputs, is_jump) = (self.order.inputs as u64, run & 1 == 1);
        let (input, rows) = ((run >> 1) % inputs, (run >> 1) / inputs + 1);
        let (input, rows) = (input as usize, rows as u32);
        let mut first = self.next[input];
        if is_jump {
            let jump = take(bytes, &mut at)?;
            let jump = (jump >> 1) as i64 ^ -((jump & 1) as i64);
            first = (i64::from(first) + jump) as u32;
        }
        self.next[input] = first + rows;
        self.at = (block, at);
        Ok(Some((input, first, rows)))
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &[u8], at: &mut usize) -> Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.get(*at).copied();
        let byte = byte.ok_or_else(|| Error::internal("the order of a merge's rows is cut off"))?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Error::internal("the order of a merge's rows is not one"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order_of(inputs: usize, rows: &[(u32, u32)]) -> RowOrder {
        let mut builder = RowOrderBuilder::new(inputs);
        rows.iter().for_each(|(input, row)| builder.push(*input, *row));
        builder.finish()
    }

    proptest! {
        /// Whatever the rows are, they come back, and none that is asked for was given up before.
        #[test]
        fn orders_come_back(
            rows in prop::collection::vec((0..3_u32, 0..50_u32), 0..200),
            rows_max in 1..9_u32,
        ) {
            let order = order_of(3, &rows);
            prop_assert_eq!(order.rows(), rows.len() as u64);
            let mut reader = OrderReader::new(&order);
            let (mut found, mut kept) = (Vec::new(), [0; 3]);
            while let Some(OrderRun { input, first, rows, keep }) = reader.next(rows_max).unwrap() {
                prop_assert!(rows <= rows_max && keep <= first);
                prop_assert!(first >= kept[input], "row {} after {}", first, kept[input]);
                kept[input] = kept[input].max(keep);
                found.extend((first..first + rows).map(|row| (input as u32, row)));
            }
            prop_assert_eq!(found, rows);
        }
    }

    #[test]
    fn orders_are_small() {
        let interleaved: Vec<_> = (0..100_000).map(|row| (row % 10, row / 10)).collect();
        assert!(order_of(10, &interleaved).bytes() <= 100_000);
        let apart: Vec<_> = (0..100_000).map(|row| (row / 10_000, row % 10_000)).collect();
        assert!(order_of(10, &apart).bytes() < 100);
        let thinned: Vec<_> = (0..100_000).map(|row| (row % 10, row / 10 * 2)).collect();
        assert!(order_of(10, &thinned).bytes() <= 200_000);
        assert_eq!(OrderReader::new(&RowOrder::default()).next(9).unwrap(), None);
    }
}
