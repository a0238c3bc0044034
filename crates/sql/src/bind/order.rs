//! The order in which rows come out of a subquery, for those who look at it: functions of neighbouring
//! rows, which else take the order of the table's sorting key, and aggregates that keep an order.
//! Where nobody looks the ORDER BY goes.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, TableReference, plan_err};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Sort as SortKey, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, Projection, Sort, SubqueryAlias, Window, WindowFrame, lit,
};

use super::names::Names;
use crate::statement::TableName;

/// Names of the columns that a sort by expressions needs.
const KEY: &str = "__granary_order";

/// `plan` with the orders of its subqueries where they count, and nowhere else.
pub(super) fn keep_orders(plan: LogicalPlan, names: &Names<'_>) -> Result<LogicalPlan> {
    let any_changed = Cell::new(false);
    let ordered = plan.transform_up_with_subqueries(|plan| {
        // What lies above takes its schema from what has changed.
        let plan = match any_changed.get() {
            true => plan.recompute_schema()?,
            false => plan,
        };
        let changed = match &plan {
            LogicalPlan::Window(window) => window_in_order(window, names)?,
            LogicalPlan::Aggregate(aggregate) => aggregate_in_order(aggregate)?,
            _ => None,
        };
        match changed {
            Some(changed) => {
                any_changed.set(true);
                Ok(Transformed::yes(changed))
            }
            None => Ok(Transformed::new_transformed(plan, any_changed.get())),
        }
    })?;
    without_idle_sorts(ordered.data, true)
}

/// Takes out the sorts of subqueries. `counts` says whether the order of the rows of `plan` does.
fn without_idle_sorts(plan: LogicalPlan, counts: bool) -> Result<LogicalPlan> {
    let counts_below = match &plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() && !counts => {
            return without_idle_sorts(Arc::unwrap_or_clone(Arc::clone(&sort.input)), false);
        }
        LogicalPlan::Limit(_) => true,
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Unnest(_) => counts,
        // Whoever wants rows in order of what we do not know gets them so.
        LogicalPlan::Extension(_) | LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => true,
        _ => false,
    };
    let plan =
        plan.map_children(|child| Ok(Transformed::yes(without_idle_sorts(child, counts_below)?)))?;
    Ok(plan.data)
}

fn function_of(expression: &Expr) -> Option<&WindowFunction> {
    match expression {
        Expr::WindowFunction(function) => Some(function),
        Expr::Alias(alias) => function_of(&alias.expr),
        _ => None,
    }
}

/// Whether it is one of the functions for which nothing but the order counts.
fn is_without_order(expression: &Expr) -> bool {
    function_of(expression).is_some_and(|function| {
        let names = ["lag", "lead", "row_number"];
        function.params.order_by.is_empty()
            && function.params.partition_by.is_empty()
            && names.contains(&function.fun.name())
    })
}

fn window_in_order(window: &Window, names: &Names<'_>) -> Result<Option<LogicalPlan>> {
    if !window.window_expr.iter().any(is_without_order) {
        return Ok(None);
    }
    let has_neighbours = window.window_expr.iter().filter_map(function_of);
    let has_neighbours = has_neighbours.map(|f| f.fun.name()).any(|name| name != "row_number");
    let names = has_neighbours.then_some(names);
    let Some((input, keys)) = ordered_input(&window.input, names)? else { return Ok(None) };
    let expressions = window.window_expr.iter().map(|expression| {
        let Some(function) = function_of(expression).filter(|_| is_without_order(expression))
        else {
            return expression.clone();
        };
        // What is above knows the column by the name that it has without an order.
        let name = expression.schema_name().to_string();
        let mut function = function.clone();
        function.params.order_by = keys.clone();
        function.params.window_frame = WindowFrame::new(Some(false));
        Expr::WindowFunction(Box::new(function)).alias(name)
    });
    let window = Window::try_new(expressions.collect(), Arc::new(input))?;
    Ok(Some(LogicalPlan::Window(window)))
}

/// Aggregates whose result depends on the order of the rows.
const ORDERED_AGGREGATES: [&str; 4] = ["array_agg", "string_agg", "first_value", "last_value"];

/// Those that gather all rows of a group themselves: over an order they take them from an array.
const GATHERED: [&str; 4] =
    ["deltaSum", "groupArrayMovingSum", "groupArrayMovingAvg", "groupArrayLast"];

/// The call of one of them, whatever it is called.
fn gathered(expression: &Expr) -> Option<&AggregateFunction> {
    match expression {
        Expr::AggregateFunction(function) => {
            let is_one = GATHERED.contains(&function.func.name());
            (is_one && !function.params.distinct).then_some(function)
        }
        Expr::Alias(alias) => gathered(&alias.expr),
        _ => None,
    }
}

fn is_unordered(expression: &Expr) -> bool {
    expression
        .exists(|inner| {
            Ok(matches!(inner, Expr::AggregateFunction(function)
            if ORDERED_AGGREGATES.contains(&function.func.name())
                && function.params.order_by.is_empty()
                && !function.params.distinct))
        })
        .unwrap_or(false)
}

/// Only the order of a subquery that was asked for: that of a table costs and is nobody's promise.
fn aggregate_in_order(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let counts = |expression: &Expr| is_unordered(expression) || gathered(expression).is_some();
    if !aggregate.aggr_expr.iter().any(counts) {
        return Ok(None);
    }
    let Some((input, keys)) = ordered_input(&aggregate.input, None)? else { return Ok(None) };
    let ordered = |expression: &Expr| -> Result<Expr> {
        if !is_unordered(expression) {
            return Ok(expression.clone());
        }
        let name = expression.schema_name().to_string();
        let ordered = expression.clone().transform_up(|inner| match inner {
            Expr::AggregateFunction(mut function)
                if is_unordered(&Expr::AggregateFunction(function.clone())) =>
            {
                function.params.order_by = keys.clone();
                Ok(Transformed::yes(Expr::AggregateFunction(function)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(ordered.data.alias(name))
    };
    let mut expressions = Vec::with_capacity(aggregate.aggr_expr.len());
    let mut shown: Vec<Expr> = Vec::new();
    for expression in &aggregate.aggr_expr {
        let name = expression.schema_name().to_string();
        match gathered(expression) {
            Some(function) => {
                let reduced = from_arrays(function, &keys, &mut expressions)?;
                shown.push(reduced.alias(name));
            }
            None => {
                expressions.push(ordered(expression)?);
                shown.push(Expr::Column(Column::from_name(name)));
            }
        }
    }
    let groups = aggregate.group_expr.clone();
    let has_gathered = aggregate.aggr_expr.iter().any(|expression| gathered(expression).is_some());
    let plan = Aggregate::try_new(Arc::new(input), groups, expressions)?;
    if !has_gathered {
        return Ok(Some(LogicalPlan::Aggregate(plan)));
    }
    let keys = plan.schema.columns().into_iter().take(plan.group_expr_len()?).map(Expr::Column);
    let shown = keys.chain(shown).collect();
    let projection = Projection::try_new(shown, Arc::new(LogicalPlan::Aggregate(plan)))?;
    Ok(Some(LogicalPlan::Projection(projection)))
}

/// `f(p)(x)` as `arrayReduce('f(p)', array_agg(x ORDER BY keys))`; adds the arrays to `aggregates`.
fn from_arrays(
    function: &AggregateFunction,
    keys: &[SortKey],
    aggregates: &mut Vec<Expr>,
) -> Result<Expr> {
    let mut arguments = function.params.args.clone();
    let parameters = match arguments.pop() {
        Some(Expr::Literal(text, _)) => text.try_as_str().flatten().unwrap_or("").to_owned(),
        _ => return plan_err!("{} has no parameters", function.func.name()),
    };
    let parameters = parameters.replace(granary_functions::SEPARATOR, ", ");
    let mut call = vec![lit(format!("{}({parameters})", function.func.name()))];
    for argument in arguments {
        let name = format!("{KEY}_values_{}", aggregates.len());
        let array = AggregateFunction::new_udf(
            array_agg_udaf(),
            vec![argument],
            false,
            function.params.filter.clone(),
            keys.to_vec(),
            None,
        );
        aggregates.push(Expr::AggregateFunction(array).alias(&name));
        call.push(Expr::Column(Column::from_name(name)));
    }
    crate::functions::array_reduce(call)
}

/// The plan with the keys of its order among its columns; `None` when it has no order, or no room
/// for the keys.
fn ordered_input(
    plan: &LogicalPlan,
    names: Option<&Names<'_>>,
) -> Result<Option<(LogicalPlan, Vec<SortKey>)>> {
    match plan {
        LogicalPlan::Sort(sort) => {
            if sort.expr.iter().all(|key| matches!(key.expr, Expr::Column(_))) {
                return Ok(Some((plan.clone(), sort.expr.clone())));
            }
            computed_keys(sort).map(Some)
        }
        LogicalPlan::TableScan(scan) => {
            let Some(names) = names else { return Ok(None) };
            let keys = sorting_key(&scan.table_name, names);
            let known =
                |name: &String| scan.projected_schema.has_column_with_unqualified_name(name);
            if keys.is_empty() || !keys.iter().all(known) {
                return Ok(None);
            }
            let key = |name| {
                Expr::Column(Column::new(Some(scan.table_name.clone()), name)).sort(true, false)
            };
            Ok(Some((plan.clone(), keys.into_iter().map(key).collect())))
        }
        LogicalPlan::Filter(_) | LogicalPlan::Limit(_) => {
            let Some((input, keys)) = ordered_input(plan.inputs()[0], names)? else {
                return Ok(None);
            };
            let plan = plan.with_new_exprs(plan.expressions(), vec![input])?;
            Ok(Some((plan, keys)))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let Some((input, keys)) = ordered_input(&alias.input, names)? else { return Ok(None) };
            let Ok(alias) = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone()) else {
                return Ok(None);
            };
            let renamed = |key: SortKey| match key.expr {
                Expr::Column(column) => {
                    let column = Column::new(Some(alias.alias.clone()), column.name);
                    SortKey { expr: Expr::Column(column), ..key }
                }
                _ => key,
            };
            let keys = keys.into_iter().map(renamed).collect();
            Ok(Some((LogicalPlan::SubqueryAlias(alias), keys)))
        }
        LogicalPlan::Projection(projection) => projected(projection, names),
        _ => Ok(None),
    }
}

/// A sort by expressions as one by columns.
fn computed_keys(sort: &Sort) -> Result<(LogicalPlan, Vec<SortKey>)> {
    let columns = sort.input.schema().iter().map(|column| Expr::Column(Column::from(column)));
    let mut columns: Vec<Expr> = columns.collect();
    let mut keys = sort.expr.clone();
    for (place, key) in keys.iter_mut().enumerate() {
        let name = format!("{KEY}_{place}");
        let computed = std::mem::replace(&mut key.expr, Expr::Column(Column::from_name(&name)));
        columns.push(computed.alias(name));
    }
    let input = Projection::try_new(columns, Arc::clone(&sort.input))?;
    let input = Arc::new(LogicalPlan::Projection(input));
    let sort = LogicalPlan::Sort(Sort { expr: keys.clone(), input, fetch: sort.fetch });
    Ok((sort, keys))
}

/// A projection that lets the keys through.
fn projected(
    projection: &Projection,
    names: Option<&Names<'_>>,
) -> Result<Option<(LogicalPlan, Vec<SortKey>)>> {
    let Some((input, keys)) = ordered_input(&projection.input, names)? else { return Ok(None) };
    let mut expressions = projection.expr.clone();
    let mut outside = Vec::with_capacity(keys.len());
    for key in keys {
        let same = |expression: &&Expr| match expression {
            Expr::Alias(alias) => *alias.expr == key.expr,
            other => **other == key.expr,
        };
        let place = match expressions.iter().position(|expression| same(&expression)) {
            Some(place) => place,
            None => {
                expressions.push(key.expr.clone());
                expressions.len() - 1
            }
        };
        let (qualifier, name) = expressions[place].qualified_name();
        outside.push(SortKey { expr: Expr::Column(Column::new(qualifier, name)), ..key });
    }
    // A key of the name of another column has no room.
    match Projection::try_new(expressions, Arc::new(input)) {
        Ok(projection) => Ok(Some((LogicalPlan::Projection(projection), outside))),
        Err(_) => Ok(None),
    }
}

/// The leading columns of the order of the table, as its parts have it.
fn sorting_key(table: &TableReference, names: &Names<'_>) -> Vec<String> {
    let name =
        TableName { database: table.schema().map(str::to_owned), name: table.table().to_owned() };
    let Some(table) = names.table(&name) else { return Vec::new() };
    let column = |id| table.visible_columns().find(|column| column.id == id);
    let keys = table.order_by.iter().map_while(|part| column(part.column));
    keys.map(|column| column.name.clone()).collect()
}
