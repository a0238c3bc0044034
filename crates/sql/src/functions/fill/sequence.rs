//! Which values are missing, as ClickHouse has it: all filled keys together are one counter whose
//! last digit moves first.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};

use super::key::{Point, Step, after, point, step};
use super::{FillKey, invalid};

/// Where one key begins, ends and how it moves.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    from: Option<Point>,
    to: Option<Point>,
    step: Step,
    ascending: bool,
    data_type: DataType,
}

impl Bounds {
    /// The bounds of `key`, the given ones from `values`.
    pub(super) fn of(
        key: &FillKey,
        column: &ArrayRef,
        values: &mut impl Iterator<Item = ScalarValue>,
    ) -> Result<Bounds> {
        let data_type = column.data_type().clone();
        let mut next = |given: bool, what: &str| match (given, values.next_if_given(given)) {
            (true, Some(value)) if !value.is_null() => Ok(Some(value)),
            (true, _) => Err(invalid(format!("WITH FILL: {what} is NULL"))),
            (false, _) => Ok(None),
        };
        let from = next(key.from, "FROM")?.map(|value| point(&value)).transpose()?.flatten();
        let to = next(key.to, "TO")?.map(|value| point(&value)).transpose()?.flatten();
        let step = step(next(key.step, "STEP")?, &data_type, key.ascending)?;
        let bounds = Bounds { from, to, step, ascending: key.ascending, data_type };
        bounds.check()?;
        Ok(bounds)
    }

    fn check(&self) -> Result<()> {
        let direction = if self.ascending { "ascending" } else { "descending" };
        let zero = match self.data_type {
            DataType::Float32 | DataType::Float64 => Point::Float(0.0),
            _ => Point::Whole(0),
        };
        if !self.less(zero, after(zero, self.step, &self.data_type)?) {
            return Err(invalid(format!(
                "WITH FILL: STEP has the wrong sign for {direction} order"
            )));
        }
        match (self.from, self.to) {
            (Some(from), Some(to)) if self.less(to, from) => {
                Err(invalid(format!("WITH FILL: TO comes before FROM in {direction} order")))
            }
            _ => Ok(()),
        }
    }

    fn less(&self, left: Point, right: Point) -> bool {
        let wanted = if self.ascending { Ordering::Less } else { Ordering::Greater };
        left.partial_cmp(&right) == Some(wanted)
    }

    fn after(&self, from: Point) -> Result<Point> {
        after(from, self.step, &self.data_type)
    }
}

/// Takes a value only when one is there for it.
trait NextIfGiven {
    fn next_if_given(&mut self, given: bool) -> Option<ScalarValue>;
}

impl<I: Iterator<Item = ScalarValue>> NextIfGiven for I {
    fn next_if_given(&mut self, given: bool) -> Option<ScalarValue> {
        given.then(|| self.next()).flatten()
    }
}

/// Values of the filled keys; none is NULL, or not known yet.
type Points = Vec<Option<Point>>;

/// What takes the keys of a new row.
type NewRow<'a> = dyn FnMut(&[Option<Point>]) -> Result<()> + 'a;

/// Finds what is missing between rows that come in order.
pub(super) struct Gaps {
    bounds: Vec<Bounds>,
    /// Where the counter is; none before the first row.
    at: Option<Points>,
    /// The keys of the last row, cut at TO.
    last: Points,
}

impl Gaps {
    pub(super) fn new(bounds: Vec<Bounds>) -> Gaps {
        let last = vec![None; bounds.len()];
        Gaps { bounds, at: None, last }
    }

    /// Forgets the rows so far: what follows has other leading keys.
    pub(super) fn restart(&mut self) {
        self.at = None;
        self.last = vec![None; self.bounds.len()];
    }

    /// Adds what is missing before a row with these keys.
    pub(super) fn before(&mut self, row: &[Option<Point>], add: &mut NewRow<'_>) -> Result<()> {
        // NULL has no neighbours.
        if row.iter().any(Option::is_none) {
            return Ok(());
        }
        let mut at = match self.at.take() {
            Some(at) => at,
            None => self.begin(row, add)?,
        };
        let overtaken = self.precedes(&self.last, &at);
        let capped = row.iter().zip(&self.bounds).map(|(value, bounds)| match (value, bounds.to) {
            (Some(value), Some(to)) if !bounds.less(*value, to) => Some(to),
            (value, _) => *value,
        });
        let target: Points = capped.collect();
        self.advance(&mut at, &target, overtaken, add)?;
        self.at = Some(at);
        self.last = target;
        Ok(())
    }

    /// Adds what is missing after the last row.
    pub(super) fn finish(&mut self, add: &mut NewRow<'_>) -> Result<()> {
        let nothing_yet = self.at.is_none();
        let mut at = match self.at.take() {
            Some(at) => at,
            None => self.bounds.iter().map(|bounds| bounds.from).collect(),
        };
        let overtaken = nothing_yet || self.precedes(&self.last, &at);
        let target: Points = self.bounds.iter().map(|bounds| bounds.to).collect();
        self.advance(&mut at, &target, overtaken, add)
    }

    /// The counter at the first row of a run, whose FROM may come before it.
    fn begin(&self, row: &[Option<Point>], add: &mut NewRow<'_>) -> Result<Points> {
        let mut at: Points = row.to_vec();
        for (place, (bounds, value)) in self.bounds.iter().zip(row).enumerate() {
            let (Some(from), Some(value)) = (bounds.from, *value) else { continue };
            if from != value {
                self.reset(&mut at, place);
                if bounds.less(from, value) {
                    add(&at)?;
                }
                break;
            }
        }
        Ok(at)
    }

    fn advance(
        &self,
        at: &mut Points,
        target: &[Option<Point>],
        overtaken: bool,
        add: &mut NewRow<'_>,
    ) -> Result<()> {
        if overtaken && self.precedes(at, target) {
            add(at)?;
        }
        while self.next(at, target)? {
            add(at)?;
        }
        Ok(())
    }

    /// Moves the counter towards `target`; false when nothing is missing before it any more.
    fn next(&self, at: &mut Points, target: &[Option<Point>]) -> Result<bool> {
        let differs = |place: &usize| matches!((at[*place], target[*place]), (Some(at), Some(target)) if at != target);
        let Some(place) = (0..at.len()).find(differs) else { return Ok(false) };
        let (Some(from), Some(goal)) = (at[place], target[place]) else { return Ok(false) };
        let next = self.bounds[place].after(from)?;
        if self.bounds[place].less(goal, next) {
            return Ok(false);
        }
        for later in (place + 1..at.len()).rev() {
            let bounds = &self.bounds[later];
            let (Some(to), Some(from)) = (bounds.to, at[later]) else { continue };
            let next = bounds.after(from)?;
            if bounds.less(next, to) {
                at[later] = Some(next);
                self.reset(at, later + 1);
                return Ok(true);
            }
        }
        at[place] = Some(next);
        if next != goal {
            self.reset(at, place + 1);
            return Ok(true);
        }
        let mut precedes = false;
        for later in place + 1..at.len() {
            let bounds = &self.bounds[later];
            at[later] = bounds.from.or(target[later]);
            if let (Some(at), Some(target)) = (at[later], target[later]) {
                precedes |= bounds.less(at, target);
            }
        }
        Ok(precedes)
    }

    fn reset(&self, at: &mut Points, first: usize) {
        for (place, bounds) in self.bounds.iter().enumerate().skip(first) {
            at[place] = bounds.from;
        }
    }

    /// Whether `left` comes before `right`; what is not known compares equal.
    fn precedes(&self, left: &[Option<Point>], right: &[Option<Point>]) -> bool {
        for (place, bounds) in self.bounds.iter().enumerate() {
            match (left[place], right[place]) {
                (Some(left), Some(right)) if left != right => return bounds.less(left, right),
                _ => {}
            }
        }
        false
    }
}
