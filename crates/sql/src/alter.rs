//! ALTER TABLE to the catalog's command: what the table is from now on.
//!
//! Rows that are there already are not touched. A new column has one value in them, which the
//! catalog keeps, or one that is computed from others of the row as it is read; a new type that holds
//! every value of the old one casts them. What is none of these needs a value for each row: such a
//! column is first added hidden, computed like a key expression ([`AlteredTable::preparation`]); the
//! table is then rewritten, and the hidden column becomes the one that was asked for. A column that
//! may no longer be NULL is added so as well, so that new rows are checked; the rows that are there
//! are only looked at.

mod columns;
mod computed;
mod constraints;
mod options;
mod order_by;
mod texts;
mod usage;
mod widening;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use granary_catalog::{AlterTable as Command, Column, ColumnRole, Scalar, Table, View};
use granary_common::{ColumnId, Result};

use crate::create_table::columns::Columns;
use crate::statement::{AlterAction, AlterTable};
use crate::ttl::partition_expressions;
use crate::{Notice, TableSource};
pub(crate) use usage::query_of;

/// What the change of a table depends on, besides its row in the catalog.
#[derive(Clone, Copy, Debug)]
pub struct AlterSource<'a> {
    pub table: TableSource<'a>,
    /// Whether the table has parts, detached ones included.
    pub has_parts: bool,
    /// The materialized views that read it or write to it.
    pub views: &'a [&'a View],
    /// Hidden columns that were prepared for this statement and now have all their values.
    pub prepared: &'a [ColumnId],
    /// The value of a row as the catalog keeps it.
    pub to_scalar: fn(&dyn Array, usize) -> Result<Scalar>,
    /// A value of the catalog as an array of one row.
    pub to_array: fn(&Scalar, &DataType) -> Result<ArrayRef>,
}

/// What to do for an ALTER TABLE.
#[derive(Clone, Debug)]
pub struct AlteredTable {
    pub command: Command,
    /// What has to happen before, when rows need values of their own or have to be looked at.
    pub preparation: Option<Preparation>,
    pub notices: Vec<Notice>,
}

/// What comes before a change of a table. Then the statement is computed again with these columns as
/// [`AlterSource::prepared`].
#[derive(Clone, Debug)]
pub struct Preparation {
    /// Adds hidden columns.
    pub command: Command,
    /// Their ids.
    pub columns: Vec<ColumnId>,
    /// Whether every row is written again, which computes them.
    pub rewrites: bool,
    /// Otherwise: the columns of which no row may be NULL, and the condition that says so in SQL.
    pub checks: Vec<(String, String)>,
}

/// Computes the change of `table`.
///
/// # Errors
/// NotFound for columns, indexes and projections that are not there, AlreadyExists for such that
/// are; InvalidInput for what keys, engine, views or other columns do not allow.
pub fn alter_table(
    alter: &AlterTable,
    table: &Table,
    source: AlterSource<'_>,
) -> Result<AlteredTable> {
    let mut draft = Draft {
        next: table.clone(),
        columns: Columns::to_alter(table),
        table,
        source,
        added: Vec::new(),
        pending: Vec::new(),
        unwritten: Vec::new(),
        requires_no_parts: false,
        notices: Vec::new(),
    };
    draft.forget_leftovers();
    // A sorting key names columns that the statement adds, wherever it says so.
    let is_key = |action: &&AlterAction| matches!(action, AlterAction::ModifyOrderBy(_));
    let (keys, others): (Vec<_>, Vec<_>) = alter.actions.iter().partition(is_key);
    for action in others.into_iter().chain(keys) {
        draft.apply(action)?;
    }
    draft.finish()
}

/// A table while the actions of a statement are applied to it.
struct Draft<'a> {
    /// All but its columns.
    next: Table,
    columns: Columns,
    table: &'a Table,
    source: AlterSource<'a>,
    /// Columns that the statement adds.
    added: Vec<ColumnId>,
    /// Hidden columns to prepare.
    pending: Vec<Column>,
    /// Those among them that the rows that are there have under another id, unless they are NULL:
    /// the column's name and the condition for that.
    unwritten: Vec<(String, String)>,
    requires_no_parts: bool,
    notices: Vec<Notice>,
}

impl Draft<'_> {
    fn apply(&mut self, action: &AlterAction) -> Result<()> {
        match action {
            AlterAction::AddColumn { column, place, if_not_exists } => {
                self.add_column(column, place.as_ref(), *if_not_exists)
            }
            AlterAction::DropColumn { name, if_exists } => self.drop_column(name, *if_exists),
            AlterAction::RenameColumn { from, to, if_exists } => {
                self.rename_column(from, to, *if_exists)
            }
            AlterAction::ModifyColumn(modify) => self.modify_column(modify),
            AlterAction::ModifyOrderBy(written) => self.modify_order_by(written),
            other => self.change_options(other),
        }
    }

    /// Hidden columns that no key needs were prepared by a statement that did not come to its end.
    fn forget_leftovers(&mut self) {
        let used = usage::key_columns(self.table);
        let prepared = self.source.prepared;
        self.columns.as_mut().retain(|column| {
            column.is_visible() || used.contains(&column.id) || prepared.contains(&column.id)
        });
    }

    fn finish(self) -> Result<AlteredTable> {
        self.check_defaults()?;
        let key_columns = usage::key_columns(self.table);
        let preparation = match self.pending.is_empty() {
            true => None,
            false => {
                let mut command = command(self.table);
                command.next_column_id = self.columns.next_column_id();
                command
                    .columns
                    .retain(|column| column.is_visible() || key_columns.contains(&column.id));
                command.columns.extend(self.pending.iter().cloned());
                Some(Preparation {
                    command,
                    columns: self.pending.iter().map(|column| column.id).collect(),
                    rewrites: self.pending.len() > self.unwritten.len(),
                    checks: self.unwritten.clone(),
                })
            }
        };
        let next_column_id = self.columns.next_column_id();
        let (mut rest, columns) = (self, Columns::default());
        let mut columns = std::mem::replace(&mut rest.columns, columns).into_columns();
        // What was prepared and is not taken is a leftover now.
        columns.retain(|column| {
            column.role == ColumnRole::Ordinary || key_columns.contains(&column.id)
        });
        let rules = rest.rules(&columns)?;
        rest.next.options.indexes = rest.indexes(&columns)?;
        rest.check_constraints(&columns)?;
        rest.next.options.projections = rest.projections(&columns)?;
        let state = rest.source.table.state;
        rest.next.options.partition_expressions =
            partition_expressions(&rest.next.partition_by, &columns, state)?;
        let options = &mut rest.next.options;
        if options.rules != rules {
            options.rules = rules;
            options.ttl_version += 1;
        }
        let appended_keys = rest.next.order_by.len().saturating_sub(rest.table.order_by.len());
        let command = Command {
            columns,
            appended_keys,
            next_column_id,
            requires_no_parts: rest.requires_no_parts,
            // The versions that the change was computed from.
            schema_version: rest.table.schema_version,
            ..command(&rest.next)
        };
        Ok(AlteredTable { command, preparation, notices: rest.notices })
    }
}

/// The command that leaves the table as it is.
fn command(table: &Table) -> Command {
    Command {
        table: table.id,
        schema_version: table.schema_version,
        view_set_version: table.view_set_version,
        columns: table.columns.clone(),
        next_column_id: table.next_column_id,
        engine: table.engine.clone(),
        order_by: table.order_by.clone(),
        partition_by: table.partition_by.clone(),
        settings: table.settings.clone(),
        comment: table.comment.clone(),
        options: table.options.clone(),
        requires_no_parts: false,
        appended_keys: 0,
    }
}
