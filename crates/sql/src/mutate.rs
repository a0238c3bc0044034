//! DELETE and UPDATE as queries that find the rows they are about.
//!
//! ```text
//!   DELETE FROM t WHERE p            ──►  SELECT _part, _part_offset FROM t WHERE p
//!   UPDATE t SET c = e WHERE p       ──►  SELECT _part, _part_offset, a, e, d FROM t WHERE p
//! ```
//!
//! Such a query is bound like any other one, so that every expression and subquery is allowed that
//! SELECT allows. A row for which the predicate is NULL is not touched.

mod lookup;
mod merge;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use granary_catalog::{ColumnRole, Distribution, Table};
use granary_common::{ColumnId, Error, Result};
use sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableAlias,
    TableFactor, TableWithJoins, Value, ValueWithSpan, With,
};

use crate::bind_query;
use crate::insert::{default_of, is_default, targets};
use crate::partition::{both, partition_condition};
use crate::statement::{Delete, Statement, TableName, Update, parse, parse_expression};
use crate::walk::visit_expressions;

pub use lookup::{KEY_PLACES, bind_key_lookup};
pub use merge::{MERGE_DELETE, MERGE_INSERT, MERGE_UPDATE, merge_query};

/// The virtual column that holds a row's part.
pub const PART_COLUMN: &str = "_part";
/// The virtual column that holds a row's place in its part.
pub const PART_OFFSET_COLUMN: &str = "_part_offset";

/// The table that DELETE, UPDATE or MERGE INTO changes; `None` for other statements.
pub fn mutated_table(statement: &Statement) -> Option<&TableName> {
    match statement {
        Statement::Delete(delete) => Some(&delete.table),
        Statement::Update(update) => Some(&update.table),
        Statement::Merge(merge) => Some(&merge.table),
        _ => None,
    }
}

/// Binds the query for the rows of DELETE, UPDATE or MERGE INTO. Its first two columns are part and
/// place; those of UPDATE are followed by the new values, and those of MERGE INTO by the action and
/// the new values, see [`update_query`] and [`merge_query`].
///
/// # Errors
/// As these and [`bind_query`].
pub async fn bind_mutation(
    state: &SessionState,
    statement: &Statement,
    table: &Table,
    sql: &str,
) -> Result<LogicalPlan> {
    let query = match statement {
        Statement::Delete(delete) => delete_query(delete, table)?,
        Statement::Update(update) => update_query(update, table)?,
        Statement::Merge(merge) => merge_query(merge, table)?,
        _ => return Err(Error::internal("the statement changes no rows")),
    };
    bind_query(state, &query, sql).await
}

/// The query for the rows to delete: their parts and places.
///
/// # Errors
/// InvalidInput for a partition that the table cannot have.
pub fn delete_query(delete: &Delete, table: &Table) -> Result<Query> {
    let source = Source {
        name: &delete.table,
        alias: delete.alias.as_ref(),
        with: delete.with.as_ref(),
        predicate: condition(table, delete.predicate.as_ref(), delete.partition.as_ref())?,
    };
    source.select(places(None))
}

/// The query for the rows to change: their parts, their places, and the new values of all visible
/// columns in the table's order.
///
/// # Errors
/// InvalidInput for unknown or repeated columns, and for columns of keys where those stay.
pub fn update_query(update: &Update, table: &Table) -> Result<Query> {
    let names: Vec<String> = update.assignments.iter().map(|(name, _)| name.clone()).collect();
    let assigned = targets(table, Some(&names))?;
    for position in &assigned {
        check_assigned(update, table, *position)?;
    }
    let mut outputs = places(None);
    for (position, column) in table.columns.iter().enumerate() {
        if !column.is_insertable() {
            continue;
        }
        let assignment = assigned.iter().position(|target| *target == position);
        let value = match assignment {
            Some(at) if is_default(&update.assignments[at].1) => default_of(column)?,
            Some(at) => update.assignments[at].1.clone(),
            None => Expr::Identifier(Ident::new(&column.name)),
        };
        outputs.push(named(value, &format!("__new_{position}")));
    }
    let source = Source {
        name: &update.table,
        alias: update.alias.as_ref(),
        with: update.with.as_ref(),
        predicate: condition(table, update.predicate.as_ref(), update.partition.as_ref())?,
    };
    source.select(outputs)
}

/// `_part, _part_offset`, of the table named so.
fn places(table: Option<&Ident>) -> Vec<SelectItem> {
    let column = |name: &str| match table {
        None => Expr::Identifier(Ident::new(name)),
        Some(table) => Expr::CompoundIdentifier(vec![table.clone(), Ident::new(name)]),
    };
    vec![named(column(PART_COLUMN), "__part"), named(column(PART_OFFSET_COLUMN), "__part_offset")]
}

fn check_assigned(update: &Update, table: &Table, position: usize) -> Result<()> {
    let column = &table.columns[position];
    if table.unique_key.contains(&column.id) {
        return Err(Error::unsupported(format!(
            "column '{}' is in the UNIQUE KEY and cannot be updated; delete the row and insert it \
             again",
            column.name
        )));
    }
    if update.keeps_keys && is_in_a_key(table, column.id, &column.name)? {
        return Err(Error::invalid(format!(
            "cannot update '{}', a column of a key, by ALTER TABLE ... UPDATE; the statement \
             UPDATE ... SET moves the rows",
            column.name
        )));
    }
    Ok(())
}

/// Whether the order, the partition or the bucket of a row depends on the column.
fn is_in_a_key(table: &Table, id: ColumnId, name: &str) -> Result<bool> {
    let distribution = match &table.distribution {
        Distribution::Hash(columns) => columns.as_slice(),
        Distribution::Rotation => &[],
    };
    let keys = table.order_by.iter().chain(&table.partition_by).map(|key| key.column);
    for key in keys.chain(distribution.iter().copied()) {
        let mentioned = match table.column(key).map(|column| &column.role) {
            Some(ColumnRole::KeyExpression(text)) => mentions(&parse_expression(text)?, name),
            _ => key == id,
        };
        if mentioned {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn mentions(expression: &Expr, name: &str) -> bool {
    let found = visit_expressions(expression, |inner| match inner {
        Expr::Identifier(ident) if ident.value.eq_ignore_ascii_case(name) => {
            std::ops::ControlFlow::Break(())
        }
        _ => std::ops::ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Whether the expression needs a row.
fn mentions_any(expression: &Expr) -> bool {
    let found = visit_expressions(expression, |inner| match inner {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => std::ops::ControlFlow::Break(()),
        _ => std::ops::ControlFlow::Continue(()),
    });
    found.is_break()
}

fn condition(
    table: &Table,
    predicate: Option<&Expr>,
    partition: Option<&crate::PartitionClause>,
) -> Result<Option<Expr>> {
    let partition = match partition {
        Some(clause) => partition_condition(table, clause)?,
        None => None,
    };
    let predicate = predicate.map(truth);
    Ok(partition.into_iter().chain(predicate).reduce(both))
}

/// `WHERE 1` is how ClickHouse says all rows.
fn truth(predicate: &Expr) -> Expr {
    match predicate {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), span }) => {
            let is_zero = digits.bytes().all(|byte| matches!(byte, b'0' | b'.'));
            Expr::Value(ValueWithSpan { value: Value::Boolean(!is_zero), span: *span })
        }
        other => other.clone(),
    }
}

/// Where the rows come from.
struct Source<'a> {
    name: &'a TableName,
    alias: Option<&'a Ident>,
    with: Option<&'a With>,
    predicate: Option<Expr>,
}

impl Source<'_> {
    fn select(self, outputs: Vec<SelectItem>) -> Result<Query> {
        let (mut query, mut select) = skeleton()?;
        select.projection = outputs;
        select.selection = self.predicate;
        set_table(&mut select.from[0], self.name, self.alias)?;
        query.with = self.with.cloned();
        *query.body = SetExpr::Select(Box::new(select));
        Ok(query)
    }
}

/// A query of one table, whose parts are then replaced.
pub(crate) fn skeleton() -> Result<(Query, Select)> {
    let broken = || Error::internal("a plain SELECT was not read as one");
    let Some(Statement::Query(query)) = parse("SELECT a FROM t")?.pop() else {
        return Err(broken());
    };
    match query.body.as_ref() {
        SetExpr::Select(select) if select.from.len() == 1 => {
            let select = select.as_ref().clone();
            Ok((*query, select))
        }
        _ => Err(broken()),
    }
}

fn set_table(from: &mut TableWithJoins, table: &TableName, called: Option<&Ident>) -> Result<()> {
    let TableFactor::Table { name, alias, .. } = &mut from.relation else {
        return Err(Error::internal("a plain SELECT reads no table"));
    };
    let parts = table.database.iter().chain([&table.name]);
    let part = |text: &String| ObjectNamePart::Identifier(Ident::new(text));
    *name = ObjectName(parts.map(part).collect());
    *alias = called.map(table_alias);
    Ok(())
}

fn table_alias(name: &Ident) -> TableAlias {
    TableAlias { explicit: true, name: name.clone(), columns: Vec::new(), at: None }
}

/// `(query) AS name`.
pub(crate) fn derived(query: Query, name: &str) -> TableFactor {
    TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(table_alias(&Ident::new(name))),
        sample: None,
    }
}

/// `expression AS name`.
pub(crate) fn named(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::new(name) }
}
