//! CREATE TABLE to the catalog's command: every rule that a table has to keep.

pub(crate) mod columns;
mod distribution;
mod engine;
pub(crate) mod indexes;
mod keys;
pub(crate) mod options;
pub(crate) mod projections;
mod unique;

use datafusion::execution::SessionState;
use granary_catalog::{ColumnType, Distribution, NewTable, Snapshot, Table, TableOptions};
use granary_common::{ColumnId, Error, Result};
use sqlparser::ast::DataType;

use crate::resolve::{find_database, resolve_table};
use crate::ttl::{TtlTable, bind_rules, partition_expressions};
use crate::{CreateTable, DialectSettings, Notice};
use columns::Columns;
use distribution::Meeting;
pub(crate) use distribution::checked_buckets;
use keys::Keys;
pub(crate) use keys::{check_deterministic, check_type as check_key_type};

/// Where a CREATE TABLE looks things up.
#[derive(Clone, Copy, Debug)]
pub struct TableSource<'a> {
    /// The catalog that the statement is bound at.
    pub snapshot: &'a Snapshot,
    /// The session's database, for names without one.
    pub current_database: &'a str,
    pub settings: DialectSettings,
    /// Plans key and default expressions: any session with the dialect's functions.
    pub state: &'a SessionState,
    /// The columns of the query that fills the table, when there is one.
    pub query_columns: &'a [(String, ColumnType)],
}

/// The command that makes the table, and what it asked for without effect.
///
/// # Errors
/// InvalidInput for every rule that is broken, NotFound for an unknown database, Unsupported for
/// engines and options that are not offered.
pub fn create_table(
    create: &CreateTable,
    source: TableSource<'_>,
) -> Result<(NewTable, Vec<Notice>)> {
    let mut create = create.clone();
    let mut notices = std::mem::take(&mut create.notices);
    let name = create.name.take().ok_or_else(|| Error::invalid("the table has no name"))?;
    let database = name.database.as_deref().unwrap_or(source.current_database);
    let database = find_database(source.snapshot, database)?;
    refuse_no_columns(&create, source)?;

    let mut columns = match &create.like {
        Some(like) => {
            let table = resolve_table(source.snapshot, source.current_database, like)?;
            options::take_over(&mut create, &table)?;
            Columns::of_table(&table)
        }
        None if create.columns.is_empty() => Columns::of_query(source.query_columns)?,
        None => Columns::default(),
    };
    columns.declare(&create.columns, source, &mut notices)?;
    let keys = keys::keys(&create, &mut columns, source, &mut notices)?;
    let engine = engine::engine(create.engine.as_ref(), &columns, &keys, &mut notices)?;
    let unique_key = unique::unique_key(&create.clauses, &engine.kind, &keys, &columns, source)?;
    let meeting = match unique_key.is_empty() {
        false => Some(Meeting::of_unique_key(&unique_key)),
        true => engine.kind.collapses().then(|| Meeting::of_sorting_key(&keys.order_by)),
    };
    let distribution = distribution::distribution(
        &create.clauses,
        &columns,
        meeting.as_ref(),
        source,
        &mut notices,
    )?;
    let mut settings = options::settings(&create.clauses.settings, &mut notices)?;
    options::check_copies(&settings)?;
    if create.columns.iter().any(|column| is_document(&column.data_type)) {
        let columns = || Table::DEFAULT_JSON_COLUMNS.to_string();
        settings.entry(Table::JSON_COLUMNS_SETTING.to_owned()).or_insert_with(columns);
    }
    let sample_by = keys.sample_by.clone();
    settings.extend(sample_by.map(|key| (Table::SAMPLE_BY_SETTING.to_owned(), key)));
    let unique_key: Vec<ColumnId> = unique_key.iter().map(|key| key.column).collect();
    let mut options = options::kept(&create, &name.name, &columns, source, &mut notices)?;
    let other_keys = other_keys(&unique_key, &distribution.distribution);
    bind_options(&mut options, &create, &columns, &keys, &other_keys, source)?;
    Ok((
        NewTable {
            database,
            name: name.name,
            engine,
            columns: columns.into_columns(),
            order_by: keys.order_by,
            primary_key_len: keys.primary_key_len,
            partition_by: keys.partition_by,
            distribution: distribution.distribution,
            buckets: distribution.buckets,
            colocation_group: distribution.colocation_group,
            settings,
            comment: create.clauses.comment,
            unique_key,
            options,
        },
        notices,
    ))
}

/// Binds the rules of the TTL and the expressions of PARTITION BY.
fn bind_options(
    options: &mut TableOptions,
    create: &CreateTable,
    columns: &Columns,
    keys: &Keys,
    other_keys: &[ColumnId],
    source: TableSource<'_>,
) -> Result<()> {
    let table = TtlTable {
        columns: columns.all(),
        order_by: &keys.order_by,
        primary_key_len: keys.primary_key_len,
        partition_by: &keys.partition_by,
        other_keys,
        state: source.state,
    };
    options.rules = bind_rules(create.clauses.ttl.as_deref().unwrap_or_default(), table)?;
    options.partition_expressions =
        partition_expressions(&keys.partition_by, columns.all(), source.state)?;
    Ok(())
}

/// Columns that rows are told apart by or distributed by.
pub(crate) fn other_keys(unique_key: &[ColumnId], distribution: &Distribution) -> Vec<ColumnId> {
    let mut keys = unique_key.to_vec();
    if let Distribution::Hash(hashed) = distribution {
        keys.extend(hashed);
    }
    keys
}

/// Whether a column is declared to hold documents; they are kept as texts.
fn is_document(declared: &DataType) -> bool {
    match declared {
        DataType::JSON | DataType::JSONB => true,
        DataType::Nullable(inner) => is_document(inner),
        _ => false,
    }
}

fn refuse_no_columns(create: &CreateTable, source: TableSource<'_>) -> Result<()> {
    let taken = create.like.is_some() || !source.query_columns.is_empty();
    match create.columns.is_empty() && !taken {
        true => Err(Error::invalid("a table needs at least one column")),
        false => Ok(()),
    }
}
