//! Columns that `*` does not show: those that are MATERIALIZED or ALIAS.

use datafusion::execution::SessionState;
use granary_catalog::{Snapshot, Table};
use granary_common::Result;
use granary_execution::TableReading;
use sqlparser::ast::{
    ExceptSelectItem, Ident, Select, SelectItem, TableFactor, WildcardAdditionalOptions,
};

use super::enums::SessionTables;
use crate::resolve::resolve_table;
use crate::statement::TableName;

/// Leaves the columns out of `*` and `t.*`, if the session knows its tables. In a `*` over a join they stay, since it cannot leave
/// out a column of one table only.
pub(super) fn hide(select: &mut Select, state: &SessionState, ctes: &[String]) -> Result<()> {
    let is_all = |item: &SelectItem| {
        matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
    };
    if !select.projection.iter().any(is_all) {
        return Ok(());
    }
    let Some(snapshot) = state.config().get_extension::<SessionTables>() else { return Ok(()) };
    let database = &state.config_options().catalog.default_schema;
    let mut tables = Vec::new();
    for table in &select.from {
        let joined = table.joins.iter().map(|join| &join.relation);
        for factor in std::iter::once(&table.relation).chain(joined) {
            tables.push(hidden_of(factor, &snapshot.0, database, ctes)?);
        }
    }
    for item in &mut select.projection {
        match item {
            SelectItem::Wildcard(options) => {
                if let [Some((_, hidden))] = tables.as_slice() {
                    leave_out(options, hidden);
                }
            }
            SelectItem::QualifiedWildcard(kind, options) => {
                let of = kind.to_string();
                let named = tables.iter().flatten();
                for (name, hidden) in named {
                    if of == *name || of == format!("{name}.*") {
                        leave_out(options, hidden);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The name that columns of a table refer to it by, and its columns that are not shown.
fn hidden_of(
    factor: &TableFactor,
    snapshot: &Snapshot,
    database: &str,
    ctes: &[String],
) -> Result<Option<(String, Vec<Ident>)>> {
    let TableFactor::Table { name, alias, args: None, .. } = factor else { return Ok(None) };
    let mut written = TableName::of(name)?;
    let reading = TableReading::parse(&written.name);
    written.name = reading.table;
    if written.database.is_none() && ctes.contains(&written.name) {
        return Ok(None);
    }
    // What is no table is somebody else's to name.
    let Ok(mut table) = resolve_table(snapshot, database, &written) else { return Ok(None) };
    if let (Some(past), Some(state)) = (reading.past, snapshot.tables.get(&table.id))
        && let Ok(past) = snapshot.past(state, past)
    {
        table = past.table;
    }
    let called = alias.as_ref().map_or(written.name, |alias| alias.name.value.clone());
    Ok(Some((called, hidden_columns(&table))))
}

fn hidden_columns(table: &Table) -> Vec<Ident> {
    let computed = table.visible_columns().filter(|column| column.is_computed());
    computed.map(|column| Ident::with_quote('`', &column.name)).collect()
}

/// Takes columns out of a `*`, those that it leaves out or replaces itself aside.
fn leave_out(options: &mut WildcardAdditionalOptions, hidden: &[Ident]) {
    for column in hidden {
        match &mut options.opt_except {
            Some(except) => {
                let said =
                    std::iter::once(&except.first_element).chain(&except.additional_elements);
                if !said.into_iter().any(|ident| ident.value == column.value) {
                    except.additional_elements.push(column.clone());
                }
            }
            None => {
                options.opt_except = Some(ExceptSelectItem {
                    first_element: column.clone(),
                    additional_elements: Vec::new(),
                });
            }
        }
    }
}
