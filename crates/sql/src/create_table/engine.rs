//! Table engines by name, with their columns.

mod arguments;

use granary_catalog::{EngineKind, TableEngine};
use granary_common::{ColumnId, Error, Result, did_you_mean};

use self::arguments::Arguments;
use super::columns::Columns;
use super::keys::Keys;
use crate::Notice;
use crate::show::identifier;
use crate::statement::EngineClause;

/// The engines of the family.
const FAMILY: [&str; 7] = [
    "MergeTree",
    "ReplacingMergeTree",
    "SummingMergeTree",
    "AggregatingMergeTree",
    "CollapsingMergeTree",
    "VersionedCollapsingMergeTree",
    "CoalescingMergeTree",
];

/// Engines of small tables without an order, whose place MergeTree takes.
const SMALL: [&str; 4] = ["Memory", "Log", "TinyLog", "StripeLog"];

fn is_small(name: &str) -> bool {
    SMALL.iter().any(|small| small.eq_ignore_ascii_case(name))
}

/// Whether the engine of this name makes one row of those that have the same sorting key.
pub(super) fn wants_order(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let base = lower.strip_prefix("replicated").unwrap_or(&lower);
    base != "mergetree" && FAMILY.iter().any(|known| known.eq_ignore_ascii_case(base))
}

/// Engines of ClickHouse that are no tables of the MergeTree family.
const FOREIGN: [&str; 8] = ["Null", "Buffer", "Merge", "Join", "Set", "File", "URL", "Kafka"];

/// The engine that a clause names; MergeTree without one.
///
/// # Errors
/// InvalidInput for an unknown name and for arguments that do not fit, Unsupported for engines that
/// are not offered.
pub(super) fn engine(
    clause: Option<&EngineClause>,
    columns: &Columns,
    keys: &Keys,
    notices: &mut Vec<Notice>,
) -> Result<TableEngine> {
    let Some(EngineClause { name, arguments }) = clause else {
        return Ok(TableEngine { kind: EngineKind::MergeTree, arguments: Vec::new() });
    };
    if is_small(name) {
        notices.push(Notice::new(format!(
            "{name} is MergeTree here: the rows are kept on disk, with copies, like those of any table"
        )));
        return Ok(TableEngine { kind: EngineKind::MergeTree, arguments: Vec::new() });
    }
    let lower = name.to_ascii_lowercase();
    let base = lower.strip_prefix("replicated").unwrap_or(&lower);
    let Some(engine) = FAMILY.iter().find(|known| known.eq_ignore_ascii_case(base)) else {
        return Err(not_offered(name, base));
    };
    let mut written = arguments.as_slice();
    if base.len() < lower.len() {
        written = arguments::without_replica(written);
        notices.push(Notice::new(format!(
            "{name} is {engine} here: every table has copies on several workers, as many as its \
             setting replication_factor says; the path and the replica's name have no effect"
        )));
    }
    let mut arguments = Arguments::new(engine, written, columns, keys);
    let kind = kind(engine, &mut arguments)?;
    arguments.finish()?;
    Ok(TableEngine { arguments: spelled(&kind, columns), kind })
}

fn kind(engine: &str, arguments: &mut Arguments<'_>) -> Result<EngineKind> {
    Ok(match engine {
        "ReplacingMergeTree" => EngineKind::Replacing {
            version: arguments.version()?,
            is_deleted: arguments.is_deleted()?,
        },
        "SummingMergeTree" => EngineKind::Summing { columns: arguments.summed()? },
        "AggregatingMergeTree" => EngineKind::Aggregating,
        "CollapsingMergeTree" => EngineKind::Collapsing { sign: arguments.sign()? },
        "VersionedCollapsingMergeTree" => {
            let sign = arguments.sign()?;
            let version = arguments.version()?.ok_or_else(|| {
                Error::invalid(format!(
                    "engine {engine} takes two columns, as in {engine}(sign, version)"
                ))
            })?;
            EngineKind::VersionedCollapsing { sign, version }
        }
        "CoalescingMergeTree" => EngineKind::Coalescing { columns: arguments.coalesced()? },
        _ => EngineKind::MergeTree,
    })
}

/// The arguments as SHOW CREATE TABLE writes them.
fn spelled(kind: &EngineKind, columns: &Columns) -> Vec<String> {
    let name = |id: &ColumnId| columns.get(*id).map(|column| identifier(&column.name));
    match kind {
        EngineKind::MergeTree | EngineKind::Aggregating => Vec::new(),
        EngineKind::Replacing { version, is_deleted } => {
            version.iter().chain(is_deleted).filter_map(name).collect()
        }
        EngineKind::Collapsing { sign } => name(sign).into_iter().collect(),
        EngineKind::VersionedCollapsing { sign, version } => {
            [sign, version].into_iter().filter_map(name).collect()
        }
        EngineKind::Summing { columns } | EngineKind::Coalescing { columns } => {
            let names: Vec<String> = columns.iter().filter_map(name).collect();
            match names.len() {
                0 | 1 => names,
                _ => vec![format!("({})", names.join(", "))],
            }
        }
    }
}

fn not_offered(name: &str, base: &str) -> Error {
    if base == "graphitemergetree" {
        return Error::unsupported(format!(
            "engine {name} is not supported: its roll-up rules live in a server's configuration; \
             spell them as MergeTree with TTL time + INTERVAL ... GROUP BY keys SET value = \
             avg(value), see the user guide"
        ));
    }
    if base == "distributed" {
        return Error::unsupported(
            "engine Distributed is not supported yet: every table is distributed by itself; use \
             the table that it would read, with DISTRIBUTED BY for its key",
        );
    }
    if FOREIGN.iter().any(|foreign| foreign.eq_ignore_ascii_case(name)) {
        return Error::unsupported(format!("engine {name} is not offered: use MergeTree"));
    }
    let hint = did_you_mean(name, FAMILY.into_iter().chain(["ReplicatedMergeTree"]));
    Error::invalid(format!("unknown engine '{name}'{hint}"))
}
