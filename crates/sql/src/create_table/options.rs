//! SETTINGS of a table, and what `AS other_table` takes over.

use std::collections::BTreeMap;

use granary_catalog::replication::{
    FACTOR_SETTING, MIN_COPIES_SETTING, min_copies, replication_factor,
};
use granary_catalog::{KeyExpression, Projection, SkipIndex, Table, TableOptions};
use granary_common::{Error, Result};
use sqlparser::ast::{Expr, Ident};

use super::TableSource;
use super::columns::Columns;
use crate::bind::bind_expression;
use crate::error::did_you_mean;
use crate::statement::{IndexClause, ProjectionClause, parse_expression};
use crate::{CreateTable, Notice};

/// Rows of a granule: enough to be worth an index entry, few enough to be one unit of reading.
const INDEX_GRANULARITY_MAX: u64 = 1 << 20;

/// Parts of one bucket and partition at which inserts may at most be held up or refused.
const PARTS_MAX: u64 = 1_000_000;

/// Copies of a part at most.
const COPIES_MAX: u64 = 16;

/// Settings that this version obeys.
const KNOWN: [&str; 7] = [
    "index_granularity",
    FACTOR_SETTING,
    MIN_COPIES_SETTING,
    "colocation_group",
    "parts_to_delay_insert",
    "parts_to_throw_insert",
    "max_bytes_to_merge_at_max_space_in_pool",
];

/// Settings of ClickHouse's MergeTree that have no counterpart here.
const WITHOUT_EFFECT: [&str; 15] = [
    "index_granularity_bytes",
    "min_bytes_for_wide_part",
    "min_rows_for_wide_part",
    "enable_mixed_granularity_parts",
    "merge_with_ttl_timeout",
    "ttl_only_drop_parts",
    "storage_policy",
    "old_parts_lifetime",
    "max_parts_in_total",
    "enable_block_number_column",
    "enable_block_offset_column",
    "allow_nullable_key",
    "non_replicated_deduplication_window",
    "replicated_deduplication_window",
    "merge_max_block_size",
];

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
            // The distribution has taken it.
            "colocation_group" => {}
            known if WITHOUT_EFFECT.contains(&known) => {
                notices.push(Notice::new(format!("setting {name} has no effect")));
            }
            _ => {
                let hint = did_you_mean(name, KNOWN.into_iter().chain(WITHOUT_EFFECT));
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
    if clauses.unique_key.is_none() && create.engine.is_none() && !table.unique_key.is_empty() {
        let columns = table.unique_key.iter().filter_map(|id| table.column(*id));
        clauses.unique_key =
            Some(columns.map(|column| Expr::Identifier(Ident::new(&column.name))).collect());
    }
    Ok(())
}

/// The clauses that the catalog keeps without acting on them.
pub(super) fn kept(
    create: &CreateTable,
    columns: &Columns,
    source: TableSource<'_>,
    notices: &mut Vec<Notice>,
) -> Result<TableOptions> {
    let mut options = TableOptions { ttl: create.clauses.ttl.clone(), ..TableOptions::default() };
    for index in &create.indexes {
        add_index(&mut options, index, columns, source)?;
    }
    for projection in &create.projections {
        add_projection(&mut options, projection)?;
    }
    if !options.indexes.is_empty() {
        notices.push(Notice::new(INDEX_NOTICE));
    }
    if !options.projections.is_empty() {
        notices.push(Notice::new(PROJECTION_NOTICE));
    }
    Ok(options)
}

/// What a user is told who makes an index.
pub(crate) const INDEX_NOTICE: &str = "INDEX has no effect yet: parts keep the least and the greatest value of every column for each \
     granule anyway";
/// What a user is told who sets a TTL.
pub(crate) const TTL_NOTICE: &str = "TTL has no effect yet: no row expires";
/// What a user is told who makes a projection.
pub(crate) const PROJECTION_NOTICE: &str =
    "PROJECTION has no effect yet: queries are answered from the rows of the table";

/// Kinds of skip indexes that ClickHouse has.
const INDEX_KINDS: [&str; 9] = [
    "minmax",
    "set",
    "bloom_filter",
    "ngrambf_v1",
    "tokenbf_v1",
    "text",
    "inverted",
    "full_text",
    "hypothesis",
];

/// Adds an index whose name is new, whose kind exists and whose expression binds.
pub(crate) fn add_index(
    options: &mut TableOptions,
    index: &IndexClause,
    columns: &Columns,
    source: TableSource<'_>,
) -> Result<()> {
    let IndexClause { name, expression, kind, granularity } = index;
    if options.indexes.iter().any(|known| known.name == *name) {
        return Err(Error::already_exists(format!("index '{name}' already exists")));
    }
    let plain = kind.split('(').next().unwrap_or_default();
    if !INDEX_KINDS.iter().any(|known| known.eq_ignore_ascii_case(plain)) {
        let hint = did_you_mean(plain, INDEX_KINDS);
        return Err(Error::invalid(format!("index '{name}': unknown type '{plain}'{hint}")));
    }
    let within = |error: Error| error.context(format!("index '{name}'"));
    if *granularity == 0 {
        return Err(within(Error::invalid("GRANULARITY is 1 at least")));
    }
    let schema = columns.schema()?;
    let expressions = match expression {
        sqlparser::ast::Expr::Tuple(expressions) => expressions.as_slice(),
        one => std::slice::from_ref(one),
    };
    for one in expressions {
        bind_expression(source.state, one, &schema).map_err(within)?;
    }
    options.indexes.push(SkipIndex {
        name: name.clone(),
        expression: expression.to_string(),
        kind: kind.clone(),
        granularity: *granularity,
    });
    Ok(())
}

/// Adds a projection whose name is new.
pub(crate) fn add_projection(
    options: &mut TableOptions,
    projection: &ProjectionClause,
) -> Result<()> {
    let ProjectionClause { name, query } = projection;
    if options.projections.iter().any(|known| known.name == *name) {
        return Err(Error::already_exists(format!("projection '{name}' already exists")));
    }
    options.projections.push(Projection { name: name.clone(), query: query.to_string() });
    Ok(())
}
