//! A subquery for all values of its outer columns at once: they become columns of every step, by which
//! aggregates group, windows are cut and rows are counted.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, NullEquality, Result, TableReference};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Sort as SortKey, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::logical_plan::{
    Aggregate, Distinct, FetchType, Join, Limit, SkipType, Subquery, Union,
};
use datafusion::logical_expr::{
    Expr, ExprSchemable, JoinType, LogicalPlan, LogicalPlanBuilder, WindowFrame,
    WindowFunctionDefinition, lit,
};

/// The position of a row among those of its outer values.
const POSITION: &str = "__granary_position";

/// The columns of the outside that a subquery names, and their different values.
pub(super) struct Outer {
    /// In the plan outside.
    pub(super) columns: Vec<Column>,
    /// What the columns of their values are called.
    names: Vec<String>,
    /// Each combination of values once.
    values: LogicalPlan,
}

/// A plan that has columns of outer values before its own.
pub(super) struct Spread {
    pub(super) plan: LogicalPlan,
    /// The columns of the outer values.
    pub(super) keys: Vec<Column>,
}

/// Rows that are skipped and rows that are taken, where they are written down.
pub(super) fn rows_max(limit: &Limit) -> Option<(usize, usize)> {
    match (limit.get_skip_type().ok()?, limit.get_fetch_type().ok()?) {
        (SkipType::Literal(skip), FetchType::Literal(Some(fetch))) => Some((skip, fetch)),
        _ => None,
    }
}

impl Outer {
    /// `None` when a column belongs to a query further outside. `name` is unique in the query.
    pub(super) fn of(
        subquery: &Subquery,
        outside: &LogicalPlan,
        name: &str,
    ) -> Result<Option<Outer>> {
        let mut columns: Vec<Column> = Vec::new();
        for reference in &subquery.outer_ref_columns {
            let Expr::OuterReferenceColumn(_, column) = reference else { continue };
            if !outside.schema().has_column(column) {
                return Ok(None);
            }
            if !columns.contains(column) {
                columns.push(column.clone());
            }
        }
        let names: Vec<String> = (0..columns.len()).map(|at| format!("{name}_{at}")).collect();
        let named = columns.iter().zip(&names);
        let named = named.map(|(column, name)| Expr::Column(column.clone()).alias(name));
        let values = LogicalPlanBuilder::from(outside.clone())
            .project(named.collect::<Vec<Expr>>())?
            .distinct()?
            .build()?;
        Ok(Some(Outer { columns, names, values }))
    }

    /// The subquery for all values; `None` where one of its steps cannot be spread.
    pub(super) fn spread(&self, plan: &LogicalPlan) -> Result<Option<Spread>> {
        if !names_outside(plan) {
            let keys = self.names.iter().map(Column::from_name).collect();
            let plan = LogicalPlanBuilder::from(self.values.clone()).cross_join(plan.clone())?;
            return Ok(Some(Spread { plan: plan.build()?, keys }));
        }
        let below = |plan: &LogicalPlan| self.spread(plan);
        match plan {
            LogicalPlan::Projection(projection) => {
                let Some(input) = below(&projection.input)? else { return Ok(None) };
                let mut shown = input.shown_keys();
                for expression in &projection.expr {
                    shown.push(self.inside(expression.clone(), &input.keys)?);
                }
                let plan = LogicalPlanBuilder::from(input.plan).project(shown)?.build()?;
                Ok(Some(Spread { plan, keys: input.keys }))
            }
            LogicalPlan::Filter(filter) => {
                let Some(input) = below(&filter.input)? else { return Ok(None) };
                let condition = self.inside(filter.predicate.clone(), &input.keys)?;
                let plan = LogicalPlanBuilder::from(input.plan).filter(condition)?.build()?;
                Ok(Some(Spread { plan, keys: input.keys }))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(input) = below(&alias.input)? else { return Ok(None) };
                let plan = LogicalPlanBuilder::from(input.plan).alias(alias.alias.clone())?;
                let key = |key: Column| Column::new(Some(alias.alias.clone()), key.name);
                let keys = input.keys.into_iter().map(key).collect();
                Ok(Some(Spread { plan: plan.build()?, keys }))
            }
            // Only LIMIT looks at the order.
            LogicalPlan::Sort(sort) => below(&sort.input),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let Some(input) = below(input)? else { return Ok(None) };
                let plan = LogicalPlanBuilder::from(input.plan).distinct()?.build()?;
                Ok(Some(Spread { plan, keys: input.keys }))
            }
            LogicalPlan::Unnest(unnest) => {
                let Some(input) = below(&unnest.input)? else { return Ok(None) };
                let (columns, options) = (unnest.exec_columns.clone(), unnest.options.clone());
                let plan = LogicalPlanBuilder::from(input.plan);
                let plan = plan.unnest_columns_with_options(columns, options)?.build()?;
                Ok(Some(Spread { plan, keys: input.keys }))
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Join(join) => self.join_inside(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Window(window) => {
                let Some(input) = below(&window.input)? else { return Ok(None) };
                let mut windows = Vec::with_capacity(window.window_expr.len());
                for expression in &window.window_expr {
                    let name = expression.schema_name().to_string();
                    let expression = self.inside(expression.clone(), &input.keys)?;
                    let cut = cut_by(expression, &input.keys)?;
                    let is_same = cut.schema_name().to_string() == name;
                    windows.push(if is_same { cut } else { cut.alias(name) });
                }
                let plan = LogicalPlanBuilder::from(input.plan).window(windows)?.build()?;
                Ok(Some(Spread { plan, keys: input.keys }))
            }
            _ => Ok(None),
        }
    }

    /// The expression with columns of values instead of outer ones, under the name that it had.
    fn inside(&self, expression: Expr, keys: &[Column]) -> Result<Expr> {
        let name = expression.qualified_name();
        let changed = expression.transform_up(|inner| {
            let key = match &inner {
                Expr::OuterReferenceColumn(_, column) => {
                    self.columns.iter().position(|outer| outer == column)
                }
                _ => None,
            };
            Ok(match key {
                Some(at) => Transformed::yes(Expr::Column(keys[at].clone())),
                None => Transformed::no(inner),
            })
        })?;
        Ok(match changed.transformed && changed.data.qualified_name() != name {
            true => changed.data.alias_qualified(name.0, name.1),
            false => changed.data,
        })
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Result<Option<Spread>> {
        let has_sets = aggregate.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_)));
        let Some(input) = self.spread(&aggregate.input)? else { return Ok(None) };
        if has_sets {
            return Ok(None);
        }
        let mut groups = input.shown_keys();
        for key in &aggregate.group_expr {
            groups.push(self.inside(key.clone(), &input.keys)?);
        }
        let inside = |call: &Expr| self.inside(call.clone(), &input.keys);
        let calls: Vec<Expr> = aggregate.aggr_expr.iter().map(inside).collect::<Result<_>>()?;
        let plan = LogicalPlanBuilder::from(input.plan).aggregate(groups, calls)?.build()?;
        let grouped = Spread { plan, keys: input.keys };
        match aggregate.group_expr.is_empty() {
            true => self.with_empty_groups(aggregate, grouped).map(Some),
            false => Ok(Some(grouped)),
        }
    }

    /// An aggregate without keys has a row also where there are no rows: a count of 0, else NULL.
    fn with_empty_groups(&self, aggregate: &Aggregate, grouped: Spread) -> Result<Spread> {
        // Qualified, as the columns on the other side are that have the same names.
        let values = TableReference::bare(format!("{}_values", self.names[0]));
        let own = self.names.iter().map(|name| Column::new(Some(values.clone()), name.clone()));
        let own: Vec<Column> = own.collect();
        let outside = LogicalPlanBuilder::from(self.values.clone()).alias(values)?;
        let found = TableReference::bare(format!("{}_found", self.names[0]));
        let there = grouped.keys.iter();
        let there = there.map(|key| Column::new(Some(found.clone()), key.name.clone())).collect();
        let right = LogicalPlanBuilder::from(grouped.plan).alias(found.clone())?.build()?;
        let joined = outside.join_detailed(
            right,
            JoinType::Left,
            (own.clone(), there),
            None,
            NullEquality::NullEqualsNull,
        )?;
        let mut shown: Vec<Expr> = own.iter().cloned().map(Expr::Column).collect();
        for call in &aggregate.aggr_expr {
            let name = call.schema_name().to_string();
            let value = Expr::Column(Column::new(Some(found.clone()), name.clone()));
            let empty = match call.clone().unalias() {
                Expr::AggregateFunction(function) => {
                    let data_type = call.get_type(aggregate.input.schema())?;
                    function.func.default_value(&data_type)?
                }
                _ => datafusion::common::ScalarValue::Null,
            };
            let value = match empty.is_null() {
                true => value,
                false => datafusion::functions::core::expr_fn::coalesce(vec![value, lit(empty)]),
            };
            shown.push(value.alias(name));
        }
        Ok(Spread { plan: joined.project(shown)?.build()?, keys: own })
    }

    /// The first rows of each combination of outer values.
    fn limit(&self, limit: &Limit) -> Result<Option<Spread>> {
        let Some((skip, fetch)) = rows_max(limit) else { return Ok(None) };
        // Columns that only the sort needs are taken out above it.
        let (shown, sort) = match limit.input.as_ref() {
            LogicalPlan::Projection(projection) => match projection.input.as_ref() {
                LogicalPlan::Sort(sort) => (Some(&projection.expr), Some(sort)),
                _ => (None, None),
            },
            LogicalPlan::Sort(sort) => (None, Some(sort)),
            _ => (None, None),
        };
        let source = sort.map_or(&limit.input, |sort| &sort.input);
        let Some(input) = self.spread(source)? else { return Ok(None) };
        let mut keys: Vec<SortKey> = Vec::new();
        for key in sort.into_iter().flat_map(|sort| &sort.expr) {
            keys.push(SortKey { expr: self.inside(key.expr.clone(), &input.keys)?, ..key.clone() });
        }
        // Without an order any rows are the first ones, and no range of values is there for a frame.
        let window_frame = WindowFrame::new((!keys.is_empty()).then_some(false));
        let number = WindowFunction {
            fun: WindowFunctionDefinition::WindowUDF(row_number_udwf()),
            params: WindowFunctionParams {
                args: Vec::new(),
                partition_by: input.shown_keys(),
                order_by: keys,
                window_frame,
                filter: None,
                null_treatment: None,
                distinct: false,
            },
        };
        let number = Expr::WindowFunction(Box::new(number)).alias(POSITION);
        let position = || Expr::Column(Column::from_name(POSITION));
        let mut columns = input.shown_keys();
        match shown {
            Some(shown) => {
                for expression in shown {
                    columns.push(self.inside(expression.clone(), &input.keys)?);
                }
            }
            None => columns.extend(source.schema().columns().into_iter().map(Expr::Column)),
        }
        let first = position().gt(lit(skip as u64));
        let last = position().lt_eq(lit((skip + fetch) as u64));
        let plan = LogicalPlanBuilder::from(input.plan)
            .window(vec![number])?
            .filter(first.and(last))?
            .project(columns)?
            .build()?;
        Ok(Some(Spread { plan, keys: input.keys }))
    }

    /// A join inside of the subquery, one or both sides of which name outer columns.
    fn join_inside(&self, join: &Join) -> Result<Option<Spread>> {
        let is_offered = matches!(join.join_type, JoinType::Inner | JoinType::Left);
        let Some(left) = self.spread(&join.left)?.filter(|_| is_offered) else { return Ok(None) };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let right = match names_outside(&join.right) {
            false => join.right.as_ref().clone(),
            true => {
                let Some(right) = self.spread(&join.right)? else { return Ok(None) };
                // Both sides have the outer values: in one row they are the same.
                let other = |name: &String| format!("{name}_right");
                let mut shown: Vec<Expr> = Vec::new();
                for (key, name) in right.keys.iter().zip(&self.names) {
                    shown.push(Expr::Column(key.clone()).alias(other(name)));
                    theirs.push(Column::from_name(other(name)));
                }
                ours.clone_from(&left.keys);
                shown.extend(join.right.schema().columns().into_iter().map(Expr::Column));
                LogicalPlanBuilder::from(right.plan).project(shown)?.build()?
            }
        };
        let mut conditions = Vec::new();
        for (first, second) in &join.on {
            conditions.push(first.clone().eq(second.clone()));
        }
        conditions.extend(join.filter.clone());
        let mut filter = None;
        for condition in conditions {
            let condition = self.inside(condition, &left.keys)?.unalias();
            filter = Some(match filter {
                Some(before) => Expr::and(before, condition),
                None => condition,
            });
        }
        let mut shown = left.shown_keys();
        shown.extend(join.schema.columns().into_iter().map(Expr::Column));
        let equal = NullEquality::NullEqualsNull;
        let builder = LogicalPlanBuilder::from(left.plan);
        let joined = match ours.is_empty() {
            true => builder.join_on(right, join.join_type, filter)?,
            false => builder.join_detailed(right, join.join_type, (ours, theirs), filter, equal)?,
        };
        Ok(Some(Spread { plan: joined.project(shown)?.build()?, keys: left.keys }))
    }

    fn union(&self, union: &Union) -> Result<Option<Spread>> {
        let own: Vec<Column> = self.names.iter().map(Column::from_name).collect();
        let mut all: Option<LogicalPlanBuilder> = None;
        for input in &union.inputs {
            let Some(part) = self.spread(input)? else { return Ok(None) };
            let keys = part.keys.iter().zip(&self.names);
            let mut shown: Vec<Expr> =
                keys.map(|(key, name)| Expr::Column(key.clone()).alias(name)).collect();
            let names = union.schema.fields().iter();
            let columns = input.schema().columns().into_iter().zip(names);
            shown.extend(columns.map(|(from, to)| Expr::Column(from).alias(to.name())));
            let part = LogicalPlanBuilder::from(part.plan).project(shown)?.build()?;
            all = Some(match all {
                Some(before) => before.union(part)?,
                None => LogicalPlanBuilder::from(part),
            });
        }
        let Some(all) = all else { return Ok(None) };
        Ok(Some(Spread { plan: all.build()?, keys: own }))
    }
}

impl Spread {
    fn shown_keys(&self) -> Vec<Expr> {
        self.keys.iter().cloned().map(Expr::Column).collect()
    }
}

/// Whether a step of the plan names a column of the outside.
fn names_outside(plan: &LogicalPlan) -> bool {
    !plan.all_out_ref_exprs().is_empty()
}

/// The window within the rows of the same outer values.
fn cut_by(expression: Expr, keys: &[Column]) -> Result<Expr> {
    let cut = expression.transform_up(|inner| match inner {
        Expr::WindowFunction(mut function) => {
            function.params.partition_by.extend(keys.iter().cloned().map(Expr::Column));
            Ok(Transformed::yes(Expr::WindowFunction(function)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(cut.data)
}
