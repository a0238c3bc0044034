//! Error kinds through the query engine and over its wire.
//!
//! The engine carries foreign errors as boxes inside a process and as their text between
//! processes, so an error of ours is wrapped such that its text begins with its kind.

use std::fmt;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use granary_common::{Error, ErrorKind};

/// An error of ours on its way through the engine. Displays as `[CODE] message`.
#[derive(Clone, Debug)]
struct Tagged(Error);

impl fmt::Display for Tagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.0.kind().code(), self.0.message())
    }
}

impl std::error::Error for Tagged {}

/// The engine's error that carries `error`; [`from_datafusion`] gets it back, also on another node.
pub fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(Tagged(error)))
}

/// What an engine error means to the caller.
pub fn from_datafusion(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => from_external(inner.as_ref()),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            from_datafusion(inner)
        }
        DataFusionError::Shared(inner) => from_datafusion(inner),
        DataFusionError::Collection(all) => match all.as_slice() {
            [] => Error::internal("an empty collection of errors"),
            [first, ..] => from_datafusion(first),
        },
        DataFusionError::ArrowError(inner, _) => from_arrow(inner),
        DataFusionError::ResourcesExhausted(text) => Error::exhausted(text.clone()),
        DataFusionError::NotImplemented(text) => tagged_text(text, ErrorKind::Unsupported),
        DataFusionError::Plan(text) | DataFusionError::Configuration(text) => {
            tagged_text(text, ErrorKind::InvalidInput)
        }
        DataFusionError::Execution(text) => tagged_text(text, ErrorKind::InvalidInput),
        DataFusionError::SchemaError(..) | DataFusionError::SQL(..) => {
            Error::invalid(error.strip_backtrace())
        }
        DataFusionError::IoError(inner) => from_io(inner),
        DataFusionError::ExecutionJoin(inner) => match inner.is_cancelled() {
            true => Error::cancelled("the query was stopped"),
            false => Error::internal("a task of the query panicked; see the node's log"),
        },
        other => tagged_text(&other.strip_backtrace(), ErrorKind::Internal),
    }
}

fn from_external(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(Tagged(error)) = error.downcast_ref::<Tagged>() {
        return error.clone();
    }
    if let Some(error) = error.downcast_ref::<Error>() {
        return error.clone();
    }
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        return from_datafusion(error);
    }
    if let Some(error) = error.downcast_ref::<ArrowError>() {
        return from_arrow(error);
    }
    if let Some(status) = error.downcast_ref::<tonic::Status>() {
        return from_peer_status(status);
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(status) = inner.downcast_ref::<tonic::Status>() {
            return from_peer_status(status);
        }
        if inner.downcast_ref::<tonic::transport::Error>().is_some() {
            return Error::unavailable(format!("the connection to a worker broke: {error}"));
        }
        cause = inner.source();
    }
    tagged_text(&error.to_string(), ErrorKind::Internal)
}

/// What a status of another worker means: one that the transport made up says that the worker
/// is lost.
pub fn from_peer_status(status: &tonic::Status) -> Error {
    let error = granary_proto::status::from_status(status);
    let told_by_peer = status.metadata().contains_key(granary_proto::status::KIND_HEADER);
    let lost = matches!(
        status.code(),
        tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled
    );
    match !told_by_peer && lost {
        true => Error::unavailable(format!("the connection to a worker broke: {status}")),
        false => error,
    }
}

fn from_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => from_external(inner.as_ref()),
        ArrowError::NotYetImplemented(text) => Error::unsupported(text.clone()),
        ArrowError::MemoryError(text) => Error::exhausted(text.clone()),
        ArrowError::IoError(text, inner) => from_io(inner).context(text),
        ArrowError::CastError(_)
        | ArrowError::ParseError(_)
        | ArrowError::DivideByZero
        | ArrowError::ArithmeticOverflow(_)
        | ArrowError::ComputeError(_)
        | ArrowError::InvalidArgumentError(_) => Error::invalid(error.to_string()),
        other => tagged_text(&other.to_string(), ErrorKind::Internal),
    }
}

fn from_io(error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::exhausted(format!("the disk is full: {error}"))
        }
        _ => tagged_text(&error.to_string(), ErrorKind::Internal),
    }
}

/// Reads `[CODE] message` wherever it stands in the text, since what is between us and the origin
/// may have put words before it.
fn tagged_text(text: &str, otherwise: ErrorKind) -> Error {
    for (start, _) in text.match_indices('[') {
        let rest = &text[start + 1..];
        let Some((code, message)) = rest.split_once("] ") else { continue };
        if let Some(kind) = ErrorKind::from_code(code) {
            return Error::new(kind, message);
        }
    }
    Error::new(otherwise, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_survive_boxes_context_and_text() {
        for kind in ErrorKind::ALL {
            let error = Error::new(kind, "what [happened] here");
            let carried = to_datafusion(error.clone()).context("while scanning");
            assert_eq!(from_datafusion(&carried), error);
            let text = DataFusionError::External(to_datafusion(error.clone()).to_string().into());
            assert_eq!(from_datafusion(&text), error);
            let status = granary_proto::status::to_status(&error);
            assert_eq!(from_datafusion(&DataFusionError::External(Box::new(status))), error);
        }
    }

    #[test]
    fn engine_errors_get_a_kind() {
        let lost = DataFusionError::External(Box::new(tonic::Status::unknown("transport error")));
        let cases = [
            (DataFusionError::ResourcesExhausted("pool".into()), ErrorKind::ResourceExhausted),
            (DataFusionError::Plan("no column".into()), ErrorKind::InvalidInput),
            (DataFusionError::NotImplemented("x".into()), ErrorKind::Unsupported),
            (DataFusionError::Internal("bug".into()), ErrorKind::Internal),
            (lost, ErrorKind::Unavailable),
            (
                DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None),
                ErrorKind::InvalidInput,
            ),
        ];
        for (error, kind) in cases {
            assert_eq!(from_datafusion(&error).kind(), kind, "{error}");
        }
    }
}
