//! Clauses that DataFusion's planner would pass over in silence: refused, so that no answer is
//! quietly another one than was asked for.

use granary_common::{Error, Result};
use sqlparser::ast::{Query, Select, TableFactor};

fn refused<T>(clause: &str) -> Result<T> {
    Err(Error::unsupported(format!("{clause} is not supported yet")))
}

/// Clauses of a whole query.
pub(super) fn check_query(query: &Query) -> Result<()> {
    if !query.locks.is_empty() {
        return refused("FOR UPDATE and FOR SHARE");
    }
    if query.for_clause.is_some() {
        return refused("FOR");
    }
    Ok(())
}

/// Clauses of one SELECT.
pub(super) fn check_select(select: &Select) -> Result<()> {
    if select.into.is_some() {
        return refused("SELECT INTO");
    }
    if !select.connect_by.is_empty() {
        return refused("CONNECT BY");
    }
    if !select.distribute_by.is_empty() {
        return refused("DISTRIBUTE BY");
    }
    if select.value_table_mode.is_some() {
        return refused("SELECT AS VALUE or AS STRUCT");
    }
    Ok(())
}

/// Clauses of a table in FROM.
pub(super) fn check_table(factor: &TableFactor) -> Result<()> {
    match factor {
        TableFactor::Derived { sample: Some(_), .. } => refused("SAMPLE of a subquery"),
        TableFactor::Table { version: Some(_), .. } => refused("AS OF"),
        TableFactor::Table { partitions, .. } if !partitions.is_empty() => {
            refused("PARTITION in FROM")
        }
        TableFactor::Table { with_hints, .. } if !with_hints.is_empty() => refused("WITH hints"),
        TableFactor::Table { index_hints, .. } if !index_hints.is_empty() => refused("index hints"),
        _ => Ok(()),
    }
}
