//! Arrays and tuples of numbers as vectors: lengths, distances, products.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StructArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};

use crate::gives;
use crate::rows::{floats, list_of, lists, range_of};
use crate::scalar::{ONE, Scalar, THREE, TWO, scalar};

/// A function of one vector or of two.
macro_rules! vector {
    ($name:literal, |$x:ident| $body:expr) => {
        scalar($name, ONE, gives::float, |arguments| one(arguments, |$x, _| $body))
    };
    ($name:literal, |$x:ident, $y:ident| $body:expr) => {
        scalar($name, TWO, gives::float, |arguments| two(arguments, |$x, $y, _| $body))
    };
}

pub(super) fn all() -> Vec<Scalar> {
    let norms = vec![
        vector!("L1Norm", |x| x.iter().map(|v| v.abs()).sum()),
        vector!("L2Norm", |x| squares(x).sqrt()),
        vector!("L2SquaredNorm", |x| squares(x)),
        vector!("LinfNorm", |x| x.iter().fold(0.0, |most: f64, v| most.max(v.abs()))),
        scalar("LpNorm", TWO, gives::float, |arguments| {
            one(arguments, |x, p| power_sum(x.iter().copied(), p))
        }),
    ];
    let distances = vec![
        vector!("L1Distance", |x, y| differences(x, y).map(f64::abs).sum()),
        vector!("L2Distance", |x, y| differences(x, y).map(|d| d * d).sum::<f64>().sqrt()),
        vector!("L2SquaredDistance", |x, y| differences(x, y).map(|d| d * d).sum()),
        vector!("LinfDistance", |x, y| differences(x, y).fold(0.0, |most, d| most.max(d.abs()))),
        scalar("LpDistance", THREE, gives::float, |arguments| {
            two(arguments, |x, y, p| power_sum(differences(x, y), p))
        }),
        vector!("cosineDistance", |x, y| {
            1.0 - product(x, y) / (squares(x).sqrt() * squares(y).sqrt())
        }),
        scalar("scalarProduct", TWO, gives::float, |arguments| {
            two(arguments, |x, y, _| product(x, y))
        }),
    ];
    let lists = vec![
        scalar("L1Normalize", ONE, gives_floats, |arguments| {
            scaled(arguments, |x| x.iter().map(|v| v.abs()).sum())
        }),
        scalar("L2Normalize", ONE, gives_floats, |arguments| {
            scaled(arguments, |x| squares(x).sqrt())
        }),
        scalar("LinfNormalize", ONE, gives_floats, |arguments| {
            scaled(arguments, |x| x.iter().fold(0.0, |most: f64, v| most.max(v.abs())))
        }),
    ];
    norms.into_iter().chain(distances).chain(lists).collect()
}

fn gives_floats(_: &[DataType]) -> Result<DataType> {
    Ok(gives::list(DataType::Float64))
}

fn squares(x: &[f64]) -> f64 {
    x.iter().map(|v| v * v).sum()
}

fn product(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn differences(x: &[f64], y: &[f64]) -> impl Iterator<Item = f64> {
    x.iter().zip(y).map(|(x, y)| x - y)
}

fn power_sum(values: impl Iterator<Item = f64>, p: f64) -> f64 {
    values.map(|value| value.abs().powf(p)).sum::<f64>().powf(1.0 / p)
}

/// The numbers of each row, of arrays or tuples; NULL elements are 0.
fn vectors(values: &ArrayRef) -> Result<Vec<Option<Vec<f64>>>> {
    if let Some(tuple) = values.as_struct_opt() {
        let tuple: &StructArray = tuple;
        let parts = tuple.columns().iter().map(floats).collect::<Result<Vec<Float64Array>>>()?;
        let row = |row: usize| parts.iter().map(|part| part.value(row)).collect();
        return Ok((0..tuple.len()).map(|at| tuple.is_valid(at).then(|| row(at))).collect());
    }
    let list = lists(values)?;
    let items = floats(list.values())?;
    let item = |at: usize| if items.is_valid(at) { items.value(at) } else { 0.0 };
    let row = |row: usize| list.is_valid(row).then(|| range_of(&list, row).map(item).collect());
    Ok((0..list.len()).map(row).collect())
}

fn one(arguments: &[ArrayRef], of: fn(&[f64], f64) -> f64) -> Result<ArrayRef> {
    let powers = arguments.get(1).map(floats).transpose()?;
    let power = |row: usize| powers.as_ref().map_or(2.0, |powers| powers.value(row));
    let rows = vectors(&arguments[0])?.into_iter().enumerate();
    let rows = rows.map(|(row, vector)| vector.map(|vector| of(&vector, power(row))));
    Ok(Arc::new(rows.collect::<Float64Array>()))
}

fn two(arguments: &[ArrayRef], of: fn(&[f64], &[f64], f64) -> f64) -> Result<ArrayRef> {
    let (left, right) = (vectors(&arguments[0])?, vectors(&arguments[1])?);
    let powers = arguments.get(2).map(floats).transpose()?;
    let mut results = Vec::with_capacity(left.len());
    for (row, (left, right)) in left.iter().zip(&right).enumerate() {
        let (Some(left), Some(right)) = (left, right) else {
            results.push(None);
            continue;
        };
        if left.len() != right.len() {
            return exec_err!("the vectors have {} and {} numbers", left.len(), right.len());
        }
        let power = powers.as_ref().map_or(2.0, |powers| powers.value(row));
        results.push(Some(of(left, right, power)));
    }
    Ok(Arc::new(Float64Array::from(results)))
}

/// The vector divided by its length.
fn scaled(arguments: &[ArrayRef], length: fn(&[f64]) -> f64) -> Result<ArrayRef> {
    let rows = vectors(&arguments[0])?;
    let lengths: Vec<Option<usize>> = rows.iter().map(|row| row.as_ref().map(Vec::len)).collect();
    let items = rows.into_iter().flatten().flat_map(|vector| {
        let by = length(&vector);
        vector.into_iter().map(move |value| value / by)
    });
    list_of(Arc::new(Float64Array::from_iter_values(items)), &lengths)
}
