//! ORDER BY, PRIMARY KEY and PARTITION BY.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr as PlannedExpr, ExprSchemable, Volatility};
use granary_catalog::{ColumnType, KeyExpression};
use granary_common::{Error, Result};
use sqlparser::ast::{Expr, Ident, TableConstraint};

use super::TableSource;
use super::columns::Columns;
use super::engine::wants_order;
use crate::bind::bind_expression;
use crate::error::error_from_datafusion;
use crate::show::identifier;
use crate::{CreateTable, Notice};
use granary_functions::column_type_from_arrow;

/// The keys of a table.
pub(super) struct Keys {
    pub(super) order_by: Vec<KeyExpression>,
    pub(super) primary_key_len: usize,
    pub(super) partition_by: Vec<KeyExpression>,
    /// The expression of SAMPLE BY as text.
    pub(super) sample_by: Option<String>,
}

/// Binds the keys; expressions get hidden columns.
pub(super) fn keys(
    create: &CreateTable,
    columns: &mut Columns,
    source: TableSource<'_>,
    notices: &mut Vec<Notice>,
) -> Result<Keys> {
    let clauses = &create.clauses;
    let primary_key = primary_key(create)?;
    let beside: Vec<Expr> =
        columns.primary_key.iter().map(|name| Expr::Identifier(Ident::new(name))).collect();
    if !beside.is_empty() && primary_key.is_some() {
        return Err(Error::invalid("the PRIMARY KEY is written twice"));
    }
    let wants_order = create.engine.as_ref().is_some_and(|engine| wants_order(&engine.name));
    let order_by = match (&clauses.order_by, &primary_key) {
        (Some(order_by), _) => order_by.clone(),
        (None, Some(primary_key)) => primary_key.clone(),
        // As `ORDER BY tuple()` where no column is a key either.
        (None, None) if !beside.is_empty() || !wants_order => beside.clone(),
        (None, None) => {
            return Err(Error::invalid(
                "ORDER BY is missing: rows of the same key become one in this engine; write ORDER \
                 BY tuple() if all rows are to be one",
            ));
        }
    };
    let order_by = bind_keys("ORDER BY", &order_by, columns, source)?;
    let primary_key_len = match &primary_key {
        Some(primary_key) => {
            let primary_key = bind_keys("PRIMARY KEY", primary_key, columns, source)?;
            if !order_by.starts_with(&primary_key) {
                return Err(Error::invalid(
                    "the PRIMARY KEY must be a prefix of the sorting key (ORDER BY)",
                ));
            }
            primary_key.len()
        }
        None => {
            note_loose_primary_key(&beside, &order_by, columns, source, notices)?;
            order_by.len()
        }
    };
    let partition_by = clauses.partition_by.as_deref().unwrap_or_default();
    let partition_by = bind_keys("PARTITION BY", partition_by, columns, source)?;
    let sample_by = match &clauses.sample_by {
        Some(key) => Some(sampling_key(key, columns, source)?),
        None => None,
    };
    Ok(Keys { order_by, primary_key_len, partition_by, sample_by })
}

/// The expression of SAMPLE BY, which is computed when it is read.
fn sampling_key(key: &Expr, columns: &Columns, source: TableSource<'_>) -> Result<String> {
    let bound = bind_expression(source.state, key, &columns.schema()?)
        .and_then(|bound| check_deterministic(&bound).map(|()| bound))
        .map_err(|error| error.context("SAMPLE BY"))?;
    match bound.column_refs().is_empty() {
        true => Err(Error::invalid(format!("SAMPLE BY: '{key}' refers to no column"))),
        false => Ok(key.to_string()),
    }
}

/// The PRIMARY KEY as a clause or among the columns.
fn primary_key(create: &CreateTable) -> Result<Option<Vec<Expr>>> {
    let mut found = create.clauses.primary_key.clone();
    for constraint in &create.constraints {
        match constraint {
            TableConstraint::PrimaryKey(key) => {
                let columns = key.columns.iter().map(|column| column.column.expr.clone()).collect();
                if found.replace(columns).is_some() {
                    return Err(Error::invalid("the PRIMARY KEY is written twice"));
                }
            }
            TableConstraint::Unique(_) => {
                return Err(Error::unsupported(format!(
                    "constraint {constraint} is not checked; write UNIQUE KEY (...) behind the \
                     columns, and a row replaces the earlier one of the same key"
                )));
            }
            TableConstraint::Check(_) => {}
            other => {
                return Err(Error::unsupported(format!("constraint {other} is not supported yet")));
            }
        }
    }
    Ok(found)
}

/// A column's own PRIMARY KEY is information only where ORDER BY does not begin with it.
fn note_loose_primary_key(
    beside: &[Expr],
    order_by: &[KeyExpression],
    columns: &mut Columns,
    source: TableSource<'_>,
    notices: &mut Vec<Notice>,
) -> Result<()> {
    let bound = bind_keys("PRIMARY KEY", beside, columns, source)?;
    if !order_by.starts_with(&bound) {
        notices.push(Notice::new(
            "PRIMARY KEY beside a column has no effect: ORDER BY does not begin with it",
        ));
    }
    Ok(())
}

fn bind_keys(
    clause: &str,
    expressions: &[Expr],
    columns: &mut Columns,
    source: TableSource<'_>,
) -> Result<Vec<KeyExpression>> {
    let mut keys: Vec<KeyExpression> = Vec::with_capacity(expressions.len());
    for expression in expressions {
        let key = bind_key(expression, columns, source).map_err(|error| error.context(clause))?;
        if keys.contains(&key) {
            return Err(Error::invalid(format!("{clause}: '{}' appears more than once", key.text)));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn bind_key(
    expression: &Expr,
    columns: &mut Columns,
    source: TableSource<'_>,
) -> Result<KeyExpression> {
    match expression {
        Expr::Nested(inner) => bind_key(inner, columns, source),
        Expr::Identifier(name) => {
            let column = columns.find(&name.value)?;
            check_type(&column.name, &column.column_type)?;
            Ok(KeyExpression { text: identifier(&column.name), column: column.id })
        }
        computed => {
            let schema = columns.schema()?;
            let bound = bind_expression(source.state, computed, &schema)?;
            check_deterministic(&bound)?;
            if bound.column_refs().is_empty() {
                return Err(Error::invalid(format!("'{computed}' refers to no column")));
            }
            let typed = |error| error_from_datafusion(error, None);
            let (_, field) = bound.to_field(&schema).map_err(typed)?;
            let column_type = column_type_from_arrow(field.data_type(), field.is_nullable())?;
            let text = computed.to_string();
            check_type(&text, &column_type)?;
            Ok(KeyExpression { column: columns.hidden(&text, column_type), text })
        }
    }
}

pub(crate) fn check_type(text: &str, column_type: &ColumnType) -> Result<()> {
    match column_type.base() {
        ColumnType::Array(_)
        | ColumnType::Map(..)
        | ColumnType::Tuple(_)
        | ColumnType::Interval
        | ColumnType::AggregateFunction(_) => {
            Err(Error::invalid(format!("'{text}' of type {column_type} has no order")))
        }
        _ => Ok(()),
    }
}

/// The same row must have the same key whenever and wherever it is computed.
pub(crate) fn check_deterministic(bound: &PlannedExpr) -> Result<()> {
    let mut unstable = None;
    let visited = bound.apply(|inner| {
        if let PlannedExpr::ScalarFunction(call) = inner
            && call.func.signature().volatility != Volatility::Immutable
        {
            unstable = Some(call.func.name().to_owned());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(|error| error_from_datafusion(error, None))?;
    match unstable {
        Some(name) => Err(Error::invalid(format!("{name} is not the same every time"))),
        None => Ok(()),
    }
}
