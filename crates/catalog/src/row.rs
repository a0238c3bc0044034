//! The catalog as rows: what a change consists of, what is stored and what is streamed.

use granary_common::{BucketIndex, CatalogVersion, DatabaseId, PartId, TableId, WorkerId};
use serde::{Deserialize, Serialize};

use crate::model::{
    Bucket, Cluster, CopyId, Damage, Database, EarlierTable, InsertToken, Moment, Mutation, Part,
    PartIdRange, SqlFunction, StagedInsert, Table, TableHistory, UserSettings, View, ViewRefresh,
    Worker,
};

/// A row of the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // Rows are put into maps behind pointers of their own.
pub enum Row {
    Cluster(Cluster),
    Database(Database),
    Table(Table),
    Bucket(Bucket),
    Part(Part),
    Worker(Worker),
    PartIdRange(PartIdRange),
    InsertToken(InsertToken),
    StagedInsert(StagedInsert),
    View(View),
    ViewRefresh(ViewRefresh),
    Mutation(Mutation),
    Damage(Damage),
    TableHistory(TableHistory),
    EarlierTable(EarlierTable),
    Moment(Moment),
    Function(SqlFunction),
    UserSettings(UserSettings),
}

/// What identifies a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RowKey {
    Cluster,
    Database(DatabaseId),
    Table(TableId),
    Bucket(TableId, BucketIndex),
    Part(TableId, PartId),
    Worker(WorkerId),
    /// By its start.
    PartIdRange(u64),
    InsertToken(TableId, String),
    StagedInsert(String),
    View(TableId),
    ViewRefresh(TableId),
    /// By the version at which it took effect.
    Mutation(TableId, CatalogVersion),
    Damage(CopyId),
    TableHistory(TableId),
    /// By the first version without it.
    EarlierTable(TableId, CatalogVersion),
    Moment(CatalogVersion),
    /// By its name.
    Function(String),
    /// By the user's name.
    UserSettings(String),
}

impl Row {
    /// The key of this row.
    pub fn key(&self) -> RowKey {
        match self {
            Row::Cluster(_) => RowKey::Cluster,
            Row::Database(row) => RowKey::Database(row.id),
            Row::Table(row) => RowKey::Table(row.id),
            Row::Bucket(row) => RowKey::Bucket(row.table, row.index),
            Row::Part(row) => RowKey::Part(row.table, row.id),
            Row::Worker(row) => RowKey::Worker(row.id),
            Row::PartIdRange(row) => RowKey::PartIdRange(row.start),
            Row::InsertToken(row) => RowKey::InsertToken(row.table, row.token.clone()),
            Row::StagedInsert(row) => RowKey::StagedInsert(row.transaction.clone()),
            Row::View(row) => RowKey::View(row.id),
            Row::ViewRefresh(row) => RowKey::ViewRefresh(row.view),
            Row::Mutation(row) => RowKey::Mutation(row.table, row.version),
            Row::Damage(row) => RowKey::Damage(row.copy),
            Row::TableHistory(row) => RowKey::TableHistory(row.table),
            Row::EarlierTable(row) => RowKey::EarlierTable(row.definition.id, row.until),
            Row::Moment(row) => RowKey::Moment(row.version),
            Row::Function(row) => RowKey::Function(row.name.clone()),
            Row::UserSettings(row) => RowKey::UserSettings(row.user.clone()),
        }
    }
}

impl RowKey {
    /// The key's bytes in a store: a tag, then big-endian ids, so that a table's rows are adjacent
    /// and rows are loaded after the rows that they refer to.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24);
        match self {
            RowKey::Cluster => bytes.push(1),
            RowKey::Database(id) => push(&mut bytes, 2, &[id.0]),
            RowKey::Table(id) => push(&mut bytes, 3, &[id.0]),
            RowKey::Bucket(table, index) => push(&mut bytes, 4, &[table.0, u64::from(index.0)]),
            RowKey::Part(table, part) => push(&mut bytes, 5, &[table.0, part.0]),
            RowKey::Worker(id) => push(&mut bytes, 6, &[id.0]),
            RowKey::PartIdRange(start) => push(&mut bytes, 7, &[*start]),
            RowKey::InsertToken(table, token) => {
                push(&mut bytes, 8, &[table.0]);
                bytes.extend_from_slice(token.as_bytes());
            }
            RowKey::StagedInsert(transaction) => {
                push(&mut bytes, 9, &[]);
                bytes.extend_from_slice(transaction.as_bytes());
            }
            RowKey::View(id) => push(&mut bytes, 10, &[id.0]),
            RowKey::ViewRefresh(view) => push(&mut bytes, 20, &[view.0]),
            RowKey::Mutation(table, version) => push(&mut bytes, 21, &[table.0, version.0]),
            RowKey::Damage(CopyId { table, part, worker }) => {
                // No worker has the largest id.
                let worker = worker.map_or(u64::MAX, |worker| worker.0);
                push(&mut bytes, 11, &[table.0, part.0, worker]);
            }
            RowKey::TableHistory(table) => push(&mut bytes, 22, &[table.0]),
            RowKey::EarlierTable(table, until) => push(&mut bytes, 23, &[table.0, until.0]),
            RowKey::Moment(version) => push(&mut bytes, 24, &[version.0]),
            RowKey::Function(name) => {
                push(&mut bytes, 25, &[]);
                bytes.extend_from_slice(name.as_bytes());
            }
            RowKey::UserSettings(user) => {
                push(&mut bytes, 26, &[]);
                bytes.extend_from_slice(user.as_bytes());
            }
        }
        bytes
    }
}

fn push(bytes: &mut Vec<u8>, tag: u8, ids: &[u64]) {
    bytes.push(tag);
    for id in ids {
        bytes.extend_from_slice(&id.to_be_bytes());
    }
}

/// One row put or deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // Nearly every change is a put.
pub enum Change {
    Put(Row),
    Delete(RowKey),
}
