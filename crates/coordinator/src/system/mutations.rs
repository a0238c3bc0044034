//! DELETE, UPDATE, MERGE INTO and their like: those that are done from the catalog, those that run
//! or have failed from this coordinator.

use granary_catalog::Mutation;

use super::View;
use super::columns::Columns;
use crate::mutate::MutationRecord;

/// One row.
struct Line {
    database: String,
    table: String,
    id: String,
    command: String,
    created_ms: u64,
    done_ms: Option<u64>,
    /// The version at which it took effect.
    version: Option<u64>,
    /// Parts that have lost rows, or will.
    parts: u64,
    rows: Option<u64>,
    is_killed: bool,
    failure: Option<(u64, String)>,
    is_here: bool,
}

pub(super) fn mutations(view: &View) -> Columns {
    let mut rows: Vec<Line> = Vec::new();
    for (database, state) in view.tables() {
        let done = state.mutations.values().rev();
        rows.extend(done.map(|mutation| done_line(database, &state.table.name, mutation)));
    }
    // The answer to one that is done may have been lost.
    let known: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let open = view.core.queries.mutations.list().into_iter();
    rows.extend(open.filter(|record| !known.contains(&record.id)).map(open_line));
    let to_do = |row: &Line| if row.done_ms.is_none() { row.parts } else { 0 };
    Columns::new()
        .texts("database", rows.iter().map(|row| &row.database))
        .texts("table", rows.iter().map(|row| &row.table))
        .texts("mutation_id", rows.iter().map(|row| &row.id))
        .texts("command", rows.iter().map(|row| &row.command))
        .optional_times("create_time", rows.iter().map(|row| Some(row.created_ms)))
        .optional_times("done_time", rows.iter().map(|row| row.done_ms))
        .numbers("parts", rows.iter().map(|row| row.parts))
        .numbers("parts_to_do", rows.iter().map(to_do))
        .optional_numbers("rows", rows.iter().map(|row| row.rows))
        .flags("is_done", rows.iter().map(|row| row.done_ms.is_some()))
        .flags("is_killed", rows.iter().map(|row| row.is_killed))
        .optional_times(
            "latest_fail_time",
            rows.iter().map(|row| row.failure.as_ref().map(|(at_ms, _)| *at_ms)),
        )
        .optional_texts(
            "latest_fail_reason",
            rows.iter().map(|row| row.failure.as_ref().map(|(_, why)| why.clone())),
        )
        .optional_texts(
            "coordinator",
            rows.iter().map(|row| row.is_here.then(|| view.core.identity.clone())),
        )
        .optional_numbers("version", rows.iter().map(|row| row.version))
}

fn done_line(database: &str, table: &str, mutation: &Mutation) -> Line {
    let note = &mutation.note;
    Line {
        database: database.to_owned(),
        table: table.to_owned(),
        id: note.id.clone(),
        command: note.command.clone(),
        created_ms: note.created_ms,
        done_ms: Some(mutation.done_ms),
        version: Some(mutation.version.0),
        parts: mutation.parts,
        rows: Some(note.rows),
        is_killed: false,
        failure: None,
        is_here: false,
    }
}

fn open_line(record: MutationRecord) -> Line {
    Line {
        database: record.database,
        table: record.table,
        id: record.id,
        command: record.command,
        created_ms: record.created_ms,
        done_ms: None,
        version: None,
        // One that failed will take nothing away.
        parts: if record.is_running { record.parts } else { 0 },
        rows: None,
        is_killed: record.is_killed,
        failure: record.failure.map(|(at_ms, error)| (at_ms, error.to_string())),
        is_here: true,
    }
}
