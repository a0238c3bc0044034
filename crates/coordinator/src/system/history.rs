//! The past that can be read: versions with their times, and how far back each table goes.

use granary_catalog::TableState;
use granary_catalog::history::retention_ms;

use super::View;
use super::columns::Columns;

/// The versions whose times are known, the newest last.
pub(super) fn versions(view: &View) -> Columns {
    let moments: Vec<(u64, u64)> =
        view.snapshot.moments.iter().map(|(version, at)| (version.0, *at)).collect();
    Columns::new()
        .numbers("version", moments.iter().map(|(version, _)| *version))
        .optional_times("committed_at", moments.iter().map(|(_, at)| Some(*at)))
}

/// Tables with their oldest versions, dropped ones that are kept included.
pub(super) fn table_history(view: &View) -> Columns {
    let snapshot = &view.snapshot;
    let rows: Vec<&TableState> = snapshot.tables.values().collect();
    let database = |state: &&TableState| {
        let found = snapshot.databases.get(&state.table.database);
        found.map(|database| database.name.clone()).unwrap_or_default()
    };
    let oldest = |state: &&TableState| snapshot.readable_from(state).max(state.table.created);
    let parts = |state: &&TableState| {
        let gone = state.parts.values().filter(|part| part.removed.is_some());
        gone.fold((0, 0), |(parts, bytes), part| (parts + 1, bytes + part.bytes))
    };
    Columns::new()
        .texts("database", rows.iter().map(database))
        .texts("table", rows.iter().map(|state| &state.table.name))
        .numbers("retention_seconds", rows.iter().map(|s| retention_ms(&s.table.settings) / 1000))
        .numbers("created_version", rows.iter().map(|state| state.table.created.0))
        .numbers("oldest_version", rows.iter().map(|state| oldest(state).0))
        .optional_times("oldest_at", rows.iter().map(|state| snapshot.time_of(oldest(state))))
        .optional_numbers("dropped_version", rows.iter().map(|s| s.table.dropped.map(|at| at.0)))
        .optional_times(
            "dropped_at",
            rows.iter().map(|state| state.table.dropped.and_then(|at| snapshot.time_of(at))),
        )
        .numbers("replaced_parts", rows.iter().map(|state| parts(state).0))
        .numbers("replaced_bytes", rows.iter().map(|state| parts(state).1))
}
