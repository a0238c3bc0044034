//! Tests of hypotheses: whether two samples, told apart by the second argument 0 or 1, are of one kind.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, ScalarValue};

use super::{Function, Rows, Wanted, invalid};
use crate::numbers::special::{erfc, ln_gamma};

pub(super) const FUNCTIONS: &[Function] = &[
    test("studentTTest", |rows| t_test(rows, true)),
    test("welchTTest", |rows| t_test(rows, false)),
    Function { returns: u_type, ..test("mannWhitneyUTest", mann_whitney) },
];

const fn test(name: &'static str, finish: fn(&Rows<'_>) -> Result<ScalarValue>) -> Function {
    Function { name, arity: (2, 2), wanted: &[Wanted::Float], returns: t_type, finish }
}

fn fields(statistic: &str) -> Fields {
    let field = |name: &str| Field::new(name, DataType::Float64, true);
    Fields::from(vec![field(statistic), field("p_value")])
}

fn t_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Struct(fields("t_statistic")))
}

fn u_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Struct(fields("u_statistic")))
}

fn result(name: &str, statistic: f64, p: f64) -> Result<ScalarValue> {
    let column = |value: f64| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
    let tuple = StructArray::try_new(fields(name), vec![column(statistic), column(p)], None)?;
    Ok(ScalarValue::Struct(Arc::new(tuple)))
}

/// The values of each sample.
fn samples(rows: &Rows<'_>) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (value, sample) in rows.floats(0)?.into_iter().zip(rows.floats(1)?) {
        if sample == 0.0 { first.push(value) } else { second.push(value) }
    }
    Ok((first, second))
}

/// Mean and sum of squared deviations.
fn moments(sample: &[f64]) -> (f64, f64) {
    let mean = sample.iter().sum::<f64>() / sample.len() as f64;
    (mean, sample.iter().map(|value| (value - mean).powi(2)).sum())
}

/// `pooled`: both samples have one variance.
fn t_test(rows: &Rows<'_>, pooled: bool) -> Result<ScalarValue> {
    let (first, second) = samples(rows)?;
    let (n, m) = (first.len() as f64, second.len() as f64);
    if n < 2.0 || m < 2.0 {
        return result("t_statistic", f64::NAN, f64::NAN);
    }
    let ((mean, squares), (other_mean, other_squares)) = (moments(&first), moments(&second));
    let (error, freedom) = match pooled {
        true => {
            let variance = (squares + other_squares) / (n + m - 2.0);
            ((variance * (1.0 / n + 1.0 / m)).sqrt(), n + m - 2.0)
        }
        false => {
            let (a, b) = (squares / (n - 1.0) / n, other_squares / (m - 1.0) / m);
            let freedom = (a + b).powi(2) / (a * a / (n - 1.0) + b * b / (m - 1.0));
            ((a + b).sqrt(), freedom)
        }
    };
    let t = (mean - other_mean) / error;
    let p = incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t));
    result("t_statistic", t, p.clamp(0.0, 1.0))
}

/// The regularized incomplete beta function, by its continued fraction.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x.is_nan() {
        return if x.is_nan() { x } else { 0.0 };
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast on one side of the mean.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln();
    let small = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / small(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..300 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / small(1.0 + even * d);
        c = small(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / small(1.0 + odd * d);
        c = small(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front.exp() * fraction / a
}

/// Parameters: 'two-sided', 'greater' or 'less'; whether to correct for continuity.
fn mann_whitney(rows: &Rows<'_>) -> Result<ScalarValue> {
    let (first, second) = samples(rows)?;
    let (n, m) = (first.len() as f64, second.len() as f64);
    if n == 0.0 || m == 0.0 {
        return result("u_statistic", f64::NAN, f64::NAN);
    }
    let mut all: Vec<(f64, bool)> = first.iter().map(|value| (*value, true)).collect();
    all.extend(second.iter().map(|value| (*value, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut ranks, mut ties) = (0.0, 0.0);
    let mut at = 0;
    while at < all.len() {
        let equal = all[at..].iter().take_while(|(value, _)| *value == all[at].0).count().max(1);
        // Equal values share the mean of their ranks.
        let rank = at as f64 + (equal as f64 + 1.0) / 2.0;
        ranks += rank * all[at..at + equal].iter().filter(|(_, is_first)| *is_first).count() as f64;
        ties += (equal as f64).powi(3) - equal as f64;
        at += equal;
    }
    let total = n + m;
    let (u, other) = (ranks - n * (n + 1.0) / 2.0, n * m - (ranks - n * (n + 1.0) / 2.0));
    let kind = rows.parameters.first().map_or("two-sided", |text| text.trim_matches('\''));
    let (chosen, sides) = match kind {
        "" | "two-sided" => (u.max(other), 2.0),
        "greater" => (u, 1.0),
        "less" => (other, 1.0),
        other => {
            return Err(invalid(format!(
                "mannWhitneyUTest is 'two-sided', 'greater' or 'less', not '{other}'"
            )));
        }
    };
    let correction =
        if rows.number(1, "mannWhitneyUTest")?.unwrap_or(1.0) == 0.0 { 0.0 } else { 0.5 };
    let tied = 1.0 - ties / (total.powi(3) - total);
    let deviation = (tied * n * m * (total + 1.0) / 12.0).sqrt();
    let z = (chosen - n * m / 2.0 - correction) / deviation;
    let p = sides * 0.5 * erfc(z / std::f64::consts::SQRT_2);
    result("u_statistic", u, p.clamp(0.0, 1.0))
}
