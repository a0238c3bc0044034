//! Merges states where no query runs: when parts are merged and when rows are read with FINAL.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use datafusion::common::{Result as Planned, ScalarValue, exec_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use granary_catalog::ColumnType;
use granary_common::{Error, Result};
use granary_execution::error::from_datafusion;
use granary_execution::functions::StateMerger;

use super::States;
use super::call::Call;
use super::codec::StateCodec;
use super::known;

impl StateMerger for States {
    fn merge(
        &self,
        column_type: &ColumnType,
        values: &ArrayRef,
        groups: &[usize],
        group_count: usize,
    ) -> Result<ArrayRef> {
        let merged = match column_type {
            ColumnType::AggregateFunction(state) => {
                let Some(known) = known::of(&state.function) else {
                    return Err(unknown(column_type));
                };
                states(known, state, values, groups, group_count)
            }
            ColumnType::SimpleAggregateFunction(function, _) => {
                match (of_lists(function), known::of(function)) {
                    (Some(distinct), _) => lists(values, groups, group_count, distinct),
                    (None, Some(known)) => simple(known, values, groups, group_count),
                    (None, None) => return Err(unknown(column_type)),
                }
            }
            other => return Err(Error::internal(format!("{other} is no type of states"))),
        };
        let merged = merged.and_then(|merged| Ok(cast(&merged, values.data_type())?));
        merged.map_err(|error| from_datafusion(&error).context(format!("merging {column_type}")))
    }
}

fn unknown(column_type: &ColumnType) -> Error {
    Error::unsupported(format!("this version of Granary does not know {column_type}"))
}

fn states(
    known: &'static known::Known,
    state: &granary_catalog::AggregateType,
    values: &ArrayRef,
    groups: &[usize],
    count: usize,
) -> Planned<ArrayRef> {
    let call = Call::of_state(known, state)?;
    let codec = call.codec()?;
    if call.groups_supported() {
        let mut inner = call.groups_accumulator()?;
        merge_groups(&mut *inner, &codec, values, groups, count)?;
        let merged = codec.encode(&inner.state(EmitTo::All)?)?;
        return super::retyped(&merged, values.data_type());
    }
    let mut merged = Vec::with_capacity(count);
    for (start, end) in runs(groups, count)? {
        let mut inner = call.accumulator()?;
        inner.merge_batch(&codec.decode(&values.slice(start, end - start))?.values)?;
        let arrays =
            inner.state()?.iter().map(ScalarValue::to_array).collect::<Planned<Vec<_>>>()?;
        merged.push(codec.encode(&arrays)?);
    }
    let merged: Vec<&dyn Array> = merged.iter().map(AsRef::as_ref).collect();
    super::retyped(&arrow::compute::concat(&merged)?, values.data_type())
}

fn merge_groups(
    inner: &mut dyn GroupsAccumulator,
    codec: &StateCodec,
    values: &ArrayRef,
    groups: &[usize],
    count: usize,
) -> Planned<()> {
    let decoded = codec.decode(values)?;
    let groups: Vec<usize> = decoded.rows.iter().map(|row| groups[*row]).collect();
    inner.merge_batch(&decoded.values, &groups, count)
}

/// The rows of each group, which follow each other.
fn runs(groups: &[usize], count: usize) -> Planned<Vec<(usize, usize)>> {
    let mut runs = Vec::with_capacity(count);
    let mut start = 0;
    for run in groups.chunk_by(|left, right| left == right) {
        runs.push((start, start + run.len()));
        start += run.len();
    }
    match runs.len() == count {
        true => Ok(runs),
        false => exec_err!("the groups of states to merge are not in order"),
    }
}

fn simple(
    known: &'static known::Known,
    values: &ArrayRef,
    groups: &[usize],
    count: usize,
) -> Planned<ArrayRef> {
    let call = Call::new(known, &[values.data_type().clone()], Vec::new())?;
    let mut wanted = call.argument_types();
    let values = match wanted.pop() {
        Some(wanted) => cast(values, &wanted)?,
        None => Arc::clone(values),
    };
    if call.groups_supported() {
        let mut inner = call.groups_accumulator()?;
        inner.update_batch(&[values], groups, None, count)?;
        return inner.evaluate(EmitTo::All);
    }
    let mut merged = Vec::with_capacity(count);
    for (start, end) in runs(groups, count)? {
        let mut inner = call.accumulator()?;
        inner.update_batch(&[values.slice(start, end - start)])?;
        merged.push(inner.evaluate()?);
    }
    ScalarValue::iter_to_array(merged)
}

/// Whether a function puts lists together, and then whether equal items are kept once.
pub(super) fn of_lists(function: &str) -> Option<bool> {
    match function.to_ascii_lowercase().as_str() {
        "grouparrayarray" => Some(false),
        "groupuniqarrayarray" => Some(true),
        _ => None,
    }
}

/// The items of the lists of each group, in order.
fn lists(values: &ArrayRef, groups: &[usize], count: usize, distinct: bool) -> Planned<ArrayRef> {
    let DataType::List(item) = values.data_type() else {
        return exec_err!("{} is no array", values.data_type());
    };
    let list = values.as_list::<i32>();
    let mut chosen: Vec<u32> = Vec::with_capacity(list.values().len());
    let mut offsets: Vec<i32> = vec![0];
    for (start, end) in runs(groups, count)? {
        let mut seen = HashSet::new();
        for row in (start..end).filter(|row| list.is_valid(*row)) {
            for at in list.value_offsets()[row]..list.value_offsets()[row + 1] {
                let is_new = !distinct
                    || seen.insert(ScalarValue::try_from_array(list.values(), at as usize)?);
                if is_new {
                    chosen.push(at as u32);
                }
            }
        }
        // There are no more items than the input has, which counts them in the same type.
        offsets.push(chosen.len() as i32);
    }
    let items = take(list.values(), &UInt32Array::from(chosen), None)?;
    let offsets = OffsetBuffer::new(offsets.into());
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, None)?))
}
