//! Quantiles and most frequent values where rows have weights, and exact quantiles of other kinds.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, UInt32Array};
use arrow::compute::{sort_to_indices, take};
use arrow::datatypes::DataType;
use arrow::row::{Row, RowConverter, SortField};
use datafusion::common::{Result, ScalarValue};

use super::{Function, Rows, Wanted, invalid};
use crate::gives;

pub(super) const FUNCTIONS: &[Function] = &[
    weighted("quantileExactWeighted", gives::same, |rows| {
        ScalarValue::try_from_array(&exact(rows, &levels(rows)?[..1])?, 0)
    }),
    weighted("quantilesExactWeighted", list_of_values, |rows| {
        rows.list(exact(rows, &levels(rows)?)?)
    }),
    weighted("quantileInterpolatedWeighted", gives::float, |rows| {
        Ok(ScalarValue::Float64(interpolated(rows, &levels(rows)?[..1])?[0]))
    }),
    weighted("quantilesInterpolatedWeighted", list_of_floats, |rows| {
        rows.list(Arc::new(Float64Array::from(interpolated(rows, &levels(rows)?)?)))
    }),
    one("quantileExactLow", gives::same, |rows| picked(rows, low)),
    one("quantileExactHigh", gives::same, |rows| picked(rows, high)),
    one("quantilesExact", list_of_values, |rows| several(rows, high)),
    one("quantileExactExclusive", gives::float, |rows| {
        Ok(ScalarValue::Float64(exclusive(rows, &levels(rows)?[..1])?[0]))
    }),
    one("quantilesExactExclusive", list_of_floats, |rows| {
        rows.list(Arc::new(Float64Array::from(exclusive(rows, &levels(rows)?)?)))
    }),
    Function {
        name: "topKWeighted",
        arity: (2, 2),
        wanted: &[Wanted::Any, Wanted::Float],
        returns: list_of_values,
        finish: top,
    },
    // For states alone: the plain function counts as it goes.
    Function {
        name: "topK",
        arity: (1, 1),
        wanted: &[Wanted::Any],
        returns: list_of_values,
        finish: top,
    },
    one("quantilesExactLow", list_of_values, |rows| several(rows, low)),
    one("quantilesExactHigh", list_of_values, |rows| several(rows, high)),
];

const fn weighted(
    name: &'static str,
    returns: fn(&[DataType]) -> Result<DataType>,
    finish: fn(&Rows<'_>) -> Result<ScalarValue>,
) -> Function {
    Function { name, arity: (2, 2), wanted: &[Wanted::Any, Wanted::Float], returns, finish }
}

const fn one(
    name: &'static str,
    returns: fn(&[DataType]) -> Result<DataType>,
    finish: fn(&Rows<'_>) -> Result<ScalarValue>,
) -> Function {
    Function { name, arity: (1, 1), wanted: &[Wanted::Any], returns, finish }
}

fn list_of_values(types: &[DataType]) -> Result<DataType> {
    Ok(gives::list(gives::same(types)?))
}

fn list_of_floats(_: &[DataType]) -> Result<DataType> {
    Ok(gives::list(DataType::Float64))
}

/// The levels in the first brackets; none is the median.
fn levels(rows: &Rows<'_>) -> Result<Vec<f64>> {
    let mut levels = Vec::new();
    for at in 0..rows.parameters.len() {
        match rows.number(at, "a quantile")? {
            Some(level) if (0.0..=1.0).contains(&level) => levels.push(level),
            Some(level) => {
                return Err(invalid(format!("levels are numbers from 0 to 1, not {level}")));
            }
            None => {}
        }
    }
    if levels.is_empty() {
        levels.push(0.5);
    }
    Ok(levels)
}

fn high(level: f64, count: usize) -> Option<usize> {
    let last = count.checked_sub(1)?;
    Some(((level * count as f64) as usize).min(last))
}

/// As [`high`], but of the two in the middle the lower one.
fn low(level: f64, count: usize) -> Option<usize> {
    if level == 0.5 {
        return Some((count.checked_sub(1)?) / 2);
    }
    high(level, count)
}

fn picked(rows: &Rows<'_>, place: fn(f64, usize) -> Option<usize>) -> Result<ScalarValue> {
    let order = sort_to_indices(&rows.columns[0], None, None)?;
    match place(levels(rows)?[0], rows.len()) {
        Some(at) => ScalarValue::try_from_array(&rows.columns[0], order.value(at) as usize),
        None => rows.nothing(),
    }
}

/// Interpolated at level * (n + 1).
fn exclusive(rows: &Rows<'_>, levels: &[f64]) -> Result<Vec<Option<f64>>> {
    let mut values = rows.floats(0)?;
    values.sort_by(f64::total_cmp);
    let at = |level: &f64| {
        let last = values.len().checked_sub(1)?;
        let position = level * (values.len() as f64 + 1.0);
        let place = position as usize;
        Some(match place {
            0 => values[0],
            place if place > last => values[last],
            place => {
                values[place - 1] + (position - place as f64) * (values[place] - values[place - 1])
            }
        })
    };
    Ok(levels.iter().map(at).collect())
}

/// The value where the sum of the weights, in the order of the values, reaches the level.
fn exact(rows: &Rows<'_>, levels: &[f64]) -> Result<ArrayRef> {
    let order = sort_to_indices(&rows.columns[0], None, None)?;
    let weights = rows.floats(1)?;
    let total: f64 = weights.iter().sum();
    let place = |level: &f64| {
        let threshold = (total * level).ceil();
        let mut sum = 0.0;
        let reached = order.values().iter().find(|row| {
            sum += weights[**row as usize];
            sum >= threshold && weights[**row as usize] > 0.0
        });
        reached.or(order.values().last()).copied()
    };
    let places: UInt32Array = levels.iter().map(place).collect();
    Ok(take(&rows.columns[0], &places, None)?)
}

/// Between the middles of the weights of neighbours.
fn interpolated(rows: &Rows<'_>, levels: &[f64]) -> Result<Vec<Option<f64>>> {
    let (values, weights) = (rows.floats(0)?, rows.floats(1)?);
    let mut points: Vec<(f64, f64)> =
        values.into_iter().zip(weights).filter(|p| p.1 > 0.0).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = points.iter().map(|point| point.1).sum();
    let mut sum = 0.0;
    let middles: Vec<(f64, f64)> = points
        .iter()
        .map(|(value, weight)| {
            sum += weight;
            (*value, (sum - weight / 2.0) / total)
        })
        .collect();
    let at = |level: &f64| {
        let (first, last) = (middles.first()?, middles.last()?);
        if *level <= first.1 {
            return Some(first.0);
        }
        let pair = middles.windows(2).find(|pair| *level <= pair[1].1);
        Some(match pair {
            Some(pair) => {
                let share = (level - pair[0].1) / (pair[1].1 - pair[0].1);
                pair[0].0 + share * (pair[1].0 - pair[0].0)
            }
            None => last.0,
        })
    };
    Ok(levels.iter().map(at).collect())
}

/// The values with the greatest sums of weights.
/// The values at the places of the levels.
fn several(rows: &Rows<'_>, place: fn(f64, usize) -> Option<usize>) -> Result<ScalarValue> {
    let order = sort_to_indices(&rows.columns[0], None, None)?;
    let places: Vec<Option<u32>> = levels(rows)?
        .iter()
        .map(|level| place(*level, rows.len()).map(|at| order.value(at)))
        .collect();
    rows.list(take(&rows.columns[0], &UInt32Array::from(places), None)?)
}

/// The values of the greatest weights; without weights each row has the same.
fn top(rows: &Rows<'_>) -> Result<ScalarValue> {
    let most = rows.count(0, "topK")?.unwrap_or(10);
    let weights = match rows.columns.len() {
        1 => vec![1.0; rows.len()],
        _ => rows.floats(1)?,
    };
    let field = SortField::new(rows.columns[0].data_type().clone());
    let converter = RowConverter::new(vec![field])?;
    let keys = converter.convert_columns(&rows.columns[..1])?;
    let mut sums: HashMap<Row<'_>, (u32, f64)> = HashMap::new();
    for (row, key) in keys.iter().enumerate() {
        sums.entry(key).or_insert((row as u32, 0.0)).1 += weights[row];
    }
    let mut ranked: Vec<(Row<'_>, (u32, f64))> = sums.into_iter().collect();
    ranked.sort_by(|(a, (_, more)), (b, (_, less))| less.total_cmp(more).then_with(|| a.cmp(b)));
    let places = ranked.into_iter().take(most).map(|(_, (row, _))| Some(row));
    let places: UInt32Array = places.collect();
    debug_assert!(places.null_count() == 0);
    rows.list(take(&rows.columns[0], &places, None)?)
}
