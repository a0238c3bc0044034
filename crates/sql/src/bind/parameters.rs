//! Placeholders: their types, and values in their place.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::{Expr as PlannedExpr, LogicalPlan, lit};
use granary_common::{Error, Result};

use super::{coerced, fixed};
use crate::error_from_datafusion;

/// The placeholders of a plan with their types as far as they can be inferred, in order.
///
/// # Errors
/// InvalidInput when one placeholder is used with two types.
pub fn parameter_types(plan: &LogicalPlan) -> Result<Vec<(String, Option<DataType>)>> {
    let types: HashMap<String, Option<FieldRef>> =
        plan.get_parameter_fields().map_err(|error| error_from_datafusion(error, None))?;
    let casts = cast_parameters(plan)?;
    let mut named: Vec<(String, Option<DataType>)> = types
        .into_iter()
        .map(|(name, field)| {
            let inferred = field.map(|field| field.data_type().clone());
            let data_type = inferred.or_else(|| casts.get(&name).cloned());
            (name, data_type)
        })
        .collect();
    named.sort_by_key(|(name, _)| {
        let number = name.trim_start_matches('$').parse::<u64>().unwrap_or(u64::MAX);
        (number, name.clone())
    });
    Ok(named)
}

/// Placeholders that are cast at once, as `{name:Type}` is: the type is what the cast says.
fn cast_parameters(plan: &LogicalPlan) -> Result<HashMap<String, DataType>> {
    let mut casts = HashMap::new();
    let visited = plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let PlannedExpr::Cast(cast) = inner
                    && let PlannedExpr::Placeholder(placeholder) = cast.expr.as_ref()
                {
                    casts.insert(placeholder.id.clone(), cast.field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    visited.map_err(|error| error_from_datafusion(error, None))?;
    Ok(casts)
}

/// The plan with its placeholders replaced. `values` are in the order of [`parameter_types`].
///
/// # Errors
/// InvalidInput when values are missing or of a wrong type.
pub fn with_parameters(plan: LogicalPlan, values: Vec<ScalarValue>) -> Result<LogicalPlan> {
    let names: Vec<String> = parameter_types(&plan)?.into_iter().map(|(name, _)| name).collect();
    if names.len() != values.len() {
        return Err(Error::invalid(format!(
            "the statement has {} parameters, {} were given",
            names.len(),
            values.len()
        )));
    }
    let named: HashMap<String, ScalarValue> =
        names.into_iter().map(|name| name.trim_start_matches('$').to_owned()).zip(values).collect();
    plan.with_param_values(ParamValues::from(named))
        .and_then(|plan| fixed::settle(plan, None))
        .and_then(coerced::coerce)
        .map_err(|error| error_from_datafusion(error, None))
}

/// The plan with the placeholders replaced that have one of these names, without regard to case.
/// `{name:Type}` casts the text.
///
/// # Errors
/// InvalidInput when a text is no value of the type.
pub fn with_named_parameters(
    plan: LogicalPlan,
    texts: &BTreeMap<String, String>,
) -> Result<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|plan| {
        plan.map_expressions(|expression| {
            expression.transform_up(|inner| {
                let text = match &inner {
                    PlannedExpr::Placeholder(placeholder) => {
                        texts.get(&placeholder.id.trim_start_matches('$').to_lowercase())
                    }
                    _ => None,
                };
                Ok(match text {
                    Some(text) => Transformed::yes(lit(text.clone())),
                    None => Transformed::no(inner),
                })
            })
        })?
        .map_data(|plan| plan.recompute_schema())
    });
    let settled = replaced.and_then(|plan| fixed::settle(plan.data, None));
    let coerced = settled.and_then(coerced::coerce);
    coerced.map_err(|error| error_from_datafusion(error, None))
}
