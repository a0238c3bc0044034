//! How much two columns of categories say about each other, and tests of means.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::{Result, ScalarValue};

use super::{Function, Rows, Wanted};
use crate::gives;

pub(super) const FUNCTIONS: &[Function] =
    &[two("cramersV", cramers_v), two("contingency", contingency), two("theilsU", theils_u)];

const fn two(name: &'static str, finish: fn(&Rows<'_>) -> Result<ScalarValue>) -> Function {
    Function { name, arity: (2, 2), wanted: &[Wanted::Any], returns: gives::float, finish }
}

/// How often values and pairs of values occur.
#[derive(Default)]
struct Table {
    left: HashMap<OwnedRow, f64>,
    right: HashMap<OwnedRow, f64>,
    both: HashMap<(OwnedRow, OwnedRow), f64>,
    total: f64,
}

fn table(rows: &Rows<'_>) -> Result<Table> {
    let keys = |at: usize| {
        let data_type: &DataType = rows.columns[at].data_type();
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        converter.convert_columns(&rows.columns[at..=at])
    };
    let (left, right) = (keys(0)?, keys(1)?);
    let mut table = Table { total: rows.len() as f64, ..Table::default() };
    for (left, right) in left.iter().zip(right.iter()) {
        let (left, right) = (left.owned(), right.owned());
        *table.left.entry(left.clone()).or_default() += 1.0;
        *table.right.entry(right.clone()).or_default() += 1.0;
        *table.both.entry((left, right)).or_default() += 1.0;
    }
    Ok(table)
}

impl Table {
    /// Pearson's chi squared over the number of rows.
    fn phi_squared(&self) -> f64 {
        let shares = self
            .both
            .iter()
            .map(|((left, right), count)| count * count / (self.left[left] * self.right[right]));
        let mut shares: Vec<f64> = shares.collect();
        shares.sort_by(f64::total_cmp);
        (shares.into_iter().sum::<f64>() - 1.0).max(0.0)
    }
}

fn cramers_v(rows: &Rows<'_>) -> Result<ScalarValue> {
    let table = table(rows)?;
    let least = table.left.len().min(table.right.len());
    if least < 2 {
        return Ok(ScalarValue::Float64(Some(if table.total > 0.0 { 0.0 } else { f64::NAN })));
    }
    let v = (table.phi_squared() / (least as f64 - 1.0)).sqrt();
    Ok(ScalarValue::Float64(Some(v.min(1.0))))
}

fn contingency(rows: &Rows<'_>) -> Result<ScalarValue> {
    let table = table(rows)?;
    if table.total == 0.0 {
        return Ok(ScalarValue::Float64(Some(f64::NAN)));
    }
    let phi = table.phi_squared();
    Ok(ScalarValue::Float64(Some((phi / (phi + 1.0)).sqrt())))
}

/// The share of the first column's entropy that the second one explains.
fn theils_u(rows: &Rows<'_>) -> Result<ScalarValue> {
    let table = table(rows)?;
    let mut terms: Vec<f64> = table
        .left
        .values()
        .map(|count| -count / table.total * (count / table.total).ln())
        .collect();
    terms.sort_by(f64::total_cmp);
    let entropy: f64 = terms.into_iter().sum();
    let mut terms: Vec<f64> = table
        .both
        .iter()
        .map(|((_, right), count)| -count / table.total * (count / table.right[right]).ln())
        .collect();
    terms.sort_by(f64::total_cmp);
    let given: f64 = terms.into_iter().sum();
    let explained = if entropy == 0.0 { 0.0 } else { (entropy - given) / entropy };
    Ok(ScalarValue::Float64(Some(explained)))
}
