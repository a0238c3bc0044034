//! Rows as intervals from a beginning to an end, and means that fade with time.

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};

use super::{Function, Rows, Wanted, invalid};
use crate::gives;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "intervalLengthSum",
        arity: (2, 2),
        wanted: &[Wanted::Any],
        returns: |types| {
            let is_float = types.first().is_some_and(DataType::is_floating);
            Ok(if is_float { DataType::Float64 } else { DataType::UInt64 })
        },
        finish: covered,
    },
    Function {
        name: "maxIntersections",
        arity: (2, 2),
        wanted: &[Wanted::Any],
        returns: gives::number,
        finish: |rows| Ok(ScalarValue::UInt64(Some(most(rows)?.0))),
    },
    Function {
        name: "maxIntersectionsPosition",
        arity: (2, 2),
        wanted: &[Wanted::Any],
        returns: gives::number,
        finish: |rows| Ok(ScalarValue::UInt64(Some(most(rows)?.1 as u64))),
    },
    Function {
        name: "exponentialMovingAverage",
        arity: (2, 2),
        wanted: &[Wanted::Float, Wanted::Any],
        returns: gives::float,
        finish: fading_mean,
    },
];

/// The length that at least one interval covers.
fn covered(rows: &Rows<'_>) -> Result<ScalarValue> {
    let is_float = rows.columns[0].data_type().is_floating();
    let ends = |at: usize| match is_float {
        true => rows.floats(at),
        false => Ok(rows.integers(at)?.into_iter().map(|value| value as f64).collect()),
    };
    let mut intervals: Vec<(f64, f64)> =
        ends(0)?.into_iter().zip(ends(1)?).filter(|(from, to)| from < to).collect();
    intervals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut length = 0.0;
    let mut reached = f64::NEG_INFINITY;
    for (from, to) in intervals {
        length += (to - from.max(reached)).max(0.0);
        reached = reached.max(to);
    }
    Ok(match is_float {
        true => ScalarValue::Float64(Some(length)),
        false => ScalarValue::UInt64(Some(length as u64)),
    })
}

/// The most intervals at one place, and the first place with so many.
fn most(rows: &Rows<'_>) -> Result<(u64, i64)> {
    let begins = rows.integers(0)?.into_iter().map(|at| (at, 1));
    let ends = rows.integers(1)?.into_iter().map(|at| (at, -1));
    let mut steps: Vec<(i64, i64)> = begins.chain(ends).collect();
    // An interval that ends where another begins does not meet it.
    steps.sort_unstable();
    let (mut open, mut best) = (0_i64, (0_u64, 0_i64));
    for (at, step) in steps {
        open += step;
        if open > best.0 as i64 {
            best = (open as u64, at);
        }
    }
    Ok(best)
}

/// The weight of a value halves with each `half` units of time.
fn fading_mean(rows: &Rows<'_>) -> Result<ScalarValue> {
    let Some(half) = rows.number(0, "exponentialMovingAverage")?.filter(|half| *half > 0.0) else {
        return Err(invalid(
            "exponentialMovingAverage takes the time in which weights halve".to_owned(),
        ));
    };
    let (values, times) = (rows.floats(0)?, rows.integers(1)?);
    let Some(last) = times.iter().max() else { return rows.nothing() };
    let weight = |time: i64| (-((last - time) as f64) / half).exp2();
    let sum: f64 = values.iter().zip(&times).map(|(value, time)| value * weight(*time)).sum();
    // All times up to the last one, as if they had values of 0.
    let total = 1.0 / (1.0 - (-1.0 / half).exp2());
    Ok(ScalarValue::Float64(Some(sum / total)))
}
