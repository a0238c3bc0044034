//! Expressions over the columns of a row that are bound on a coordinator and evaluated where no
//! query runs: by merges, and where parts are written.
//!
//! ```text
//!   coordinator: text ──bind──► Expr ──encode──► RowExpression ──catalog──► worker ──compile──► values
//! ```
//!
//! Columns travel by their ids, functions by their names, which are the same on every node.

mod fold;
mod monotone;
mod settle;

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::DataFusionError;
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion_proto::bytes::Serializeable;
use granary_catalog::RowExpression;
use granary_common::{ColumnId, Error, Result};
use granary_storage::DocumentReader;
use granary_storage::ttl::{GroupFolder, RowComputation, RowEvaluator};

use crate::error::from_datafusion;
use crate::functions::{FunctionSet, register_all};

pub use monotone::is_monotone;
pub use settle::{settled, settled_aggregate};

/// The expression with its columns by their ids, as `id_of` knows them by name.
///
/// # Errors
/// InvalidInput for a column without an id, Unsupported for what does not travel.
pub fn encode(expression: Expr, id_of: impl Fn(&str) -> Option<ColumnId>) -> Result<RowExpression> {
    let mut columns: Vec<ColumnId> = Vec::new();
    let by_id = expression.transform_up(|inner| {
        let Expr::Column(column) = inner else { return Ok(Transformed::no(inner)) };
        let Some(id) = id_of(&column.name) else {
            return Err(DataFusionError::Plan(format!("unknown column '{}'", column.name)));
        };
        if !columns.contains(&id) {
            columns.push(id);
        }
        let by_id = Column::new_unqualified(RowExpression::name_of(id));
        Ok(Transformed::yes(Expr::Column(by_id)))
    });
    let by_id = by_id.map_err(|error| from_datafusion(&error))?.data;
    let plan = by_id.to_bytes().map_err(|error| {
        Error::unsupported(format!("it cannot be sent to workers: {}", error.strip_backtrace()))
    })?;
    Ok(RowExpression { plan: plan.to_vec(), columns })
}

/// The expression, with columns named as [`RowExpression::name_of`] does and the functions of
/// `context`. Kind `Unsupported` for one that this build does not know.
pub fn decode(expression: &RowExpression, context: &TaskContext) -> Result<Expr> {
    Expr::from_bytes_with_ctx(&expression.plan, context).map_err(|error| {
        Error::unsupported(format!(
            "this version of Granary cannot read a bound expression: {}",
            error.strip_backtrace()
        ))
    })
}

/// Evaluates bound expressions with the functions of a node.
pub struct RowExpressions {
    state: SessionState,
    documents: Option<Arc<dyn DocumentReader>>,
}

impl fmt::Debug for RowExpressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowExpressions")
    }
}

impl RowExpressions {
    /// With the functions that plans may name here.
    pub fn new(functions: &dyn FunctionSet) -> RowExpressions {
        let builder = SessionStateBuilder::new().with_default_features();
        let state = register_all(functions, builder).build();
        RowExpressions { state, documents: functions.documents() }
    }

    fn decode(&self, expression: &RowExpression) -> Result<Expr> {
        decode(expression, &self.state.task_ctx())
    }
}

/// The expression over batches of `schema`; what is the same at all times is computed now.
fn physical(
    state: &SessionState,
    expression: Expr,
    schema: &DFSchema,
) -> std::result::Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(Arc::clone(state.config_options()))
        .with_current_time()
        .build();
    let simplifier = ExprSimplifier::new(context);
    let coerced = simplifier.coerce(expression, schema)?;
    state.create_physical_expr(simplifier.simplify(coerced)?, schema)
}

fn named(schema: &Schema) -> Result<DFSchema> {
    DFSchema::try_from(schema.clone()).map_err(|error| from_datafusion(&error))
}

impl RowEvaluator for RowExpressions {
    fn compile(
        &self,
        expression: &RowExpression,
        schema: &Schema,
    ) -> Result<Arc<dyn RowComputation>> {
        let schema = named(schema)?;
        let physical = physical(&self.state, self.decode(expression)?, &schema);
        Ok(Arc::new(Compiled(physical.map_err(|error| from_datafusion(&error))?)))
    }

    fn folder(
        &self,
        aggregates: &[RowExpression],
        schema: &Schema,
    ) -> Result<Box<dyn GroupFolder>> {
        let aggregates =
            aggregates.iter().map(|one| self.decode(one)).collect::<Result<Vec<_>>>()?;
        let folder = fold::Folder::new(&self.state, aggregates, schema);
        Ok(Box::new(folder.map_err(|error| from_datafusion(&error))?))
    }

    fn is_monotone(&self, expression: &RowExpression, schema: &Schema) -> bool {
        self.decode(expression).is_ok_and(|expression| is_monotone(&expression, schema))
    }

    fn documents(&self) -> Option<Arc<dyn DocumentReader>> {
        self.documents.clone()
    }
}

#[derive(Debug)]
struct Compiled(Arc<dyn PhysicalExpr>);

impl RowComputation for Compiled {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let values = self.0.evaluate(rows).and_then(|values| values.into_array(rows.num_rows()));
        values.map_err(|error| from_datafusion(&error))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use datafusion::arrow::datatypes::{DataType, Field};
    use datafusion::functions_aggregate::expr_fn::{max, sum};
    use datafusion::logical_expr::{col, lit};

    use super::*;
    use crate::functions::BuiltinFunctions;

    fn rows() -> RecordBatch {
        let fields = ["c3", "c5"].map(|name| Field::new(name, DataType::Int64, false));
        let columns = [vec![1, 2, 3, 4], vec![10, 20, 30, 40]];
        let columns = columns.map(|values| Arc::new(Int64Array::from(values)) as ArrayRef);
        RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns.to_vec()).unwrap()
    }

    fn bound(expression: Expr) -> RowExpression {
        let id_of = |name: &str| match name {
            "a" => Some(ColumnId(3)),
            "b" => Some(ColumnId(5)),
            _ => None,
        };
        encode(expression, id_of).unwrap()
    }

    #[test]
    fn expressions_travel_with_their_columns_by_id() {
        let evaluator = RowExpressions::new(&BuiltinFunctions);
        let sum = bound(col("b") + col("a") * lit(2_i64) + col("a"));
        assert_eq!(sum.columns, [ColumnId(5), ColumnId(3)]);
        let rows = rows();
        let values = evaluator.compile(&sum, &rows.schema()).unwrap().evaluate(&rows).unwrap();
        assert_eq!(values.as_primitive::<Int64Type>().values(), &[13, 26, 39, 52]);
        assert!(encode(col("nope"), |_| None).is_err());
        assert!(evaluator.compile(&sum, &Schema::empty()).is_err());
    }

    #[test]
    fn groups_go_on_over_batches() {
        let evaluator = RowExpressions::new(&BuiltinFunctions);
        let rows = rows();
        let aggregates = [bound(sum(col("a"))), bound(max(col("b")))];
        let mut folder = evaluator.folder(&aggregates, &rows.schema()).unwrap();
        folder.add(&rows, &[0, 0, 1, 1], 2).unwrap();
        let results = |batch: &RecordBatch| -> Vec<Vec<i64>> {
            let values = |column: &ArrayRef| column.as_primitive::<Int64Type>().values().to_vec();
            batch.columns().iter().map(values).collect()
        };
        assert_eq!(results(&folder.take(1).unwrap()), [[3], [20]]);
        folder.add(&rows, &[0, 1, 1, 1], 2).unwrap();
        assert_eq!(results(&folder.take(2).unwrap()), [[8, 9], [40, 40]]);
        assert_eq!(folder.results().field(0).name(), "c0");
    }
}
