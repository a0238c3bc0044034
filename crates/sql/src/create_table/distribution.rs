//! How the rows of a new table find their buckets.

use granary_catalog::{ColumnType, Distribution, KeyExpression, Table};
use granary_common::{ColumnId, Error, Result};
use sqlparser::ast::Expr;

use super::TableSource;
use super::columns::Columns;
use crate::Notice;
use crate::statement::TableClauses;

/// Most buckets of a table; each is a unit of placement that the catalog keeps.
const BUCKETS_MAX: u64 = 4096;

/// What the clauses say about placement.
pub(super) struct Placement {
    pub(super) distribution: Distribution,
    pub(super) buckets: Option<u32>,
    pub(super) colocation_group: Option<String>,
}

/// Rows that have to meet in one bucket: those that are equal in these columns.
pub(super) struct Meeting<'k> {
    keys: &'k [KeyExpression],
    name: &'static str,
    reason: &'static str,
}

impl<'k> Meeting<'k> {
    /// The sorting key of an engine that makes fewer of rows with equal keys.
    pub(super) fn of_sorting_key(keys: &'k [KeyExpression]) -> Self {
        Self {
            keys,
            name: "sorting key",
            reason: "the engine collapses rows with equal sorting keys",
        }
    }

    /// The key of which there is one row.
    pub(super) fn of_unique_key(keys: &'k [KeyExpression]) -> Self {
        Self { keys, name: "UNIQUE KEY", reason: "a row replaces the one with the same unique key" }
    }
}

/// Binds DISTRIBUTED BY and the colocation group.
pub(super) fn distribution(
    clauses: &TableClauses,
    columns: &Columns,
    meeting: Option<&Meeting<'_>>,
    source: TableSource<'_>,
    notices: &mut Vec<Notice>,
) -> Result<Placement> {
    let (keys, buckets) = match &clauses.distributed_by {
        Some(clause) => (clause.columns.as_slice(), clause.buckets),
        None => (&[][..], None),
    };
    let mut ids: Vec<ColumnId> = Vec::new();
    let mut types: Vec<&ColumnType> = Vec::new();
    for key in keys {
        if is_random(key) && keys.len() == 1 {
            break;
        }
        let (id, column_type) = key_column(key, columns)?;
        if ids.contains(&id) {
            return Err(Error::invalid(format!("DISTRIBUTED BY: '{key}' appears more than once")));
        }
        ids.push(id);
        types.push(column_type);
    }
    let mut buckets = buckets.map(checked_buckets).transpose()?;
    if let Some(meeting) = meeting {
        let is_random = clauses.distributed_by.is_some() && ids.is_empty();
        check_subset(&ids, meeting, columns)?;
        if ids.is_empty() {
            ids = meeting.keys.iter().map(|key| key.column).collect();
            types = ids.iter().filter_map(|id| columns.get(*id)).map(|c| &c.column_type).collect();
        }
        match ids.is_empty() {
            // Without a key all rows are equal and belong together.
            true if buckets.is_some_and(|buckets| buckets > 1) => {
                return Err(Error::invalid(
                    "BUCKETS: an engine that collapses rows has 1 bucket when ORDER BY is tuple()",
                ));
            }
            true => buckets = Some(1),
            false if is_random => notices.push(Notice::new(format!(
                "a random distribution has no effect: {}, so the table is distributed by its {}",
                meeting.reason, meeting.name
            ))),
            false => {}
        }
    }
    let colocation_group = colocation_group(clauses)?;
    if let Some(group) = &colocation_group {
        if ids.is_empty() {
            return Err(Error::invalid(format!(
                "colocation group '{group}' needs DISTRIBUTED BY columns"
            )));
        }
        let members = source.snapshot.tables.values().map(|state| &state.table);
        let mut live = members.filter(|member| member.dropped.is_none());
        if let Some(member) = live.find(|m| m.colocation_group.as_ref() == Some(group)) {
            check_member(group, member, &types, buckets)?;
            buckets = Some(member.buckets);
        }
    }
    let distribution = match ids.is_empty() {
        true => Distribution::Rotation,
        false => Distribution::Hash(ids),
    };
    Ok(Placement { distribution, buckets, colocation_group })
}

/// `rand()`, with which ClickHouse spells a distribution without a key.
fn is_random(key: &Expr) -> bool {
    matches!(key, Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("rand"))
}

/// Such rows are in one bucket only when no other column decides about it.
fn check_subset(ids: &[ColumnId], meeting: &Meeting<'_>, columns: &Columns) -> Result<()> {
    let is_outside = |id: &&ColumnId| !meeting.keys.iter().any(|key| key.column == **id);
    let Some(outside) = ids.iter().find(is_outside) else { return Ok(()) };
    let name = columns.get(*outside).map_or("", |column| column.name.as_str());
    let keys: Vec<&str> = meeting.keys.iter().map(|key| key.text.as_str()).collect();
    Err(Error::invalid(format!(
        "DISTRIBUTED BY: '{name}' is not in the {} ({}): {}, which must be in the same bucket",
        meeting.name,
        keys.join(", "),
        meeting.reason
    )))
}

fn key_column<'c>(key: &Expr, columns: &'c Columns) -> Result<(ColumnId, &'c ColumnType)> {
    let name = match key {
        Expr::Identifier(name) => &name.value,
        Expr::Nested(inner) => return key_column(inner, columns),
        other => {
            return match columns.of_expression(&other.to_string()) {
                Some(column) => Ok((column.id, &column.column_type)),
                None => Err(Error::unsupported(format!(
                    "DISTRIBUTED BY takes columns, not '{other}': rows are hashed by Granary's own \
                     hash"
                ))),
            };
        }
    };
    let column = columns.find(name).map_err(|error| error.context("DISTRIBUTED BY"))?;
    match column.column_type.base() {
        ColumnType::Array(_)
        | ColumnType::Map(..)
        | ColumnType::Tuple(_)
        | ColumnType::Interval
        | ColumnType::AggregateFunction(_) => Err(Error::invalid(format!(
            "DISTRIBUTED BY: '{name}' of type {} cannot be hashed",
            column.column_type
        ))),
        _ => Ok((column.id, &column.column_type)),
    }
}

/// A number of buckets that a table can have.
pub(crate) fn checked_buckets(buckets: u64) -> Result<u32> {
    match buckets {
        1..=BUCKETS_MAX => Ok(buckets as u32),
        _ => Err(Error::invalid(format!("BUCKETS is 1 to {BUCKETS_MAX}, not {buckets}"))),
    }
}

/// The group by its clause or by the setting `colocation_group`.
fn colocation_group(clauses: &TableClauses) -> Result<Option<String>> {
    let setting = clauses.settings.iter().find(|(name, _)| name == "colocation_group");
    match (&clauses.colocate_with, setting) {
        (Some(clause), Some((_, setting))) if clause != setting => Err(Error::invalid(format!(
            "the table cannot be in the colocation groups '{clause}' and '{setting}'"
        ))),
        (Some(group), _) => Ok(Some(group.clone())),
        (None, setting) => Ok(setting.map(|(_, group)| group.clone())),
    }
}

fn check_member(
    group: &str,
    member: &Table,
    types: &[&ColumnType],
    buckets: Option<u32>,
) -> Result<()> {
    if buckets.is_some_and(|buckets| buckets != member.buckets) {
        return Err(Error::invalid(format!(
            "colocation group '{group}' has {0} buckets a table; write BUCKETS {0}",
            member.buckets
        )));
    }
    let Distribution::Hash(ids) = &member.distribution else { return Ok(()) };
    let theirs: Vec<&ColumnType> =
        ids.iter().filter_map(|id| member.column(*id)).map(|c| &c.column_type).collect();
    let same = theirs.len() == types.len()
        && theirs.iter().zip(types).all(|(theirs, ours)| kind(theirs) == kind(ours));
    match same {
        true => Ok(()),
        false => {
            let texts = |types: &[&ColumnType]| {
                types.iter().map(|t| t.to_string()).collect::<Vec<_>>().join(", ")
            };
            Err(Error::invalid(format!(
                "colocation group '{group}' is distributed by ({}), this table by ({})",
                texts(&theirs),
                texts(types)
            )))
        }
    }
}

/// Types of one kind hash equal values alike, see the storage's bucket hash.
fn kind(column_type: &ColumnType) -> String {
    match column_type.base() {
        ColumnType::Int8
        | ColumnType::Int16
        | ColumnType::Int32
        | ColumnType::Int64
        | ColumnType::UInt8
        | ColumnType::UInt16
        | ColumnType::UInt32
        | ColumnType::UInt64 => "integer".to_owned(),
        ColumnType::Decimal(..) => "decimal".to_owned(),
        ColumnType::Float32 | ColumnType::Float64 => "float".to_owned(),
        other => other.to_string(),
    }
}
