//! Columns with parts of documents, from scans up to where they are used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Aggregate, Expr, Join, LogicalPlan, Projection, SubqueryAlias, TableScan, TableScanBuilder,
};
use granary_common::{ColumnId, TableId};
use granary_storage::PartColumn;

use super::call::{Call, Columns, calls_of, named, with_columns};
use crate::tables::PartTable;

/// Puts columns into plans.
pub(super) struct Extender {
    /// The columns that tables store.
    pub stored: BTreeMap<TableId, BTreeSet<ColumnId>>,
}

/// A plan whose output has further columns.
struct Extended {
    plan: LogicalPlan,
    /// For the calls over its output that were wanted, as far as there are columns.
    columns: Columns,
}

impl Extender {
    /// A node that names all of its output, with columns in place of calls in itself and in what is
    /// below it up to the next such node; `None` when nothing changes. Its output stays what it was.
    pub fn defining(&self, node: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        let input = match node {
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Aggregate(aggregate) if !has_sets(aggregate) => &aggregate.input,
            _ => return Ok(None),
        };
        let Some(Extended { plan, columns }) = self.extended(input, own_calls(node)?)? else {
            return Ok(None);
        };
        let named = |expression: &Expr| named(expression.clone(), &columns);
        Ok(Some(match node {
            LogicalPlan::Aggregate(aggregate) => over_extended(aggregate, plan, &columns)?,
            LogicalPlan::Projection(projection) => {
                let expressions = projection.expr.iter().map(named).collect::<Result<_>>()?;
                LogicalPlan::Projection(Projection::try_new(expressions, Arc::new(plan))?)
            }
            _ => return Ok(None),
        }))
    }

    /// `node` with columns for the `wanted` calls over its output, and for those within; `None` when
    /// there are none.
    fn extended(&self, node: &LogicalPlan, wanted: Vec<Call>) -> Result<Option<Extended>> {
        match node {
            LogicalPlan::TableScan(scan) => self.scan(scan, &wanted),
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias, &wanted),
            LogicalPlan::Projection(projection) => self.projection(projection, &wanted),
            LogicalPlan::Join(join) => self.join(join, node, wanted),
            LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
                let calls = wanted.into_iter().chain(own_calls(node)?).collect();
                let [input] = node.inputs()[..] else { return Ok(None) };
                let Some(Extended { plan, columns }) = self.extended(input, calls)? else {
                    return Ok(None);
                };
                let plan = over_inputs(node, vec![plan], &columns)?;
                Ok(Some(Extended { plan, columns }))
            }
            _ => Ok(None),
        }
    }

    fn scan(&self, scan: &TableScan, wanted: &[Call]) -> Result<Option<Extended>> {
        let provider = source_as_provider(&scan.source);
        let Some(provider) = provider.ok().filter(|_| scan.projection.is_none()) else {
            return Ok(None);
        };
        let Some(table) = provider.as_ref().downcast_ref::<PartTable>() else { return Ok(None) };
        let Some(stored) = self.stored.get(&table.state().table.id) else { return Ok(None) };
        let (mut added, mut columns) = (Vec::new(), Columns::new());
        for call in wanted {
            let Some(place) = scan.projected_schema.maybe_index_of_column(&call.column) else {
                continue;
            };
            let name = scan.projected_schema.field(place).name();
            let Some(column) = table.document_column(name, &call.path, &call.expression) else {
                continue;
            };
            if !stored.contains(&column.id) {
                continue;
            }
            let found = Column::new(Some(scan.table_name.clone()), column.name.clone());
            match added.iter().find(|other| same_place(other, &column)) {
                Some(other) if other.document != column.document => continue,
                Some(_) => {}
                None => added.push(column),
            }
            columns.push((call.clone(), found));
        }
        if columns.is_empty() {
            return Ok(None);
        }
        let source = provider_as_source(Arc::new(table.with_document_columns(added)));
        let scan = TableScanBuilder::new(scan.table_name.clone(), source)
            .with_filters(scan.filters.clone())
            .with_fetch(scan.fetch)
            .build()?;
        Ok(Some(Extended { plan: LogicalPlan::TableScan(scan), columns }))
    }

    fn alias(&self, alias: &SubqueryAlias, wanted: &[Call]) -> Result<Option<Extended>> {
        let below = |call: &Call| {
            let place = alias.schema.maybe_index_of_column(&call.column)?;
            Some(call.over(Column::from(alias.input.schema().qualified_field(place))))
        };
        let (calls, inner): (Vec<&Call>, Vec<Call>) =
            wanted.iter().filter_map(|call| Some((call, below(call)?))).unzip();
        let Some(Extended { plan, columns }) = self.extended(&alias.input, inner.clone())? else {
            return Ok(None);
        };
        let schema = Arc::clone(plan.schema());
        let is_one =
            |name: &str| schema.fields().iter().filter(|it| it.name() == name).count() == 1;
        if !columns.iter().all(|(_, column)| is_one(&column.name)) {
            return Ok(None);
        }
        let known = above(&calls, &inner, &columns);
        let columns = known
            .map(|(call, column)| (call, Column::new(Some(alias.alias.clone()), column.name)))
            .collect();
        let aliased = SubqueryAlias::try_new(Arc::new(plan), alias.alias.clone())?;
        Ok(Some(Extended { plan: LogicalPlan::SubqueryAlias(aliased), columns }))
    }

    /// Columns go through a projection that shows their documents.
    fn projection(&self, projection: &Projection, wanted: &[Call]) -> Result<Option<Extended>> {
        let below = |call: &Call| {
            let place = projection.schema.maybe_index_of_column(&call.column)?;
            match projection.expr[place].clone().unalias() {
                Expr::Column(column) => Some(call.over(column)),
                _ => None,
            }
        };
        let (calls, inner): (Vec<&Call>, Vec<Call>) =
            wanted.iter().filter_map(|call| Some((call, below(call)?))).unzip();
        if inner.is_empty() {
            return Ok(None);
        }
        let Some(Extended { plan, columns }) = self.extended(&projection.input, inner.clone())?
        else {
            return Ok(None);
        };
        let mut expressions = projection.expr.clone();
        let mut shown = Columns::new();
        for (call, column) in above(&calls, &inner, &columns) {
            let place = projection.schema.index_of_column(&call.column)?;
            let (relation, field) = projection.schema.qualified_field(place);
            let name = format!("{}.{}", field.name(), call.path.join("."));
            if projection.schema.has_column_with_unqualified_name(&name)
                || shown.iter().any(|(_, other)| other.name == name)
            {
                continue;
            }
            let column = Expr::Column(column);
            expressions.push(column.alias_qualified(relation.cloned(), name.clone()));
            shown.push((call, Column::new(relation.cloned(), name)));
        }
        let extended = Projection::try_new(expressions, Arc::new(plan))?;
        Ok(Some(Extended { plan: LogicalPlan::Projection(extended), columns: shown }))
    }

    fn join(&self, join: &Join, node: &LogicalPlan, wanted: Vec<Call>) -> Result<Option<Extended>> {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for call in wanted.into_iter().chain(own_calls(node)?) {
            let is_in = |side: &LogicalPlan| side.schema().has_column(&call.column);
            match (is_in(&join.left), is_in(&join.right)) {
                (true, false) => left.push(call),
                (false, true) => right.push(call),
                // Whose it is does not show.
                _ => {}
            }
        }
        let (left, right) = (self.extended(&join.left, left)?, self.extended(&join.right, right)?);
        if left.is_none() && right.is_none() {
            return Ok(None);
        }
        let mut columns = Columns::new();
        let mut side = |extended: Option<Extended>, old: &Arc<LogicalPlan>| match extended {
            Some(extended) => {
                columns.extend(extended.columns);
                extended.plan
            }
            None => old.as_ref().clone(),
        };
        let inputs = vec![side(left, &join.left), side(right, &join.right)];
        let plan = over_inputs(node, inputs, &columns)?;
        Ok(Some(Extended { plan, columns }))
    }
}

fn same_place(left: &PartColumn, right: &PartColumn) -> bool {
    left.id == right.id || left.name == right.name
}

/// The columns of calls below a node for the calls above it.
fn above<'c>(
    calls: &'c [&Call],
    inner: &'c [Call],
    columns: &'c Columns,
) -> impl Iterator<Item = (Call, Column)> + 'c {
    calls.iter().zip(inner).filter_map(|(call, inner)| {
        let (_, column) = columns.iter().find(|(known, _)| known == inner)?;
        Some(((*call).clone(), column.clone()))
    })
}

fn own_calls(node: &LogicalPlan) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    node.apply_expressions(|expression| {
        for call in calls_of(expression)? {
            if !calls.contains(&call) {
                calls.push(call);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(calls)
}

fn has_sets(aggregate: &Aggregate) -> bool {
    aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)))
}

/// A node that shows all of its inputs, over others, with columns in the places of its calls.
fn over_inputs(
    node: &LogicalPlan,
    inputs: Vec<LogicalPlan>,
    columns: &Columns,
) -> Result<LogicalPlan> {
    let changed = node.clone().map_expressions(|expression| with_columns(expression, columns))?;
    let mut inputs = inputs.into_iter();
    let changed =
        changed.data.map_children(|child| Ok(Transformed::yes(inputs.next().unwrap_or(child))))?;
    changed.data.recompute_schema()
}

/// The aggregation of another input, under the names that its output had.
fn over_extended(
    aggregate: &Aggregate,
    input: LogicalPlan,
    columns: &Columns,
) -> Result<LogicalPlan> {
    let changed = |expression: &Expr| with_columns(expression.clone(), columns).map(|it| it.data);
    let groups = aggregate.group_expr.iter().map(changed).collect::<Result<_>>()?;
    let aggregates = aggregate.aggr_expr.iter().map(changed).collect::<Result<_>>()?;
    let over = Aggregate::try_new(Arc::new(input), groups, aggregates)?;
    let shown = over.schema.columns().into_iter().zip(aggregate.schema.iter());
    let shown = shown.map(|(now, (relation, field))| {
        let is_same = now.name == *field.name() && now.relation.as_ref() == relation;
        match is_same {
            true => Expr::Column(now),
            false => Expr::Column(now).alias_qualified(relation.cloned(), field.name()),
        }
    });
    let shown: Vec<Expr> = shown.collect();
    let over = LogicalPlan::Aggregate(over);
    Ok(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(over))?))
}
