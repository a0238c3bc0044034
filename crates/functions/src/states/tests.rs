//! States as bytes, and merged.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringViewArray,
};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use granary_catalog::ColumnType;
use granary_execution::functions::StateMerger;
use proptest::prelude::*;

use super::States;
use super::call::Call;
use super::known::{self, KNOWN, Known};

fn parsed(text: &str) -> ColumnType {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn call_of(text: &str) -> Call {
    let ColumnType::AggregateFunction(state) = parsed(text) else { panic!("{text}") };
    Call::of_state(known::of(&state.function).expect(text), &state).expect(text)
}

/// The state of `values`.
fn state(call: &Call, values: &[ArrayRef]) -> ArrayRef {
    let mut accumulator = call.accumulator().expect("an accumulator");
    accumulator.update_batch(values).expect("values");
    let inner = accumulator.state().expect("a state");
    let inner: Vec<ArrayRef> = inner.iter().map(|v| v.to_array().expect("an array")).collect();
    call.codec().expect("a codec").encode(&inner).expect("a state")
}

fn bytes(states: &ArrayRef) -> Vec<u8> {
    states.as_struct().column(0).as_binary_view().value(0).to_vec()
}

fn finished(call: &Call, states: &ArrayRef) -> ScalarValue {
    let mut accumulator = call.accumulator().expect("an accumulator");
    let decoded = call.codec().expect("a codec").decode(states).expect("states");
    accumulator.merge_batch(&decoded.values).expect("states");
    accumulator.evaluate().expect("a value")
}

#[test]
fn the_bytes_of_states_stay() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(300)]));
    let texts: ArrayRef =
        Arc::new(StringViewArray::from(vec!["a", "b", "long enough to be a view"]));
    for (spelled, values, expected) in [
        ("AggregateFunction(sum, Int64)", vec![&numbers], "0103 73756d 01 08 01 2d01000000000000"),
        (
            "AggregateFunction(avg, Float64)",
            vec![&numbers],
            "0103 617667 02 09 0c 01 0200000000000000 01 0000000000d07240",
        ),
        (
            "AggregateFunction(argMax, String, Int64)",
            vec![&texts, &numbers],
            "0106 6172674d6178 02 14 08 01 18 6c6f6e6720656e6f75676820746f20626520612076696577 \
             01 2c01000000000000",
        ),
        (
            "AggregateFunction(quantile(0.9), Float64)",
            vec![&numbers],
            "0108 7175616e74696c65 01 160c 01 02 01 000000000000f03f 0000000000c07240",
        ),
    ] {
        let call = call_of(spelled);
        let wanted = call.argument_types();
        let values: Vec<ArrayRef> = values
            .into_iter()
            .zip(wanted)
            .map(|(values, wanted)| arrow::compute::cast(values, &wanted).expect("a cast"))
            .collect();
        let made = bytes(&state(&call, &values));
        let text: String = made.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, expected.replace(' ', ""), "{spelled}");
    }
}

#[test]
fn foreign_and_damaged_states_are_refused() {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let good = state(&call_of("AggregateFunction(sum, Int64)"), &[values]);
    let refused = |wanted: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes(&good);
        change(&mut changed);
        let column = arrow::array::BinaryViewArray::from_iter_values([&changed]);
        let data_type = parsed(wanted).arrow();
        let DataType::Struct(fields) = &data_type else { panic!("{data_type}") };
        let states: ArrayRef =
            Arc::new(arrow::array::StructArray::new(fields.clone(), vec![Arc::new(column)], None));
        let merged = States.merge(&parsed(wanted), &states, &[0], 1);
        merged.expect_err(wanted).to_string()
    };
    let keep = |_: &mut Vec<u8>| {};
    for (message, expected) in [
        (refused("AggregateFunction(max, Int64)", &keep), "a state of the function sum cannot be"),
        (refused("AggregateFunction(sum, Float64)", &keep), "over other argument types"),
        (refused("AggregateFunction(sum, Int64)", &|b| b[0] = 9), "has version 9"),
        (refused("AggregateFunction(sum, Int64)", &|b| b.truncate(12)), "cut off"),
        (refused("AggregateFunction(sum, Int64)", &|b| b.push(0)), "too long"),
        (refused("AggregateFunction(sum, Int64)", &|b| b[7] = 3), "damaged"),
    ] {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn simple_states_merge_by_their_function() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), Some(5), None, None, Some(1)]));
    let groups = [0, 0, 1, 2, 2];
    for (function, expected) in [
        ("sum", [Some(8), None, Some(1)]),
        ("min", [Some(3), None, Some(1)]),
        ("max", [Some(5), None, Some(1)]),
        ("any", [Some(3), None, Some(1)]),
        ("anyLast", [Some(5), None, Some(1)]),
        ("groupBitOr", [Some(7), None, Some(1)]),
        ("groupBitAnd", [Some(1), None, Some(1)]),
        ("groupBitXor", [Some(6), None, Some(1)]),
    ] {
        let column_type = parsed(&format!("SimpleAggregateFunction({function}, Nullable(Int64))"));
        let merged = States.merge(&column_type, &numbers, &groups, 3).expect(function);
        let merged: Vec<_> = merged.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(merged, expected, "{function}");
    }
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), Some(2)]),
        Some(vec![Some(2)]),
        Some(vec![]),
    ]);
    let lists: ArrayRef = Arc::new(lists);
    for (function, expected) in
        [("groupArrayArray", vec![1, 2, 2]), ("groupUniqArrayArray", vec![1, 2])]
    {
        let column_type = parsed(&format!("SimpleAggregateFunction({function}, Array(Int64))"));
        let merged = States.merge(&column_type, &lists, &[0, 0, 1], 2).expect(function);
        let first = merged.as_list::<i32>().value(0);
        assert_eq!(first.as_primitive::<Int64Type>().values(), &expected, "{function}");
        assert_eq!(merged.as_list::<i32>().value(1).len(), 0, "{function}");
    }
}

/// Equal but for what order and rounding may change.
fn alike(left: &ScalarValue, right: &ScalarValue) -> bool {
    match (left, right) {
        (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => {
            (a - b).abs() <= 1e-9 * a.abs().max(1.0) || (a.is_nan() && b.is_nan())
        }
        (ScalarValue::List(a), ScalarValue::List(b)) if a.len() == 1 && b.len() == 1 => {
            let sorted = |list: &Arc<ListArray>| {
                arrow::compute::sort(&list.value(0), None).expect("an order")
            };
            sorted(a).as_ref() == sorted(b).as_ref()
        }
        _ => left == right,
    }
}

/// Whether states of the runs of `values` merge to what the function gives for all of them.
fn check_splits(known: &'static Known, values: &[Option<i32>], cuts: &[usize]) {
    // Those over rows and maps are tested by queries, with their own arguments.
    if known.parameters == known::Parameters::Text || known.name.ends_with("Map") {
        return;
    }
    let numbers: ArrayRef =
        Arc::new(values.iter().map(|v| v.map(i64::from)).collect::<Int64Array>());
    let bys: ArrayRef = Arc::new((0..values.len()).map(|v| v as f64).collect::<Float64Array>());
    let two = ["argMin", "argMax", "covarPop", "covarSamp", "corr"].contains(&known.name);
    let types = match two {
        true => vec![DataType::Int64, DataType::Float64],
        false => vec![DataType::Int64],
    };
    let call = Call::new(known, &types, Vec::new()).expect(known.name);
    let given = [numbers, bys];
    let columns: Vec<ArrayRef> = given
        .iter()
        .zip(call.argument_types())
        .map(|(values, wanted)| arrow::compute::cast(values, &wanted).expect("a cast"))
        .collect();
    let mut whole = call.accumulator().expect(known.name);
    whole.update_batch(&columns).expect(known.name);
    let whole = whole.evaluate().expect(known.name);

    let mut edges: Vec<usize> = cuts.iter().map(|cut| cut % (values.len() + 1)).collect();
    edges.extend([0, values.len()]);
    edges.sort_unstable();
    let parts: Vec<ArrayRef> = edges
        .windows(2)
        .map(|edge| {
            let rows: Vec<ArrayRef> =
                columns.iter().map(|c| c.slice(edge[0], edge[1] - edge[0])).collect();
            state(&call, &rows)
        })
        .collect();
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let states = arrow::compute::concat(&parts).expect("one type");
    let merged = finished(&call, &states);
    assert!(alike(&whole, &merged), "{}: {whole:?} and {merged:?}", known.name);

    // Through a merge of parts first, in two groups.
    let spelled = ColumnType::AggregateFunction(Box::new(call.state_type().expect(known.name)));
    let middle = states.len() / 2;
    let groups: Vec<usize> =
        (0..states.len()).map(|at| usize::from(at >= middle && middle > 0)).collect();
    let count = groups.last().map_or(0, |last| last + 1);
    let fewer = States.merge(&spelled, &states, &groups, count).expect(known.name);
    assert_eq!(fewer.len(), count);
    assert_eq!(fewer.data_type(), states.data_type());
    let merged = finished(&call, &fewer);
    assert!(alike(&whole, &merged), "{}: {whole:?} and {merged:?}", known.name);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn states_of_any_split_merge_to_the_whole(
        values in prop::collection::vec(prop::option::weighted(0.9, -1000..1000_i32), 1..60),
        cuts in prop::collection::vec(0..60_usize, 0..6),
    ) {
        for known in KNOWN.iter() {
            check_splits(known, &values, &cuts);
        }
    }
}
