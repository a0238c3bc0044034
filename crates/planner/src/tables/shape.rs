//! The shape of a table's parts at a version.

use granary_catalog::TableState;
use granary_common::CatalogVersion;
use granary_storage::{PartColumn, PartSchema};

/// The shape of the table's parts, without what is said of parts from before a column was there or
/// had its type, when there are none any more.
pub fn part_schema(state: &TableState, version: CatalogVersion) -> PartSchema {
    let mut schema = PartSchema::of(&state.table);
    let is_plain = |column: &PartColumn| column.earlier.is_empty() && column.computed.is_none();
    if schema.columns.iter().all(is_plain) {
        return schema;
    }
    let oldest = state.visible_parts(version).map(|part| part.schema_version).min();
    for column in &mut schema.columns {
        column.earlier.retain(|earlier| oldest.is_some_and(|oldest| oldest < earlier.until));
        if column.computed.as_ref().is_some_and(|it| oldest.is_none_or(|oldest| oldest >= it.since))
        {
            column.computed = None;
        }
    }
    schema
}
