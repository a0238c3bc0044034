//! Scans of what parts have in another order: where a condition is on what leads the order of a
//! projection, and none is on what leads the table's, the projection skips granules that the table
//! does not.
//!
//! Runs after plans are optimized, when scans know their columns and conditions.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, TableScan, TableScanBuilder,
};
use granary_catalog::{BoundProjection, Part, PartProjection};
use granary_common::ColumnId;
use granary_execution::row_expression::decode;
use granary_storage::projection::{fingerprint, key_name};

use super::{UsesProjections, cast_to, provider};
use crate::tables::PartTable;

/// The plan with reordered projections in the places of scans, where that reads less.
///
/// # Errors
/// Those of planning.
pub fn use_reordered(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    if state.config().get_extension::<UsesProjections>().is_none() || !is_simple(&plan)? {
        return Ok(plan);
    }
    let used = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        Ok(match reordered(state, scan)? {
            Some(reordered) => Transformed::yes(reordered),
            None => Transformed::no(node),
        })
    })?;
    Ok(used.data)
}

/// Whether nothing is joined: joins of tables that are distributed alike lose more than is won.
fn is_simple(plan: &LogicalPlan) -> Result<bool> {
    let mut is_simple = true;
    plan.apply_with_subqueries(|node| {
        is_simple &= !matches!(node, LogicalPlan::Join(_));
        Ok(if is_simple { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(is_simple)
}

fn reordered(state: &SessionState, scan: &TableScan) -> Result<Option<LogicalPlan>> {
    let Some(provider) = provider(scan) else { return Ok(None) };
    let Some(table) = provider.as_ref().downcast_ref::<PartTable>() else { return Ok(None) };
    let shown = scan.projected_schema.fields().len();
    if scan.fetch.is_some() || scan.filters.is_empty() || shown == 0 {
        return Ok(None);
    }
    let filters: Vec<Expr> =
        scan.filters.iter().map(|filter| unnormalize_col(filter.clone())).collect();
    let constrained = table.constrained(state, &filters);
    if table.leading_key().is_some_and(|leading| constrained.contains(&leading)) {
        return Ok(None);
    }
    for (projection, bound) in table.projections().filter(|(_, bound)| !bound.is_grouped) {
        let Some(columns) = Columns::of(state, table, bound) else { continue };
        if !constrained.contains(&columns.leading) {
            continue;
        }
        let Some(read) = columns.read(table, scan) else { continue };
        let Ok(fingerprint) = fingerprint(bound) else { continue };
        let parts = table.matching_parts(state, &filters);
        let with: Vec<(&Part, &PartProjection)> = parts
            .iter()
            .filter_map(|part| Some((&**part, table.of_projection(part, fingerprint)?)))
            .collect();
        if with.is_empty() {
            continue;
        }
        let ids: BTreeSet<_> = with.iter().map(|(part, _)| part.id).collect();
        let projected = table.projected(&projection.name, bound, with.iter().copied());
        let name = TableReference::bare(projection.name.clone());
        let own = TableScanBuilder::new(name, provider_as_source(Arc::new(projected)));
        let rest = (ids.len() < parts.len()).then(|| table.without(&ids));
        return plan(scan, own, &read, rest).map(Some);
    }
    Ok(None)
}

/// The columns of the table that a projection has as they are.
struct Columns {
    /// By the places of the keys.
    plain: Vec<Option<ColumnId>>,
    leading: ColumnId,
}

/// What a scan gives and tests, as places of keys.
struct Read {
    shown: Vec<usize>,
    filters: Vec<Expr>,
}

impl Columns {
    fn of(state: &SessionState, table: &PartTable, bound: &BoundProjection) -> Option<Columns> {
        let context = state.task_ctx();
        let exposed = &table.exposed().columns;
        let plain = bound.keys.iter().map(|key| match decode(&key.expression, &context) {
            Ok(Expr::Column(_)) => {
                let of = key.expression.columns.first();
                let column = exposed.iter().find(|column| Some(&column.id) == of)?;
                (column.column_type == key.column_type).then_some(column.id)
            }
            _ => None,
        });
        let plain: Vec<Option<ColumnId>> = plain.collect();
        let leading = plain.get(*bound.ordered_by.first()? as usize).copied().flatten()?;
        Some(Columns { plain, leading })
    }

    fn read(&self, table: &PartTable, scan: &TableScan) -> Option<Read> {
        let exposed = table.exposed();
        let place = |name: &str| {
            let column = exposed.columns.iter().find(|column| column.name == name)?;
            self.plain.iter().position(|plain| *plain == Some(column.id))
        };
        let shown = scan.projected_schema.fields().iter().map(|field| place(field.name()));
        let filters = scan.filters.iter().map(|filter| {
            let mut is_known = true;
            let mapped = filter.clone().transform_up(|inner| {
                let Expr::Column(column) = &inner else { return Ok(Transformed::no(inner)) };
                Ok(match place(&column.name) {
                    Some(place) => {
                        let key = Column::new_unqualified(key_name(place));
                        Transformed::yes(Expr::Column(key))
                    }
                    None => {
                        is_known = false;
                        Transformed::no(inner)
                    }
                })
            });
            mapped.ok().map(|mapped| mapped.data).filter(|_| is_known)
        });
        Some(Read {
            shown: shown.collect::<Option<_>>()?,
            filters: filters.collect::<Option<_>>()?,
        })
    }
}

/// The scan of the projection, and of the `rest` of the table, with the columns of `scan`.
fn plan(
    scan: &TableScan,
    own: TableScanBuilder,
    read: &Read,
    rest: Option<PartTable>,
) -> Result<LogicalPlan> {
    let mut places = read.shown.clone();
    places.sort_unstable();
    places.dedup();
    let own = own.with_projection(Some(places)).with_filters(read.filters.clone()).build()?;
    let mut columns = Vec::with_capacity(read.shown.len());
    for (place, field) in read.shown.iter().zip(scan.projected_schema.fields()) {
        let key = Expr::Column(Column::new(Some(own.table_name.clone()), key_name(*place)));
        let key = cast_to(key, own.projected_schema.as_ref(), field.data_type().clone())?;
        columns.push(key.alias(field.name()));
    }
    let mut rows = LogicalPlanBuilder::from(LogicalPlan::TableScan(own)).project(columns)?;
    if let Some(rest) = rest {
        let source = provider_as_source(Arc::new(rest));
        let rest = TableScanBuilder::new(scan.table_name.clone(), source)
            .with_projection(scan.projection.clone())
            .with_filters(scan.filters.clone())
            .build()?;
        rows = rows.union(LogicalPlan::TableScan(rest))?;
    }
    let named = scan.projected_schema.iter().map(|(qualifier, field)| {
        Expr::Column(Column::new_unqualified(field.name()))
            .alias_qualified(qualifier.cloned(), field.name())
    });
    let named: Vec<Expr> = named.collect();
    rows.project(named)?.build()
}
