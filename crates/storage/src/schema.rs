//! What a part needs to know of its table: columns by id, the sort key and the partition.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{Schema, SchemaRef};
use granary_catalog::{
    AddedExpression, Column, ColumnCodec, ColumnType, EarlierColumn, Scalar, Table,
};
use granary_common::{ColumnId, Error, Result, TableId};
use serde::{Deserialize, Serialize};

use crate::documents::DocumentPath;

/// A column as parts store it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartColumn {
    pub id: ColumnId,
    pub name: String,
    pub column_type: ColumnType,
    /// What older parts have in its place, newest first; their values are cast.
    #[serde(default)]
    pub earlier: Vec<EarlierColumn>,
    /// What rows of parts hold that have none of these; `None`: NULL, or the type's zero value.
    #[serde(default)]
    pub added: Option<Scalar>,
    /// How their values are computed, where these differ from row to row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<Box<AddedExpression>>,
    /// The encodings that its values are written with; empty: as the writer chooses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codecs: Vec<ColumnCodec>,
    /// Where in documents of another column its values are; parts that lack it compute them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Box<DocumentPath>>,
}

impl PartColumn {
    /// A column that every part has.
    pub fn new(id: ColumnId, name: impl Into<String>, column_type: ColumnType) -> PartColumn {
        PartColumn {
            id,
            name: name.into(),
            column_type,
            earlier: Vec::new(),
            added: None,
            computed: None,
            codecs: Vec::new(),
            document: None,
        }
    }

    /// The column of a table.
    pub fn of(column: &Column) -> PartColumn {
        let codecs = column.codec.as_deref().and_then(|text| ColumnCodec::parse(text).ok());
        PartColumn {
            earlier: column.earlier.clone(),
            added: column.added.clone(),
            computed: column.computed.clone(),
            // Codecs of tables of an earlier build were not checked: an unknown one says nothing.
            codecs: codecs.unwrap_or_default(),
            ..PartColumn::new(column.id, &column.name, column.column_type.clone())
        }
    }
}

/// The catalog's id of the part that a row is in, as a column of every part.
pub const PART_COLUMN: ColumnId = ColumnId(u32::MAX);
/// The position of a row in its part, from 0, deleted rows counted, as a column of every part.
pub const PART_OFFSET_COLUMN: ColumnId = ColumnId(u32::MAX - 1);

static VIRTUAL_COLUMNS: LazyLock<[PartColumn; 2]> = LazyLock::new(|| {
    let column = |id, name: &str| PartColumn::new(id, name, ColumnType::UInt64);
    [column(PART_COLUMN, "_part"), column(PART_OFFSET_COLUMN, "_part_offset")]
});

/// The columns that every part has without storing them.
pub fn virtual_columns() -> &'static [PartColumn] {
    &*VIRTUAL_COLUMNS
}

/// The shape of a table's parts at one schema version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSchema {
    pub table: TableId,
    /// Of the table when the shape was taken.
    pub schema_version: u64,
    /// In the table's order, hidden ones last.
    pub columns: Vec<PartColumn>,
    /// The sort order of rows, see [`crate::sort_order`].
    pub sort_key: Vec<ColumnId>,
    /// How many leading columns of `sort_key` the sparse index holds.
    pub primary_key_len: usize,
    /// The columns whose values a part never mixes.
    pub partition: Vec<ColumnId>,
    /// Rows of a granule, at least 1.
    pub granularity: usize,
    /// Columns with parts of documents that a new part gets at most for each column of texts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub document_paths_max: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl PartSchema {
    /// The shape of `table`'s parts now.
    pub fn of(table: &Table) -> PartSchema {
        let columns = table.columns.iter().map(PartColumn::of);
        PartSchema {
            table: table.id,
            schema_version: table.schema_version,
            columns: columns.collect(),
            sort_key: table.order_by.iter().map(|key| key.column).collect(),
            primary_key_len: table.primary_key_len.min(table.order_by.len()),
            partition: table.partition_by.iter().map(|key| key.column).collect(),
            granularity: table.index_granularity().max(1),
            document_paths_max: table.json_columns(),
        }
    }

    /// The shape of these columns alone, in the table's order. It has the sort key only when they do.
    pub fn only(&self, columns: &BTreeSet<ColumnId>) -> PartSchema {
        let has = |key: &[ColumnId]| key.iter().all(|id| columns.contains(id));
        let mut only = self.clone();
        only.columns.retain(|column| columns.contains(&column.id));
        if !has(&only.sort_key) {
            (only.sort_key, only.primary_key_len) = (Vec::new(), 0);
        }
        if !has(&only.partition) {
            only.partition = Vec::new();
        }
        only
    }

    /// The columns of the sort key, then those of `others` that are not among them.
    pub fn with_key(&self, others: &[ColumnId]) -> Vec<ColumnId> {
        let mut columns = self.sort_key.clone();
        for id in others {
            if !columns.contains(id) {
                columns.push(*id);
            }
        }
        columns
    }

    /// The logical Arrow schema: every column under its name, in order.
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|c| c.column_type.arrow_field(&c.name));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The logical Arrow schema of `columns`, in that order. Kind `Internal` for an unknown id.
    pub fn project(&self, columns: &[ColumnId]) -> Result<SchemaRef> {
        let field = |id: &ColumnId| {
            self.column(*id).map(|column| column.column_type.arrow_field(&column.name))
        };
        Ok(Arc::new(Schema::new(columns.iter().map(field).collect::<Result<Vec<_>>>()?)))
    }

    /// The column of `id`, stored or virtual. Kind `Internal` when there is none.
    pub fn column(&self, id: ColumnId) -> Result<&PartColumn> {
        let mut columns = self.columns.iter().chain(virtual_columns());
        columns.find(|column| column.id == id).ok_or_else(|| {
            Error::internal(format!("table {} has no column with id {id}", self.table))
        })
    }

    /// The place of the stored column of `id`. Kind `Internal` when there is none.
    pub fn position(&self, id: ColumnId) -> Result<usize> {
        self.columns.iter().position(|column| column.id == id).ok_or_else(|| {
            Error::internal(format!("table {} has no column with id {id}", self.table))
        })
    }

    /// The columns of the sparse primary index.
    pub fn primary_key(&self) -> &[ColumnId] {
        &self.sort_key[..self.primary_key_len.min(self.sort_key.len())]
    }
}
