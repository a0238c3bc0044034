//! Enums as numbers: Arrow carries their names only, so the numbers come from the catalog.

use std::ops::ControlFlow;
use std::sync::Arc;

use granary_catalog::{ColumnType, Snapshot};
use granary_common::Result;
use sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Ident, ObjectName, ObjectNamePart, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr,
    Value, Visitor, WindowType,
};

use super::calls::{plain_arguments, substitute};
use super::names::Names;
use super::templates;
use crate::statement::TableName;
use crate::types::type_from_sql;
use crate::walk::{visit_relations, walk};

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
        let mut aliases = Aliases(Vec::new());
        let _ = walk(query, &mut aliases);
        columns.retain(|(name, _)| !aliases.0.contains(name));
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

    /// Sorts by the numbers of enums that are keys of the ORDER BY.
    pub(super) fn order(&self, query: &mut Query) -> Result<()> {
        let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
        let Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }) = &mut query.order_by else {
            return Ok(());
        };
        // The keys of a SELECT DISTINCT are its columns.
        if self.0.is_empty() || select.distinct.is_some() {
            return Ok(());
        }
        for key in keys.iter_mut().filter(|key| key.with_fill.is_none()) {
            if let Some(number) = self.number(&meant(&key.expr, &select.projection), "Int16")? {
                key.expr = number;
            }
        }
        Ok(())
    }

    /// Puts numbers in the place of an enum and of the names beside it where an order counts: `e > 'a'`,
    /// `e BETWEEN 'a' AND 'b'`, `max(e)`, `OVER (ORDER BY e)`.
    fn rewrite_ordered(&self, expression: &mut Expr) -> Result<()> {
        match expression {
            Expr::BinaryOp { left, op, right } if compares(op) && !is_equality(op) => {
                self.number_both(left, vec![&mut *right])?;
                self.number_both(right, vec![left])
            }
            Expr::Between { expr, low, high, .. } => self.number_both(expr, vec![low, high]),
            Expr::Function(function) => {
                if let Some(WindowType::WindowSpec(window)) = &mut function.over {
                    for key in &mut window.order_by {
                        if let Some(number) = self.number(&key.expr, "Int16")? {
                            key.expr = number;
                        }
                    }
                    return Ok(());
                }
                let name = function.name.to_string().to_lowercase();
                let other = match name.as_str() {
                    "max" => "argMax",
                    "min" => "argMin",
                    _ => return Ok(()),
                };
                let Some([value]) =
                    plain_arguments(function).and_then(|all| <[Expr; 1]>::try_from(all).ok())
                else {
                    return Ok(());
                };
                if let Some(number) = self.number(&value, "Int16")?
                    && let FunctionArguments::List(list) = &mut function.args
                {
                    list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(number)));
                    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(other))]);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Makes numbers of a column that is an enum and of the names beside it, if all are its.
    fn number_both(&self, value: &mut Expr, others: Vec<&mut Box<Expr>>) -> Result<()> {
        let Some(values) = self.values_of(value) else { return Ok(()) };
        let number = |other: &Expr| {
            let name = super::zoned::text_of(other)?;
            values.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
        };
        let numbers: Option<Vec<i16>> = others.iter().map(|other| number(other)).collect();
        let Some(numbers) = numbers else { return Ok(()) };
        for (other, number) in others.into_iter().zip(numbers) {
            **other = templates::expression(&number.to_string())?;
        }
        if let Some(number) = self.number(value, "Int16")? {
            *value = number;
        }
        Ok(())
    }

    /// Puts the number in the place of an enum that becomes a number: `toInt8(e)`, `CAST(e AS Int8)`, or
    /// is compared with one: `e = 1`.
    pub(super) fn rewrite(&self, expression: &mut Expr) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.rewrite_ordered(expression)?;
        let beside_number = match expression {
            Expr::BinaryOp { left, op, right } if compares(op) => {
                match (is_written(left), is_written(right)) {
                    (false, true) => Some(left),
                    (true, false) => Some(right),
                    _ => None,
                }
            }
            Expr::InList { expr, list, .. } if list.iter().all(is_written) => Some(expr),
            _ => None,
        };
        if let Some(value) = beside_number {
            if let Some(number) = self.number(value, "Int16")? {
                **value = number;
            }
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
        if let Some(number) = self.number(&value, &of)? {
            *expression = number;
        }
        Ok(())
    }

    /// The values of a column that is an enum.
    fn values_of(&self, value: &Expr) -> Option<&[(String, i16)]> {
        let column = match value {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(names) => names.last(),
            _ => None,
        };
        self.values(&column?.value)
    }

    /// The number of a column that is an enum, in a type of numbers.
    fn number(&self, value: &Expr, of: &str) -> Result<Option<Expr>> {
        let Some(values) = self.values_of(value) else { return Ok(None) };
        let whens: Vec<String> = values
            .iter()
            .map(|(name, number)| {
                let name = name.replace('\\', "\\\\").replace('\'', "''");
                format!("WHEN '{name}' THEN {number}")
            })
            .collect();
        let text = format!("CAST(CASE $1 {} END AS {of})", whens.join(" "));
        substitute(&text, std::slice::from_ref(value)).map(Some)
    }
}

/// The names that a query gives to what is no column of that name.
struct Aliases(Vec<String>);

impl Visitor for Aliases {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            let SelectItem::ExprWithAlias { expr, alias } = item else { continue };
            let is_column = match expr {
                Expr::Identifier(name) => *name == *alias,
                Expr::CompoundIdentifier(names) => names.last() == Some(alias),
                _ => false,
            };
            if !is_column {
                self.0.push(alias.value.clone());
            }
        }
        ControlFlow::Continue(())
    }
}

/// What a key of ORDER BY stands for: a column of the SELECT list by its place or its name, or itself.
fn meant(key: &Expr, projection: &[SelectItem]) -> Expr {
    let found = match key {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => {
                let place = digits.parse::<usize>().ok().and_then(|place| place.checked_sub(1));
                place.and_then(|place| projection.get(place))
            }
            _ => None,
        },
        Expr::Identifier(name) => projection.iter().find(|item| {
            matches!(item, SelectItem::ExprWithAlias { alias, .. } if alias.value == name.value)
        }),
        _ => None,
    };
    match found {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => {
            expr.clone()
        }
        _ => key.clone(),
    }
}

fn is_equality(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq)
}

fn compares(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

/// A number that is written down.
fn is_written(value: &Expr) -> bool {
    match value {
        Expr::UnaryOp { expr, .. } => is_written(expr),
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        _ => false,
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
