//! Table engines by name.

use granary_catalog::{EngineKind, TableEngine};
use granary_common::{Error, Result};

use crate::Notice;
use crate::error::did_you_mean;
use crate::statement::EngineClause;

/// The family's other engines, which are known and not there yet.
const LATER: [&str; 6] = [
    "ReplacingMergeTree",
    "SummingMergeTree",
    "AggregatingMergeTree",
    "CollapsingMergeTree",
    "VersionedCollapsingMergeTree",
    "GraphiteMergeTree",
];

/// Engines of ClickHouse that are no tables of the MergeTree family.
const FOREIGN: [&str; 12] = [
    "Memory",
    "Log",
    "TinyLog",
    "StripeLog",
    "Null",
    "Buffer",
    "Merge",
    "Join",
    "Set",
    "File",
    "URL",
    "Kafka",
];

/// The engine that a clause names; MergeTree without one.
pub(super) fn engine(
    clause: Option<&EngineClause>,
    notices: &mut Vec<Notice>,
) -> Result<TableEngine> {
    let merge_tree = TableEngine { kind: EngineKind::MergeTree, arguments: Vec::new() };
    let Some(EngineClause { name, arguments }) = clause else { return Ok(merge_tree) };
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    if is("MergeTree") {
        return match arguments.is_empty() {
            true => Ok(merge_tree),
            false => Err(Error::invalid("engine MergeTree takes no arguments")),
        };
    }
    if is("ReplicatedMergeTree") {
        notices.push(Notice::new(
            "ReplicatedMergeTree is MergeTree here: its path and replica name have no effect, and \
             replication_factor is 1 for now",
        ));
        return Ok(merge_tree);
    }
    if is("Distributed") {
        return Err(Error::unsupported(
            "engine Distributed is not supported yet: every table is distributed by itself; use \
             the table that it would read, with DISTRIBUTED BY for its key",
        ));
    }
    let lower = name.to_ascii_lowercase();
    let base = lower.strip_prefix("replicated").unwrap_or(&lower);
    if LATER.iter().any(|later| later.eq_ignore_ascii_case(base)) {
        return Err(Error::unsupported(format!(
            "engine {name} is not supported yet: this version has MergeTree only"
        )));
    }
    if FOREIGN.iter().any(|foreign| is(foreign)) {
        return Err(Error::unsupported(format!("engine {name} is not offered: use MergeTree")));
    }
    let hint = did_you_mean(name, LATER.into_iter().chain(["MergeTree", "ReplicatedMergeTree"]));
    Err(Error::invalid(format!("unknown engine '{name}'{hint}")))
}
