//! Types where the parts of an expression or of a UNION differ. The engine settles them after a plan
//! is bound; until then the plan has the types of its first part, and clients would be told these.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, cast};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use granary_functions::ON_CLOCKS;

use super::each;

/// `plan` with the types that its rows will have. One with placeholders waits for their values.
pub(super) fn coerce(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan.get_parameter_names()?.is_empty() {
        true => instants(TypeCoercion::new().analyze(plan, &ConfigOptions::default())?),
        false => Ok(plan),
    }
}

/// A time without a zone is one of UTC. The engine would take it for the time on the clocks of the zone
/// that it is cast to, as beside a time with one.
fn instants(plan: LogicalPlan) -> Result<LogicalPlan> {
    each::of_plan(plan, through_utc)
}

/// A cast to a time with a zone from one without, and one of a date to a number without a sign, for which
/// the engine has no way.
fn through_utc(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr, field }) = &expression else { return Transformed::no(expression) };
    if field.data_type().is_unsigned_integer()
        && expr.get_type(schema).ok() == Some(DataType::Date32)
    {
        let days = cast(expr.as_ref().clone(), DataType::Int32);
        return Transformed::yes(cast(days, field.data_type().clone()));
    }
    let DataType::Timestamp(_, Some(_)) = field.data_type() else {
        return Transformed::no(expression);
    };
    if matches!(expr.as_ref(), Expr::ScalarFunction(call) if call.func.name() == ON_CLOCKS) {
        return Transformed::no(expression);
    }
    match expr.get_type(schema) {
        Ok(DataType::Timestamp(unit, None)) => {
            let utc = cast(expr.as_ref().clone(), DataType::Timestamp(unit, Some("UTC".into())));
            Transformed::yes(cast(utc, field.data_type().clone()))
        }
        _ => Transformed::no(expression),
    }
}
