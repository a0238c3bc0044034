//! The values of a partition, row by row.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{filter, partition, prep_null_mask_filter};
use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, PartitionEvaluatorArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, PartitionEvaluator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};

use super::tree::Tree;
use super::{Excluded, ExcludingAggregate};

/// How the accumulators of an aggregate are made.
struct Maker {
    aggregate: Arc<AggregateUDF>,
    is_distinct: bool,
    ignore_nulls: bool,
    /// Literals as they are, all else as columns of `schema`.
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    schema: Schema,
    value: FieldRef,
}

impl Maker {
    fn begin(&self) -> Result<Box<dyn Accumulator>> {
        let fields: Vec<FieldRef> = self.schema.fields().iter().cloned().collect();
        self.aggregate.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.value),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &[],
            is_reversed: false,
            name: self.aggregate.name(),
            is_distinct: self.is_distinct,
            exprs: &self.arguments,
            expr_fields: &fields,
        })
    }
}

/// What is known of a partition.
struct Partition {
    /// Over the rows that count.
    tree: Tree,
    /// How many of the rows before each, and of all, count; `None` where all do.
    counted: Option<Vec<usize>>,
    /// Rows that are equal in the order of the window, ascending.
    peers: Vec<Range<usize>>,
}

/// Gives the value of one row after the other.
pub struct Evaluator {
    maker: Maker,
    excluded: Excluded,
    /// The places of the aggregate's arguments.
    own: Range<usize>,
    is_filtered: bool,
    partition: Option<Partition>,
    /// The next one.
    row: usize,
    /// Of the partition's, where the row is.
    peers: usize,
}

impl fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evaluator of {} at row {}", self.maker.aggregate.name(), self.row)
    }
}

impl Evaluator {
    pub fn new(
        function: &ExcludingAggregate,
        aggregate: Arc<AggregateUDF>,
        arguments: &PartitionEvaluatorArgs<'_>,
    ) -> Result<Evaluator> {
        let own = function.own(arguments.input_exprs().len());
        let fields = &arguments.input_fields()[own.clone()];
        // Columns are told apart by their places, so any names will do.
        let renamed = fields
            .iter()
            .enumerate()
            .map(|(place, field)| field.as_ref().clone().with_name(format!("argument {place}")));
        let schema = Schema::new(renamed.collect::<Vec<Field>>());
        let argument = |(place, given): (usize, &Arc<dyn PhysicalExpr>)| match given
            .downcast_ref::<Literal>()
        {
            Some(_) => Arc::clone(given),
            None => Arc::new(Column::new(schema.field(place).name(), place)) as _,
        };
        let own_arguments = arguments.input_exprs()[own.clone()].iter().enumerate().map(argument);
        let maker = Maker {
            is_distinct: function.is_distinct,
            ignore_nulls: arguments.ignore_nulls(),
            arguments: own_arguments.collect(),
            value: aggregate.return_field(fields)?,
            aggregate,
            schema,
        };
        // What the aggregate has against its arguments is said when the query is planned.
        maker.begin()?;
        let (excluded, is_filtered) = (function.excluded, function.is_filtered);
        Ok(Evaluator { maker, excluded, own, is_filtered, partition: None, row: 0, peers: 0 })
    }

    /// Of `values`, the arguments and then the columns that order the window.
    fn look_at(&self, values: &[ArrayRef]) -> Result<Partition> {
        let Some(rows) = values.first().map(|values| values.len()) else {
            return internal_err!("a window function without arguments");
        };
        let order = &values[self.own.end + usize::from(self.is_filtered)..];
        let peers = match order {
            [] => std::iter::once(0..rows).collect(),
            order => partition(order)?.ranges(),
        };
        let mut arguments = values[self.own.clone()].to_vec();
        let mut counted = None;
        let mut counted_rows = rows;
        if self.is_filtered {
            let condition = known(values[self.own.end].as_boolean());
            for argument in &mut arguments {
                *argument = filter(argument, &condition)?;
            }
            let mut before = Vec::with_capacity(rows + 1);
            before.push(0);
            before.extend(condition.values().iter().scan(0, |so_far, counts| {
                *so_far += usize::from(counts);
                Some(*so_far)
            }));
            counted_rows = before[rows];
            counted = Some(before);
        }
        let tree = Tree::new(arguments, counted_rows, || self.maker.begin())?;
        Ok(Partition { tree, counted, peers })
    }
}

/// NULL is not TRUE.
fn known(condition: &BooleanArray) -> BooleanArray {
    match condition.nulls() {
        Some(_) => prep_null_mask_filter(condition),
        None => condition.clone(),
    }
}

/// What is left of a frame, in order; ranges may be empty.
fn left(
    excluded: Excluded,
    frame: &Range<usize>,
    row: usize,
    peers: &Range<usize>,
) -> [Range<usize>; 3] {
    let (gap, kept) = match excluded {
        Excluded::CurrentRow => (row..row + 1, 0..0),
        Excluded::Group => (peers.clone(), 0..0),
        Excluded::Ties => (peers.clone(), row..row + 1),
    };
    let within = |rows: Range<usize>| rows.start.max(frame.start)..rows.end.min(frame.end);
    [within(frame.start..gap.start), within(kept), within(gap.end..frame.end)]
}

impl PartitionEvaluator for Evaluator {
    fn uses_window_frame(&self) -> bool {
        true
    }

    /// Called for one row after the other.
    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        if self.partition.is_none() {
            self.partition = Some(self.look_at(values)?);
        }
        let Some(partition) = &self.partition else {
            return internal_err!("a partition is not known");
        };
        let row = self.row;
        self.row += 1;
        while partition.peers.get(self.peers).is_some_and(|peers| peers.end <= row) {
            self.peers += 1;
        }
        let peers = partition.peers.get(self.peers).cloned().unwrap_or(row..row + 1);
        let mut accumulator = self.maker.begin()?;
        for rows in left(self.excluded, range, row, &peers) {
            if rows.is_empty() {
                continue;
            }
            let rows = match &partition.counted {
                Some(counted) => counted[rows.start]..counted[rows.end],
                None => rows,
            };
            partition.tree.add(&mut *accumulator, rows)?;
        }
        accumulator.evaluate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_without_what_they_leave_out() {
        let cases = [
            (Excluded::CurrentRow, 0..9, 4, 3..6, vec![(0, 4), (5, 9)]),
            (Excluded::Group, 0..9, 4, 3..6, vec![(0, 3), (6, 9)]),
            (Excluded::Ties, 0..9, 4, 3..6, vec![(0, 3), (4, 5), (6, 9)]),
            // Frames that begin among the peers, end before them, or begin behind them.
            (Excluded::Ties, 4..5, 4, 3..6, vec![(4, 5)]),
            (Excluded::Group, 4..8, 4, 3..6, vec![(6, 8)]),
            (Excluded::CurrentRow, 0..2, 4, 3..6, vec![(0, 2)]),
            (Excluded::Ties, 7..9, 4, 3..6, vec![(7, 9)]),
            (Excluded::Group, 3..6, 4, 3..6, vec![]),
        ];
        for (excluded, frame, row, peers, expected) in cases {
            let found = left(excluded, &frame, row, &peers);
            let found = found.into_iter().filter(|rows| !rows.is_empty());
            let found: Vec<_> = found.map(|rows| (rows.start, rows.end)).collect();
            assert_eq!(found, expected, "{excluded} of {frame:?} at {row}");
        }
    }
}
