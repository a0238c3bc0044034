//! Numbers that are written down beside floats are floats. The engine reads `0.5` as a decimal, which
//! is exact beside decimals; `coalesce(x, 0.5)` of a float would become a decimal of a fixed scale.

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast};

use crate::functions::as_float;

/// Functions that give one of their arguments, or keep them beside each other.
const CHOICES: [&str; 6] = ["coalesce", "nvl", "nvl2", "greatest", "least", "make_array"];

/// `plan` with these numbers as floats.
pub(super) fn floats_beside_floats(plan: LogicalPlan) -> Result<LogicalPlan> {
    let any_changed = Cell::new(false);
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let schema = match plan.inputs().as_slice() {
            [] => DFSchemaRef::clone(plan.schema()),
            inputs => Arc::new(merge_schema(inputs)),
        };
        let names = NamePreserver::new(&plan);
        let plan = plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let changed = expression.transform_up(|inner| match rounded(&inner, &schema) {
                Some(rounded) => rounded.map(Transformed::yes),
                None => Ok(choice(compared(inner, &schema), &schema)),
            })?;
            Ok(match changed.transformed {
                true => changed.update_data(|expression| name.restore(expression)),
                false => changed,
            })
        })?;
        any_changed.set(any_changed.get() || plan.transformed);
        match any_changed.get() {
            true => Ok(Transformed::yes(plan.data.recompute_schema()?)),
            false => Ok(plan),
        }
    })?;
    Ok(rewritten.data)
}

/// A float halfway between two numbers is rounded to the even one, as the standard for floats has it;
/// the engine goes away from zero, as is right for decimals.
fn rounded(expression: &Expr, schema: &DFSchema) -> Option<Result<Expr>> {
    let Expr::ScalarFunction(function) = expression else { return None };
    let value = function.args.first().filter(|_| function.func.name() == "round")?;
    match value.get_type(schema) {
        Ok(DataType::Float32 | DataType::Float64) => {
            Some(crate::functions::round_to_even(function.args.clone()))
        }
        Ok(of) if of.is_decimal() && is_of_written(value) => {
            let mut arguments = function.args.clone();
            arguments[0] = as_float(value.clone(), &DataType::Float64);
            Some(crate::functions::round_to_even(arguments))
        }
        _ => None,
    }
}

/// Whether it is a number with a point as it is written, or computed from one.
fn is_of_written(expression: &Expr) -> bool {
    match expression {
        Expr::BinaryExpr(binary) => is_of_written(&binary.left) || is_of_written(&binary.right),
        other => is_written_decimal(other),
    }
}

/// A value that is looked for among others, `x IN (0.5, 1.5)`, `x BETWEEN 0.5 AND 1`, `CASE x WHEN 0.5`:
/// where it is a float, or one of them is, all decimals become floats. Single comparisons are settled
/// when they are planned.
fn compared(mut expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let mut values: Vec<&mut Expr> = match &mut expression {
        Expr::InList(list) => {
            std::iter::once(list.expr.as_mut()).chain(list.list.iter_mut()).collect()
        }
        Expr::Between(between) => {
            vec![between.expr.as_mut(), between.low.as_mut(), between.high.as_mut()]
        }
        Expr::Case(case) => match case.expr.as_deref_mut() {
            Some(value) => {
                let others = case.when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
                std::iter::once(value).chain(others).collect()
            }
            None => return Transformed::no(expression),
        },
        _ => return Transformed::no(expression),
    };
    let type_of = |value: &Expr| value.get_type(schema).ok();
    let floats = values.iter().filter_map(|value| type_of(value)).filter(DataType::is_floating);
    let Some(float) = floats.max_by_key(DataType::primitive_width) else {
        return Transformed::no(expression);
    };
    let mut changed = false;
    for value in &mut values {
        if type_of(value).is_some_and(|found| found.is_decimal()) {
            **value = as_float(std::mem::take(&mut **value), &float);
            changed = true;
        }
    }
    Transformed::new_transformed(expression, changed)
}

fn choice(before: Transformed<Expr>, schema: &DFSchema) -> Transformed<Expr> {
    let changed = before.transformed;
    let chosen = one_of_them(before.data, schema);
    Transformed::new_transformed(chosen.data, chosen.transformed || changed)
}

/// The values of which one is given, or that are kept beside each other.
fn one_of_them(mut expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let mut values: Vec<&mut Expr> = match &mut expression {
        Expr::Case(case) => {
            let results = case.when_then_expr.iter_mut().map(|(_, result)| result.as_mut());
            results.chain(case.else_expr.as_deref_mut()).collect()
        }
        Expr::ScalarFunction(function) if CHOICES.contains(&function.func.name()) => {
            function.args.iter_mut().collect()
        }
        _ => return Transformed::no(expression),
    };
    let is_decimal = |value: &Expr| {
        is_written_decimal(value) || value.get_type(schema).is_ok_and(|found| found.is_decimal())
    };
    let is_float = |value: &&mut Expr| {
        matches!(value.get_type(schema), Ok(DataType::Float32 | DataType::Float64))
    };
    if !values.iter().any(|value| is_decimal(value)) || !values.iter().any(is_float) {
        return Transformed::no(expression);
    }
    for value in &mut values {
        if is_decimal(value) {
            **value = cast(value.clone(), DataType::Float64);
        }
    }
    Transformed::yes(expression)
}

fn is_written_decimal(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(ScalarValue::Decimal128(..) | ScalarValue::Decimal256(..), _) => true,
        Expr::Negative(inner) => is_written_decimal(inner),
        _ => false,
    }
}
