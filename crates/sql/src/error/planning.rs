//! DataFusion's errors as Granary's: the kind that tells the caller what to do, in words that
//! name no Rust type.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use granary_common::{Error, ErrorKind};

use super::did_you_mean;

/// The error that a caller sees. `sql` is the statement that was planned, when there was one.
///
/// An [`Error`] that travelled through DataFusion comes back as it was.
pub fn error_from_datafusion(error: DataFusionError, sql: Option<&str>) -> Error {
    let _ = sql;
    convert(&error)
}

fn convert(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => external(inner.as_ref()),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            convert(inner)
        }
        DataFusionError::Shared(inner) => convert(inner),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => convert(first),
            None => Error::internal("an empty list of errors"),
        },
        DataFusionError::SchemaError(schema, _) => schema_error(schema),
        DataFusionError::ArrowError(inner, _) => arrow_error(inner),
        DataFusionError::SQL(inner, _) => Error::invalid(format!("syntax error: {inner}")),
        DataFusionError::Plan(message) => plan_error(message),
        DataFusionError::Configuration(message) | DataFusionError::Execution(message) => {
            Error::invalid(message.clone())
        }
        DataFusionError::NotImplemented(message) => {
            Error::unsupported(format!("not supported: {message}"))
        }
        DataFusionError::ResourcesExhausted(message) => Error::exhausted(message.clone()),
        DataFusionError::ExecutionJoin(inner) if inner.is_cancelled() => {
            Error::cancelled("the query was cancelled")
        }
        DataFusionError::ObjectStore(inner) => Error::unavailable(format!("storage: {inner}")),
        DataFusionError::IoError(inner) => Error::unavailable(format!("I/O: {inner}")),
        other => Error::internal(other.strip_backtrace()),
    }
}

/// Looks for our own error, or DataFusion's, behind the boxes.
fn external(error: &(dyn std::error::Error + 'static)) -> Error {
    if let Some(own) = error.downcast_ref::<Error>() {
        return own.clone();
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return convert(inner);
    }
    match error.source() {
        Some(source) => external(source),
        None => Error::internal(error.to_string()),
    }
}

fn arrow_error(error: &arrow::error::ArrowError) -> Error {
    use arrow::error::ArrowError;
    match error {
        ArrowError::ExternalError(inner) => external(inner.as_ref()),
        ArrowError::CastError(message)
        | ArrowError::ParseError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::InvalidArgumentError(message)
        | ArrowError::ArithmeticOverflow(message) => Error::invalid(message.clone()),
        ArrowError::DivideByZero => Error::invalid("division by zero"),
        ArrowError::IoError(message, _) => Error::unavailable(format!("I/O: {message}")),
        other => Error::internal(other.to_string()),
    }
}

fn schema_error(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names = valid_fields.iter().map(|valid| valid.name.as_str());
            let hint = did_you_mean(&field.name, names);
            let name = field.flat_name();
            let kind = ErrorKind::InvalidInput;
            Error::new(kind, format!("unknown column '{name}'{hint}"))
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

fn plan_error(message: &str) -> Error {
    let is_missing_table = message.starts_with("table '") && message.ends_with("not found");
    match is_missing_table {
        true => Error::not_found(format!("unknown table: {message}")),
        false => Error::invalid(message.to_owned()),
    }
}
