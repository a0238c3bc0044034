//! The standard's information schema, as far as tools ask for it.

use granary_catalog::ViewKind;

use super::catalog_tables::{catalog_of, default_text, visible_columns};
use super::columns::Columns;
use super::{SCHEMAS, View, table_names};

pub(super) fn schemata(view: &View) -> Columns {
    let own = view.snapshot.databases.values().map(|database| database.name.as_str());
    let names: Vec<&str> = own.chain(SCHEMAS).collect();
    Columns::new()
        .texts("catalog_name", catalog_of(&names))
        .texts("schema_name", &names)
        .texts("schema_owner", names.iter().map(|_| "default"))
}

pub(super) fn tables(view: &View) -> Columns {
    let own = view.tables().into_iter();
    let mut rows: Vec<(&str, &str, &str)> =
        own.map(|(database, state)| (database, state.table.name.as_str(), "BASE TABLE")).collect();
    rows.extend(
        view.views()
            .into_iter()
            .map(|(database, view)| (database, view.name.as_str(), table_type(view))),
    );
    for schema in SCHEMAS {
        let names = table_names(schema).unwrap_or(&[]);
        rows.extend(names.iter().map(|name| (schema, *name, "SYSTEM VIEW")));
    }
    Columns::new()
        .texts("table_catalog", catalog_of(&rows))
        .texts("table_schema", rows.iter().map(|(schema, ..)| schema))
        .texts("table_name", rows.iter().map(|(_, name, _)| name))
        .texts("table_type", rows.iter().map(|(.., kind)| kind))
}

/// An alias stands for a table and can be written to like one.
fn table_type(view: &granary_catalog::View) -> &'static str {
    match view.kind {
        ViewKind::Alias { .. } => "BASE TABLE",
        _ => "VIEW",
    }
}

/// The views with their queries.
pub(super) fn views(view: &View) -> Columns {
    let all = view.views();
    let rows: Vec<_> =
        all.into_iter().filter(|(_, view)| !matches!(view.kind, ViewKind::Alias { .. })).collect();
    let no = |_: &_| "NO";
    Columns::new()
        .texts("table_catalog", catalog_of(&rows))
        .texts("table_schema", rows.iter().map(|(database, _)| database))
        .texts("table_name", rows.iter().map(|(_, view)| &view.name))
        .texts("view_definition", rows.iter().map(|(_, view)| &view.query))
        .texts("check_option", rows.iter().map(|_| "NONE"))
        .texts("is_updatable", rows.iter().map(no))
        .texts("is_insertable_into", rows.iter().map(no))
        .flags("is_materialized", rows.iter().map(|(_, view)| view.kind.target().is_some()))
}

pub(super) fn columns(view: &View) -> Columns {
    let rows = visible_columns(view);
    let nullable = |row: &super::catalog_tables::ColumnRow<'_>| {
        if row.column.column_type.is_nullable() { "YES" } else { "NO" }
    };
    Columns::new()
        .texts("table_catalog", catalog_of(&rows))
        .texts("table_schema", rows.iter().map(|row| row.database))
        .texts("table_name", rows.iter().map(|row| row.relation))
        .texts("column_name", rows.iter().map(|row| &row.column.name))
        .numbers("ordinal_position", rows.iter().map(|row| row.position))
        .optional_texts(
            "column_default",
            rows.iter().map(|row| row.column.default.as_ref().map(|_| default_text(&row.column))),
        )
        .texts("is_nullable", rows.iter().map(nullable))
        .texts("data_type", rows.iter().map(|row| row.column.column_type.to_string()))
}
