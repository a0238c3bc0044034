//! Aggregates of groups of rows that come one after the other.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{EmitTo, Expr, GroupsAccumulator};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};
use granary_catalog::RowExpression;
use granary_common::ColumnId;
use granary_storage::ttl::GroupFolder;

use crate::error::from_datafusion;

/// One aggregate.
struct Call {
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    accumulator: Box<dyn GroupsAccumulator>,
}

/// The aggregates of one roll-up.
pub(super) struct Folder {
    calls: Vec<Call>,
    results: SchemaRef,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Folder {{ {} aggregates }}", self.calls.len())
    }
}

impl Folder {
    pub(super) fn new(
        state: &SessionState,
        aggregates: Vec<Expr>,
        schema: &Schema,
    ) -> Result<Folder> {
        let named = DFSchema::try_from(schema.clone())?;
        let context = datafusion::logical_expr::simplify::SimplifyContext::builder()
            .with_schema(Arc::new(named.clone()))
            .with_config_options(Arc::clone(state.config_options()))
            .with_current_time()
            .build();
        let simplifier = ExprSimplifier::new(context);
        let planning = PhysicalPlanningContext::default();
        let (mut calls, mut fields) = (Vec::new(), Vec::new());
        for (at, aggregate) in aggregates.into_iter().enumerate() {
            let coerced = simplifier.coerce(aggregate, &named)?;
            let name = RowExpression::name_of(ColumnId(at as u32));
            let props = state.execution_props();
            let lowered = LoweredAggregateBuilder::new(&coerced, &named, schema, props, &planning)
                .with_name(&name)
                .build()?;
            let of = Arc::clone(&lowered.aggregate);
            let field = of.field();
            fields.push(field.as_ref().clone().with_name(name));
            let accumulator: Box<dyn GroupsAccumulator> = match of.groups_accumulator_supported() {
                true => of.create_groups_accumulator()?,
                false => {
                    let of = Arc::clone(&of);
                    Box::new(GroupsAccumulatorAdapter::new(move || of.create_accumulator()))
                }
            };
            calls.push(Call { arguments: of.expressions(), filter: lowered.filter, accumulator });
        }
        Ok(Folder { calls, results: Arc::new(Schema::new(fields)) })
    }

    fn add_to_all(&mut self, rows: &RecordBatch, groups: &[usize], count: usize) -> Result<()> {
        let length = rows.num_rows();
        for call in &mut self.calls {
            let value = |argument: &Arc<dyn PhysicalExpr>| {
                argument.evaluate(rows).and_then(|value| value.into_array(length))
            };
            let values = call.arguments.iter().map(value).collect::<Result<Vec<ArrayRef>>>()?;
            let filter: Option<BooleanArray> = match &call.filter {
                Some(filter) => Some(value(filter)?.as_boolean().clone()),
                None => None,
            };
            call.accumulator.update_batch(&values, groups, filter.as_ref(), count)?;
        }
        Ok(())
    }

    fn take_of_all(&mut self, count: usize) -> Result<RecordBatch> {
        let taken = |call: &mut Call| call.accumulator.evaluate(EmitTo::First(count));
        let columns = self.calls.iter_mut().map(taken).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.results), columns, &options)?)
    }
}

impl GroupFolder for Folder {
    fn results(&self) -> &Schema {
        &self.results
    }

    fn add(
        &mut self,
        rows: &RecordBatch,
        groups: &[usize],
        count: usize,
    ) -> granary_common::Result<()> {
        self.add_to_all(rows, groups, count).map_err(|error| from_datafusion(&error))
    }

    fn take(&mut self, count: usize) -> granary_common::Result<RecordBatch> {
        self.take_of_all(count).map_err(|error| from_datafusion(&error))
    }
}
