//! Parts of documents as columns of a table.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::logical_expr::Expr;
use granary_catalog::{AddedExpression, Column, ColumnRole, ColumnType};
use granary_common::ColumnId;
use granary_execution::row_expression::encode;
use granary_storage::{DocumentPath, PartColumn};

use super::PartTable;

impl PartTable {
    /// The column with what `call` gives, which takes what is at `path` out of the documents of the
    /// column `name`; `None` where it is not the same before and after rows are collapsed, where indexes
    /// or keys are made of the documents, or the column is none with documents.
    pub(crate) fn document_column(
        &self,
        name: &str,
        path: &[String],
        call: &Expr,
    ) -> Option<PartColumn> {
        let table = &self.state.table;
        let column = table.visible_columns().find(|column| column.name == name)?;
        if self.collapse.is_some() || *column.column_type.base() != ColumnType::String {
            return None;
        }
        // Conditions over what indexes and keys are made of choose granules and parts as they are.
        let is_made_of_it = |own: &Column| match &own.role {
            ColumnRole::KeyExpression(text) => text.contains(name),
            _ => false,
        };
        let mut indexes = table.options.indexes.iter().filter_map(|index| index.bound.as_ref());
        if table.columns.iter().any(is_made_of_it)
            || indexes.any(|index| index.expression.columns.contains(&column.id))
        {
            return None;
        }
        let document = DocumentPath { column: column.id, path: path.to_vec() };
        let expression = encode(call.clone(), |of| (of == name).then_some(column.id)).ok()?;
        let computed = AddedExpression { expression, inputs: vec![column.clone()], since: 0 };
        let shown = path.iter().map(|name| match is_word(name) {
            true => name.clone(),
            false => format!("{name:?}"),
        });
        let shown: Vec<String> = std::iter::once(name.to_owned()).chain(shown).collect();
        let shown = shown.join(".");
        let is_taken = |own: &PartColumn| own.name == shown || own.id == document.id();
        let mut own = self.exposed.columns.iter().filter(|own| is_taken(own));
        // The same path again is the column that is there.
        own.all(|own| own.document.as_deref() == Some(&document)).then(|| PartColumn {
            computed: Some(Box::new(computed)),
            ..document.part_column(shown)
        })
    }

    /// Which of these columns are stored in parts with at least half of the rows.
    pub(crate) async fn mostly_stored(&self, columns: &BTreeSet<ColumnId>) -> BTreeSet<ColumnId> {
        let parts = self.scanned_parts(None, None);
        let total: u64 = parts.iter().map(|part| part.part.rows).sum();
        let stored = self.statistics.rows_with(&parts, columns).await;
        stored.into_iter().filter(|(_, rows)| rows * 2 >= total).map(|(id, _)| id).collect()
    }

    /// The table with these columns behind its own.
    pub(crate) fn with_document_columns(&self, added: Vec<PartColumn>) -> PartTable {
        let mut table = self.without(&BTreeSet::new());
        let has = |column: &PartColumn| self.exposed.columns.iter().any(|own| own.id == column.id);
        let added: Vec<PartColumn> = added.into_iter().filter(|column| !has(column)).collect();
        let mut stored = (*table.part_schema).clone();
        stored.columns.extend(added.iter().cloned());
        table.exposed.columns.extend(added);
        table.schema = table.exposed.arrow_schema();
        table.part_schema = Arc::new(stored);
        table
    }
}

/// Whether a name can be told from others where it is written as it is.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
