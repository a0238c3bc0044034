//! DataFusion's errors as Granary's: the kind that tells the caller what to do, in words that
//! name no Rust type.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use granary_common::{Error, did_you_mean};
use granary_execution::error::from_datafusion;

use super::{as_written, place_of};

/// The error that a caller sees. `sql` is the statement that was planned, when there was one.
///
/// An [`Error`] that travelled through DataFusion comes back as it was.
pub fn error_from_datafusion(error: DataFusionError, sql: Option<&str>) -> Error {
    convert(&error, sql.unwrap_or_default())
}

fn convert(error: &DataFusionError, sql: &str) -> Error {
    match error {
        DataFusionError::External(inner) => {
            external(inner.as_ref(), sql).unwrap_or_else(|| from_datafusion(error))
        }
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            convert(inner, sql)
        }
        DataFusionError::Shared(inner) => convert(inner, sql),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => convert(first, sql),
            None => Error::internal("an empty list of errors"),
        },
        DataFusionError::SchemaError(schema, _) => schema_error(schema, sql),
        DataFusionError::ArrowError(inner, _) => arrow_error(inner, sql),
        DataFusionError::SQL(inner, _) => Error::invalid(format!("syntax error: {inner}")),
        DataFusionError::Plan(message) => plan_error(message, sql),
        DataFusionError::Configuration(message) | DataFusionError::Execution(message) => {
            Error::invalid(in_our_types(message))
        }
        DataFusionError::NotImplemented(message) => {
            Error::unsupported(format!("not supported: {}", without_trees(message)))
        }
        DataFusionError::ResourcesExhausted(message) => Error::exhausted(message.clone()),
        DataFusionError::ExecutionJoin(inner) if inner.is_cancelled() => {
            Error::cancelled("the query was cancelled")
        }
        DataFusionError::ObjectStore(inner) => Error::unavailable(format!("storage: {inner}")),
        DataFusionError::IoError(inner) => Error::unavailable(format!("I/O: {inner}")),
        DataFusionError::Internal(message)
            if message.starts_with("Cannot run range queries on datatype") =>
        {
            Error::unsupported(
                "the frame of a window that is ordered by such values counts rows: write ROWS \
                 BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
            )
        }
        DataFusionError::Internal(message) => match unmatched_alternatives(message) {
            Some(mistake) => Error::invalid(in_our_types(&mistake)),
            None => Error::internal(plain(message)),
        },
        other => Error::internal(other.strip_backtrace()),
    }
}

/// "Function 'f' failed to match any signature, errors: ... but received Int64 (DataType: Int64)., ...",
/// which is no mistake of the engine's.
fn unmatched_alternatives(message: &str) -> Option<String> {
    let (function, alternatives) = message.split_once(" failed to match any signature")?;
    let name = function.split('\'').nth(1)?;
    let received = alternatives.split_once("but received ")?.1.split(" (").next()?;
    Some(format!("no function takes these argument types: {name}({received})"))
}

/// Our own error, or DataFusion's, behind the boxes.
fn external(error: &(dyn std::error::Error + 'static), sql: &str) -> Option<Error> {
    if let Some(own) = error.downcast_ref::<Error>() {
        return Some(own.clone());
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return Some(convert(inner, sql));
    }
    external(error.source()?, sql)
}

fn arrow_error(error: &arrow::error::ArrowError, sql: &str) -> Error {
    use arrow::error::ArrowError;
    match error {
        ArrowError::ExternalError(inner) => {
            external(inner.as_ref(), sql).unwrap_or_else(|| Error::internal(inner.to_string()))
        }
        ArrowError::CastError(message)
        | ArrowError::ParseError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::InvalidArgumentError(message)
        | ArrowError::ArithmeticOverflow(message) => Error::invalid(in_our_types(message)),
        ArrowError::DivideByZero => Error::invalid("division by zero"),
        ArrowError::IoError(message, _) => Error::unavailable(format!("I/O: {message}")),
        other => Error::internal(other.to_string()),
    }
}

fn schema_error(error: &SchemaError, sql: &str) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names = valid_fields.iter().map(|valid| valid.name.as_str());
            let hint = did_you_mean(&field.name, names);
            let name = field.flat_name();
            let place = place_of(&field.name, sql);
            Error::invalid(format!("unknown column '{name}'{hint}{place}"))
        }
        SchemaError::AmbiguousReference { field } => Error::invalid(format!(
            "column '{}' is ambiguous: more than one source has it",
            field.flat_name()
        )),
        SchemaError::DuplicateQualifiedField { qualifier, name } => {
            Error::invalid(format!("column '{qualifier}.{name}' appears more than once"))
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            Error::invalid(format!("column '{name}' appears more than once"))
        }
    }
}

fn plan_error(message: &str, sql: &str) -> Error {
    let is_missing_table = message.starts_with("table '") && message.ends_with("not found");
    if is_missing_table {
        return Error::not_found(format!("unknown table: {message}"));
    }
    if let Some(call) = unmatched_call(message) {
        let call = in_our_types(call);
        let message = format!("no function takes these argument types: {call}");
        return Error::invalid(message);
    }
    match message.strip_prefix("Invalid function '").and_then(|rest| rest.split_once('\'')) {
        Some((name, _)) => {
            let written = as_written(name, sql).unwrap_or_else(|| name.to_owned());
            if let Some(syntax) = syntax_of(name) {
                let place = place_of(name, sql);
                return Error::invalid(format!(
                    "function '{written}' takes other arguments: write {syntax}{place}"
                ));
            }
            let names = crate::functions::names();
            let hint = did_you_mean(name, names.iter().map(String::as_str));
            Error::invalid(format!("unknown function '{written}'{hint}{}", place_of(name, sql)))
        }
        None => Error::invalid(in_our_types(message)),
    }
}

/// How a function of this name is called, if there is one.
fn syntax_of(name: &str) -> Option<&'static str> {
    let is_one = |known: &String| known.eq_ignore_ascii_case(name);
    let entry = granary_functions::function_reference()
        .iter()
        .find(|entry| is_one(&entry.name) || entry.aliases.iter().any(is_one))?;
    Some(entry.syntax.as_str())
}

/// The call, with its types, that fits no signature.
fn unmatched_call(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("the given name and argument types '")?;
    rest.split_once('\'').map(|(call, _)| call)
}

/// Arrow's names of types as the dialect's.
fn in_our_types(message: &str) -> String {
    const NAMES: [(&str, &str); 15] = [
        ("Utf8View", "String"),
        ("LargeUtf8", "String"),
        ("Utf8", "String"),
        ("BinaryView", "FixedString"),
        ("Time64(\u{b5}s)", "Time(6)"),
        ("Time64(ns)", "Time(9)"),
        ("Interval(MonthDayNano)", "Interval"),
        ("Boolean", "Bool"),
        ("Date32", "Date"),
        ("Timestamp(s)", "DateTime"),
        ("Timestamp(ms)", "DateTime64(3)"),
        ("Timestamp(\u{b5}s)", "DateTime64(6)"),
        ("Timestamp(ns)", "DateTime64(9)"),
        ("Decimal128", "Decimal"),
        ("Decimal256", "Decimal"),
    ];
    NAMES.iter().fold(plain(message), |text, (arrow, ours)| text.replace(arrow, ours))
}

/// The message up to where the library prints a syntax tree, which only its authors can read.
fn without_trees(message: &str) -> &str {
    let is_tree = |rest: &str| {
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        rest[name.len()..].starts_with(['(', '{']) || rest[name.len()..].starts_with(" {")
    };
    let begins = |at: &usize| {
        message[*at..].starts_with(|c: char| c.is_ascii_uppercase()) && is_tree(&message[*at..])
    };
    let tree = message.match_indices(' ').map(|(at, _)| at + 1).find(begins);
    let Some(tree) = tree.filter(|_| message.contains("span: Span(") || message.contains("{ "))
    else {
        return message;
    };
    // The name of the tree's first node says what it is.
    let name = message[tree..].find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(0);
    &message[..tree + name]
}

/// The message without what the library says about itself.
fn plain(message: &str) -> String {
    let said = message.split("\nThis issue was likely caused by a bug").next().unwrap_or(message);
    said.replace("Error during planning: ", "").replace("Internal error: ", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_of_the_parser_are_cut_away() {
        for (message, shown) in [
            (
                "Unsupported JOIN operator Semi(On(BinaryOp { left: Identifier(x), span: Span(..) }",
                "Unsupported JOIN operator Semi",
            ),
            (
                "Unsupported ast node Pivot { table: Derived { lateral: false } }",
                "Unsupported ast node Pivot",
            ),
            ("TOP", "TOP"),
            (
                "Physical plan does not support Avg(DISTINCT) here",
                "Physical plan does not support Avg(DISTINCT) here",
            ),
        ] {
            assert_eq!(without_trees(message), shown);
        }
    }
}
