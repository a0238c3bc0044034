//! UNIQUE KEY: the columns of which a row replaces the earlier one with the same values.

use granary_catalog::{ColumnType, EngineKind, KeyExpression};
use granary_common::{ColumnId, Error, Result};
use sqlparser::ast::Expr;

use super::TableSource;
use super::columns::Columns;
use super::keys::Keys;
use crate::bind::bind_expression;
use crate::show::identifier;
use crate::statement::{TableClauses, parse_expression};

/// Binds the clause; no columns without it.
pub(super) fn unique_key(
    clauses: &TableClauses,
    engine: &EngineKind,
    keys: &Keys,
    columns: &Columns,
    source: TableSource<'_>,
) -> Result<Vec<KeyExpression>> {
    let Some(expressions) = &clauses.unique_key else { return Ok(Vec::new()) };
    if *engine != EngineKind::MergeTree {
        return Err(Error::unsupported(format!(
            "UNIQUE KEY goes with the engine MergeTree, not with {}, which has its own rule for \
             rows with equal keys",
            engine.name()
        )));
    }
    if expressions.is_empty() {
        return Err(Error::invalid("UNIQUE KEY needs at least one column"));
    }
    let mut unique: Vec<KeyExpression> = Vec::with_capacity(expressions.len());
    for expression in expressions {
        let key = key_column(expression, columns)?;
        if unique.contains(&key) {
            return Err(Error::invalid(format!(
                "UNIQUE KEY: '{}' appears more than once",
                key.text
            )));
        }
        unique.push(key);
    }
    check_partitions(&unique, keys, columns, source)?;
    Ok(unique)
}

fn key_column(expression: &Expr, columns: &Columns) -> Result<KeyExpression> {
    let name = match expression {
        Expr::Nested(inner) => return key_column(inner, columns),
        Expr::Identifier(name) => &name.value,
        other => {
            return Err(Error::unsupported(format!("UNIQUE KEY takes columns, not '{other}'")));
        }
    };
    let column = columns.find(name).map_err(|error| error.context("UNIQUE KEY"))?;
    let has_equality = match column.column_type.base() {
        ColumnType::Array(_)
        | ColumnType::Map(..)
        | ColumnType::Tuple(_)
        | ColumnType::AggregateFunction(_)
        | ColumnType::Interval
        | ColumnType::Float32
        | ColumnType::Float64 => false,
        _ => !column.column_type.is_nullable(),
    };
    match has_equality {
        true => Ok(KeyExpression { text: identifier(&column.name), column: column.id }),
        false => Err(Error::invalid(format!(
            "UNIQUE KEY: '{name}' of type {} is not equal to itself in every case; take columns \
             that are not Nullable, of other types than floats, intervals, arrays, maps, tuples and states",
            column.column_type
        ))),
    }
}

/// All rows of a key have to be in one partition: its expressions see nothing but the key.
fn check_partitions(
    unique: &[KeyExpression],
    keys: &Keys,
    columns: &Columns,
    source: TableSource<'_>,
) -> Result<()> {
    let schema = columns.schema()?;
    let is_in_key = |id: ColumnId| unique.iter().any(|key| key.column == id);
    for partition in &keys.partition_by {
        let parsed = parse_expression(&partition.text)?;
        let bound = bind_expression(source.state, &parsed, &schema)?;
        for mentioned in bound.column_refs() {
            if !is_in_key(columns.find(&mentioned.name)?.id) {
                return Err(Error::invalid(format!(
                    "PARTITION BY {}: '{}' is not in the UNIQUE KEY ({}), so rows of the same key \
                     could be in several partitions; add it to the key",
                    partition.text,
                    mentioned.name,
                    unique.iter().map(|key| key.text.as_str()).collect::<Vec<_>>().join(", ")
                )));
            }
        }
    }
    Ok(())
}
