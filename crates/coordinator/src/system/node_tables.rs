//! What this coordinator itself knows. Other coordinators show their own.

use granary_catalog::SqlFunction;
use granary_common::Result;
use granary_functions::{FunctionEntry, FunctionKind, function_reference};
use granary_sql::show_create_function;

use super::View;
use super::columns::Columns;
use crate::query::QueryRecord;
use crate::session::known_settings;

/// The last queries, or those that run.
pub(super) fn queries(view: &View, only_running: bool) -> Columns {
    let mut rows = view.core.queries.list();
    rows.retain(|row| !only_running || row.ended_ms.is_none());
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

/// Those of the system, then those that are written in SQL.
pub(super) fn functions(view: &View) -> Columns {
    let entries = function_reference().iter();
    let rows: Vec<(&str, &FunctionEntry)> = entries
        .flat_map(|entry| {
            let names = std::iter::once(&entry.name).chain(&entry.aliases);
            names.map(move |name| (name.as_str(), entry))
        })
        .collect();
    let own: Vec<&SqlFunction> = view.snapshot.functions.values().map(|row| &**row).collect();
    let is_alias = |(name, entry): &(&str, &FunctionEntry)| *name != entry.name;
    let text = |of_entry: &dyn Fn(&(&str, &FunctionEntry)) -> String,
                of_own: &dyn Fn(&SqlFunction) -> String| {
        let entries = rows.iter().map(of_entry);
        entries.chain(own.iter().map(|function| of_own(function))).collect::<Vec<String>>()
    };
    let of_entry = |of: fn(&FunctionEntry) -> &str| {
        text(&move |(_, entry)| of(entry).to_owned(), &|_| String::new())
    };
    let is_aggregate = rows.iter().map(|(_, entry)| entry.kind == FunctionKind::Aggregate);
    let syntax =
        |function: &SqlFunction| format!("{}({})", function.name, function.parameters.join(", "));
    Columns::new()
        .texts("name", text(&|(name, _)| (*name).to_owned(), &|own| own.name.clone()))
        .flags("is_aggregate", is_aggregate.chain(own.iter().map(|_| false)))
        .texts(
            "alias_to",
            text(&|row| if is_alias(row) { row.1.name.clone() } else { String::new() }, &|_| {
                String::new()
            }),
        )
        .texts("kind", text(&|(_, entry)| entry.kind.name().to_owned(), &|_| "scalar".to_owned()))
        .texts("categories", of_entry(|entry| entry.family))
        .texts("syntax", text(&|(_, entry)| entry.syntax.clone(), &syntax))
        .texts("description", of_entry(|entry| &entry.description))
        .texts("examples", of_entry(|entry| &entry.example))
        .texts("example_result", of_entry(|entry| &entry.result))
        .texts("origin", text(&|_| "System".to_owned(), &|_| "SQLUserDefined".to_owned()))
        .texts("create_query", text(&|_| String::new(), &show_create_function))
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

/// A row for each setting of a user, as ALTER USER gave it.
pub(super) fn user_settings(view: &View) -> Columns {
    let users = view.snapshot.user_settings.values();
    let rows: Vec<(&str, &str, &str)> = users
        .flat_map(|row| row.settings.iter().map(|pair| (&*row.user, &**pair.0, &**pair.1)))
        .collect();
    Columns::new()
        .texts("user", rows.iter().map(|row| row.0))
        .texts("name", rows.iter().map(|row| row.1))
        .texts("value", rows.iter().map(|row| row.2))
}
