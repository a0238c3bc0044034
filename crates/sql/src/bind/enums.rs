//! Enums as numbers: Arrow carries their names only, so the numbers come from the catalog.

use std::ops::ControlFlow;
use std::sync::Arc;

use granary_catalog::{ColumnType, Snapshot};
use granary_common::Result;
use sqlparser::ast::{DataType, Expr, Function, Query};

use super::calls::{plain_arguments, substitute};
use super::names::Names;
use crate::statement::TableName;
use crate::types::type_from_sql;
use crate::walk::visit_relations;

/// The tables that a session sees, as an extension of its configuration: it tells types apart that
/// are one for Arrow.
#[derive(Clone, Debug)]
pub struct SessionTables(pub Arc<Snapshot>);

/// Columns of the tables that a statement names.
#[derive(Debug, Default)]
pub(super) struct Columns(Vec<(String, ColumnType)>);

impl Columns {
    /// Those of all tables in `query`. Names that mean no table are left to the planner.
    pub(super) fn of(query: &Query, names: &Names<'_>) -> Columns {
        let mut columns = Vec::new();
        let _ = visit_relations(query, |name| {
            let table = TableName::of(name).ok().and_then(|name| names.table(&name));
            for column in table.iter().flat_map(|table| &table.columns) {
                columns.push((column.name.clone(), column.column_type.clone()));
            }
            ControlFlow::<()>::Continue(())
        });
        Columns(columns)
    }

    /// The values of the enum `name`, unless tables differ in what the name means.
    fn values(&self, name: &str) -> Option<&[(String, i16)]> {
        let mut types = self.0.iter().filter(|(known, _)| known == name).map(|(_, of)| of);
        let first = types.next()?;
        if types.any(|other| other != first) {
            return None;
        }
        match first.base() {
            ColumnType::Enum8(values) | ColumnType::Enum16(values) => Some(values),
            _ => None,
        }
    }

    /// Puts the number in the place of an enum that becomes a number: `toInt8(e)`, `CAST(e AS Int8)`.
    pub(super) fn rewrite(&self, expression: &mut Expr) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let (value, of) = match expression {
            Expr::Cast { expr, data_type, .. } if is_number(data_type) => {
                ((**expr).clone(), data_type.to_string())
            }
            Expr::Function(function) => match converted(function) {
                Some(converted) => converted,
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        let column = match &value {
            Expr::Identifier(name) => name,
            Expr::CompoundIdentifier(names) => match names.last() {
                Some(name) => name,
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        let Some(values) = self.values(&column.value) else { return Ok(()) };
        let whens: Vec<String> = values
            .iter()
            .map(|(name, number)| {
                let name = name.replace('\\', "\\\\").replace('\'', "''");
                format!("WHEN '{name}' THEN {number}")
            })
            .collect();
        let text = format!("CAST(CASE $1 {} END AS {of})", whens.join(" "));
        *expression = substitute(&text, &[value])?;
        Ok(())
    }
}

/// The argument of `toInt8` and its kin, and the type.
fn converted(function: &Function) -> Option<(Expr, String)> {
    let name = function.name.to_string().to_lowercase();
    let of = name.strip_prefix("to")?;
    let is_number = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
        .contains(&of)
        || ["float32", "float64"].contains(&of);
    let arguments = plain_arguments(function).filter(|_| is_number)?;
    match arguments.as_slice() {
        [value] => Some((value.clone(), of.to_owned())),
        _ => None,
    }
}

fn is_number(data_type: &DataType) -> bool {
    type_from_sql(data_type).is_ok_and(|of| of.arrow().is_numeric())
}
