//! Aggregations that are answered by the table that a materialized view fills from the table that
//! they read.
//!
//! ```text
//!   Aggregate                          Projection    the columns of before
//!     Filter                             Aggregate   merged states, sums of sums ..
//!       Scan of the view's source  ►       Filter    on the view's keys
//!                                            Scan of the view's table
//! ```

mod columns;

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::datasource::{TableProvider, provider_as_source};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, TableScan, TableScanBuilder,
};
use granary_catalog::{Column as Stored, ColumnType, EngineKind, Fold, Table, View};
use granary_common::TableId;
use granary_execution::row_expression::{settled, settled_aggregate};
use granary_storage::projection::{key_name, value_name};
use granary_storage::ttl::row_schema;

use self::columns::{
    fold_of, folds, is_key, keeps, keeps_results, keeps_zeros, merges_states, of_state, sees_values,
};
use super::matching::{Answer, Kept, Shape, answer, comparable, comparable_call, is_immutable};
use super::source::Source;
use super::{
    cast_to, columns_of, fold, is_in_utc, is_known_anyway, provider, results, shape, thinks_in_utc,
};
use crate::tables::PartTable;

/// A materialized view whose table may answer queries of its source.
#[derive(Debug)]
pub struct FilledByView {
    pub view: Arc<View>,
    /// The view's SELECT, with the columns of the view.
    pub query: LogicalPlan,
    /// The table that it fills.
    pub target: Arc<dyn TableProvider>,
}

/// The plan with tables of views in the places of their sources; `None` when none answers. Whoever
/// calls knows that the views have seen every row of their sources, and no others.
///
/// # Errors
/// Those of planning.
pub fn use_views(
    state: &SessionState,
    plan: &LogicalPlan,
    views: &[FilledByView],
) -> Result<Option<LogicalPlan>> {
    let analyzed = |plan: &LogicalPlan| {
        state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {})
    };
    let queries: Vec<LogicalPlan> =
        views.iter().map(|view| analyzed(&view.query)).collect::<Result<_>>()?;
    let offers = views.iter().zip(&queries);
    let offers: Vec<Offer<'_>> =
        offers.filter_map(|(view, query)| Offer::of(state, view, query)).collect();
    if offers.is_empty() {
        return Ok(None);
    }
    let used = analyzed(plan)?.transform_up_with_subqueries(|node| {
        let LogicalPlan::Aggregate(aggregate) = &node else { return Ok(Transformed::no(node)) };
        Ok(match answered(state, aggregate, &offers)? {
            Some(answered) => Transformed::yes(answered),
            None => Transformed::no(node),
        })
    })?;
    Ok(used.transformed.then_some(used.data))
}

fn as_table(provider: &Arc<dyn TableProvider>) -> Option<&PartTable> {
    provider.as_ref().downcast_ref::<PartTable>()
}

/// What `plan` reads, if it is rows of one table as they are now.
fn source(plan: &LogicalPlan) -> Option<(Source<'_>, Arc<dyn TableProvider>)> {
    let exposed = |scan: &TableScan| Some(as_table(&provider(scan)?)?.exposed().clone());
    let source = Source::of(plan, &exposed)?;
    let provider = provider(source.scan)?;
    let keeps_rows = |table: &PartTable| {
        table.is_plain() && table.state().table.engine.kind == EngineKind::MergeTree
    };
    as_table(&provider).is_some_and(keeps_rows).then_some((source, provider))
}

/// The smallest table of a view that answers.
fn answered(
    state: &SessionState,
    aggregate: &Aggregate,
    offers: &[Offer<'_>],
) -> Result<Option<LogicalPlan>> {
    let Some((source, provider)) = source(&aggregate.input) else { return Ok(None) };
    let Some(table) = as_table(&provider) else { return Ok(None) };
    let Some(shape) = shape(aggregate, &source) else { return Ok(None) };
    if is_known_anyway(&shape) {
        return Ok(None);
    }
    let schema = DFSchema::try_from(row_schema(&table.exposed().columns))?;
    let rows = table.rows();
    let mut best: Option<(&Offer<'_>, Answer)> = None;
    for offer in offers.iter().filter(|offer| offer.source == table.state().table.id) {
        if offer.target.rows() >= best.as_ref().map_or(rows, |(best, _)| best.target.rows()) {
            continue;
        }
        let options = state.config_options();
        let Some(shape) = offer.without_own_filters(&shape, &schema, state) else { continue };
        match answer(&shape, &offer.kept, &schema, options) {
            Ok(answer) => best = Some((offer, answer)),
            Err(reason) => tracing::debug!(view = offer.name, reason, "is not used"),
        }
    }
    best.map(|(offer, answer)| offer.plan(&answer, &schema, aggregate)).transpose()
}

/// What the table of a view has.
struct Offer<'a> {
    name: &'a str,
    source: TableId,
    target: &'a PartTable,
    /// What every row passed.
    filters: Vec<Expr>,
    kept: Kept,
    /// The columns of the keys, and of the values.
    keys: Vec<&'a str>,
    values: Vec<&'a str>,
}

impl<'a> Offer<'a> {
    /// `None` where something of the view or its table leaves in doubt what a row stands for.
    fn of(state: &SessionState, view: &'a FilledByView, query: &LogicalPlan) -> Option<Offer<'a>> {
        let target = as_table(&view.target)?;
        let (outputs, aggregate) = outputs(query)?;
        let (source, of_source) = source(&aggregate.input)?;
        let of_source = as_table(&of_source)?;
        let shape = shape(aggregate, &source)?;
        let mut parts = shape.groups.iter().chain(&shape.aggregates).chain(&shape.filters);
        if !parts.all(is_immutable) {
            return None;
        }
        let schema = DFSchema::try_from(row_schema(&of_source.exposed().columns)).ok()?;
        let mut offer = Offer {
            name: &view.view.name,
            source: of_source.state().table.id,
            target,
            filters: Vec::new(),
            kept: Kept::default(),
            keys: Vec::new(),
            values: Vec::new(),
        };
        for filter in &shape.filters {
            offer.filters.push(settled_form(filter, &schema, state)?);
        }
        let table = &target.state().table;
        for (name, place) in outputs {
            let mut insertable = table.insertable_columns();
            let Some(column) = insertable.find(|column| column.name == name) else { continue };
            let (_, given) = view.view.columns.iter().find(|(known, _)| *known == name)?;
            match place.checked_sub(shape.groups.len()) {
                None if is_key(table, column) && keeps(given, &column.column_type) => {
                    let key = settled_form(shape.groups.get(place)?, &schema, state)?;
                    offer.kept.keys.push(key);
                    offer.keys.push(&column.name);
                }
                None => {}
                Some(place) => {
                    let call = shape.aggregates.get(place)?.clone();
                    let has_rows = !shape.groups.is_empty();
                    offer.add_value(state, (&schema, has_rows), call, (given, column));
                }
            }
        }
        offer.is_sound(table, &schema, state).then_some(offer)
    }

    /// Adds what the column keeps, if it is known how its rows become one.
    fn add_value(
        &mut self,
        state: &SessionState,
        (schema, has_rows): (&DFSchema, bool),
        call: Expr,
        (given, column): (&ColumnType, &'a Stored),
    ) {
        let Expr::AggregateFunction(call) = call else { return };
        let table = &self.target.state().table;
        let found = match &column.column_type {
            ColumnType::AggregateFunction(kept) => {
                of_state(state, &call, &kept.function).filter(|_| merges_states(table))
            }
            _ => fold_of(&call).map(|fold| (fold, call.clone(), None)),
        };
        let Some((fold, call, merge)) = found else { return };
        let call = Expr::AggregateFunction(call);
        let Ok(call) = settled_aggregate(call, schema, state.config_options()) else { return };
        let call = comparable_call(call);
        let is_never_null = fold == Fold::Count || has_rows && sees_values(&call, schema);
        let is_kept = merge.is_some()
            || folds(table, column, fold)
                && keeps_results(fold, given, &column.column_type, is_never_null);
        if is_kept {
            self.kept.values.push((fold, call));
            self.kept.merges.push(merge);
            self.values.push(&column.name);
        }
    }

    fn is_sound(&self, table: &Table, schema: &DFSchema, state: &SessionState) -> bool {
        let counts_rows = |(fold, call): &(Fold, AggregateFunction)| {
            *fold == Fold::Count && call.params.filter.is_none() && sees_values(call, schema)
        };
        let stays = match &table.engine.kind {
            EngineKind::MergeTree | EngineKind::Aggregating => true,
            // Rows whose sums are all zero go: none, where rows are counted too.
            EngineKind::Summing { .. } => {
                keeps_zeros(table) || self.kept.values.iter().any(counts_rows)
            }
            _ => false,
        };
        let is_alike = self.filters.is_empty() || thinks_in_utc(state);
        stays && self.target.is_plain() && is_alike && is_in_utc(state, &self.kept)
    }

    /// The aggregation of what passed the view's own conditions; `None` when the query does not ask
    /// for each of them.
    fn without_own_filters(
        &self,
        shape: &Shape,
        schema: &DFSchema,
        state: &SessionState,
    ) -> Option<Shape> {
        let mut others = Vec::new();
        let mut own = vec![false; self.filters.len()];
        for filter in &shape.filters {
            let form = settled_form(filter, schema, state);
            let place = form.and_then(|form| self.filters.iter().position(|own| *own == form));
            match place {
                Some(place) => own[place] = true,
                None => others.push(filter.clone()),
            }
        }
        let (groups, aggregates) = (shape.groups.clone(), shape.aggregates.clone());
        own.iter().all(|asked| *asked).then_some(Shape { groups, aggregates, filters: others })
    }

    fn plan(
        &self,
        answer: &Answer,
        schema: &DFSchema,
        aggregate: &Aggregate,
    ) -> Result<LogicalPlan> {
        let name = TableReference::bare(self.name.to_owned());
        let source = provider_as_source(Arc::new(self.target.read_as_view(self.name)));
        let scan = TableScanBuilder::new(name.clone(), source).build()?;
        let stored = |own: &str| Expr::Column(Column::new(Some(name.clone()), own));
        let mut typed = Vec::new();
        for (place, (own, key)) in self.keys.iter().zip(&self.kept.keys).enumerate() {
            let key_type = key.get_type(schema)?;
            let key = cast_to(stored(own), scan.projected_schema.as_ref(), key_type)?;
            typed.push(key.alias(key_name(place)));
        }
        let values = self.values.iter().zip(&self.kept.values).zip(&self.kept.merges);
        for (place, ((own, (_, call)), merge)) in values.enumerate() {
            let value = match merge {
                Some(_) => stored(own),
                None => {
                    let data_type = Expr::AggregateFunction(call.clone()).get_type(schema)?;
                    cast_to(stored(own), scan.projected_schema.as_ref(), data_type)?
                }
            };
            typed.push(value.alias(value_name(place)));
        }
        let mut plan = LogicalPlanBuilder::from(LogicalPlan::TableScan(scan)).project(typed)?;
        for filter in &answer.filters {
            plan = plan.filter(filter.of_projection.clone())?;
        }
        let columns = columns_of(answer).map(|(name, both)| {
            // A state stands for itself on both sides and has no type over the table's rows.
            let value = both.of_projection.clone();
            let typed = match both.of_rows.get_type(schema) {
                Ok(data_type) => cast_to(value, plan.schema().as_ref(), data_type)?,
                Err(_) => value,
            };
            Ok(typed.alias(name))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        results(answer, fold(answer, plan.project(columns)?.build()?)?, aggregate)
    }
}

/// The columns of an aggregation under their last names, by their places in it.
fn outputs(plan: &LogicalPlan) -> Option<(Vec<(String, usize)>, &Aggregate)> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let names = aggregate.schema.fields().iter().map(|field| field.name().clone());
            Some((names.enumerate().map(|(place, name)| (name, place)).collect(), aggregate))
        }
        LogicalPlan::SubqueryAlias(alias) => outputs(&alias.input),
        LogicalPlan::Projection(projection) => {
            let (inner, aggregate) = outputs(&projection.input)?;
            // What is below may leave columns out, so names are looked up by place.
            let schema = projection.input.schema();
            let named = projection.expr.iter().zip(projection.schema.fields());
            let named = named.filter_map(|(expression, field)| {
                // `count() AS n` has two names, one in the other.
                let expression = expression.clone().unalias_nested().data;
                let Expr::Column(column) = expression else { return None };
                let place = schema.maybe_index_of_column(&column)?;
                let name = schema.field(place).name();
                let (_, place) = inner.iter().find(|(known, _)| known == name)?;
                Some((field.name().clone(), *place))
            });
            Some((named.collect(), aggregate))
        }
        _ => None,
    }
}

fn settled_form(expression: &Expr, schema: &DFSchema, state: &SessionState) -> Option<Expr> {
    settled(expression.clone(), schema, state.config_options()).ok().map(comparable)
}
