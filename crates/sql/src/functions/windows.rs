//! Frames that leave rows out.
//!
//! The grammar has no place for `EXCLUDE TIES`, so that it comes as a text among what the window is
//! partitioned by.

use std::mem::take;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::functions_aggregate::first_last::{first_value_udaf, last_value_udaf};
use datafusion::functions_aggregate::nth_value::nth_value_udaf;
use datafusion::logical_expr::planner::RawWindowExpr;
use datafusion::logical_expr::{AggregateUDF, Expr, WindowFunctionDefinition, lit};
use granary_functions::Excluded;

/// No text that anybody would partition by.
const MARK: &str = "\u{1}EXCLUDE ";

/// The text that stands for `EXCLUDE` with these words, if there are such frames.
pub(crate) fn excluded_marker(words: &str) -> Option<String> {
    let excluded: Excluded = words.parse().ok()?;
    Some(format!("{MARK}{excluded}"))
}

/// Whether `text` is one that [`excluded_marker`] gives.
pub(crate) fn is_excluded_marker(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Puts a function of the whole frame of `raw` in place of its own, if the frame leaves rows out.
pub(super) fn excluding(mut raw: RawWindowExpr) -> Result<RawWindowExpr> {
    let mut excluded = None;
    let mut by = Vec::with_capacity(raw.partition_by.len());
    for value in raw.partition_by {
        match marked(&value)? {
            Some(found) => excluded = Some(found),
            None => by.push(value),
        }
    }
    raw.partition_by = by;
    let Some(excluded) = excluded else { return Ok(raw) };
    let Some(aggregate) = aggregate_of(&raw.func_def) else {
        // Ranks and neighbours do not look at frames.
        return Ok(raw);
    };
    // As in `count(*)`.
    #[expect(deprecated)]
    raw.args.retain(|argument| !matches!(argument, Expr::Wildcard { .. }));
    if raw.args.is_empty() {
        raw.args.push(lit(1_i64));
    }
    let (arguments, filter) = (take(&mut raw.args), raw.filter.take().map(|filter| *filter));
    let distinct = take(&mut raw.distinct);
    let (function, arguments) =
        granary_functions::excluding(excluded, &aggregate, arguments, distinct, filter)?;
    (raw.func_def, raw.args) = (WindowFunctionDefinition::WindowUDF(function), arguments);
    Ok(raw)
}

fn marked(by: &Expr) -> Result<Option<Excluded>> {
    let mut excluded = None;
    by.apply(|part| {
        if let Expr::Literal(value, _) = part
            && let Some(words) = value.try_as_str().flatten().and_then(|it| it.strip_prefix(MARK))
        {
            excluded = words.parse().ok();
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(excluded)
}

/// The aggregate that sees what `function` sees of a frame; `None` for one that sees no frame.
fn aggregate_of(function: &WindowFunctionDefinition) -> Option<Arc<AggregateUDF>> {
    match function {
        WindowFunctionDefinition::AggregateUDF(aggregate) => Some(Arc::clone(aggregate)),
        WindowFunctionDefinition::WindowUDF(window) => match window.name() {
            "first_value" => Some(first_value_udaf()),
            "last_value" => Some(last_value_udaf()),
            "nth_value" => Some(nth_value_udaf()),
            _ => None,
        },
    }
}
