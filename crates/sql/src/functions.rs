//! The functions of [`granary_functions`] in a session that reads the dialect, with what needs its
//! parser: the planners of operators and types, and rows for missing keys.

mod fill;
mod floats;
mod intervals;
mod planner;
mod texts;
mod times;
mod windows;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{Expr, lit};
use granary_execution::functions::{DocumentReader, FunctionSet, StateMerger};
use granary_functions::{JsonDocuments, States, call};

pub(crate) use fill::{FillKey, FillSpec, FilledColumn, NULL, step_type};
pub(crate) use floats::as_float;
pub(crate) use windows::{excluded_marker, is_excluded_marker};

use crate::relations::DialectRelations;
use planner::{DialectPlanner, DialectTypes};

/// The array of rows with those that are missing. `bounds` are FROM, TO and STEP of the keys as far
/// as they are given.
pub(crate) fn fill_rows(rows: Expr, spec: &FillSpec, bounds: Vec<Expr>) -> Expr {
    let mut arguments = vec![rows, lit(spec.text())];
    arguments.extend(bounds);
    fill::FILL.udf().call(arguments)
}

/// `roundBankers` with these arguments.
pub(crate) fn round_to_even(arguments: Vec<Expr>) -> Result<Expr> {
    call("roundBankers", arguments)
}

/// `arrayReduce` with these arguments.
pub(crate) fn array_reduce(arguments: Vec<Expr>) -> Result<Expr> {
    call("arrayReduce", arguments)
}

/// Every function of the dialect that DataFusion does not bring along.
#[derive(Clone, Copy, Debug, Default)]
pub struct GranaryFunctions;

impl FunctionSet for GranaryFunctions {
    fn register(&self, builder: SessionStateBuilder) -> SessionStateBuilder {
        register(builder)
    }

    fn states(&self) -> Arc<dyn StateMerger> {
        Arc::new(States)
    }

    fn documents(&self) -> Option<Arc<dyn DocumentReader>> {
        Some(Arc::new(JsonDocuments))
    }
}

/// Adds the functions, the planners and the options of the dialect to a session that has
/// DataFusion's default features already.
pub fn register(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let options = builder.config().get_or_insert_with(Default::default).options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.parse_float_as_decimal = true;
    // The order of a subquery counts for some functions; see `bind::order`.
    options.sql_parser.enable_subquery_sort_elimination = false;
    options.sql_parser.default_null_ordering = "nulls_last".to_owned();
    builder.expr_planners().get_or_insert_with(Vec::new).insert(0, Arc::new(DialectPlanner));
    let relations = builder.relation_planners().get_or_insert_with(Vec::new);
    relations.insert(0, Arc::new(DialectRelations));
    *builder.type_planner() = Some(Arc::new(DialectTypes));
    if let Some(tables) = builder.table_functions()
        && let Some(series) = tables.get("generate_series").cloned()
    {
        tables.insert(crate::bind::SERIES.to_owned(), series);
    }
    builder.scalar_functions().get_or_insert_with(Vec::new).push(fill::FILL.udf());
    granary_functions::register(builder)
}

/// The names of the dialect's functions and of DataFusion's, for suggestions.
pub(crate) fn names() -> Vec<String> {
    let state = register(SessionStateBuilder::new().with_default_features()).build();
    let mut names: Vec<String> = state.scalar_functions().keys().cloned().collect();
    names.extend(state.aggregate_functions().keys().cloned());
    names.extend(state.window_functions().keys().cloned());
    names.extend(state.higher_order_functions().keys().cloned());
    names.extend(crate::bind::rewritten_names());
    names.sort_unstable();
    names
}
