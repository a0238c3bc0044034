//! Functions of neighbouring rows as window functions, and the names of windows.

use std::ops::ControlFlow;

use datafusion::common::plan_err;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr as PlannedExpr, LogicalPlan};
use granary_common::{Error, Result};
use sqlparser::ast::{
    Expr, Function, Ident, NamedWindowDefinition, NamedWindowExpr, ObjectName, ObjectNamePart,
    Select, UnaryOperator, Value, WindowFrameBound, WindowSpec, WindowType,
};

use super::calls::{plain_arguments, substitute, with_arguments};
use super::templates;
use crate::functions::is_excluded_marker;
use crate::walk::visit_expressions_mut;

/// `lagInFrame` and `leadInFrame` with their window, and defaults that are computed for each row. Without
/// a default the former have the zero of the type.
pub(super) fn framed(function: &mut Function, lower: &str) -> Result<Option<Expr>> {
    let name = match lower {
        "lag" | "lead" => return defaulted(function),
        "denserank" => return Ok(renamed(function, "dense_rank")),
        "percentrank" => return Ok(renamed(function, "percent_rank")),
        "laginframe" => "lag",
        "leadinframe" => "lead",
        _ => return Ok(None),
    };
    if function.over.is_none() {
        return Err(Error::invalid(format!("{} needs OVER (...)", function.name)));
    }
    let has_default = plain_arguments(function).is_some_and(|arguments| arguments.len() > 2);
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
    if let Some(call) = defaulted(function)? {
        return Ok(Some(call));
    }
    let call = Expr::Function(function.clone());
    match has_default {
        true => Ok(Some(call)),
        false => substitute("valueOrDefault($1)", &[call]).map(Some),
    }
}

fn renamed(function: &mut Function, name: &str) -> Option<Expr> {
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
    None
}

/// `lag` and `lead` with a default that is no constant, which the engine takes none but: it stands where
/// there is no such row.
fn defaulted(function: &Function) -> Result<Option<Expr>> {
    let Some(arguments) = plain_arguments(function) else { return Ok(None) };
    let [value, distance, default] = arguments.as_slice() else { return Ok(None) };
    let is_constant = match default {
        Expr::UnaryOp { expr, .. } => matches!(expr.as_ref(), Expr::Value(_)),
        other => matches!(other, Expr::Value(_)),
    };
    if is_constant || function.over.is_none() || function.null_treatment.is_some() {
        return Ok(None);
    }
    let of = |value: Expr| {
        with_arguments(Expr::Function(function.clone()), vec![value, distance.clone()])
    };
    let parts = [of(templates::expression("1")?), default.clone(), of(value.clone())];
    substitute("CASE WHEN ($1) IS NULL THEN $2 ELSE $3 END", &parts).map(Some)
}

/// Functions that look at the rows around in the order in which they come.
pub(super) fn rewrite(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    let text = match (lower, arguments) {
        ("runningdifference", [_]) => "coalesce(($1) - lag($1) OVER (), 0)",
        ("runningdifferencestartingwithfirstvalue", [_]) => "coalesce(($1) - lag($1) OVER (), $1)",
        ("rownumberinallblocks" | "rownumberinblock", []) => "row_number() OVER () - 1",
        ("neighbor", [value, offset, rest @ ..]) => {
            let (name, distance) = match offset {
                Expr::UnaryOp { op: UnaryOperator::Minus, expr } => ("lag", (**expr).clone()),
                other => ("lead", other.clone()),
            };
            return match rest {
                [] => substitute(
                    &format!("valueOrDefault({name}($1, $2) OVER ())"),
                    &[value.clone(), distance],
                ),
                [default] => substitute(
                    &format!("{name}($1, $2, $3) OVER ()"),
                    &[value.clone(), distance, default.clone()],
                ),
                _ => Err(Error::invalid("neighbor takes a column, an offset and a default")),
            }
            .map(Some);
        }
        _ => return Ok(None),
    };
    templates::substitute(templates::expression(text)?, arguments).map(Some)
}

/// `OVER (w ROWS ...)` and windows that name another one: what they do not say is that window's.
pub(super) fn refine(select: &mut Select) {
    if select.named_window.is_empty() {
        return;
    }
    let mut known: Vec<(String, WindowSpec)> = Vec::new();
    for NamedWindowDefinition(name, definition) in &mut select.named_window {
        let spec = match definition {
            NamedWindowExpr::WindowSpec(spec) => {
                complete(spec, &known);
                spec.clone()
            }
            NamedWindowExpr::NamedWindow(other) => {
                match known.iter().find(|(known, _)| *known == other.value) {
                    Some((_, spec)) => spec.clone(),
                    None => continue,
                }
            }
        };
        known.push((name.value.clone(), spec));
    }
    let _ = visit_expressions_mut(&mut select.projection, |expression| refined(expression, &known));
    let _ = visit_expressions_mut(&mut select.qualify, |expression| refined(expression, &known));
}

fn refined(expression: &mut Expr, known: &[(String, WindowSpec)]) -> ControlFlow<()> {
    if let Expr::Function(function) = expression
        && let Some(WindowType::WindowSpec(spec)) = &mut function.over
    {
        complete(spec, known);
    }
    ControlFlow::Continue(())
}

fn complete(spec: &mut WindowSpec, known: &[(String, WindowSpec)]) {
    let Some(name) = &spec.window_name else { return };
    let Some((_, base)) = known.iter().find(|(known, _)| *known == name.value.to_lowercase())
    else {
        return;
    };
    spec.window_name = None;
    // What the frame leaves out is written there, too.
    if spec.partition_by.iter().all(is_marker) {
        spec.partition_by.extend(base.partition_by.iter().cloned());
    }
    if spec.order_by.is_empty() {
        spec.order_by.clone_from(&base.order_by);
    }
    if spec.window_frame.is_none() {
        spec.window_frame.clone_from(&base.window_frame);
    }
}

fn is_marker(by: &Expr) -> bool {
    let Expr::Function(call) = by else { return false };
    let arguments = plain_arguments(call).unwrap_or_default();
    let [Expr::Value(value)] = arguments.as_slice() else { return false };
    matches!(&value.value, Value::SingleQuotedString(text) if is_excluded_marker(text))
}

/// A condition of rows is decided before any window is computed.
pub(super) fn refuse_in_filters(plan: &LogicalPlan) -> datafusion::common::Result<()> {
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::Filter(filter) = plan {
            let has_window = filter
                .predicate
                .exists(|inner| Ok(matches!(inner, PlannedExpr::WindowFunction(_))))?;
            if has_window {
                return plan_err!(
                    "window functions are not allowed in WHERE and HAVING: write QUALIFY"
                );
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(|_| ())
}

/// `RANGE BETWEEN INTERVAL 1 DAY PRECEDING ...`: in a frame the engine takes quoted numbers only.
pub(super) fn settle_frame(expression: &mut Expr) {
    if let Expr::Function(function) = expression
        && let Some(WindowType::WindowSpec(spec)) = &mut function.over
    {
        quote_bounds(spec);
    }
}

fn quote_bounds(spec: &mut WindowSpec) {
    let Some(frame) = &mut spec.window_frame else { return };
    for bound in std::iter::once(&mut frame.start_bound).chain(frame.end_bound.as_mut()) {
        if let WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset)) =
            bound
            && let Expr::Interval(interval) = offset.as_mut()
            && let Expr::Value(value) = interval.value.as_mut()
            && let Value::Number(digits, _) = &value.value
        {
            value.value = Value::SingleQuotedString(digits.clone());
        }
    }
}

/// Names of windows are the same in capitals; the engine compares them letter by letter.
pub(super) fn name_in_lower_case(select: &mut Select) {
    for window in &mut select.named_window {
        lower(&mut window.0);
        match &mut window.1 {
            NamedWindowExpr::NamedWindow(name) => lower(name),
            NamedWindowExpr::WindowSpec(spec) => {
                lower_in_spec(spec);
                quote_bounds(spec);
            }
        }
    }
}

/// The same where a function is computed over a window by its name.
pub(super) fn refer_in_lower_case(expression: &mut Expr) {
    let Expr::Function(function) = expression else { return };
    match &mut function.over {
        Some(WindowType::NamedWindow(name)) => lower(name),
        Some(WindowType::WindowSpec(spec)) => lower_in_spec(spec),
        None => {}
    }
}

fn lower_in_spec(spec: &mut WindowSpec) {
    spec.window_name.iter_mut().for_each(lower);
}

fn lower(name: &mut Ident) {
    name.value = name.value.to_lowercase();
}
