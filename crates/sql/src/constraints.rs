//! CHECK constraints: conditions that every row has to meet when it is written.
//!
//! As the standard has it, a row meets a condition that is unknown (NULL) for it.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr as PlannedExpr, ExprSchemable, cast};
use datafusion::physical_expr::PhysicalExpr;
use granary_catalog::{Column, Constraint, Table, TableOptions};
use granary_common::{Error, Result};
use sqlparser::ast::{CheckConstraint, ColumnDef, ColumnOption};

use crate::Notice;
use crate::bind::bind_expression;
use crate::error::error_from_datafusion;
use crate::insert::{physical, shown_value};
use crate::session::SessionSource;
use crate::statement::parse_expression;
use crate::ttl::schema_of;

/// Where the constraints of a table are put.
pub(crate) struct Constrained<'a> {
    pub table: &'a str,
    pub columns: &'a [Column],
    pub state: &'a SessionState,
}

impl Constrained<'_> {
    /// Adds a constraint; one without a name gets one from the table and the column beside which it
    /// stands.
    ///
    /// # Errors
    /// AlreadyExists for a name that is taken, InvalidInput for what is no condition over the columns.
    pub fn add(
        &self,
        options: &mut TableOptions,
        check: &CheckConstraint,
        column: Option<&str>,
        notices: &mut Vec<Notice>,
    ) -> Result<()> {
        if check.enforced == Some(false) {
            notices.push(Notice::new(format!("{check} is not checked and not kept")));
            return Ok(());
        }
        let is_taken = |name: &str| options.constraints.iter().any(|known| known.name == name);
        let name = match (&check.name, column) {
            (Some(name), _) => name.value.clone(),
            (None, Some(column)) => free(format!("{}_{column}_check", self.table), is_taken),
            (None, None) => free(format!("{}_check", self.table), is_taken),
        };
        if is_taken(&name) {
            return Err(Error::already_exists(format!("constraint '{name}' already exists")));
        }
        let added = Constraint { name, condition: check.expr.to_string() };
        self.check(&added)?;
        options.constraints.push(added);
        Ok(())
    }

    /// Adds those that stand beside a column.
    pub fn add_of_column(
        &self,
        options: &mut TableOptions,
        column: &ColumnDef,
        notices: &mut Vec<Notice>,
    ) -> Result<()> {
        for option in &column.options {
            if let ColumnOption::Check(check) = &option.option {
                let name = check.name.clone().or_else(|| option.name.clone());
                let check = CheckConstraint { name, ..check.clone() };
                self.add(options, &check, Some(&column.name.value), notices)?;
            }
        }
        Ok(())
    }

    /// Checks that a constraint is a condition over the columns that can be looked at row by row.
    pub fn check(&self, constraint: &Constraint) -> Result<()> {
        let schema = schema_of(self.columns)?;
        let bound = bound(constraint, &schema, self.state)?;
        let within = |error: Error| error.context(format!("constraint '{}'", constraint.name));
        let other = |expression: &PlannedExpr| match expression {
            PlannedExpr::AggregateFunction(_) => Some("aggregate"),
            PlannedExpr::WindowFunction(_) => Some("window function"),
            PlannedExpr::ScalarSubquery(_)
            | PlannedExpr::InSubquery(_)
            | PlannedExpr::Exists(_)
            | PlannedExpr::SetComparison(_) => Some("subquery"),
            PlannedExpr::Unnest(_) => Some("arrayJoin"),
            _ => None,
        };
        let mut found = None;
        let visited = bound.apply(|expression| {
            found = found.or_else(|| other(expression));
            Ok(TreeNodeRecursion::Continue)
        });
        visited.map_err(|error| within(error_from_datafusion(error, None)))?;
        if let Some(found) = found {
            return Err(within(Error::invalid(format!("a condition takes no {found}"))));
        }
        physical(bound, &schema, self.state).map(drop).map_err(within)
    }
}

/// The name, with a number behind it when it is taken.
fn free(name: String, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(&name) {
        return name;
    }
    let mut number = 1_u32;
    while is_taken(&format!("{name}{number}")) {
        number += 1;
    }
    format!("{name}{number}")
}

fn bound(constraint: &Constraint, schema: &DFSchema, state: &SessionState) -> Result<PlannedExpr> {
    let within = |error: Error| error.context(format!("constraint '{}'", constraint.name));
    let condition = parse_expression(&constraint.condition).map_err(within)?;
    let bound = bind_expression(state, &condition, schema).map_err(within)?;
    let (_, field) =
        bound.to_field(schema).map_err(|error| within(error_from_datafusion(error, None)))?;
    match field.data_type() {
        DataType::Boolean => Ok(bound),
        number if number.is_integer() => Ok(cast(bound, DataType::Boolean)),
        other => Err(within(Error::invalid(format!(
            "'{}' is no condition: its type is {other}",
            constraint.condition
        )))),
    }
}

/// The constraints of a table, ready to be looked at.
#[derive(Debug, Default)]
pub(crate) struct RowChecks {
    table: String,
    checks: Vec<Check>,
}

#[derive(Debug)]
struct Check {
    constraint: Constraint,
    condition: Arc<dyn PhysicalExpr>,
    /// Positions of the columns that it names.
    mentioned: Vec<usize>,
}

impl RowChecks {
    /// Binds the constraints over rows of `schema`, the table's columns, hidden ones included.
    pub fn bind(table: &Table, schema: &DFSchema, session: &dyn SessionSource) -> Result<Self> {
        let check = |constraint: &Constraint| {
            let state = session.session()?;
            let bound = bound(constraint, schema, state)?;
            let columns = bound.column_refs().into_iter();
            let mut mentioned: Vec<usize> =
                columns.filter_map(|column| schema.maybe_index_of_column(column)).collect();
            mentioned.sort_unstable();
            let condition = physical(bound, schema, state)?;
            Ok(Check { constraint: constraint.clone(), condition, mentioned })
        };
        let checks = table.options.constraints.iter().map(check).collect::<Result<Vec<_>>>()?;
        Ok(Self { table: table.name.clone(), checks })
    }

    /// Looks at rows; `first_row` is the number of the first one in its insert, from 1, where it has
    /// one.
    ///
    /// # Errors
    /// InvalidInput that names the constraint and the first row that does not meet it.
    pub fn verify(&self, rows: &RecordBatch, first_row: Option<u64>) -> Result<()> {
        for check in &self.checks {
            let name = &check.constraint.name;
            let failed =
                |error| error_from_datafusion(error, None).context(format!("constraint '{name}'"));
            let values = check.condition.evaluate(rows).map_err(failed)?;
            let values = values.into_array(rows.num_rows()).map_err(failed)?;
            let values = values
                .as_boolean_opt()
                .ok_or_else(|| Error::internal(format!("constraint '{name}' is no condition")))?;
            let is_violated = |row: &usize| values.is_valid(*row) && !values.value(*row);
            if let Some(row) = (0..values.len()).find(is_violated) {
                return Err(self.violated(check, rows, row, first_row));
            }
        }
        Ok(())
    }

    fn violated(
        &self,
        check: &Check,
        rows: &RecordBatch,
        row: usize,
        first_row: Option<u64>,
    ) -> Error {
        let schema = rows.schema();
        let value = |at: &usize| {
            format!("{} = {}", schema.field(*at).name(), shown_value(rows.column(*at), row))
        };
        let values: Vec<String> = check.mentioned.iter().map(value).collect();
        let place = first_row.map(|first| format!("row {}: ", first + row as u64));
        let with = if values.is_empty() { "" } else { ", with " };
        Error::invalid(format!(
            "{}constraint '{}' of table '{}' is violated: CHECK {}{with}{}",
            place.unwrap_or_default(),
            check.constraint.name,
            self.table,
            check.constraint.condition,
            values.join(", ")
        ))
    }
}
