//! Unfinished results of aggregate functions: `sumState(x)` gives them, `sumMerge(s)` finishes them.
//!
//! ```text
//!   x ──sumState──► state ──sumMergeState──► state ──sumMerge, finalizeAggregation──► value
//!                     └──────── merges of parts: [`StateMerger`] ────────┘
//! ```
//!
//! A state is the inner values that DataFusion's accumulator of the function has between the stages
//! of a distributed aggregation, so states of every shard and of every insert merge.

mod accumulate;
mod bitmaps;
mod call;
mod codec;
mod combined;
mod finalize;
mod known;
mod merger;
mod parted;
mod reduce;
mod sink;
mod source;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use granary_catalog::{AggregateType, ColumnType};
use granary_common::{Error, Result, did_you_mean};
use granary_execution::error::from_datafusion;

pub use codec::retyped;
pub use combined::{Input, Output, combined_name};
pub use known::{canonical, takes_text};
pub use parted::Split;

use call::Call;
use combined::Combined;
use known::KNOWN;
use parted::Parted;

/// Merges the states of every function that has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct States;

/// Made once: sessions share them.
static COMBINED: LazyLock<Vec<Arc<AggregateUDF>>> = LazyLock::new(|| {
    let forms = [
        (Input::Values, Output::State),
        (Input::States, Output::Value),
        (Input::States, Output::State),
        (Input::Arrays, Output::Value),
        (Input::Arrays, Output::State),
    ];
    // Functions with parameters are not in DataFusion's set in their plain form.
    let plain = KNOWN.iter().filter(|known| known.own).map(|k| (k, Input::Values, Output::Value));
    let all = KNOWN.iter().flat_map(|known| forms.map(|(input, output)| (known, input, output)));
    let combined =
        plain.chain(all).map(|(known, input, output)| Combined::udaf(known, input, output));
    let splits = [Split::Positions, Split::Buckets, Split::Keys];
    let parted = KNOWN.iter().flat_map(|known| splits.map(|split| (known, split)));
    // Sums and extremes by key have functions of their own.
    let is_other = |known: &&'static known::Known, split: Split| {
        split != Split::Keys || !["sum", "min", "max"].contains(&known.name)
    };
    let parted = parted.filter(|(known, split)| is_other(known, *split));
    combined.chain(parted.map(|(known, split)| Parted::udaf(known, split))).collect()
});

/// The functions with the combinators -State, -Merge, -MergeState and -Array, found by their names.
pub(super) fn aggregates() -> impl Iterator<Item = Arc<AggregateUDF>> {
    COMBINED.iter().cloned()
}

/// `finalizeAggregation`.
pub(super) fn scalars() -> Vec<Arc<ScalarUDF>> {
    let mut all = vec![finalize::finalize_aggregation(), finalize::or_default()];
    all.extend([reduce::ARRAY_REDUCE.udf(), reduce::ARRAY_REDUCE_IN_RANGES.udf()]);
    all.extend(bitmaps::all());
    all
}

/// Refuses states of unknown functions and of functions that do not take the arguments.
pub fn check(state: &AggregateType) -> Result<()> {
    let Some(known) = known::of(&state.function) else { return Err(unknown(&state.function)) };
    match Call::of_state(known, state) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::invalid(format!(
            "type AggregateFunction({state}): {} takes other arguments: {}",
            state.function,
            from_datafusion(&error).message()
        ))),
    }
}

fn unknown(function: &str) -> Error {
    let hint = did_you_mean(function, KNOWN.iter().map(|known| known.name));
    Error::invalid(format!("unknown aggregate function '{function}'{hint}"))
}

/// Whether states of `given` can be kept among those of `wanted`: it is the same function over
/// arguments that it sees as the same.
pub fn same_states(given: &AggregateType, wanted: &AggregateType) -> bool {
    let call = |state: &AggregateType| {
        let known = known::of(&state.function)?;
        Some((known.name, Call::of_state(known, state).ok()?.argument_types()))
    };
    match (call(given), call(wanted)) {
        (Some((of, given)), Some((function, wanted))) => {
            of == function
                && given.len() == wanted.len()
                && given.iter().zip(&wanted).all(|(given, wanted)| alike(given, wanted))
        }
        _ => false,
    }
}

/// Whether two types differ at most in which of their inner values may be NULL.
pub fn alike(one: &DataType, other: &DataType) -> bool {
    match (one, other) {
        (DataType::List(one), DataType::List(other))
        | (DataType::Map(one, _), DataType::Map(other, _)) => {
            alike(one.data_type(), other.data_type())
        }
        (DataType::Struct(one), DataType::Struct(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(a, b)| alike(a.data_type(), b.data_type()))
        }
        _ => one == other,
    }
}

/// The type of `function` over values of `inner`, whose results it merges again.
pub fn simple_result(function: &str, inner: &ColumnType) -> Result<DataType> {
    if merger::of_lists(function).is_some() {
        return match inner.base() {
            ColumnType::Array(_) => Ok(inner.arrow()),
            other => Err(Error::invalid(format!("{function} takes arrays, not {other}"))),
        };
    }
    let Some(known) = known::of(function) else { return Err(unknown(function)) };
    if !known.simple {
        return Err(Error::invalid(format!(
            "SimpleAggregateFunction: {} of values is not mergeable as a value; use \
             AggregateFunction({function}, {inner})",
            known.name
        )));
    }
    let call = Call::new(known, &[inner.arrow()], Vec::new());
    let call = call.map_err(|error| from_datafusion(&error))?;
    Ok(call.return_type().clone())
}

#[cfg(test)]
mod tests;
