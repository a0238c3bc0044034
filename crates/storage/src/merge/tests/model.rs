//! What the engines do, row by row, and random rows for it.
//!
//! Columns: `a` the sort key, `b` the sign, `c` the version, `d` whether deleted, `e` and `f`
//! numbers, `g` text that is concatenated as if it was a state, `h` the number of the row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringViewArray};
use granary_catalog::{ColumnType, Scalar};
use granary_common::{ColumnId, Result};
use proptest::prelude::*;

use crate::merge::{CollapseMode, CollapseRule, StateColumn, StateMerger};
use crate::schema::PartSchema;
use crate::test_support::table;

pub type Row = Vec<Scalar>;

pub const KEY: usize = 0;
pub const SIGN: usize = 1;
pub const VERSION: usize = 2;
pub const DELETED: usize = 3;
pub const NUMBER: usize = 4;
pub const DECIMAL: usize = 5;
pub const TEXT: usize = 6;

pub fn schema(granularity: usize) -> PartSchema {
    let types = [
        "Nullable(Int32)",
        "Int8",
        "UInt32",
        "UInt8",
        "Nullable(Int64)",
        "Decimal(10, 2)",
        "String",
        "UInt64",
    ];
    table(&types, &[KEY as u32], &[], granularity)
}

/// Batches of rows in insert order, of few keys so that they meet. The sign says what the history of
/// its key needs when `paired`.
pub fn batches(paired: bool) -> impl Strategy<Value = Vec<Vec<Row>>> {
    let row = (0..6_i64, any::<bool>(), 0..3_u64, 0..2_u64, -2..3_i64, -2..3_i128, "[a-c]");
    let inserts = prop::collection::vec(prop::collection::vec(row, 1..9), 1..6);
    inserts.prop_map(move |inserts| {
        let mut number = 0;
        let mut last: BTreeMap<i64, Row> = BTreeMap::new();
        let mut next = |(key, sign, version, deleted, value, decimal, text): RandomRow| {
            number += 1;
            let mut row = vec![
                if key == 5 { Scalar::Null } else { Scalar::Int(key) },
                Scalar::Int(if sign { 1 } else { -1 }),
                Scalar::UInt(version),
                Scalar::UInt(deleted),
                if value == 2 { Scalar::Null } else { Scalar::Int(value) },
                Scalar::Wide(decimal),
                Scalar::Text(text),
                Scalar::UInt(number),
            ];
            if paired {
                // A row takes back the one before it, or says something new.
                row = match last.remove(&key) {
                    Some(mut before) => {
                        before[SIGN] = Scalar::Int(-1);
                        before
                    }
                    None => {
                        row[SIGN] = Scalar::Int(1);
                        last.insert(key, row.clone());
                        row
                    }
                };
            }
            row
        };
        inserts.into_iter().map(|rows| rows.into_iter().map(&mut next).collect()).collect()
    })
}

type RandomRow = (i64, bool, u64, u64, i64, i128, String);

pub fn rules() -> Vec<CollapseRule> {
    let id = |place: usize| ColumnId(place as u32);
    let states = || vec![StateColumn { column: id(TEXT), column_type: ColumnType::String }];
    let sums = || vec![id(NUMBER), id(DECIMAL)];
    vec![
        CollapseRule::None,
        CollapseRule::Replacing { version: None, is_deleted: None },
        CollapseRule::Replacing { version: Some(id(VERSION)), is_deleted: None },
        CollapseRule::Replacing { version: Some(id(VERSION)), is_deleted: Some(id(DELETED)) },
        CollapseRule::Summing { columns: sums(), states: Vec::new() },
        CollapseRule::Summing { columns: sums(), states: states() },
        CollapseRule::Aggregating { states: states() },
        CollapseRule::Collapsing { sign: id(SIGN) },
        CollapseRule::VersionedCollapsing { sign: id(SIGN), version: id(VERSION) },
        CollapseRule::Coalescing { columns: vec![id(NUMBER), id(TEXT)], states: Vec::new() },
    ]
}

/// Joins texts in their order.
#[derive(Debug)]
pub struct Joiner;

impl StateMerger for Joiner {
    fn merge(
        &self,
        _: &ColumnType,
        values: &ArrayRef,
        groups: &[usize],
        count: usize,
    ) -> Result<ArrayRef> {
        let mut joined = vec![String::new(); count];
        for (row, group) in groups.iter().enumerate() {
            joined[*group].push_str(values.as_string_view().value(row));
        }
        Ok(Arc::new(StringViewArray::from_iter_values(joined)))
    }
}

/// Sorts rows by the key; of equal ones the order stays.
pub fn sorted(rows: &[Row]) -> Vec<Row> {
    let mut rows = rows.to_vec();
    // `Scalar` has NULL last, as parts have.
    rows.sort_by(|a, b| a[KEY].cmp(&b[KEY]));
    rows
}

/// What the rule makes of rows in insert order.
pub fn collapsed(rule: &CollapseRule, rows: &[Row], mode: CollapseMode) -> Vec<Row> {
    let rows = sorted(rows);
    let groups = rows.chunk_by(|a, b| a[KEY] == b[KEY]);
    groups.flat_map(|group| of_key(rule, group, mode)).collect()
}

fn of_key(rule: &CollapseRule, group: &[Row], mode: CollapseMode) -> Vec<Row> {
    let place = |id: &ColumnId| id.0 as usize;
    match rule {
        CollapseRule::None => group.to_vec(),
        CollapseRule::Replacing { version, is_deleted } => {
            let version = |row: &&Row| version.as_ref().map(|id| row[place(id)].clone());
            // Of equal ones the last.
            let newest = group.iter().max_by_key(version).cloned();
            let deleted =
                |row: &Row| is_deleted.is_some_and(|id| row[place(&id)] != Scalar::UInt(0));
            newest.filter(|row| mode == CollapseMode::Merge || !deleted(row)).into_iter().collect()
        }
        CollapseRule::Summing { columns, states } => {
            let mut row = joined(group, states);
            for id in columns {
                row[place(id)] = added(group, place(id));
            }
            let zero = |id: &ColumnId| {
                matches!(row[place(id)], Scalar::Null | Scalar::Int(0) | Scalar::Wide(0))
            };
            let goes = states.is_empty() && columns.iter().all(zero);
            if goes { Vec::new() } else { vec![row] }
        }
        CollapseRule::Aggregating { states } => vec![joined(group, states)],
        CollapseRule::Coalescing { columns, states } => {
            let mut row = joined(group, states);
            for id in columns {
                let mut values = group.iter().map(|row| row[place(id)].clone());
                let last = values.rfind(|value| *value != Scalar::Null);
                row[place(id)] = last.unwrap_or(Scalar::Null);
            }
            vec![row]
        }
        CollapseRule::Collapsing { .. } => collapse_signs(group, mode),
        CollapseRule::VersionedCollapsing { .. } => collapse_versions(group),
    }
}

fn joined(group: &[Row], states: &[StateColumn]) -> Row {
    let mut row = group[0].clone();
    if !states.is_empty() {
        let texts = group.iter().map(|row| match &row[TEXT] {
            Scalar::Text(text) => text.as_str(),
            other => panic!("{other} is no text"),
        });
        row[TEXT] = Scalar::Text(texts.collect());
    }
    row
}

fn added(group: &[Row], place: usize) -> Scalar {
    let sum = |sum: Scalar, row: &Row| match (sum, &row[place]) {
        (Scalar::Null, value) => value.clone(),
        (sum, Scalar::Null) => sum,
        (Scalar::Int(a), Scalar::Int(b)) => Scalar::Int(a + b),
        (Scalar::Wide(a), Scalar::Wide(b)) => Scalar::Wide(a + b),
        (a, b) => panic!("{a} and {b} cannot be added"),
    };
    group.iter().fold(Scalar::Null, sum)
}

fn collapse_signs(group: &[Row], mode: CollapseMode) -> Vec<Row> {
    let positive = |row: &&Row| row[SIGN] == Scalar::Int(1);
    let (ones, others): (Vec<_>, Vec<_>) = group.iter().partition(positive);
    let last_is_positive = group.last().is_some_and(|row| positive(&row));
    let (mut left, even) = (Vec::new(), ones.len() == others.len());
    if last_is_positive || !even {
        if ones.len() <= others.len() && mode == CollapseMode::Merge {
            left.extend(others.first().copied().cloned());
        }
        if ones.len() >= others.len() {
            left.extend(ones.last().copied().cloned());
        }
    }
    left
}

fn collapse_versions(group: &[Row]) -> Vec<Row> {
    let mut left: BTreeMap<Scalar, Vec<Row>> = BTreeMap::new();
    for row in group {
        let waiting = left.entry(row[VERSION].clone()).or_default();
        match waiting.last() {
            Some(last) if last[SIGN] != row[SIGN] => drop(waiting.pop()),
            _ => waiting.push(row.clone()),
        }
    }
    left.into_values().flatten().collect()
}
