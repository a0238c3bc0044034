//! Aggregations that are answered by what parts keep of a projection, part by part: of parts that
//! have it its rows are read, of the others their own, and both are aggregated together.
//!
//! ```text
//!   Aggregate                 Projection     the columns of before
//!     Filter                    Aggregate    sums of sums, sums of counts, least of least ..
//!       Scan of all parts  ►      Union
//!                                   Projection ─ Filter ─ Scan of the projection
//!                                   Projection ─ Filter ─ Scan of the other parts
//! ```
//!
//! Runs before plans are optimized, and leaves one that runs on one node. Projections in another order
//! are for [`reordered`].

mod matching;
mod reordered;
mod source;
#[cfg(test)]
mod tests;
mod views;

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::datasource::{TableProvider, provider_as_source, source_as_provider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, TableScan, TableScanBuilder,
    cast, lit,
};
use granary_catalog::{BoundProjection, Part, PartProjection, RowExpression};
use granary_execution::row_expression::{decode, settled, settled_aggregate};
use granary_storage::PartSchema;
use granary_storage::projection::{fingerprint, key_name, value_name};
use granary_storage::ttl::row_schema;

use self::matching::{Answer, Both, Kept, Outcome, Shape, answer, comparable, comparable_call};
use self::source::Source;
use crate::tables::{PartTable, ProjectedParts};

pub use self::reordered::use_reordered;
pub use self::views::{FilledByView, use_views};

/// Of sessions whose queries may read projections.
#[derive(Clone, Copy, Debug)]
pub struct UsesProjections;

/// The plan with projections in the places of tables; `None` when none answers.
///
/// # Errors
/// Those of planning.
pub fn use_projections(state: &SessionState, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    if state.config().get_extension::<UsesProjections>().is_none() || !has_projections(plan)? {
        return Ok(None);
    }
    let options = state.config_options();
    // The types in the plan are settled from here on, as those of what tables keep are.
    let plan = state.analyzer().execute_and_check(plan.clone(), options, |_, _| {})?;
    let used = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Aggregate(aggregate) = &node else { return Ok(Transformed::no(node)) };
        Ok(match answered(state, aggregate)? {
            Some(answered) => Transformed::yes(answered),
            None => Transformed::no(node),
        })
    })?;
    Ok(used.transformed.then_some(used.data))
}

fn has_projections(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(provider) = provider(scan)
            && let Some(table) = provider.as_ref().downcast_ref::<PartTable>()
        {
            found |= table.projections().next().is_some();
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn provider(scan: &TableScan) -> Option<Arc<dyn TableProvider>> {
    source_as_provider(&scan.source).ok()
}

/// What stands for an aggregation of one table's rows.
fn answered(state: &SessionState, aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let exposed = |scan: &TableScan| {
        let provider = provider(scan)?;
        provider.as_ref().downcast_ref::<PartTable>().map(|table| table.exposed().clone())
    };
    let Some(source) = Source::of(&aggregate.input, &exposed) else { return Ok(None) };
    let Some(provider) = provider(source.scan) else { return Ok(None) };
    let Some(table) = provider.as_ref().downcast_ref::<PartTable>() else { return Ok(None) };
    let Some(shape) = shape(aggregate, &source) else { return Ok(None) };
    if is_known_anyway(&shape) {
        return Ok(None);
    }
    let schema = DFSchema::try_from(row_schema(&table.exposed().columns))?;
    let filters: Option<Vec<Expr>> =
        shape.filters.iter().map(|filter| named(filter, table.exposed())).collect();
    let Some(filters) = filters else { return Ok(None) };
    let parts = table.matching_parts(state, &filters);
    let mut best: Option<(u64, Use<'_>)> = None;
    for (projection, bound) in table.projections() {
        let Some(kept) = kept(state, bound, &schema) else { continue };
        let answer = match answer(&shape, &kept, &schema, state.config_options()) {
            Ok(answer) => answer,
            Err(reason) => {
                tracing::debug!(projection = projection.name, reason, "is not used");
                continue;
            }
        };
        let Ok(fingerprint) = fingerprint(bound) else { continue };
        let with: Vec<(&Part, &PartProjection)> = parts
            .iter()
            .filter_map(|part| Some((&**part, table.of_projection(part, fingerprint)?)))
            .collect();
        let saved: u64 = with.iter().map(|(part, kept)| part.rows.saturating_sub(kept.rows)).sum();
        if saved > best.as_ref().map_or(0, |(saved, _)| *saved) {
            let name = &projection.name;
            best = Some((saved, Use { name, bound, kept, answer, with, has_rest: false }));
        }
    }
    let Some((_, mut used)) = best else { return Ok(None) };
    used.has_rest = used.with.len() < parts.len();
    used.plan(table, source.scan, &schema, aggregate).map(Some)
}

/// The aggregation over the table's columns.
fn shape(aggregate: &Aggregate, source: &Source<'_>) -> Option<Shape> {
    let schema = aggregate.input.schema();
    let over_table = |expression: &Expr| source.over_table(expression, schema);
    Some(Shape {
        groups: aggregate.group_expr.iter().map(over_table).collect::<Option<_>>()?,
        aggregates: aggregate.aggr_expr.iter().map(over_table).collect::<Option<_>>()?,
        filters: source.filters.clone(),
    })
}

/// Whether the catalog and the statistics of parts give the answer without reading.
fn is_known_anyway(shape: &Shape) -> bool {
    let is_known = |call: &Expr| {
        matches!(call, Expr::AggregateFunction(call)
            if ["count", "min", "max"].contains(&call.func.name()) && !call.params.distinct
                && call.params.filter.is_none())
    };
    shape.groups.is_empty() && shape.filters.is_empty() && shape.aggregates.iter().all(is_known)
}

/// An expression over ids as the table names its columns.
fn named(expression: &Expr, exposed: &PartSchema) -> Option<Expr> {
    let mut is_known = true;
    let named = expression.clone().transform_up(|inner| {
        let Expr::Column(column) = &inner else { return Ok(Transformed::no(inner)) };
        let mut own = exposed.columns.iter();
        Ok(match own.find(|own| RowExpression::name_of(own.id) == column.name) {
            Some(own) => Transformed::yes(Expr::Column(Column::new_unqualified(&own.name))),
            None => {
                is_known = false;
                Transformed::no(inner)
            }
        })
    });
    named.ok().map(|named| named.data).filter(|_| is_known)
}

/// The projection as expressions; `None` where this build cannot read it, it does not group, or it
/// may mean something else under the settings of the query.
fn kept(state: &SessionState, bound: &BoundProjection, schema: &DFSchema) -> Option<Kept> {
    if !bound.is_grouped {
        return None;
    }
    let (context, options) = (state.task_ctx(), state.config_options());
    let mut kept = Kept::default();
    for key in &bound.keys {
        let key = settled(decode(&key.expression, &context).ok()?, schema, options).ok()?;
        kept.keys.push(comparable(key));
    }
    for value in &bound.values {
        let call = decode(&value.aggregate, &context).ok()?;
        let call = settled_aggregate(call, schema, options).ok()?;
        kept.values.push((value.fold, comparable_call(call)));
        kept.merges.push(None);
    }
    is_in_utc(state, &kept).then_some(kept)
}

/// Whether times mean in the query what they meant when rows were kept: parts are written in UTC, and
/// what functions make of times may depend on the zone.
fn is_in_utc(state: &SessionState, kept: &Kept) -> bool {
    let calls = kept.values.iter().map(|(_, call)| Expr::AggregateFunction(call.clone()));
    let computes = |expression: &Expr| {
        let computes = expression.exists(|inner| {
            Ok(matches!(inner, Expr::ScalarFunction(_) | Expr::Cast(_) | Expr::TryCast(_)))
        });
        computes.unwrap_or(true)
    };
    thinks_in_utc(state) || !kept.keys.iter().cloned().chain(calls).any(|one| computes(&one))
}

fn thinks_in_utc(state: &SessionState) -> bool {
    let zone = state.config_options().execution.time_zone.as_deref();
    zone.is_none_or(|zone| zone == "UTC")
}

/// A projection that answers.
struct Use<'a> {
    name: &'a str,
    bound: &'a BoundProjection,
    kept: Kept,
    answer: Answer,
    /// The parts that have it, with what they have.
    with: Vec<(&'a Part, &'a PartProjection)>,
    /// Whether other parts have rows as well.
    has_rest: bool,
}

impl Use<'_> {
    fn plan(
        &self,
        table: &PartTable,
        scan: &TableScan,
        schema: &DFSchema,
        aggregate: &Aggregate,
    ) -> Result<LogicalPlan> {
        let parts = self.with.iter().copied();
        let projected = table.projected(self.name, self.bound, parts);
        let mut rows = self.of_projection(projected, schema)?;
        if self.has_rest {
            let covered: BTreeSet<_> = self.with.iter().map(|(part, _)| part.id).collect();
            let rest = self.of_rows(table.without(&covered), scan)?;
            rows = LogicalPlanBuilder::from(rows).union(rest)?.build()?;
        }
        results(&self.answer, fold(&self.answer, rows)?, aggregate)
    }

    /// The rows of the projection, with the columns of the aggregation.
    fn of_projection(&self, projected: ProjectedParts, schema: &DFSchema) -> Result<LogicalPlan> {
        let name = TableReference::bare(self.name.to_owned());
        let source = provider_as_source(Arc::new(projected));
        let scan = TableScanBuilder::new(name.clone(), source).build()?;
        let calls = self.kept.values.iter().map(|(_, call)| Expr::AggregateFunction(call.clone()));
        let keys = self.kept.keys.iter().cloned().enumerate();
        let keys = keys.map(|(place, key)| (key_name(place), key));
        let values = calls.enumerate().map(|(place, call)| (value_name(place), call));
        let mut typed = Vec::new();
        for (stored, meant) in keys.chain(values) {
            let value = Expr::Column(Column::new(Some(name.clone()), &stored));
            let data_type = meant.get_type(schema)?;
            typed.push(cast_to(value, scan.projected_schema.as_ref(), data_type)?.alias(stored));
        }
        let mut plan = LogicalPlanBuilder::from(LogicalPlan::TableScan(scan)).project(typed)?;
        for filter in &self.answer.filters {
            plan = plan.filter(filter.of_projection.clone())?;
        }
        let mut columns = Vec::new();
        for (name, Both { of_rows, of_projection }) in columns_of(&self.answer) {
            let data_type = of_rows.get_type(schema)?;
            let value = cast_to(of_projection.clone(), plan.schema().as_ref(), data_type)?;
            columns.push(value.alias(name));
        }
        plan.project(columns)?.build()
    }

    /// The rows of other parts, with the same columns.
    fn of_rows(&self, table: PartTable, scan: &TableScan) -> Result<LogicalPlan> {
        let name = &scan.table_name;
        let by_id = table.exposed().columns.iter().map(|own| {
            let own_name = Column::new(Some(name.clone()), &own.name);
            Expr::Column(own_name).alias(RowExpression::name_of(own.id))
        });
        let by_id: Vec<Expr> = by_id.collect();
        let source = provider_as_source(Arc::new(table));
        let scan = TableScanBuilder::new(name.clone(), source).build()?;
        let mut plan = LogicalPlanBuilder::from(LogicalPlan::TableScan(scan)).project(by_id)?;
        for filter in &self.answer.filters {
            plan = plan.filter(filter.of_rows.clone())?;
        }
        let columns = columns_of(&self.answer).map(|(name, both)| both.of_rows.clone().alias(name));
        let columns: Vec<Expr> = columns.collect();
        plan.project(columns)?.build()
    }
}

/// The columns that the rows have which are aggregated.
fn columns_of(answer: &Answer) -> impl Iterator<Item = (String, &Both)> {
    let groups = answer.groups.iter().enumerate();
    let groups = groups.map(|(place, both)| (group_name(place), both));
    let inputs = answer.inputs.iter().enumerate();
    groups.chain(inputs.map(|(place, both)| (input_name(place), both)))
}

/// The aggregation of these columns.
fn fold(answer: &Answer, rows: LogicalPlan) -> Result<LogicalPlan> {
    let groups = (0..answer.groups.len()).map(|place| column(&group_name(place)));
    let calls = answer.calls.iter().enumerate().map(|(place, call)| {
        let input = vec![column(&input_name(call.input))];
        let func = Arc::clone(&call.func);
        let call = AggregateFunction::new_udf(func, input, call.distinct, None, vec![], None);
        Expr::AggregateFunction(call).alias(call_name(place))
    });
    let (groups, calls) = (groups.collect(), calls.collect());
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(rows), groups, calls)?))
}

/// The columns of `aggregate`, with its names and types.
fn results(answer: &Answer, folded: LogicalPlan, aggregate: &Aggregate) -> Result<LogicalPlan> {
    let groups = (0..answer.groups.len()).map(|place| column(&group_name(place)));
    let of_call = |place: usize| column(&call_name(place));
    let results = answer.results.iter().map(|outcome| match outcome {
        Outcome::Call(call) => of_call(*call),
        Outcome::Count(call) => coalesce(vec![of_call(*call), lit(0_i64)]),
        Outcome::Mean { sum, count } => of_call(*sum) / cast(of_call(*count), DataType::Float64),
    });
    let mut columns = Vec::new();
    for (value, (qualifier, field)) in groups.chain(results).zip(aggregate.schema.iter()) {
        let value = cast_to(value, folded.schema().as_ref(), field.data_type().clone())?;
        columns.push(value.alias_qualified(qualifier.cloned(), field.name()));
    }
    if columns.len() != aggregate.schema.fields().len() {
        return Err(DataFusionError::Internal("an aggregation lost a column".to_owned()));
    }
    LogicalPlanBuilder::from(folded).project(columns)?.build()
}

fn cast_to(value: Expr, schema: &DFSchema, data_type: DataType) -> Result<Expr> {
    match value.get_type(schema)? == data_type {
        true => Ok(value),
        false => Ok(cast(value, data_type)),
    }
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn group_name(place: usize) -> String {
    format!("group_{place}")
}

fn input_name(place: usize) -> String {
    format!("input_{place}")
}

fn call_name(place: usize) -> String {
    format!("call_{place}")
}
