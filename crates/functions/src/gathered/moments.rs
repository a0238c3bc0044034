//! Skewness, kurtosis, entropy, regression, and how two columns go together.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue};

use super::{Function, Rows, Wanted};
use crate::gives;

const ANY: usize = usize::MAX;

pub(super) const FUNCTIONS: &[Function] = &[
    one("skewPop", |rows| skew(rows, 0.0)),
    one("skewSamp", |rows| skew(rows, 1.0)),
    one("kurtPop", |rows| kurtosis(rows, 0.0)),
    one("kurtSamp", |rows| kurtosis(rows, 1.0)),
    Function {
        name: "entropy",
        arity: (1, ANY),
        wanted: &[Wanted::Any],
        returns: gives::float,
        finish: entropy,
    },
    two("boundingRatio", gives::float, bounding_ratio),
    two("simpleLinearRegression", line_type, regression),
    two("rankCorr", gives::float, rank_correlation),
];

const fn one(name: &'static str, finish: fn(&Rows<'_>) -> Result<ScalarValue>) -> Function {
    Function { name, arity: (1, 1), wanted: &[Wanted::Float], returns: gives::float, finish }
}

const fn two(
    name: &'static str,
    returns: fn(&[DataType]) -> Result<DataType>,
    finish: fn(&Rows<'_>) -> Result<ScalarValue>,
) -> Function {
    Function { name, arity: (2, 2), wanted: &[Wanted::Float], returns, finish }
}

fn float(value: f64) -> Result<ScalarValue> {
    Ok(ScalarValue::Float64(Some(value)))
}

/// The mean of a power of the distances from the mean.
fn moment(values: &[f64], mean: f64, power: i32) -> f64 {
    values.iter().map(|value| (value - mean).powi(power)).sum::<f64>() / values.len() as f64
}

/// The third moment over the cube of the deviation, whose divisor is n less `less`.
fn skew(rows: &Rows<'_>, less: f64) -> Result<ScalarValue> {
    let values = rows.floats(0)?;
    if values.is_empty() {
        return rows.nothing();
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = moment(&values, mean, 2) * count / (count - less);
    float(moment(&values, mean, 3) / variance.powf(1.5))
}

fn kurtosis(rows: &Rows<'_>, less: f64) -> Result<ScalarValue> {
    let values = rows.floats(0)?;
    if values.is_empty() {
        return rows.nothing();
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = moment(&values, mean, 2) * count / (count - less);
    float(moment(&values, mean, 4) / (variance * variance))
}

/// Shannon's, in bits.
fn entropy(rows: &Rows<'_>) -> Result<ScalarValue> {
    if rows.len() == 0 {
        return rows.nothing();
    }
    let fields = rows.columns.iter().map(|column| SortField::new(column.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let keys = converter.convert_columns(rows.columns)?;
    let mut counts: HashMap<arrow::row::Row<'_>, f64> = HashMap::new();
    for key in &keys {
        *counts.entry(key).or_default() += 1.0;
    }
    let total = rows.len() as f64;
    // The same order of addends every time.
    let mut shares: Vec<f64> = counts.into_values().map(|count| count / total).collect();
    shares.sort_by(f64::total_cmp);
    float(shares.into_iter().map(|share| -share * share.log2()).sum())
}

/// The slope from the leftmost to the rightmost point.
fn bounding_ratio(rows: &Rows<'_>) -> Result<ScalarValue> {
    let (x, y) = (rows.floats(0)?, rows.floats(1)?);
    let points = || x.iter().copied().zip(y.iter().copied());
    let left = points().min_by(|a, b| a.0.total_cmp(&b.0));
    let right = points().max_by(|a, b| a.0.total_cmp(&b.0));
    match left.zip(right) {
        Some((left, right)) => float((right.1 - left.1) / (right.0 - left.0)),
        None => rows.nothing(),
    }
}

fn line_fields() -> Fields {
    let field = |name: &str| Field::new(name, DataType::Float64, true);
    Fields::from(vec![field("k"), field("b")])
}

fn line_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Struct(line_fields()))
}

/// The line y = k * x + b with the least squares.
fn regression(rows: &Rows<'_>) -> Result<ScalarValue> {
    let (x, y) = (rows.floats(0)?, rows.floats(1)?);
    let count = x.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(&x), mean(&y));
    let products = x.iter().zip(&y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>();
    let squares = x.iter().map(|x| (x - mean_x).powi(2)).sum::<f64>();
    let slope = products / squares;
    let column = |value: f64| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
    let columns = vec![column(slope), column(mean_y - slope * mean_x)];
    Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(line_fields(), columns, None)?)))
}

/// The mean rank of each value among all, from 1.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    while first < order.len() {
        let is_equal = |at: &&usize| values[**at] == values[order[first]];
        let count = order[first..].iter().take_while(is_equal).count();
        let rank = first as f64 + (count as f64 + 1.0) / 2.0;
        order[first..first + count].iter().for_each(|at| ranks[*at] = rank);
        first += count;
    }
    ranks
}

fn rank_correlation(rows: &Rows<'_>) -> Result<ScalarValue> {
    let (x, y) = (ranks(&rows.floats(0)?), ranks(&rows.floats(1)?));
    let mean = (x.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    float(product(&x, &y) / (product(&x, &x) * product(&y, &y)).sqrt())
}
