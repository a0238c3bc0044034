//! SETTINGS of a table, and what `AS other_table` takes over.

use std::collections::BTreeMap;

use granary_catalog::history::{RETENTION_S_MAX, RETENTION_SETTING};
use granary_catalog::replication::{
    FACTOR_SETTING, MIN_COPIES_SETTING, min_copies, replication_factor,
};
use granary_catalog::{KeyExpression, Table, TableOptions};
use granary_common::{Error, Result, did_you_mean};
use sqlparser::ast::{CheckConstraint, Expr, Ident, TableConstraint};

use super::TableSource;
use super::columns::Columns;
use super::indexes::add_index;
use super::projections::add_projection;
use crate::constraints::Constrained;
use crate::statement::{parse_expression, parse_ttl, ttl_text};
use crate::{CreateTable, Notice};

/// Rows of a granule: enough to be worth an index entry, few enough to be one unit of reading.
const INDEX_GRANULARITY_MAX: u64 = 1 << 20;

/// Parts of one bucket and partition at which inserts may at most be held up or refused.
const PARTS_MAX: u64 = 1_000_000;

/// Columns with parts of documents that a part has for each column of texts at most.
const JSON_COLUMNS_MAX: u64 = 256;

/// Copies of a part at most.
const COPIES_MAX: u64 = 16;

/// ClickHouse's name for how long replaced parts stay.
const OLD_PARTS_SETTING: &str = "old_parts_lifetime";

/// Settings that this version obeys.
const KNOWN: [&str; 12] = [
    RETENTION_SETTING,
    "index_granularity",
    FACTOR_SETTING,
    MIN_COPIES_SETTING,
    "colocation_group",
    "parts_to_delay_insert",
    "parts_to_throw_insert",
    "max_bytes_to_merge_at_max_space_in_pool",
    "merge_with_ttl_timeout",
    "storage_policy",
    "ttl_only_drop_parts",
    Table::JSON_COLUMNS_SETTING,
];

/// Settings of ClickHouse's MergeTree that have no counterpart here.
const WITHOUT_EFFECT: &str = include_str!("foreign_settings.txt");

/// The settings that the catalog keeps.
pub(crate) fn settings(
    written: &[(String, String)],
    notices: &mut Vec<Notice>,
) -> Result<BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    for (name, value) in written {
        match name.as_str() {
            "index_granularity" => {
                let rows = bounded(name, value, INDEX_GRANULARITY_MAX)?;
                settings.insert(name.clone(), rows.to_string());
            }
            "parts_to_delay_insert" | "parts_to_throw_insert" => {
                let parts = bounded(name, value, PARTS_MAX)?;
                settings.insert(name.clone(), parts.to_string());
            }
            "max_bytes_to_merge_at_max_space_in_pool" => {
                let bytes = bounded(name, value, u64::MAX)?;
                settings.insert(name.clone(), bytes.to_string());
            }
            FACTOR_SETTING | MIN_COPIES_SETTING => {
                let copies = bounded(name, value, COPIES_MAX)?;
                settings.insert(name.clone(), copies.to_string());
            }
            RETENTION_SETTING | OLD_PARTS_SETTING => match value.parse() {
                Ok(0..=RETENTION_S_MAX) => {
                    settings.insert(RETENTION_SETTING.to_owned(), value.clone());
                    if name == OLD_PARTS_SETTING {
                        let text = format!("{OLD_PARTS_SETTING} is {RETENTION_SETTING} here");
                        notices.push(Notice::new(text));
                    }
                }
                _ => {
                    return Err(Error::invalid(format!(
                        "setting {name} is 0 to {RETENTION_S_MAX} seconds, not '{value}'"
                    )));
                }
            },
            // Seconds between two merges of a partition and bucket for the sake of its TTL.
            "merge_with_ttl_timeout" => {
                let seconds = bounded(name, value, u64::from(u32::MAX))?;
                settings.insert(name.clone(), seconds.to_string());
            }
            "ttl_only_drop_parts" => match value.as_str() {
                "0" | "1" => drop(settings.insert(name.clone(), value.clone())),
                _ => {
                    return Err(Error::invalid(format!("setting {name} is 0 or 1, not '{value}'")));
                }
            },
            Table::JSON_COLUMNS_SETTING => {
                let columns = json_columns(value)?;
                settings.insert(name.clone(), columns.to_string());
            }
            // Whether it is there is known to whoever runs the statement.
            "storage_policy" => drop(settings.insert(name.clone(), value.clone())),
            // The distribution has taken it.
            "colocation_group" => {}
            known if WITHOUT_EFFECT.lines().any(|other| other == known) => {
                notices.push(Notice::new(format!("setting {name} has no effect")));
            }
            _ => {
                let hint = did_you_mean(name, KNOWN.into_iter().chain(WITHOUT_EFFECT.lines()));
                return Err(Error::invalid(format!("unknown setting '{name}'{hint}")));
            }
        }
    }
    Ok(settings)
}

/// Refuses a table whose writes could never be accepted.
pub(crate) fn check_copies(settings: &BTreeMap<String, String>) -> Result<()> {
    let least = min_copies(settings);
    match replication_factor(settings, COPIES_MAX as usize) {
        factor if least > factor => Err(Error::invalid(format!(
            "min_copies = {least} is more than replication_factor = {factor}"
        ))),
        _ => Ok(()),
    }
}

fn json_columns(value: &str) -> Result<u64> {
    let columns = value.parse().ok().filter(|columns| *columns <= JSON_COLUMNS_MAX);
    columns.ok_or_else(|| {
        let name = Table::JSON_COLUMNS_SETTING;
        Error::invalid(format!("setting {name} is 0 to {JSON_COLUMNS_MAX} columns, not '{value}'"))
    })
}

fn bounded(name: &str, value: &str, max: u64) -> Result<u64> {
    match value.parse() {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        _ => Err(Error::invalid(format!("setting {name} is 1 to {max}, not '{value}'"))),
    }
}

/// Fills the clauses that are not written from the table whose columns are taken.
pub(super) fn take_over(create: &mut CreateTable, table: &Table) -> Result<()> {
    let clauses = &mut create.clauses;
    let parsed = |keys: &[KeyExpression]| {
        keys.iter().map(|key| parse_expression(&key.text)).collect::<Result<Vec<_>>>()
    };
    if clauses.order_by.is_none() && clauses.primary_key.is_none() {
        clauses.order_by = Some(parsed(&table.order_by)?);
        if table.primary_key_len < table.order_by.len() {
            clauses.primary_key = Some(parsed(&table.order_by[..table.primary_key_len])?);
        }
    }
    if let Some(key) = table.sampling_key()
        && clauses.sample_by.is_none()
    {
        clauses.sample_by = Some(parse_expression(key)?);
    }
    if clauses.partition_by.is_none() && create.engine.is_none() {
        clauses.partition_by = Some(parsed(&table.partition_by)?);
    }
    if let Some(ttl) = &table.options.ttl
        && clauses.ttl.is_none()
        && create.engine.is_none()
    {
        clauses.ttl = Some(parse_ttl(ttl)?);
    }
    for constraint in &table.options.constraints {
        create.constraints.push(TableConstraint::Check(CheckConstraint {
            name: Some(Ident::with_quote('`', &constraint.name)),
            expr: Box::new(parse_expression(&constraint.condition)?),
            enforced: None,
        }));
    }
    if clauses.unique_key.is_none() && create.engine.is_none() && !table.unique_key.is_empty() {
        let columns = table.unique_key.iter().filter_map(|id| table.column(*id));
        clauses.unique_key =
            Some(columns.map(|column| Expr::Identifier(Ident::new(&column.name))).collect());
    }
    Ok(())
}

/// Indexes, projections, constraints and the TTL's text.
pub(super) fn kept(
    create: &CreateTable,
    table: &str,
    columns: &Columns,
    source: TableSource<'_>,
    notices: &mut Vec<Notice>,
) -> Result<TableOptions> {
    let ttl = create.clauses.ttl.as_deref().map(ttl_text);
    let mut options = TableOptions { ttl, ..TableOptions::default() };
    for index in &create.indexes {
        add_index(&mut options, index, columns.all(), source, notices)?;
    }
    for projection in &create.projections {
        add_projection(&mut options, projection, columns.all(), source)?;
    }
    let of = Constrained { table, columns: columns.all(), state: source.state };
    for column in &create.columns {
        of.add_of_column(&mut options, column, notices)?;
    }
    for constraint in &create.constraints {
        if let TableConstraint::Check(check) = constraint {
            of.add(&mut options, check, None, notices)?;
        }
    }
    Ok(options)
}
