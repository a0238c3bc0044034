//! Rounding to even digits, to powers of two and to given steps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, PrimitiveArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err};

use crate::gives;
use crate::rows::{floats, integers, lists, range_of};
use crate::scalar::{Arity, ONE, Scalar, TWO, scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar("roundBankers", Arity::Between(1, 2), gives::same, bankers),
        scalar("roundToExp2", ONE, gives::same, |arguments| {
            numbers(&arguments[0], |value| match value {
                v if v.abs() < 1.0 => 0.0,
                v => v.signum() * v.abs().log2().floor().exp2(),
            })
        }),
        scalar("roundAge", ONE, gives::number, |arguments| {
            steps(&arguments[0], &[1, 18, 25, 35, 45, 55], &[0, 17, 18, 25, 35, 45, 55])
        }),
        scalar("roundDuration", ONE, gives::number, |arguments| {
            let marks = [
                1, 10, 30, 60, 120, 180, 240, 300, 600, 1_200, 1_800, 3_600, 7_200, 18_000, 36_000,
            ];
            let mut results = vec![0];
            results.extend(marks.map(|mark| mark as u64));
            steps(&arguments[0], &marks, &results)
        }),
        scalar("roundDown", TWO, gives::same, round_down),
    ]
}

/// A float for each number, in the type of the numbers.
fn numbers(values: &ArrayRef, of: fn(f64) -> f64) -> Result<ArrayRef> {
    let rounded: Float64Array = floats(values)?.iter().map(|value| value.map(of)).collect();
    Ok(cast(&rounded, values.data_type())?)
}

/// The result of the last mark that is not above the value; before the first mark the first result.
fn steps(values: &ArrayRef, marks: &[i64], results: &[u64]) -> Result<ArrayRef> {
    let values = floats(values)?;
    let place = |value: f64| marks.iter().take_while(|mark| **mark as f64 <= value).count();
    let found: UInt64Array =
        values.iter().map(|value| value.map(|value| results[place(value)])).collect();
    Ok(Arc::new(found))
}

/// To the nearest, halves to the even digit.
fn bankers(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let places = arguments.get(1).map(integers).transpose()?;
    let place = |row: usize| match &places {
        Some(places) => places.is_valid(row).then(|| places.value(row)),
        None => Some(0),
    };
    match arguments[0].data_type() {
        DataType::Decimal128(precision, scale) => {
            let values = arguments[0].as_primitive::<Decimal128Type>();
            let row = |(row, value): (usize, Option<i128>)| {
                Some(even_decimal(value?, i64::from(*scale) - place(row)?))
            };
            let rounded: PrimitiveArray<Decimal128Type> =
                values.iter().enumerate().map(row).collect();
            Ok(Arc::new(rounded.with_precision_and_scale(*precision, *scale)?))
        }
        whole if whole.is_integer() => {
            let wide = cast(&arguments[0], &DataType::Int64)?;
            let row = |(row, value): (usize, Option<i64>)| {
                Some(even_decimal(i128::from(value?), -place(row)?) as i64)
            };
            let rounded: PrimitiveArray<Int64Type> =
                wide.as_primitive::<Int64Type>().iter().enumerate().map(row).collect();
            Ok(cast(&rounded, whole)?)
        }
        float => {
            let row = |(row, value): (usize, Option<f64>)| {
                let factor = 10_f64.powi(place(row)?.clamp(-300, 300) as i32);
                Some((value? * factor).round_ties_even() / factor)
            };
            let rounded: PrimitiveArray<Float64Type> =
                floats(&arguments[0])?.iter().enumerate().map(row).collect();
            Ok(cast(&rounded, float)?)
        }
    }
}

/// `value` with its last `digits` digits rounded away.
fn even_decimal(value: i128, digits: i64) -> i128 {
    let Some(unit) = u32::try_from(digits).ok().and_then(|digits| 10_i128.checked_pow(digits))
    else {
        return if digits <= 0 { value } else { 0 };
    };
    let (quotient, rest) = (value.div_euclid(unit), value.rem_euclid(unit));
    let up = rest * 2 > unit || (rest * 2 == unit && quotient % 2 != 0);
    (quotient + i128::from(up)) * unit
}

/// To the greatest number of the array that is not above, else to the least.
fn round_down(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, steps) = (floats(&arguments[0])?, lists(&arguments[1])?);
    let items = floats(steps.values())?;
    let mut rounded = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let mut marks: Vec<f64> = range_of(&steps, row).map(|at| items.value(at)).collect();
        marks.sort_by(f64::total_cmp);
        let Some(least) = marks.first().copied() else {
            return exec_err!("roundDown takes numbers to round to");
        };
        let below = |value: f64| marks.iter().copied().take_while(|mark| *mark <= value).last();
        rounded.push(value.map(|value| below(value).unwrap_or(least)));
    }
    Ok(cast(&Float64Array::from(rounded), arguments[0].data_type())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_digit() {
        for (value, digits, expected) in [
            (25, 1, 20),
            (35, 1, 40),
            (-25, 1, -20),
            (26, 1, 30),
            (125, 2, 100),
            (7, 0, 7),
            (7, 60, 0),
        ] {
            assert_eq!(even_decimal(value, digits), expected, "{value} {digits}");
        }
    }
}
