//! Conditions that the values of a partition decide, whatever they compute: `toYYYYMM(day) = 202402`
//! of a table that is partitioned by `day`, or by `toYYYYMM(day)`. They are evaluated once for each
//! partition, as if its values were a row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::{cast, concat};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::physical_expr::PhysicalExpr;
use granary_catalog::{PartitionValue, RowExpression, Table};
use granary_common::ColumnId;
use granary_execution::row_expression::decode;
use granary_storage::ttl::row_schema;
use granary_storage::{PartColumn, PartSchema, to_arrow_scalar};

use super::hints::{by_id, plain};

/// Whether a condition over columns of `table`, named as queries name them, may be decided by
/// partitions alone. Only its columns are looked at.
pub(super) fn may_decide(table: &Table, exposed: &PartSchema, condition: &Expr) -> bool {
    let deciding = sources(table);
    !deciding.is_empty()
        && split_conjunction(condition).into_iter().any(|term| {
            let columns = term.column_refs();
            let is_deciding = |name: &str| {
                let found = exposed.columns.iter().find(|column| column.name == name);
                found.is_some_and(|column| deciding.contains(&column.id))
            };
            !columns.is_empty()
                && !term.is_volatile()
                && columns.iter().all(|column| is_deciding(&column.name))
        })
}

/// The columns that partitions are computed from.
fn sources(table: &Table) -> BTreeSet<ColumnId> {
    let keys = table.partition_by.iter().zip(&table.options.partition_expressions);
    keys.flat_map(|(key, bound)| match bound {
        Some(bound) => bound.columns.clone(),
        None => vec![key.column],
    })
    .collect()
}

/// Conditions over the values of partitions.
pub(super) struct PartitionConditions {
    keys: Vec<PartColumn>,
    conditions: Vec<Arc<dyn PhysicalExpr>>,
}

impl PartitionConditions {
    /// Those of `filters`, for which [`may_decide`] holds; `None` when there are none.
    pub fn of(
        session: &dyn Session,
        table: &Table,
        schema: &PartSchema,
        filters: &[&Expr],
    ) -> Option<PartitionConditions> {
        let terms: Vec<&Expr> = filters.iter().copied().flat_map(split_conjunction).collect();
        if terms.is_empty() {
            return None;
        }
        let columns = schema.partition.iter().map(|id| schema.column(*id).cloned().ok());
        let keys = columns.collect::<Option<Vec<PartColumn>>>()?;
        let fields = row_schema(&keys);
        if fields.fields().iter().any(|field| field.data_type().is_floating()) {
            // 0.0 and -0.0 are of one partition, and not the same to every function.
            return None;
        }
        let named = DFSchema::try_from(fields).ok()?;
        let known = known_values(session, table);
        let conditions = terms.into_iter().filter_map(|term| {
            let over_keys = over_keys(plain(by_id(term.clone(), schema)?), &known, &keys)?;
            session.create_physical_expr(over_keys, &named).ok()
        });
        let conditions: Vec<_> = conditions.collect();
        (!conditions.is_empty()).then_some(PartitionConditions { keys, conditions })
    }

    /// Which of these partitions may have rows that pass; all of them where it cannot be said.
    pub fn passing<'p>(
        &self,
        partitions: impl Iterator<Item = &'p PartitionValue>,
    ) -> BTreeMap<&'p PartitionValue, bool> {
        let distinct: Vec<&PartitionValue> =
            partitions.collect::<BTreeSet<_>>().into_iter().collect();
        let mut passing = vec![true; distinct.len()];
        if let Some(rows) = self.rows(&distinct) {
            for condition in &self.conditions {
                let truths = condition.evaluate(&rows).and_then(|it| it.into_array(distinct.len()));
                let truths = truths.ok().and_then(|it| cast(&it, &DataType::Boolean).ok());
                let Some(truths) = truths else { continue };
                let truths = truths.as_boolean();
                for (place, passes) in passing.iter_mut().enumerate() {
                    *passes &= truths.is_valid(place) && truths.value(place);
                }
            }
        }
        distinct.into_iter().zip(passing).collect()
    }

    /// The values of partitions as rows.
    fn rows(&self, partitions: &[&PartitionValue]) -> Option<RecordBatch> {
        if partitions.is_empty() {
            return None;
        }
        let schema = Arc::new(row_schema(&self.keys));
        let column = |place: usize| -> Option<ArrayRef> {
            let data_type = schema.field(place).data_type();
            let values = partitions.iter().map(|partition| {
                let value = to_arrow_scalar(partition.0.get(place)?, data_type).ok()?;
                Some(value.into_inner())
            });
            let values: Vec<ArrayRef> = values.collect::<Option<_>>()?;
            let values: Vec<&dyn Array> = values.iter().map(|value| &**value).collect();
            concat(&values).ok()
        };
        let columns = (0..self.keys.len()).map(column).collect::<Option<Vec<_>>>()?;
        RecordBatch::try_new(Arc::clone(&schema), columns).ok()
    }
}

/// The expressions whose values partitions have, with the columns that hold these.
fn known_values(session: &dyn Session, table: &Table) -> Vec<(Expr, ColumnId)> {
    let context = session.task_ctx();
    let keys = table.partition_by.iter().zip(&table.options.partition_expressions);
    let known = keys.filter_map(|(key, bound)| {
        let expression = match bound {
            Some(bound) => plain(decode(bound, &context).ok()?),
            None => column(key.column),
        };
        Some((expression, key.column))
    });
    known.collect()
}

fn column(id: ColumnId) -> Expr {
    datafusion::logical_expr::ident(RowExpression::name_of(id))
}

/// `condition` with the columns of partitions in the places of what they hold; `None` when it needs
/// anything else of a row.
fn over_keys(condition: Expr, known: &[(Expr, ColumnId)], keys: &[PartColumn]) -> Option<Expr> {
    let replaced = condition.transform_down(|inner| {
        let found = known.iter().find(|(expression, _)| *expression == inner);
        Ok(match found {
            Some((_, id)) => Transformed::new(column(*id), true, TreeNodeRecursion::Jump),
            None => Transformed::no(inner),
        })
    });
    let replaced = replaced.ok()?.data;
    let is_key = |name: &str| keys.iter().any(|key| RowExpression::name_of(key.id) == name);
    let columns = replaced.column_refs();
    let all_known = !columns.is_empty() && columns.iter().all(|column| is_key(&column.name));
    all_known.then_some(replaced)
}
