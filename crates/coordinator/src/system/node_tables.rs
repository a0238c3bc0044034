//! What this coordinator itself knows. Other coordinators show their own.

use granary_common::Result;
use granary_functions::{FunctionEntry, FunctionKind, function_reference};

use super::View;
use super::columns::Columns;
use crate::query::QueryRecord;
use crate::session::known_settings;

pub(super) fn queries(view: &View) -> Columns {
    let rows = view.core.queries.list();
    let now_ms = view.core.with.clock.now_ms();
    let state = |row: &QueryRecord| match (row.ended_ms, &row.error) {
        (None, _) => "running",
        (Some(_), None) => "finished",
        (Some(_), Some(error)) if error.kind() == granary_common::ErrorKind::Cancelled => {
            "cancelled"
        }
        (Some(_), Some(_)) => "failed",
    };
    let elapsed = |row: &QueryRecord| row.ended_ms.unwrap_or(now_ms).saturating_sub(row.started_ms);
    Columns::new()
        .texts("query_id", rows.iter().map(|row| &row.id.0))
        .texts("user", rows.iter().map(|row| &row.user))
        .texts("database", rows.iter().map(|row| &row.database))
        .texts("state", rows.iter().map(state))
        .optional_times("started", rows.iter().map(|row| Some(row.started_ms)))
        .numbers("elapsed_ms", rows.iter().map(elapsed))
        .numbers("rows", rows.iter().map(|row| row.rows))
        .optional_numbers("version", rows.iter().map(|row| row.version.map(|version| version.0)))
        .texts("query", rows.iter().map(|row| &row.statement))
        .optional_texts(
            "error_code",
            rows.iter().map(|row| row.error.as_ref().map(|e| e.kind().code().to_owned())),
        )
        .optional_texts(
            "error",
            rows.iter().map(|row| row.error.as_ref().map(|error| error.message().to_owned())),
        )
        .texts("coordinator", rows.iter().map(|_| &view.core.identity))
}

/// The reference, a row for each name.
pub(super) fn functions() -> Columns {
    let entries = function_reference().iter();
    let rows: Vec<(&str, &FunctionEntry)> = entries
        .flat_map(|entry| {
            let names = std::iter::once(&entry.name).chain(&entry.aliases);
            names.map(move |name| (name.as_str(), entry))
        })
        .collect();
    let is_alias = |(name, entry): &(&str, &FunctionEntry)| *name != entry.name;
    let of_entry = |of: fn(&FunctionEntry) -> &str| rows.iter().map(move |(_, entry)| of(entry));
    Columns::new()
        .texts("name", rows.iter().map(|(name, _)| *name))
        .flags("is_aggregate", rows.iter().map(|(_, entry)| entry.kind == FunctionKind::Aggregate))
        .texts(
            "alias_to",
            rows.iter().map(|row| if is_alias(row) { row.1.name.as_str() } else { "" }),
        )
        .texts("kind", of_entry(|entry| entry.kind.name()))
        .texts("categories", of_entry(|entry| entry.family))
        .texts("syntax", of_entry(|entry| &entry.syntax))
        .texts("description", of_entry(|entry| &entry.description))
        .texts("examples", of_entry(|entry| &entry.example))
        .texts("example_result", of_entry(|entry| &entry.result))
}

pub(super) fn settings(view: &View) -> Result<Columns> {
    let defaults = known_settings()?;
    let values = view.settings.to_texts()?;
    let is_changed = |name: &String| values.get(name) != defaults.get(name);
    Ok(Columns::new()
        .texts("name", defaults.keys())
        .texts("value", defaults.keys().map(|name| values.get(name).cloned().unwrap_or_default()))
        .flags("changed", defaults.keys().map(is_changed))
        .texts("default", defaults.values())
        .flags("in_session", defaults.keys().map(|name| view.session.settings.contains_key(name))))
}
