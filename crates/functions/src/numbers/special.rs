//! The error and the gamma function, and which of equal buckets a number falls into.

use std::f64::consts::PI;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, UInt64Array};
use datafusion::common::Result;

use crate::gives;
use crate::rows::{floats, integers};
use crate::scalar::{Arity, ONE, Scalar, scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar("erf", ONE, gives::float, |arguments| each(arguments, |x| 1.0 - erfc(x))),
        scalar("erfc", ONE, gives::float, |arguments| each(arguments, erfc)),
        scalar("lgamma", ONE, gives::float, |arguments| each(arguments, ln_gamma)),
        scalar("tgamma", ONE, gives::float, |arguments| each(arguments, gamma)),
        scalar("widthBucket", Arity::Exactly(4), gives::number, width_bucket),
    ]
}

fn each(arguments: &[ArrayRef], of: fn(f64) -> f64) -> Result<ArrayRef> {
    let values: Float64Array = floats(&arguments[0])?.iter().map(|x| x.map(of)).collect();
    Ok(Arc::new(values))
}

/// By the series near 0 and by the continued fraction away from it: good to the last digits.
pub(crate) fn erfc(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let size = x.abs();
    let right = if size < 2.5 {
        let mut term = size;
        let mut sum = size;
        for n in 1..100 {
            term *= -size * size / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        1.0 - sum * 2.0 / PI.sqrt()
    } else if size > 27.0 {
        0.0
    } else {
        let fraction = (1..=80).rev().fold(size, |rest, n| size + f64::from(n) / 2.0 / rest);
        (-size * size).exp() / PI.sqrt() / fraction
    };
    if x < 0.0 { 2.0 - right } else { right }
}

/// Lanczos' approximation with nine terms.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        return (PI / (PI * x).sin().abs()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let base = x + 7.5;
    let sum = TERMS[1..]
        .iter()
        .zip(1_u32..)
        .fold(TERMS[0], |sum, (term, n)| sum + term / (x + f64::from(n)));
    (2.0 * PI).sqrt().ln() + (x + 0.5) * base.ln() - base + sum.ln()
}

fn gamma(x: f64) -> f64 {
    if x <= 0.0 && x.fract() == 0.0 {
        return f64::NAN;
    }
    // Factorials are whole.
    if x.fract() == 0.0 && x <= 21.0 {
        return (2..x as u64).map(|n| n as f64).product();
    }
    let sign = if x < 0.0 && x.floor() % 2.0 != 0.0 { -1.0 } else { 1.0 };
    sign * ln_gamma(x).exp()
}

/// 0 below the range, the number of buckets and one above it.
fn width_bucket(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, low, high) =
        (floats(&arguments[0])?, floats(&arguments[1])?, floats(&arguments[2])?);
    let counts = integers(&arguments[3])?;
    let bucket = |row: usize| {
        let is_there = values.is_valid(row) && low.is_valid(row) && high.is_valid(row);
        if !is_there || counts.is_null(row) {
            return None;
        }
        let (value, low, high, count) =
            (values.value(row), low.value(row), high.value(row), counts.value(row));
        Some(match value {
            v if v < low => 0,
            v if v >= high => count as u64 + 1,
            v => ((v - low) * count as f64 / (high - low)) as u64 + 1,
        })
    };
    Ok(Arc::new((0..values.len()).map(bucket).collect::<UInt64Array>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        for (got, expected) in [
            (1.0 - erfc(0.5), 0.520_499_877_813_046_5),
            (erfc(3.0), 2.209_049_699_858_544e-5),
            (erfc(-1.0), 1.842_700_792_949_715),
            (ln_gamma(10.0), 12.801_827_480_081_469),
            (gamma(0.5), 1.772_453_850_905_516),
            (gamma(5.0), 24.0),
        ] {
            assert!((got - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{got} {expected}");
        }
    }
}
