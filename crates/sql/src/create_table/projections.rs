//! Projections: `PROJECTION name (SELECT ... [GROUP BY ...] [ORDER BY ...])`.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{AggregateUDF, Expr as Planned, ExprSchemable};
use granary_catalog::{
    BoundProjection, Column, ColumnType, Fold, ProjectedKey, ProjectedValue, Projection,
    RowExpression, TableOptions,
};
use granary_common::{Error, Result};
use granary_execution::row_expression::{encode, settled_aggregate};
use granary_functions::column_type_from_arrow;
use sqlparser::ast::{
    Expr, GroupByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Value, ValueWithSpan,
};

use super::TableSource;
use super::keys::{check_deterministic, check_type};
use crate::bind::bind_expression;
use crate::error::error_from_datafusion;
use crate::statement::ProjectionClause;
use crate::ttl::{schema_of, settled};

/// Projections of a table at most: each is written with every part.
const PROJECTIONS_MAX: usize = 16;
/// What can be kept of a group.
const POSSIBLE: &str = "count, sum, min, max and avg, each also with -If";

/// Adds a projection whose name is new and whose SELECT can be kept.
///
/// # Errors
/// AlreadyExists for a name that is taken, InvalidInput for everything else that does not fit.
pub(crate) fn add_projection(
    options: &mut TableOptions,
    projection: &ProjectionClause,
    columns: &[Column],
    source: TableSource<'_>,
) -> Result<()> {
    let ProjectionClause { name, query } = projection;
    if options.projections.iter().any(|known| known.name == *name) {
        return Err(Error::already_exists(format!("projection '{name}' already exists")));
    }
    if options.projections.len() >= PROJECTIONS_MAX {
        return Err(Error::invalid(format!(
            "projection '{name}': a table has at most {PROJECTIONS_MAX}"
        )));
    }
    let bound = bind(name, query, columns, source)?;
    let query = query.to_string();
    options.projections.push(Projection { name: name.clone(), query, bound: Some(bound) });
    Ok(())
}

/// The projection over columns that may have changed. One that reads none that did stays what it is,
/// so that what parts have of it stays right; one of an earlier build that cannot be kept stays
/// without effect.
///
/// # Errors
/// InvalidInput for one that cannot be kept any more.
pub(crate) fn rebound(
    projection: &Projection,
    columns: &[Column],
    source: TableSource<'_>,
) -> Result<Projection> {
    let is_there =
        |expression: &RowExpression| expression.columns.iter().all(|id| has_column(columns, *id));
    if let Some(BoundProjection { keys, values, .. }) = &projection.bound {
        let keys = keys.iter().map(|key| &key.expression);
        if keys.chain(values.iter().map(|value| &value.aggregate)).all(is_there) {
            return Ok(projection.clone());
        }
    }
    let query = crate::alter::query_of(&projection.query)?;
    let bound = match bind(&projection.name, &query, columns, source) {
        Ok(bound) => Some(bound),
        Err(_) if projection.bound.is_none() => None,
        Err(error) => return Err(error),
    };
    Ok(Projection { bound, ..projection.clone() })
}

fn has_column(columns: &[Column], id: granary_common::ColumnId) -> bool {
    columns.iter().any(|column| column.id == id)
}

fn bind(
    name: &str,
    query: &Query,
    columns: &[Column],
    source: TableSource<'_>,
) -> Result<BoundProjection> {
    let binder = Binder { columns, schema: schema_of(columns)?, source };
    let bound = written(query).and_then(|written| binder.bound(&written));
    bound.map_err(|error| error.context(format!("projection '{name}'")))
}

/// The clauses of the SELECT.
struct Written<'a> {
    items: &'a [SelectItem],
    group_by: &'a [Expr],
    order_by: Vec<&'a Expr>,
}

fn written(query: &Query) -> Result<Written<'_>> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Err(Error::invalid("it is one SELECT"));
    };
    if let Some(clause) = clause_too_many(query, select) {
        return Err(Error::invalid(format!(
            "{clause} is not possible: a projection has all rows of its table, as SELECT .. \
             [GROUP BY ..] or SELECT .. ORDER BY .."
        )));
    }
    let group_by = match &select.group_by {
        GroupByExpr::Expressions(keys, modifiers) if modifiers.is_empty() => keys.as_slice(),
        _ => return Err(Error::invalid("GROUP BY takes expressions")),
    };
    let mut order_by = Vec::new();
    if let Some(order) = &query.order_by {
        let OrderByKind::Expressions(keys) = &order.kind else {
            return Err(Error::invalid("ORDER BY takes expressions"));
        };
        for key in keys {
            let is_plain = key.options.asc != Some(false)
                && key.options.nulls_first != Some(true)
                && key.with_fill.is_none();
            if !is_plain {
                return Err(Error::invalid(format!("ORDER BY {key}: rows lie in ascending order")));
            }
            order_by.push(&key.expr);
        }
    }
    Ok(Written { items: &select.projection, group_by, order_by })
}

fn clause_too_many(query: &Query, select: &Select) -> Option<&'static str> {
    let clauses = [
        (query.with.is_some(), "WITH"),
        (query.limit_clause.is_some() || query.fetch.is_some() || select.top.is_some(), "LIMIT"),
        (query.settings.is_some(), "SETTINGS"),
        (!select.from.is_empty(), "FROM"),
        (select.selection.is_some() || select.prewhere.is_some(), "WHERE"),
        (select.distinct.is_some(), "DISTINCT"),
        (select.having.is_some(), "HAVING"),
        (select.qualify.is_some(), "QUALIFY"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
    ];
    clauses.into_iter().find(|(is_there, _)| *is_there).map(|(_, clause)| clause)
}

struct Binder<'a> {
    columns: &'a [Column],
    schema: DFSchema,
    source: TableSource<'a>,
}

impl Binder<'_> {
    fn bound(&self, written: &Written<'_>) -> Result<BoundProjection> {
        let mut items: Vec<Planned> = Vec::new();
        for item in written.items {
            self.add_item(item, &mut items)?;
        }
        let aggregates = items.iter().any(has_aggregate);
        if written.group_by.is_empty() && !aggregates {
            return self.reordered(&items, written);
        }
        if !written.order_by.is_empty() {
            return Err(Error::invalid("ORDER BY beside GROUP BY has no effect: leave it out"));
        }
        let mut keys: Vec<Planned> = Vec::new();
        for key in written.group_by {
            let key = self.expression(key, written.items)?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let mut calls: Vec<Planned> = Vec::new();
        for item in &items {
            self.take_calls(item, &keys, &mut calls)?;
        }
        let mut values: Vec<ProjectedValue> = Vec::new();
        for call in &calls {
            for value in self.values(call)? {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
        let keys = keys.iter().map(|key| self.key(key, true)).collect::<Result<Vec<_>>>()?;
        let ordered_by = (0..keys.len() as u32).collect();
        Ok(BoundProjection { keys, values, ordered_by, is_grouped: true })
    }

    fn reordered(&self, items: &[Planned], written: &Written<'_>) -> Result<BoundProjection> {
        if written.order_by.is_empty() {
            return Err(Error::invalid("it needs GROUP BY or ORDER BY"));
        }
        let mut kept: Vec<Planned> = Vec::new();
        let mut place_of = |expression: &Planned| match kept.iter().position(|e| e == expression) {
            Some(place) => place as u32,
            None => {
                kept.push(expression.clone());
                kept.len() as u32 - 1
            }
        };
        let mut ordered_by = Vec::new();
        for key in &written.order_by {
            let keys: Vec<&Expr> = match key {
                Expr::Tuple(keys) => keys.iter().collect(),
                one => vec![*one],
            };
            for key in keys {
                ordered_by.push(place_of(&self.expression(key, written.items)?));
            }
        }
        items.iter().for_each(|item| {
            place_of(item);
        });
        let is_key = |place: usize| ordered_by.contains(&(place as u32));
        let keys = kept.iter().enumerate().map(|(place, key)| self.key(key, is_key(place)));
        let keys = keys.collect::<Result<_>>()?;
        Ok(BoundProjection { keys, values: Vec::new(), ordered_by, is_grouped: false })
    }

    fn add_item(&self, item: &SelectItem, items: &mut Vec<Planned>) -> Result<()> {
        match item {
            SelectItem::UnnamedExpr(expression)
            | SelectItem::ExprWithAlias { expr: expression, .. } => {
                items.push(self.bind(expression)?);
            }
            SelectItem::Wildcard(_) => {
                let shown = self.columns.iter().filter(|column| column.is_insertable());
                let column = |column: &Column| {
                    Planned::Column(datafusion::common::Column::new_unqualified(&column.name))
                };
                items.extend(shown.map(column));
            }
            other => return Err(Error::invalid(format!("'{other}' is no expression"))),
        }
        Ok(())
    }

    fn bind(&self, expression: &Expr) -> Result<Planned> {
        bind_expression(self.source.state, expression, &self.schema)
    }

    /// An expression of a clause: a column, an item by its name or number, or written out.
    fn expression(&self, written: &Expr, items: &[SelectItem]) -> Result<Planned> {
        let named = |name: &str| {
            items.iter().find_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } if alias.value == name => Some(expr),
                _ => None,
            })
        };
        let item = match written {
            Expr::Nested(inner) => return self.expression(inner, items),
            Expr::Identifier(name) if !self.has_column(&name.value) => named(&name.value),
            Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => {
                let place = number.to_string().parse::<usize>().unwrap_or(0);
                match items.get(place.wrapping_sub(1)) {
                    Some(
                        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. },
                    ) => Some(expr),
                    _ => return Err(Error::invalid(format!("{number} is no place of an item"))),
                }
            }
            _ => None,
        };
        self.bind(item.unwrap_or(written))
    }

    fn has_column(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.is_visible() && column.name == name)
    }

    /// Finds the aggregate functions of an item; the rest of it must be over the keys.
    fn take_calls(&self, item: &Planned, keys: &[Planned], calls: &mut Vec<Planned>) -> Result<()> {
        let mut loose = None;
        let visited = item.apply(|inner| {
            if keys.contains(inner) {
                return Ok(TreeNodeRecursion::Jump);
            }
            match inner {
                Planned::AggregateFunction(_) => {
                    if !calls.contains(inner) {
                        calls.push(inner.clone());
                    }
                    Ok(TreeNodeRecursion::Jump)
                }
                Planned::Column(column) => {
                    loose = Some(column.name.clone());
                    Ok(TreeNodeRecursion::Stop)
                }
                _ => Ok(TreeNodeRecursion::Continue),
            }
        });
        visited.map_err(planning)?;
        match loose {
            None => Ok(()),
            Some(name) => {
                Err(Error::invalid(format!("column '{name}' is neither grouped by nor aggregated")))
            }
        }
    }

    fn key(&self, key: &Planned, needs_order: bool) -> Result<ProjectedKey> {
        check_deterministic(key)?;
        if has_aggregate(key) {
            return Err(Error::invalid(format!("{key} is an aggregate")));
        }
        if key.column_refs().is_empty() {
            return Err(Error::invalid(format!("{key} refers to no column")));
        }
        let own = match key {
            Planned::Column(name) => {
                self.columns.iter().find(|own| own.is_visible() && own.name == name.name)
            }
            _ => None,
        };
        let column_type = match own {
            Some(column) => column.column_type.clone(),
            None => {
                let (_, field) = key.to_field(&self.schema).map_err(planning)?;
                column_type_from_arrow(field.data_type(), field.is_nullable())?
            }
        };
        let is_float = matches!(column_type.base(), ColumnType::Float32 | ColumnType::Float64);
        if needs_order || own.is_none() {
            check_type(&key.to_string(), &column_type)?;
        }
        if own.is_none() && is_float {
            return Err(Error::invalid(format!(
                "{key} is a computed float, of which equal values may be written differently"
            )));
        }
        let state = self.source.state;
        let expression = settled(key.clone(), &self.schema, self.columns, state)?;
        Ok(ProjectedKey { expression, column_type })
    }

    /// What is kept of a group, so that the call can be answered.
    fn values(&self, call: &Planned) -> Result<Vec<ProjectedValue>> {
        check_deterministic(call)?;
        let options = self.source.state.config_options();
        let call = settled_aggregate(call.clone(), &self.schema, options).map_err(planning)?;
        let AggregateFunctionParams { distinct, order_by, null_treatment, .. } = &call.params;
        let is_plain = !distinct && order_by.is_empty() && null_treatment.is_none();
        let other = |func: Arc<AggregateUDF>| AggregateFunction { func, ..call.clone() };
        match call.func.name() {
            _ if !is_plain => {}
            "count" => return Ok(vec![self.value(Fold::Count, call)?]),
            "sum" => return Ok(vec![self.value(Fold::Sum, call)?]),
            "min" => return Ok(vec![self.value(Fold::Min, call)?]),
            "max" => return Ok(vec![self.value(Fold::Max, call)?]),
            "avg" => {
                let (sum, count) = (other(sum_udaf()), other(count_udaf()));
                return Ok(vec![self.value(Fold::Sum, sum)?, self.value(Fold::Count, count)?]);
            }
            _ => {}
        }
        Err(Error::invalid(format!(
            "{} cannot be kept in a projection; possible are {POSSIBLE}",
            Planned::AggregateFunction(call)
        )))
    }

    fn value(&self, fold: Fold, call: AggregateFunction) -> Result<ProjectedValue> {
        let options = self.source.state.config_options();
        let call = Planned::AggregateFunction(call);
        let call = settled_aggregate(call, &self.schema, options).map_err(planning)?;
        let call = Planned::AggregateFunction(call);
        let (_, field) = call.to_field(&self.schema).map_err(planning)?;
        let column_type = column_type_from_arrow(field.data_type(), fold != Fold::Count)?;
        check_type(&call.to_string(), &column_type)?;
        let aggregate = encode(call, |name| {
            let own = self.columns.iter().find(|own| own.is_visible() && own.name == name);
            own.map(|column| column.id)
        })?;
        Ok(ProjectedValue { fold, aggregate, column_type })
    }
}

fn has_aggregate(expression: &Planned) -> bool {
    expression.exists(|inner| Ok(matches!(inner, Planned::AggregateFunction(_)))).unwrap_or(true)
}

fn planning(error: DataFusionError) -> Error {
    error_from_datafusion(error, None)
}
