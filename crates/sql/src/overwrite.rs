//! INSERT OVERWRITE: which partition goes, and the rows that come.

use std::borrow::Cow;

use granary_catalog::{ColumnRole, Table};
use granary_common::{Error, Result, did_you_mean};
use sqlparser::ast::{Expr, Query, SelectItem, SetExpr, TableFactor};

use crate::mutate::{derived, skeleton};
use crate::statement::{Insert, OverwriteClause, PartitionClause};

/// `insert` with `PARTITION (column = value)` taken apart: the rows bring these values as well, and
/// they name the partition. Other inserts stay as they are.
///
/// # Errors
/// InvalidInput for columns that are not the partition key.
pub fn with_overwritten_columns<'a>(insert: &'a Insert, table: &Table) -> Result<Cow<'a, Insert>> {
    let Some(OverwriteClause::Columns(fixed)) = &insert.overwrite else {
        return Ok(Cow::Borrowed(insert));
    };
    let mut values = Vec::with_capacity(table.partition_by.len());
    for key in &table.partition_by {
        let column = table.column(key.column).filter(|column| column.role == ColumnRole::Ordinary);
        let column = column.ok_or_else(|| {
            Error::invalid(format!(
                "the partition key has the expression {}: name the partition by its value, \
                 PARTITION (value)",
                key.text
            ))
        })?;
        let value = fixed.iter().find(|(name, _)| name.eq_ignore_ascii_case(&column.name));
        let value = value.ok_or_else(|| {
            let name = &column.name;
            Error::invalid(format!("PARTITION names no value for the partition key's '{name}'"))
        })?;
        values.push(value.1.clone());
    }
    let is_key = |name: &str| {
        let keys = table.partition_by.iter().filter_map(|key| table.column(key.column));
        keys.into_iter().any(|column| column.name.eq_ignore_ascii_case(name))
    };
    if let Some((name, _)) = fixed.iter().find(|(name, _)| !is_key(name)) {
        let keys = table.partition_by.iter().map(|key| key.text.as_str());
        let hint = did_you_mean(name, keys);
        return Err(Error::invalid(format!("'{name}' is not in the partition key{hint}")));
    }
    let is_fixed = |name: &String| fixed.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let named = match &insert.columns {
        Some(named) => named.iter().filter(|name| !is_fixed(name)).cloned().collect(),
        None => {
            table.insertable_columns().map(|c| c.name.clone()).filter(|n| !is_fixed(n)).collect()
        }
    };
    let mut columns: Vec<String> = named;
    columns.extend(fixed.iter().map(|(name, _)| name.clone()));
    Ok(Cow::Owned(Insert {
        table: insert.table.clone(),
        columns: Some(columns),
        source: Box::new(with_constants(&insert.source, fixed)?),
        settings: insert.settings.clone(),
        overwrite: Some(OverwriteClause::Partition(PartitionClause::Values(values))),
        formatted: insert.formatted.clone(),
    }))
}

/// `SELECT *, value, ... FROM (source)`; rows of VALUES get the values at their ends.
fn with_constants(source: &Query, fixed: &[(String, Expr)]) -> Result<Query> {
    if let SetExpr::Values(_) = source.body.as_ref() {
        let mut longer = source.clone();
        if let SetExpr::Values(values) = longer.body.as_mut() {
            for row in &mut values.rows {
                row.content.extend(fixed.iter().map(|(_, value)| value.clone()));
            }
        }
        return Ok(longer);
    }
    let factor: TableFactor = derived(source.clone(), "__overwriting");
    let (mut query, mut select) = skeleton()?;
    select.from[0].relation = factor;
    select.projection = vec![SelectItem::Wildcard(Default::default())];
    for (at, (_, value)) in fixed.iter().enumerate() {
        select.projection.push(crate::mutate::named(value.clone(), &format!("__fixed_{at}")));
    }
    *query.body = SetExpr::Select(Box::new(select));
    Ok(query)
}
