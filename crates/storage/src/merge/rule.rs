//! What becomes of rows with equal sort keys, as a table's engine says it.

use std::collections::BTreeSet;

use granary_catalog::{Column, ColumnType, EngineKind, Table};
use granary_common::ColumnId;
use serde::{Deserialize, Serialize};

/// A column of aggregate-function states and its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateColumn {
    pub column: ColumnId,
    pub column_type: ColumnType,
}

/// What becomes of rows with equal sort keys. Columns by id, with what the engine leaves open
/// resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CollapseRule {
    /// They all stay.
    None,
    /// The one of the highest version stays, of equal ones the last inserted.
    Replacing { version: Option<ColumnId>, is_deleted: Option<ColumnId> },
    /// `columns` are added up, `states` merged, of the others the first inserted value stays; rows
    /// whose sums are all zero (or NULL) go, unless there are `states`.
    Summing { columns: Vec<ColumnId>, states: Vec<StateColumn> },
    /// `states` are merged, of the other columns the first inserted value stays.
    Aggregating { states: Vec<StateColumn> },
    /// Pairs of rows with `sign` 1 and -1 go.
    Collapsing { sign: ColumnId },
    /// Pairs of one version with `sign` 1 and -1 go.
    VersionedCollapsing { sign: ColumnId, version: ColumnId },
    /// The last inserted value that is not NULL stays of each of `columns`; `states` are merged, of
    /// the others the first inserted value stays.
    Coalescing { columns: Vec<ColumnId>, states: Vec<StateColumn> },
}

impl CollapseRule {
    /// The rule of a table.
    pub fn of(table: &Table) -> CollapseRule {
        let (keys, states) = (key_columns(table), state_columns(table));
        let free = |column: &&Column| {
            column.is_visible()
                && !keys.contains(&column.id)
                && !states.iter().any(|state| state.column == column.id)
        };
        // Named columns, or all; never one of a key, whose values decide what belongs together.
        let chosen = |named: &[ColumnId], fits: &dyn Fn(&Column) -> bool| {
            let columns = table.columns.iter().filter(free);
            columns
                .filter(|column| named.is_empty() || named.contains(&column.id))
                .filter(|column| fits(column))
                .map(|column| column.id)
                .collect::<Vec<_>>()
        };
        match &table.engine.kind {
            EngineKind::MergeTree => CollapseRule::None,
            EngineKind::Replacing { version, is_deleted } => {
                CollapseRule::Replacing { version: *version, is_deleted: *is_deleted }
            }
            EngineKind::Summing { columns } => CollapseRule::Summing {
                columns: chosen(columns, &|column| is_summable(&column.column_type)),
                states,
            },
            EngineKind::Aggregating => CollapseRule::Aggregating { states },
            EngineKind::Collapsing { sign } => CollapseRule::Collapsing { sign: *sign },
            EngineKind::VersionedCollapsing { sign, version } => {
                CollapseRule::VersionedCollapsing { sign: *sign, version: *version }
            }
            EngineKind::Coalescing { columns } => {
                CollapseRule::Coalescing { columns: chosen(columns, &|_| true), states }
            }
        }
    }

    /// Whether rows with equal sort keys become fewer.
    pub fn collapses(&self) -> bool {
        *self != CollapseRule::None
    }

    /// Whether the rows that are left are as they were, so that it is enough to know which they are.
    pub fn only_chooses(&self) -> bool {
        match self {
            CollapseRule::None
            | CollapseRule::Replacing { .. }
            | CollapseRule::Collapsing { .. }
            | CollapseRule::VersionedCollapsing { .. } => true,
            CollapseRule::Summing { .. }
            | CollapseRule::Aggregating { .. }
            | CollapseRule::Coalescing { .. } => false,
        }
    }

    /// The columns that must be read, besides the sort key, for the rule to decide.
    pub fn required_columns(&self) -> Vec<ColumnId> {
        match self {
            CollapseRule::None
            | CollapseRule::Aggregating { .. }
            | CollapseRule::Coalescing { .. } => Vec::new(),
            CollapseRule::Replacing { version, is_deleted } => {
                version.iter().chain(is_deleted).copied().collect()
            }
            // Whether a row goes depends on all of its sums.
            CollapseRule::Summing { columns, states } if states.is_empty() => columns.clone(),
            CollapseRule::Summing { .. } => Vec::new(),
            CollapseRule::Collapsing { sign } => vec![*sign],
            CollapseRule::VersionedCollapsing { sign, version } => vec![*sign, *version],
        }
    }
}

/// Whether the engines add values of the type up.
pub fn is_summable(column_type: &ColumnType) -> bool {
    matches!(
        column_type.base(),
        ColumnType::Int8
            | ColumnType::Int16
            | ColumnType::Int32
            | ColumnType::Int64
            | ColumnType::UInt8
            | ColumnType::UInt16
            | ColumnType::UInt32
            | ColumnType::UInt64
            | ColumnType::Float32
            | ColumnType::Float64
            | ColumnType::Decimal(..)
    )
}

/// Whether values of the type are states of an aggregate function, or values that one keeps.
pub fn is_state(column_type: &ColumnType) -> bool {
    let spelling = column_type.to_string();
    spelling.starts_with("AggregateFunction(") || spelling.starts_with("SimpleAggregateFunction(")
}

fn state_columns(table: &Table) -> Vec<StateColumn> {
    let states = table.columns.iter().filter(|column| is_state(&column.column_type));
    states
        .map(|column| StateColumn { column: column.id, column_type: column.column_type.clone() })
        .collect()
}

/// The columns of every key, and those that a key's expression is computed from.
fn key_columns(table: &Table) -> BTreeSet<ColumnId> {
    let mut keys: BTreeSet<ColumnId> = table.unique_key.iter().copied().collect();
    for key in table.order_by.iter().chain(&table.partition_by) {
        keys.insert(key.column);
        let words = key.text.split(|c: char| !c.is_alphanumeric() && c != '_');
        for word in words {
            keys.extend(table.columns.iter().filter(|c| c.name == word).map(|c| c.id));
        }
    }
    keys
}
