//! `system.dictionaries`.

use granary_sql::{DictionaryShape, dictionary_shape};

use super::View;
use super::columns::Columns;

/// One row for each dictionary.
pub(super) fn dictionaries(view: &View) -> Columns {
    let rows: Vec<(&str, &granary_catalog::View, DictionaryShape)> = view
        .views()
        .into_iter()
        .filter_map(|(database, of)| dictionary_shape(of).map(|shape| (database, of, shape)))
        .collect();
    let text = |value: fn(&DictionaryShape) -> String| {
        rows.iter().map(|(.., shape)| value(shape)).collect::<Vec<String>>()
    };
    Columns::new()
        .texts("database", rows.iter().map(|(database, ..)| *database))
        .texts("name", rows.iter().map(|(_, of, _)| &of.name))
        .texts("status", text(|_| "LOADED".to_owned()))
        .texts("type", text(|shape| shape.layout.clone()))
        .texts("key", text(|shape| shape.key.join(", ")))
        .texts("attributes", text(|shape| shape.attributes.join(", ")))
        .texts("source", text(|shape| shape.source.clone()))
        .texts("comment", rows.iter().map(|(_, of, _)| of.comment.clone().unwrap_or_default()))
}
