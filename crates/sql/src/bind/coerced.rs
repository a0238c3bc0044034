//! Types where the parts of an expression or of a UNION differ. The engine settles them after a plan
//! is bound; until then the plan has the types of its first part, and clients would be told these.

use datafusion::common::Result;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;

/// `plan` with the types that its rows will have. One with placeholders waits for their values.
pub(super) fn coerce(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan.get_parameter_names()?.is_empty() {
        true => TypeCoercion::new().analyze(plan, &ConfigOptions::default()),
        false => Ok(plan),
    }
}
