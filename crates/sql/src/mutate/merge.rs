//! MERGE INTO as one query: the source's rows with the target's rows that match them.
//!
//! ```text
//!   SELECT t._part, t._part_offset, <what to do>, <new value of each column>
//!   FROM source LEFT JOIN t ON condition WHERE <some clause fits>
//! ```
//!
//! With clauses for rows that the source does not match it is a FULL JOIN, and the source says of each
//! of its rows that it is there.

use granary_catalog::{Column, ColumnType, Table};
use granary_common::{Error, Result};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    CaseWhen, Expr, Ident, Join, JoinConstraint, JoinOperator, Query, SetExpr, TableFactor,
    TableWithJoins, Value,
};

use super::{PART_COLUMN, named, places, set_table, skeleton};
use crate::insert::targets;
use crate::partition::both;
use crate::statement::{Merge, MergeAction, MergeClause, MergeInsert, parse_expression};

/// The action of a row of [`merge_query`] whose target row goes.
pub const MERGE_DELETE: i64 = 0;
/// The action of a row of [`merge_query`] that takes the place of its target row.
pub const MERGE_UPDATE: i64 = 1;
/// The action of a row of [`merge_query`] that is new.
pub const MERGE_INSERT: i64 = 2;

/// The query for what to do: part and place of the target row, NULL for new rows; the action; the
/// values of all visible columns in the table's order, of no meaning for rows that go.
///
/// # Errors
/// InvalidInput for unknown or repeated columns and a wrong number of values; Unsupported for
/// tables with a unique key and defaults that depend on other columns.
pub fn merge_query(merge: &Merge, table: &Table) -> Result<Query> {
    if !table.unique_key.is_empty() {
        return Err(Error::unsupported(format!(
            "table '{}' has a UNIQUE KEY: INSERT replaces rows of the same key already",
            table.name
        )));
    }
    let target = merge.alias.clone().unwrap_or_else(|| Ident::new(&merge.table.name));
    let source = source_name(&merge.source)?;
    let by_source = merge.clauses.iter().any(|clause| clause.by_source);
    let names = Names { table, target: &target, source: &source, by_source };
    let branches: Vec<Branch> =
        merge.clauses.iter().map(|clause| names.branch(clause)).collect::<Result<_>>()?;

    let (mut query, mut select) = skeleton()?;
    let mut joined = select.from[0].clone();
    set_table(&mut joined, &merge.table, Some(&target))?;
    select.from[0].relation = match by_source {
        true => marked(&merge.source, &source)?,
        false => merge.source.clone(),
    };
    let on = JoinConstraint::On(merge.on.clone());
    let join_operator = match by_source {
        true => JoinOperator::FullOuter(on),
        false => JoinOperator::Left(on),
    };
    select.from[0].joins = vec![Join { relation: joined.relation, global: false, join_operator }];
    let action = case(branches.iter().map(|branch| (&branch.condition, number(branch.action))));
    select.projection = places(Some(&target));
    select.projection.push(named(action, "__action"));
    for (position, column) in table.insertable_columns().enumerate() {
        let values = branches.iter().filter(|branch| !branch.values.is_empty());
        let mut values = values.map(|b| (&b.condition, b.values[position].clone())).peekable();
        let value = match values.peek() {
            // Only deletions: the values do not matter.
            None => names.of_target(column),
            Some(_) => case(values),
        };
        select.projection.push(named(value, &format!("__new_{position}")));
    }
    let conditions = branches.iter().map(|branch| branch.condition.clone());
    select.selection = conditions.reduce(either);
    *query.body = SetExpr::Select(Box::new(select));
    Ok(query)
}

/// The column that every row of a source has which may lack rows for the table's.
const SOURCE_MARK: &str = "__granary_source";

/// The source with a column that is never NULL.
fn marked(source: &TableFactor, name: &Ident) -> Result<TableFactor> {
    let mut query = crate::bind::parsed_query(&format!("SELECT *, true AS {SOURCE_MARK}"))?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = vec![TableWithJoins { relation: source.clone(), joins: Vec::new() }];
    }
    Ok(TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(super::table_alias(name)),
        sample: None,
    })
}

/// A clause for the query.
struct Branch {
    condition: Expr,
    action: i64,
    /// Of every visible column; none for a deletion.
    values: Vec<Expr>,
}

struct Names<'a> {
    table: &'a Table,
    target: &'a Ident,
    source: &'a Ident,
    /// Whether there are rows of the table without one of the source.
    by_source: bool,
}

impl Names<'_> {
    fn branch(&self, clause: &MergeClause) -> Result<Branch> {
        let (action, values) = match &clause.action {
            MergeAction::Delete => (MERGE_DELETE, Vec::new()),
            MergeAction::Update(assignments) => {
                (MERGE_UPDATE, self.updated(assignments.as_deref())?)
            }
            MergeAction::Insert(insert) => (MERGE_INSERT, self.inserted(insert.as_ref())?),
        };
        let part = Box::new(qualified(self.target, PART_COLUMN));
        let marker = || Box::new(qualified(self.source, SOURCE_MARK));
        let matched = match action {
            MERGE_INSERT => Expr::IsNull(part),
            _ if clause.by_source => both(Expr::IsNotNull(part), Expr::IsNull(marker())),
            _ if self.by_source => both(Expr::IsNotNull(part), Expr::IsNotNull(marker())),
            _ => Expr::IsNotNull(part),
        };
        let condition = match &clause.condition {
            Some(condition) => both(matched, condition.clone()),
            None => matched,
        };
        Ok(Branch { condition, action, values })
    }

    fn of_target(&self, column: &Column) -> Expr {
        qualified(self.target, &column.name)
    }

    fn of_source(&self, column: &Column) -> Expr {
        qualified(self.source, &column.name)
    }

    fn updated(&self, assignments: Option<&[(String, Expr)]>) -> Result<Vec<Expr>> {
        let Some(assignments) = assignments else {
            return Ok(self.table.insertable_columns().map(|c| self.of_source(c)).collect());
        };
        let names: Vec<String> = assignments.iter().map(|(name, _)| name.clone()).collect();
        let positions = targets(self.table, Some(&names))?;
        let value = |(position, column): (usize, &Column)| match positions
            .iter()
            .position(|target| *target == position)
        {
            Some(at) => assignments[at].1.clone(),
            None => self.of_target(column),
        };
        let columns = self.table.columns.iter().enumerate();
        Ok(columns.filter(|(_, column)| column.is_insertable()).map(value).collect())
    }

    fn inserted(&self, insert: Option<&MergeInsert>) -> Result<Vec<Expr>> {
        let Some(insert) = insert else {
            return Ok(self.table.insertable_columns().map(|c| self.of_source(c)).collect());
        };
        let positions = targets(self.table, insert.columns.as_deref())?;
        if positions.len() != insert.values.len() {
            return Err(Error::invalid(format!(
                "INSERT of MERGE: {} columns and {} values",
                positions.len(),
                insert.values.len()
            )));
        }
        let value = |(position, column): (usize, &Column)| match positions
            .iter()
            .position(|target| *target == position)
        {
            Some(at) => Ok(insert.values[at].clone()),
            None => default_value(column),
        };
        let columns = self.table.columns.iter().enumerate();
        columns.filter(|(_, column)| column.is_insertable()).map(value).collect()
    }
}

/// What a column gets that INSERT leaves out.
fn default_value(column: &Column) -> Result<Expr> {
    let text = match (&column.default, column.column_type.base()) {
        (Some(default), _) => {
            let default = parse_expression(default.text())?;
            if super::mentions_any(&default) {
                return Err(Error::unsupported(format!(
                    "INSERT of MERGE leaves out column '{}', whose default depends on others; \
                     name it",
                    column.name
                )));
            }
            return Ok(default);
        }
        (None, _) if column.column_type.is_nullable() => "NULL",
        (None, ColumnType::Date) => "'1970-01-01'",
        (None, ColumnType::DateTime(_) | ColumnType::DateTime64(..)) => "'1970-01-01 00:00:00'",
        (None, ColumnType::String | ColumnType::FixedString(_) | ColumnType::Binary) => "''",
        (None, ColumnType::Time(_)) => "'00:00:00'",
        (None, ColumnType::Interval) => "INTERVAL '0 days'",
        (None, base) if base.arrow().is_numeric() && *base != ColumnType::Ipv4 => "0",
        (None, ColumnType::Bool) => "false",
        (None, other) => {
            return Err(Error::unsupported(format!(
                "INSERT of MERGE leaves out column '{}' of type {other}; name it",
                column.name
            )));
        }
    };
    parse_expression(text)
}

fn source_name(source: &TableFactor) -> Result<Ident> {
    let (alias, own) = match source {
        TableFactor::Table { name, alias, .. } => {
            (alias.as_ref(), name.0.last().and_then(|part| part.as_ident()))
        }
        TableFactor::Derived { alias, .. } => (alias.as_ref(), None),
        _ => return Err(Error::unsupported("MERGE INTO takes a table or a query after USING")),
    };
    let name = alias.map(|alias| &alias.name).or(own).cloned();
    name.ok_or_else(|| Error::invalid("MERGE INTO: the query after USING needs a name"))
}

fn qualified(table: &Ident, column: &str) -> Expr {
    Expr::CompoundIdentifier(vec![table.clone(), Ident::new(column)])
}

fn number(value: i64) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

fn either(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(left))),
        op: sqlparser::ast::BinaryOperator::Or,
        right: Box::new(Expr::Nested(Box::new(right))),
    }
}

/// The result of the first condition that is true.
fn case<'c>(branches: impl Iterator<Item = (&'c Expr, Expr)>) -> Expr {
    let when =
        |(condition, result): (&Expr, Expr)| CaseWhen { condition: condition.clone(), result };
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: branches.map(when).collect(),
        else_result: None,
    }
}
