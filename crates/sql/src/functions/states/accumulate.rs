//! Accumulators that take or give states around those of the function itself.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
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
}

impl CombinedGroups {
    pub(super) fn new(inner: Box<dyn GroupsAccumulator>, step: Step) -> Self {
        Self { inner, step }
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
            return update(&mut *self.inner, self.step.take(values)?, groups, total);
        };
        let chosen = values.iter().map(|values| Ok(filter(values, condition)?));
        let chosen = chosen.collect::<Result<Vec<_>>>()?;
        let is_chosen = |at: &usize| condition.is_valid(*at) && condition.value(*at);
        let groups: Vec<usize> = (0..groups.len()).filter(is_chosen).map(|at| groups[at]).collect();
        update(&mut *self.inner, self.step.take(&chosen)?, &groups, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        match self.step.output {
            Output::Value => self.inner.evaluate(emit_to),
            Output::State => self.step.codec.encode(&self.inner.state(emit_to)?),
        }
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
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
        each.inner.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.inner.size() + size_of::<Self>()
    }
}

fn update(
    inner: &mut dyn GroupsAccumulator,
    (taken, rows): (Taken, Option<Vec<usize>>),
    groups: &[usize],
    total: usize,
) -> Result<()> {
    let groups: Vec<usize> = match rows {
        Some(rows) => rows.into_iter().map(|row| groups[row]).collect(),
        None => groups.to_vec(),
    };
    match taken {
        Taken::Values(values) => inner.update_batch(&values, &groups, None, total),
        Taken::States(states) => inner.merge_batch(&states, &groups, total),
    }
}
