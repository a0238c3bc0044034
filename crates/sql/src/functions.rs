//! The dialect's functions, by family. Plans name them, so coordinators and workers register the
//! same set.

mod addresses;
mod arrays;
mod average;
mod by_key;
mod conditions;
pub(crate) mod datetime;
mod describe;
mod extremes;
mod fill;
mod frequent;
pub(crate) mod gathered;
mod geo;
mod gives;
mod hashes;
mod json;
mod numbers;
mod planner;
mod quantiles;
mod reference;
mod rows;
mod sample;
mod scalar;
pub(crate) mod states;
mod text;
mod url;
mod zip;

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{Expr, ScalarUDF, lit};
use granary_execution::functions::{FunctionSet, StateMerger};

pub use reference::{FunctionEntry, FunctionKind, function_reference, function_reference_markdown};

use arrays::ELEMENT;
pub(crate) use arrays::FOLD;
pub(crate) use gathered::SEPARATOR;
pub(crate) use json::DOCUMENT_PART;

pub(crate) use fill::{FillKey, FillSpec, FilledColumn, step_type};

use crate::relations::DialectRelations;
use planner::{DialectPlanner, DialectTypes};

/// Made once: sessions share them.
static SCALARS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    let families = [
        datetime::all(),
        text::all(),
        arrays::all(),
        json::all(),
        url::all(),
        addresses::all(),
        hashes::all(),
        numbers::all(),
        geo::all(),
        describe::all(),
        zip::all(),
        vec![fill::FILL, sample::SAMPLE_HASH],
    ];
    let described = families.into_iter().flatten().map(scalar::Scalar::udf);
    let typed = datetime::typed().into_iter().map(scalar::Typed::udf);
    described.chain(typed).chain(conditions::all()).chain(states::scalars()).collect()
});

/// What ARRAY JOIN unnests: tuples of the arrays' elements; with `or_default`, one of zero values for
/// empty arrays.
pub(crate) fn zip_arrays(arrays: impl Iterator<Item = Expr>, or_default: bool) -> Result<Expr> {
    let name = if or_default { zip::ZIP_OR_DEFAULT.name } else { zip::ZIP.name };
    call(name, arrays.collect())
}

/// The array of rows with those that are missing. `bounds` are FROM, TO and STEP of the keys as far
/// as they are given.
pub(crate) fn fill_rows(rows: Expr, spec: &FillSpec, bounds: Vec<Expr>) -> Result<Expr> {
    let mut arguments = vec![rows, lit(spec.text())];
    arguments.extend(bounds);
    call(fill::FILL.name, arguments)
}

/// The hash by which rows are in a sample.
pub(crate) fn sample_hash(key: Expr) -> Result<Expr> {
    call(sample::SAMPLE_HASH.name, vec![key])
}

/// The values as `toString` shows them.
pub(crate) fn text_of(values: &ArrayRef) -> Result<StringArray> {
    let texts = (text::TO_STRING.kernel)(std::slice::from_ref(values))?;
    Ok(texts.as_string::<i32>().clone())
}

/// Spreads every bit of a number over all others.
pub(crate) fn mixed(number: u64) -> u64 {
    hashes::int_hash_64(number)
}

/// `roundBankers` with these arguments.
pub(crate) fn round_to_even(arguments: Vec<Expr>) -> Result<Expr> {
    call("roundBankers", arguments)
}

/// `arrayReduce` with these arguments.
pub(crate) fn array_reduce(arguments: Vec<Expr>) -> Result<Expr> {
    call("arrayReduce", arguments)
}

fn call(name: &str, arguments: Vec<Expr>) -> Result<Expr> {
    match SCALARS.iter().find(|function| function.name() == name) {
        Some(function) => Ok(function.call(arguments)),
        None => datafusion::common::internal_err!("{name} is not registered"),
    }
}

/// Every function of the dialect that DataFusion does not bring along.
#[derive(Clone, Copy, Debug, Default)]
pub struct GranaryFunctions;

impl FunctionSet for GranaryFunctions {
    fn register(&self, builder: SessionStateBuilder) -> SessionStateBuilder {
        register(builder)
    }

    fn states(&self) -> Arc<dyn StateMerger> {
        Arc::new(*self)
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
    builder.scalar_functions().get_or_insert_with(Vec::new).extend(SCALARS.iter().cloned());
    if let Some(tables) = builder.table_functions()
        && let Some(series) = tables.get("generate_series").cloned()
    {
        tables.insert(crate::bind::SERIES.to_owned(), series);
    }
    let folds = builder.higher_order_functions().get_or_insert_with(Vec::new);
    folds.push(arrays::folding());
    let aggregates = builder.aggregate_functions().get_or_insert_with(Vec::new);
    aggregates.push(average::average());
    aggregates.extend(by_key::all());
    aggregates.extend(frequent::all());
    aggregates.extend(states::aggregates());
    builder
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
