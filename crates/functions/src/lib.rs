//! The dialect's functions by family: kernels over arrays, aggregates and their states, and the
//! reference that describes each.
//!
//! ```text
//!   SessionStateBuilder ──[`register`]──► with the functions that DataFusion does not bring along
//!   states of parts ──[`States`]──► merged states
//!   entries ──[`function_reference`]──► system.functions, the page, a test of every example
//! ```
//!
//! Nothing here knows SQL text, tables or the parser: names arrive as plans name them.

#[macro_use]
mod identity;

mod addresses;
mod aggregate_names;
mod arrays;
mod arrow_types;
mod average;
mod by_key;
mod conditions;
mod conversions;
mod datetime;
mod describe;
mod excluded;
mod extremes;
mod frequent;
mod gathered;
mod geo;
mod gives;
mod hashes;
mod json;
mod numbers;
mod quantiles;
mod random;
mod reference;
mod reinterpret;
mod renamed;
mod rows;
mod sample;
mod scalar;
pub mod states;
mod text;
mod url;
mod zero;
mod zip;

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF};

pub use addresses::{TO_IPV4, TO_IPV4_OR_NULL};
pub use aggregate_names::{AGGREGATES, COMBINATORS, aggregate_of_state, base_and_combinators};
pub use arrays::{ELEMENT, ELEMENTS, FOLD};
pub use arrow_types::column_type_from_arrow;
pub use conditions::IS_MEMBER;
pub use conversions::{
    CONVERTED, CONVERTED_OR_NULL, OF_TICKS, TICKS, converted, full_time, is_converted,
};
pub use datetime::{AS_IS, INTERVAL_LENGTH, ON_CLOCKS, mysql_pattern, zoned_texts};
pub use excluded::{Excluded, excluding};
pub use gathered::SEPARATOR;
pub use granary_execution::functions::DOCUMENT_PART;
pub use json::JsonDocuments;
pub use reference::{FunctionEntry, FunctionKind, function_reference, function_reference_markdown};
pub use renamed::{RENAMED, is_renaming};
pub use scalar::{Arity, Scalar};
pub use states::States;
pub use text::{
    FROM_TEXT, FROM_TEXT_OR_NULL, NotWritten, TEXT_OF, TooLong, WITHOUT_ZEROS, filled_to,
    fixed_strings, from_texts, is_container,
};
pub use zero::zero_value;

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
        random::all(),
        reinterpret::all(),
        conversions::all(),
        vec![sample::SAMPLE_HASH],
    ];
    let described = families.into_iter().flatten().map(Scalar::udf);
    let typed = datetime::typed()
        .into_iter()
        .chain(text::typed())
        .chain(renamed::typed())
        .chain(conversions::typed())
        .chain(arrays::typed())
        .map(scalar::Typed::udf);
    let others = [text::text_of()];
    let described = described.chain(typed).chain(conditions::all()).chain(states::scalars());
    described.chain(others).collect()
});

/// Adds the functions to a session that has DataFusion's default features already.
pub fn register(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    builder.scalar_functions().get_or_insert_with(Vec::new).extend(SCALARS.iter().cloned());
    let folds = builder.higher_order_functions().get_or_insert_with(Vec::new);
    folds.push(arrays::folding());
    builder.aggregate_functions().get_or_insert_with(Vec::new).extend(aggregates());
    builder.window_functions().get_or_insert_with(Vec::new).extend(excluded::all());
    builder
}

fn aggregates() -> impl Iterator<Item = Arc<AggregateUDF>> {
    let own = std::iter::once(average::average()).chain(by_key::all()).chain(frequent::all());
    own.chain(states::aggregates())
}

/// An aggregate function of a session by its own name.
fn aggregate(name: &str) -> Option<Arc<AggregateUDF>> {
    let is_it = |function: &Arc<AggregateUDF>| function.name() == name;
    // Ours stand for DataFusion's of the same name.
    aggregates().find(is_it).or_else(|| all_default_aggregate_functions().into_iter().find(is_it))
}

/// A call of one of the scalar functions by its own name.
///
/// # Errors
/// An internal error when there is none of this name.
pub fn call(name: &str, arguments: Vec<Expr>) -> Result<Expr> {
    match SCALARS.iter().find(|function| function.name() == name) {
        Some(function) => Ok(function.call(arguments)),
        None => datafusion::common::internal_err!("{name} is not registered"),
    }
}

/// What ARRAY JOIN unnests: tuples of the arrays' elements; with `or_default`, one of zero values for
/// empty arrays.
///
/// # Errors
/// As [`call`].
pub fn zip_arrays(arrays: impl Iterator<Item = Expr>, or_default: bool) -> Result<Expr> {
    let name = if or_default { zip::ZIP_OR_DEFAULT.name } else { zip::ZIP.name };
    call(name, arrays.collect())
}

/// The hash by which rows are in a sample.
///
/// # Errors
/// As [`call`].
pub fn sample_hash(key: Expr) -> Result<Expr> {
    call(sample::SAMPLE_HASH.name, vec![key])
}

/// The values as `toString` shows them.
///
/// # Errors
/// For types that have no text.
pub fn text_of(values: &ArrayRef) -> Result<StringArray> {
    let texts = (text::TO_STRING.kernel)(std::slice::from_ref(values))?;
    Ok(texts.as_string::<i32>().clone())
}

/// Spreads every bit of a number over all others.
pub fn mixed(number: u64) -> u64 {
    hashes::int_hash_64(number)
}
