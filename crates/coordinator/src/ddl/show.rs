//! Rows of SHOW and DESCRIBE.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use granary_catalog::{Snapshot, TemporaryDatabase, ViewKind};
use granary_common::{Error, ErrorKind, Result};
use granary_sql::{
    DescribedColumn, ExistsName, LikePattern, Named, Statement, describe, describe_columns,
    describe_view, query_columns, resolve_name, resolve_table, show_create_table, show_create_view,
};

use crate::core::Coordinator;
use crate::session::Session;
use crate::system;
use crate::temporary;

/// The rows of a SHOW or DESCRIBE.
pub fn show(
    core: &Arc<Coordinator>,
    snapshot: &Arc<Snapshot>,
    session: &Session,
    statement: &Statement,
) -> Result<RecordBatch> {
    match statement {
        Statement::ShowDatabases { like } => {
            let lasting = snapshot.without_temporary_of_others(None);
            let own: Vec<String> =
                lasting.databases.values().map(|database| database.name.clone()).collect();
            let own = own.into_iter();
            let names = own.chain(system::SCHEMAS.iter().map(|name| (*name).to_owned()));
            names_matching(names, like.as_ref())
        }
        Statement::ShowTables { database, like } => {
            let mut names = match database {
                Some(_) => Vec::new(),
                None => temporary::names(snapshot, session),
            };
            let database = database.as_deref().unwrap_or(&session.database);
            names.extend(tables_of(core, snapshot, database)?);
            names.sort();
            names.dedup();
            names_matching(names.into_iter(), like.as_ref())
        }
        Statement::ShowCreateTable { table } => {
            let text = match resolve_name(snapshot, &session.database, table)? {
                Named::View(view) => show_create_view(&view, snapshot),
                Named::Table(found) => {
                    let database = snapshot.databases.get(&found.database);
                    let database = database.map_or("default", |database| database.name.as_str());
                    let text = show_create_table(&found, database);
                    match text.split_once('.') {
                        Some((_, rest)) if TemporaryDatabase::parse(database).is_some() => {
                            format!("CREATE TEMPORARY TABLE {rest}")
                        }
                        _ => text,
                    }
                }
            };
            text_columns([("statement", vec![text])])
        }
        Statement::ShowCreateDatabase { database } => {
            let found = snapshot
                .find_database(database)
                .ok_or_else(|| Error::not_found(format!("unknown database '{database}'")))?;
            text_columns([("statement", vec![format!("CREATE DATABASE {}", found.name)])])
        }
        Statement::Describe { table, like } => {
            let mut rows = match resolve_name(snapshot, &session.database, table)? {
                Named::View(view) if view.kind == ViewKind::Plain => describe_view(&view),
                _ => describe(&*resolve_table(snapshot, &session.database, table)?),
            };
            rows.retain(|row| like.as_ref().is_none_or(|like| like.matches(&row.name)));
            described(&rows)
        }
        Statement::Exists(name) => exists(snapshot, session, name),
        _ => Err(Error::internal("not a SHOW")),
    }
}

/// The columns of a query, as rows of DESCRIBE.
pub fn describe_query(plan: &LogicalPlan, like: Option<&LikePattern>) -> Result<RecordBatch> {
    let mut rows = describe_columns(&query_columns(plan)?);
    rows.retain(|row| like.is_none_or(|like| like.matches(&row.name)));
    described(&rows)
}

fn described(rows: &[DescribedColumn]) -> Result<RecordBatch> {
    let column = |value: fn(&DescribedColumn) -> &String| {
        rows.iter().map(|row| value(row).clone()).collect::<Vec<_>>()
    };
    text_columns([
        ("name", column(|row| &row.name)),
        ("type", column(|row| &row.column_type)),
        ("default_type", column(|row| &row.default_kind)),
        ("default_expression", column(|row| &row.default_expression)),
        ("comment", column(|row| &row.comment)),
    ])
}

/// One row: 1 when there is something of this name, else 0.
fn exists(snapshot: &Snapshot, session: &Session, name: &ExistsName) -> Result<RecordBatch> {
    let is_there = match name {
        ExistsName::Database(database) => {
            system::is_system_schema(database) || snapshot.find_database(database).is_some()
        }
        ExistsName::Table(table) | ExistsName::View(table) => {
            let database = table.database.as_ref().unwrap_or(&session.database);
            let is_view = matches!(name, ExistsName::View(_));
            match system::table_names(database) {
                Some(names) => {
                    !is_view && names.iter().any(|known| known.eq_ignore_ascii_case(&table.name))
                }
                None => match resolve_name(snapshot, &session.database, table) {
                    Ok(found) => !is_view || matches!(found, Named::View(_)),
                    Err(error) if error.kind() == ErrorKind::NotFound => false,
                    Err(error) => return Err(error),
                },
            }
        }
    };
    let result: ArrayRef = Arc::new(UInt8Array::from(vec![u8::from(is_there)]));
    RecordBatch::try_from_iter([("result", result)])
        .map_err(|error| Error::internal(error.to_string()))
}

fn tables_of(_core: &Arc<Coordinator>, snapshot: &Snapshot, database: &str) -> Result<Vec<String>> {
    if let Some(names) = system::table_names(database) {
        return Ok(names.iter().map(|name| (*name).to_owned()).collect());
    }
    let found = snapshot
        .find_database(database)
        .ok_or_else(|| Error::not_found(format!("unknown database '{database}'")))?;
    let tables = snapshot.tables_of(found.id).map(|state| state.table.name.clone());
    Ok(tables.chain(snapshot.views_of(found.id).map(|view| view.name.clone())).collect())
}

fn names_matching(
    names: impl Iterator<Item = String>,
    like: Option<&LikePattern>,
) -> Result<RecordBatch> {
    let mut names: Vec<String> =
        names.filter(|name| like.is_none_or(|like| like.matches(name))).collect();
    names.sort();
    text_columns([("name", names)])
}

fn text_columns<const N: usize>(columns: [(&str, Vec<String>); N]) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, _)| Field::new(*name, DataType::Utf8, false)).collect();
    let arrays = columns
        .into_iter()
        .map(|(_, values)| Arc::new(StringArray::from_iter_values(values)) as ArrayRef);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays.collect())
        .map_err(|error| Error::internal(error.to_string()))
}
