//! Accumulators that take or give states around those of the function itself.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, filter, take};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::call::Call;
use super::codec::StateCodec;
use super::combined::{Input, Output};

/// How a combination takes its input and gives its output.
#[derive(Clone, Debug)]
pub(super) struct Step {
    call: Arc<Call>,
    codec: Arc<StateCodec>,
    input: Input,
    output: Output,
}

/// What the inner accumulator gets of a batch.
enum Taken {
    Values(Vec<ArrayRef>),
    States(Vec<ArrayRef>),
}

impl Step {
    pub(super) fn new(call: Call, input: Input, output: Output) -> Result<Step> {
        let codec = Arc::new(call.codec()?);
        Ok(Step { call: Arc::new(call), codec, input, output })
    }

    pub(super) fn call(&self) -> &Call {
        &self.call
    }

    /// The inner accumulator's input and the row of `values` that each of its rows comes from; no
    /// rows: they are the same.
    fn take(&self, values: &[ArrayRef]) -> Result<(Taken, Option<Vec<usize>>)> {
        let Some(first) = values.first() else {
            return internal_err!("an aggregate function without an argument");
        };
        Ok(match self.input {
            Input::Values => (Taken::Values(values.to_vec()), None),
            Input::States => {
                let decoded = self.codec.decode(first)?;
                (Taken::States(decoded.values), Some(decoded.rows))
            }
            Input::Arrays => {
                let arguments = self.call.argument_types();
                let (items, rows) = items(&values[..arguments.len().min(values.len())])?;
                (Taken::Values(items), Some(rows))
            }
        })
    }
}

/// The items of arrays and the rows that they are in.
fn items(lists: &[ArrayRef]) -> Result<(Vec<ArrayRef>, Vec<usize>)> {
    let lists = lists.iter().map(|list| {
        let wanted = match list.data_type() {
            DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                DataType::List(Arc::clone(item))
            }
            other => other.clone(),
        };
        Ok(cast(list, &wanted)?)
    });
    let lists = lists.collect::<Result<Vec<_>>>()?;
    let mut rows = Vec::new();
    let mut columns = Vec::with_capacity(lists.len());
    for (at, list) in lists.iter().enumerate() {
        let Some(list) = list.as_list_opt::<i32>() else {
            return internal_err!("{} is no array", list.data_type());
        };
        let mut chosen = Vec::new();
        let mut rows_of_list = Vec::new();
        for row in (0..list.len()).filter(|row| list.is_valid(*row)) {
            let (start, end) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
            chosen.extend(start as u32..end as u32);
            rows_of_list.extend(std::iter::repeat_n(row, (end - start) as usize));
        }
        match at {
            0 => rows = rows_of_list,
            _ if rows == rows_of_list => {}
            _ => return datafusion::common::exec_err!("the arrays of a row differ in length"),
        }
        columns.push(take(list.values(), &UInt32Array::from(chosen), None)?);
    }
    Ok((columns, rows))
}

/// One group.
#[derive(Debug)]
pub(super) struct CombinedAccumulator {
    inner: Box<dyn Accumulator>,
    step: Step,
}

impl CombinedAccumulator {
    pub(super) fn new(inner: Box<dyn Accumulator>, step: Step) -> Self {
        Self { inner, step }
    }
}

impl Accumulator for CombinedAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match self.step.take(values)?.0 {
            Taken::Values(values) => self.inner.update_batch(&values),
            Taken::States(states) => self.inner.merge_batch(&states),
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.step.output {
            Output::Value => self.inner.evaluate(),
            Output::State => {
                let values = self.inner.state()?;
                let arrays =
                    values.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
                ScalarValue::try_from_array(&self.step.codec.encode(&arrays)?, 0)
            }
        }
    }

    fn size(&self) -> usize {
        self.inner.size() + size_of::<Self>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }
}

/// Many groups.
pub(super) struct CombinedGroups {
    inner: Box<dyn GroupsAccumulator>,
    step: Step,
    /// Groups that got a row or a state; empty when rows go straight to the inner accumulator.
    seen: Vec<bool>,
}

impl CombinedGroups {
    pub(super) fn new(inner: Box<dyn GroupsAccumulator>, step: Step) -> Self {
        Self { inner, step, seen: Vec::new() }
    }
}

impl GroupsAccumulator for CombinedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        condition: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        if self.step.input == Input::Values {
            return self.inner.update_batch(values, groups, condition, total);
        }
        let Some(condition) = condition else {
            return self.update(values, groups, total);
        };
        let chosen = values.iter().map(|values| Ok(filter(values, condition)?));
        let chosen = chosen.collect::<Result<Vec<_>>>()?;
        let is_chosen = |at: &usize| condition.is_valid(*at) && condition.value(*at);
        let groups: Vec<usize> = (0..groups.len()).filter(is_chosen).map(|at| groups[at]).collect();
        self.update(&chosen, &groups, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        if self.step.output == Output::State {
            let states = self.state(emit_to)?;
            return self.step.codec.encode(&states);
        }
        let values = self.inner.evaluate(emit_to)?;
        match self.unseen(emit_to) {
            None => Ok(values),
            Some(unseen) => {
                let nothing = self.step.call().accumulator()?.evaluate()?;
                or_nothing(&unseen, &values, &nothing)
            }
        }
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let states = self.inner.state(emit_to)?;
        let Some(unseen) = self.unseen(emit_to) else { return Ok(states) };
        let nothing = self.step.call().accumulator()?.state()?;
        states.iter().zip(&nothing).map(|(state, none)| or_nothing(&unseen, state, none)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.mark_seen(groups, total);
        self.inner.merge_batch(states, groups, total)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        condition: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        if self.step.input == Input::Values {
            return self.inner.convert_to_state(values, condition);
        }
        // A group for each row.
        let rows = values.first().map_or(0, |first| first.len());
        let groups: Vec<usize> = (0..rows).collect();
        let inner = self.step.call().groups_accumulator()?;
        let mut each = CombinedGroups::new(inner, self.step.clone());
        each.update_batch(values, &groups, condition, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.inner.size() + size_of::<Self>() + self.seen.capacity()
    }
}

impl CombinedGroups {
    fn update(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let (taken, rows) = self.step.take(values)?;
        let groups: Vec<usize> = match rows {
            Some(rows) => rows.into_iter().map(|row| groups[row]).collect(),
            None => groups.to_vec(),
        };
        self.mark_seen(&groups, total);
        match taken {
            Taken::Values(values) => self.inner.update_batch(&values, &groups, None, total),
            Taken::States(states) => self.inner.merge_batch(&states, &groups, total),
        }
    }

    fn mark_seen(&mut self, groups: &[usize], total: usize) {
        if self.step.input != Input::Values {
            self.seen.resize(self.seen.len().max(total), false);
            groups.iter().for_each(|group| self.seen[*group] = true);
        }
    }

    /// Which of the groups that are emitted got nothing; forgets those groups.
    fn unseen(&mut self, emit_to: EmitTo) -> Option<BooleanArray> {
        let seen = match (self.step.input, emit_to) {
            (Input::Values, _) => return None,
            (_, EmitTo::All) => std::mem::take(&mut self.seen),
            (_, EmitTo::First(count)) => self.seen.drain(..count.min(self.seen.len())).collect(),
        };
        let any = seen.iter().any(|seen| !seen);
        any.then(|| seen.into_iter().map(|seen| Some(!seen)).collect())
    }
}

/// `values`, but what the function makes of no rows where `unseen`: an accumulator takes every group
/// for one that got a row.
fn or_nothing(unseen: &BooleanArray, values: &ArrayRef, nothing: &ScalarValue) -> Result<ArrayRef> {
    let nothing = nothing.cast_to(values.data_type())?.to_scalar()?;
    Ok(zip(unseen, &nothing, values)?)
}
