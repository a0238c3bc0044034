//! Conditions on columns as conditions on the partitions that are computed from them: whoever asks
//! for `date >= '2024-03-05'` of a table by `toYYYYMM(date)` needs no part before 202403.

use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use granary_catalog::{Scalar, Table};
use granary_common::ColumnId;
use granary_execution::row_expression::{decode, is_monotone};
use granary_storage::ttl::row_schema;
use granary_storage::{CompareOp, Filter, PartSchema, scalar_at, to_arrow_scalar};
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;

/// A partition expression of one column.
struct Computed {
    of: ColumnId,
    /// The column that holds its values.
    column: ColumnId,
    is_monotone: bool,
    expression: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
}

/// The filter with what it implies for the partitions of `table`. Only for choosing parts: rows are
/// not to be compared with it.
pub(super) fn with_implied(
    session: &dyn Session,
    table: &Table,
    schema: &PartSchema,
    filter: Filter,
) -> Filter {
    let keys = table.partition_by.iter().zip(&table.options.partition_expressions);
    let computed = keys.filter_map(|(key, bound)| {
        let bound = bound.as_ref()?;
        let [of] = bound.columns.as_slice() else { return None };
        let fields = row_schema([schema.column(*of).ok()?]);
        let expression: Expr = decode(bound, &session.task_ctx()).ok()?;
        let is_monotone = is_monotone(&expression, &fields);
        let named = DFSchema::try_from(fields.clone()).ok()?;
        let expression = session.create_physical_expr(expression, &named).ok()?;
        Some(Computed {
            of: *of,
            column: key.column,
            is_monotone,
            expression,
            schema: Arc::new(fields),
        })
    });
    let computed: Vec<Computed> = computed.collect();
    match computed.is_empty() {
        true => filter,
        false => implied(&filter, &computed),
    }
}

fn implied(filter: &Filter, computed: &[Computed]) -> Filter {
    let all = |terms: &[Filter]| terms.iter().map(|term| implied(term, computed)).collect();
    let with = |more: Vec<Filter>| match more.is_empty() {
        true => filter.clone(),
        false => Filter::And(std::iter::once(filter.clone()).chain(more).collect()),
    };
    match filter {
        Filter::And(terms) => Filter::And(all(terms)),
        Filter::Or(terms) => Filter::Or(all(terms)),
        Filter::Compare { column, op, value } => {
            let of = computed.iter().filter(|known| known.of == *column);
            with(of.filter_map(|known| known.compare(*op, value)).collect())
        }
        Filter::In { column, values, negated: false } => {
            let of = computed.iter().filter(|known| known.of == *column);
            with(of.filter_map(|known| known.any_of(values)).collect())
        }
        other => other.clone(),
    }
}

impl Computed {
    /// What a comparison of the column says of the partition. Equal values have equal partitions,
    /// whatever the expression is; an order is kept only by some.
    fn compare(&self, op: CompareOp, value: &Scalar) -> Option<Filter> {
        let op = match op {
            CompareOp::Eq => CompareOp::Eq,
            CompareOp::Lt | CompareOp::LtEq if self.is_monotone => CompareOp::LtEq,
            CompareOp::Gt | CompareOp::GtEq if self.is_monotone => CompareOp::GtEq,
            _ => return None,
        };
        Some(Filter::Compare { column: self.column, op, value: self.value_of(value)? })
    }

    fn any_of(&self, values: &[Scalar]) -> Option<Filter> {
        let known = values.iter().filter(|value| **value != Scalar::Null);
        let values = known.map(|value| self.value_of(value)).collect::<Option<Vec<_>>>()?;
        Some(Filter::In { column: self.column, values, negated: false })
    }

    /// The partition of rows whose column has this value.
    fn value_of(&self, value: &Scalar) -> Option<Scalar> {
        if *value == Scalar::Null {
            return None;
        }
        let of = to_arrow_scalar(value, self.schema.field(0).data_type()).ok()?.into_inner();
        let row = RecordBatch::try_new(Arc::clone(&self.schema), vec![of]).ok()?;
        let partition = self.expression.evaluate(&row).ok()?.into_array(1).ok()?;
        scalar_at(&partition, 0).ok().filter(|partition| *partition != Scalar::Null)
    }
}
