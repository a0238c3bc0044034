//! The skip indexes of tables.

use granary_catalog::{SkipIndex, Table};

use super::View;
use super::columns::Columns;

pub(super) fn data_skipping_indices(view: &View) -> Columns {
    let tables = view.tables();
    let rows: Vec<(&str, &Table, &SkipIndex)> = tables
        .iter()
        .flat_map(|(database, state)| {
            let table: &Table = &state.table;
            table.options.indexes.iter().map(move |index| (*database, table, index))
        })
        .collect();
    Columns::new()
        .texts("database", rows.iter().map(|(database, ..)| *database))
        .texts("table", rows.iter().map(|(_, table, _)| &table.name))
        .texts("name", rows.iter().map(|(.., index)| &index.name))
        .texts("type", rows.iter().map(|(.., index)| &index.kind))
        .texts("expr", rows.iter().map(|(.., index)| &index.expression))
        .numbers("granularity", rows.iter().map(|(.., index)| index.granularity))
}
