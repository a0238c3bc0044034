//! Aggregates that give an array of what they saw.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, StructArray, UInt32Array};
use arrow::compute::{SortOptions, cast, concat, sort, take};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::row::{Row, RowConverter, SortField};
use datafusion::common::{Result, ScalarValue, plan_err};

use super::{Function, Rows, Wanted, invalid};
use crate::gives;
use crate::rows::{item_type, lists, range_of};
use crate::zero::zero_value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "groupArraySorted",
        arity: (1, 1),
        wanted: &[Wanted::Any],
        returns: list_of_values,
        finish: sorted,
    },
    Function {
        name: "groupArrayLast",
        arity: (1, 1),
        wanted: &[Wanted::Any],
        returns: list_of_values,
        finish: last,
    },
    Function {
        name: "groupArraySample",
        arity: (1, 1),
        wanted: &[Wanted::Any],
        returns: list_of_values,
        finish: sample,
    },
    Function {
        name: "groupArrayMovingSum",
        arity: (1, 1),
        wanted: &[Wanted::Any],
        returns: list_of_sums,
        finish: |rows| moving(rows, |sum, _| sum),
    },
    Function {
        name: "groupArrayMovingAvg",
        arity: (1, 1),
        wanted: &[Wanted::Any],
        returns: |_| Ok(gives::list(DataType::Float64)),
        finish: |rows| moving(rows, |sum, window| sum / window as f64),
    },
    Function {
        name: "groupArrayInsertAt",
        arity: (2, 2),
        wanted: &[Wanted::Any],
        returns: list_of_values,
        finish: insert_at,
    },
    Function {
        name: "groupArrayIntersect",
        arity: (1, 1),
        wanted: &[Wanted::Any],
        returns: gives::same,
        finish: intersect,
    },
    Function {
        name: "histogram",
        arity: (1, 1),
        wanted: &[Wanted::Float],
        returns: |_| Ok(gives::list(DataType::Struct(bin_fields()))),
        finish: histogram,
    },
    Function {
        name: "deltaSum",
        arity: (1, 1),
        wanted: &[Wanted::Any],
        returns: gives::same,
        finish: |rows| growth(rows, (0..rows.len()).collect()),
    },
    Function {
        name: "deltaSumTimestamp",
        arity: (2, 2),
        wanted: &[Wanted::Any],
        returns: gives::same,
        finish: |rows| {
            let times = rows.integers(1)?;
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by_key(|row| times[*row]);
            growth(rows, order)
        },
    },
    Function {
        name: "anyHeavy",
        arity: (1, 1),
        wanted: &[Wanted::Any],
        returns: gives::same,
        finish: most_frequent,
    },
    Function {
        name: "singleValueOrNull",
        arity: (1, 1),
        wanted: &[Wanted::Any],
        returns: gives::same,
        finish: |rows| {
            let counts = counts(rows)?;
            match counts.as_slice() {
                [(row, _)] => ScalarValue::try_from_array(&rows.columns[0], *row),
                _ => rows.nothing(),
            }
        },
    },
];

fn list_of_values(types: &[DataType]) -> Result<DataType> {
    Ok(gives::list(gives::same(types)?))
}

fn list_of_sums(types: &[DataType]) -> Result<DataType> {
    Ok(gives::list(match types.first() {
        Some(unsigned) if unsigned.is_unsigned_integer() => DataType::UInt64,
        Some(signed) if signed.is_integer() => DataType::Int64,
        Some(decimal @ DataType::Decimal128(..)) => decimal.clone(),
        Some(float) if float.is_floating() => DataType::Float64,
        other => return plan_err!("there is no sum of values of type {other:?}"),
    }))
}

fn sorted(rows: &Rows<'_>) -> Result<ScalarValue> {
    let most = rows.count(0, "groupArraySorted")?.unwrap_or(usize::MAX);
    let options = SortOptions { descending: false, nulls_first: false };
    let values = sort(&rows.columns[0], Some(options))?;
    rows.list(values.slice(0, values.len().min(most)))
}

fn last(rows: &Rows<'_>) -> Result<ScalarValue> {
    let most = rows.count(0, "groupArrayLast")?.unwrap_or(usize::MAX).min(rows.len());
    rows.list(rows.columns[0].slice(rows.len() - most, most))
}

/// Rows by a hash of their place and the seed, so that the same rows give the same sample.
fn sample(rows: &Rows<'_>) -> Result<ScalarValue> {
    let most = rows.count(0, "groupArraySample")?.unwrap_or(usize::MAX);
    let seed = rows.count(1, "groupArraySample")?.unwrap_or(123_456) as u64;
    let mut places: Vec<usize> = (0..rows.len()).collect();
    places.sort_by_key(|place| crate::mixed(*place as u64 ^ seed));
    places.truncate(most);
    places.sort_unstable();
    let places: UInt32Array = places.into_iter().map(|place| Some(place as u32)).collect();
    rows.list(take(&rows.columns[0], &places, None)?)
}

/// A sum over the last rows for each row.
fn moving(rows: &Rows<'_>, of: fn(f64, usize) -> f64) -> Result<ScalarValue> {
    let window = rows.count(0, "groupArrayMovingSum")?;
    let values = rows.floats(0)?;
    let window = window.unwrap_or(values.len()).max(1);
    let mut sum = 0.0;
    let mut sums = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        sum += value;
        if at >= window {
            sum -= values[at - window];
        }
        sums.push(of(sum, window));
    }
    rows.list(Arc::new(Float64Array::from(sums)))
}

/// Values at their places, from 0; the default, else the zero value, in between.
fn insert_at(rows: &Rows<'_>) -> Result<ScalarValue> {
    let places = rows.integers(1)?;
    let most = rows.count(1, "groupArrayInsertAt")?;
    let item = rows.columns[0].data_type();
    let default = match rows.parameters.first().filter(|text| !text.is_empty()) {
        Some(text) => {
            let text = text.trim_matches('\'').to_owned();
            cast(&ScalarValue::Utf8(Some(text)).to_array()?, item)?
        }
        None => match zero_value(item) {
            Some(zero) => cast(&zero.to_array()?, item)?,
            None => arrow::array::new_null_array(item, 1),
        },
    };
    let furthest = places.iter().max().map_or(0, |place| place + 1);
    if !(0..=1_000_000).contains(&furthest) || places.iter().any(|place| *place < 0) {
        return Err(invalid("groupArrayInsertAt takes places from 0 to 1000000".to_owned()));
    }
    let size = most.unwrap_or(furthest as usize);
    let mut from = vec![rows.len() as u32; size];
    for (row, place) in places.iter().enumerate().rev() {
        if let Some(slot) = from.get_mut(*place as usize) {
            *slot = row as u32;
        }
    }
    let values = concat(&[rows.columns[0].as_ref(), default.as_ref()])?;
    rows.list(take(&values, &UInt32Array::from(from), None)?)
}

/// The elements that the arrays of all rows have.
fn intersect(rows: &Rows<'_>) -> Result<ScalarValue> {
    let list = lists(&rows.columns[0])?;
    let converter = RowConverter::new(vec![SortField::new(item_type(list.data_type())?)])?;
    let items = converter.convert_columns(&[Arc::clone(list.values())])?;
    let mut common: Vec<u32> = Vec::new();
    for row in 0..list.len() {
        let of_row: HashMap<Row<'_>, usize> =
            range_of(&list, row).rev().map(|at| (items.row(at), at)).collect();
        match row {
            0 => {
                common = of_row.into_values().map(|at| at as u32).collect();
                common.sort_unstable();
            }
            _ => common.retain(|at| of_row.contains_key(&items.row(*at as usize))),
        }
    }
    rows.list(take(list.values(), &UInt32Array::from(common), None)?)
}

fn bin_fields() -> Fields {
    let field = |name: &str| Field::new(name, DataType::Float64, true);
    Fields::from(vec![field("1"), field("2"), field("3")])
}

/// Bins by merging the nearest points, as Ben-Haim and Tom-Tov do it: lower and upper border, height.
fn histogram(rows: &Rows<'_>) -> Result<ScalarValue> {
    let most = match rows.count(0, "histogram")? {
        Some(most @ 1..) => most,
        _ => {
            return Err(invalid(
                "histogram takes the number of its bins: histogram(5)(x)".to_owned(),
            ));
        }
    };
    let mut values = rows.floats(0)?;
    values.sort_by(f64::total_cmp);
    let (low, high) = match (values.first(), values.last()) {
        (Some(low), Some(high)) => (*low, *high),
        _ => (0.0, 0.0),
    };
    let mut points: Vec<(f64, f64)> = Vec::new();
    for value in values {
        match points.last_mut() {
            Some((last, weight)) if *last == value => *weight += 1.0,
            _ => points.push((value, 1.0)),
        }
    }
    while points.len() > most {
        let gap = |at: &usize| points[*at + 1].0 - points[*at].0;
        let nearest = (0..points.len() - 1).min_by(|a, b| gap(a).total_cmp(&gap(b))).unwrap_or(0);
        let (right, other) = points.remove(nearest + 1);
        let (left, weight) = points[nearest];
        points[nearest] = ((left * weight + right * other) / (weight + other), weight + other);
    }
    let border = |at: usize| match at {
        0 => low,
        at if at == points.len() => high,
        at => (points[at - 1].0 + points[at].0) / 2.0,
    };
    let column = |of: &dyn Fn(usize) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values((0..points.len()).map(of)))
    };
    let columns =
        vec![column(&|at| border(at)), column(&|at| border(at + 1)), column(&|at| points[at].1)];
    let bins = StructArray::try_new_with_length(bin_fields(), columns, None, points.len())?;
    rows.list(Arc::new(bins))
}

/// What the values grew by from row to row; where they fell, nothing.
fn growth(rows: &Rows<'_>, order: Vec<usize>) -> Result<ScalarValue> {
    let values = rows.floats(0)?;
    let grown = order.windows(2).map(|pair| (values[pair[1]] - values[pair[0]]).max(0.0)).sum();
    match order.is_empty() {
        true => ScalarValue::new_zero(rows.data_type),
        false => ScalarValue::Float64(Some(grown)).cast_to(rows.data_type),
    }
}

/// Each different value's first row and how often it occurs, by first row.
fn counts(rows: &Rows<'_>) -> Result<Vec<(usize, usize)>> {
    let field = SortField::new(rows.columns[0].data_type().clone());
    let converter = RowConverter::new(vec![field])?;
    let keys = converter.convert_columns(&rows.columns[..1])?;
    let mut counts: HashMap<Row<'_>, (usize, usize)> = HashMap::new();
    for (row, key) in keys.iter().enumerate() {
        counts.entry(key).or_insert((row, 0)).1 += 1;
    }
    let mut counts: Vec<(usize, usize)> = counts.into_values().collect();
    counts.sort_unstable();
    Ok(counts)
}

fn most_frequent(rows: &Rows<'_>) -> Result<ScalarValue> {
    let best =
        counts(rows)?.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
    match best {
        Some((row, _)) => ScalarValue::try_from_array(&rows.columns[0], row),
        None => rows.nothing(),
    }
}
