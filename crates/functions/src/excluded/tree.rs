//! States of ranges of rows, so that a long range is added up from a few of them.

use std::ops::Range;

use arrow::array::ArrayRef;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

/// Rows, or states, of a state.
const FAN: usize = 32;

/// The rows of a partition and, level by level, the states of as many of the level below.
#[derive(Debug)]
pub struct Tree {
    /// Of each level the columns: first the arguments, then states.
    levels: Vec<Vec<ArrayRef>>,
}

impl Tree {
    /// Over the rows of `arguments`, `rows` of them, with accumulators that `begin` gives.
    pub fn new(
        arguments: Vec<ArrayRef>,
        rows: usize,
        begin: impl Fn() -> Result<Box<dyn Accumulator>>,
    ) -> Result<Tree> {
        let (mut tree, mut entries) = (Tree { levels: vec![arguments] }, rows);
        while entries >= 2 * FAN {
            let mut states: Vec<Vec<ScalarValue>> = Vec::new();
            let level = tree.levels.len() - 1;
            entries /= FAN;
            for entry in 0..entries {
                let mut accumulator = begin()?;
                tree.add_entries(&mut *accumulator, level, entry * FAN..(entry + 1) * FAN)?;
                states.push(accumulator.state()?);
            }
            let fields = states.first().map_or(0, Vec::len);
            let field = |field: usize| {
                ScalarValue::iter_to_array(states.iter().map(|state| state[field].clone()))
            };
            let columns: Result<Vec<ArrayRef>> = (0..fields).map(field).collect();
            tree.levels.push(columns?);
        }
        Ok(tree)
    }

    /// Adds `rows` to `accumulator`, in their order.
    pub fn add(&self, accumulator: &mut dyn Accumulator, rows: Range<usize>) -> Result<()> {
        self.add_from(accumulator, 0, rows)
    }

    fn add_from(
        &self,
        accumulator: &mut dyn Accumulator,
        level: usize,
        entries: Range<usize>,
    ) -> Result<()> {
        if entries.len() < 2 * FAN || level + 1 == self.levels.len() {
            return self.add_entries(accumulator, level, entries);
        }
        let above = entries.start.div_ceil(FAN)..entries.end / FAN;
        let (start, end) = (above.start * FAN, above.end * FAN);
        self.add_entries(accumulator, level, entries.start..start)?;
        self.add_from(accumulator, level + 1, above)?;
        self.add_entries(accumulator, level, end..entries.end)
    }

    fn add_entries(
        &self,
        accumulator: &mut dyn Accumulator,
        level: usize,
        entries: Range<usize>,
    ) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let slice = |column: &ArrayRef| column.slice(entries.start, entries.len());
        let columns: Vec<ArrayRef> = self.levels[level].iter().map(slice).collect();
        match level {
            0 => accumulator.update_batch(&columns),
            _ => accumulator.merge_batch(&columns),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    /// The first value, the last one, and how many follow each other without a gap.
    #[derive(Debug, Default)]
    struct Following(Vec<ScalarValue>);

    impl Accumulator for Following {
        fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
            for value in values[0].as_primitive::<Int64Type>().values() {
                self.pass(*value, *value);
            }
            Ok(())
        }

        fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
            let [first, last] = [0, 1].map(|at| states[at].as_primitive::<Int64Type>().values());
            first.iter().zip(last).for_each(|(first, last)| self.pass(*first, *last));
            Ok(())
        }

        fn state(&mut self) -> Result<Vec<ScalarValue>> {
            Ok(self.0.clone())
        }

        fn evaluate(&mut self) -> Result<ScalarValue> {
            unreachable!("nobody asks for the value")
        }

        fn size(&self) -> usize {
            size_of_val(self)
        }
    }

    impl Following {
        fn pass(&mut self, first: i64, last: i64) {
            match self.0.as_mut_slice() {
                [_, end] => {
                    assert_eq!(*end, ScalarValue::from(first - 1), "rows follow each other");
                    *end = ScalarValue::from(last);
                }
                _ => self.0 = vec![ScalarValue::from(first), ScalarValue::from(last)],
            }
        }
    }

    #[test]
    fn every_range_is_added_once_and_in_order() {
        for rows in [0_usize, 1, 63, 64, 100, 2_100] {
            let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
            let tree = Tree::new(vec![values], rows, || Ok(Box::<Following>::default() as _));
            let tree = tree.unwrap();
            for start in (0..=rows).step_by(7) {
                for end in (start..=rows).step_by(13) {
                    let mut found = Following::default();
                    tree.add(&mut found, start..end).unwrap();
                    let ends = [start as i64, end as i64 - 1].map(ScalarValue::from);
                    let expected = if start == end { vec![] } else { ends.to_vec() };
                    assert_eq!(found.0, expected, "{start}..{end} of {rows}");
                }
            }
        }
    }
}
