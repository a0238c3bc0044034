//! Error kinds over the wire: a gRPC code for any client, and the exact kind in a header for ours.

use granary_common::{Error, ErrorKind};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// The header that carries the exact kind.
pub const KIND_HEADER: &str = "granary-error-kind";

/// The gRPC code of a kind.
pub fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidInput => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::Conflict => Code::Aborted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::Corruption => Code::DataLoss,
        ErrorKind::Internal => Code::Internal,
    }
}

fn kind_of(code: Code) -> ErrorKind {
    let exact = ErrorKind::ALL.into_iter().find(|kind| code_of(*kind) == code);
    exact.unwrap_or(match code {
        Code::OutOfRange => ErrorKind::ResourceExhausted,
        Code::FailedPrecondition => ErrorKind::Conflict,
        _ => ErrorKind::Internal,
    })
}

/// The status that carries `error` with its kind.
pub fn to_status(error: &Error) -> Status {
    let mut status = Status::new(code_of(error.kind()), error.message());
    let kind = MetadataValue::from_static(error.kind().code());
    status.metadata_mut().insert(KIND_HEADER, kind);
    status
}

/// The error that a status carries; a status of another origin gets the kind of its code.
pub fn from_status(status: &Status) -> Error {
    let header = status.metadata().get(KIND_HEADER).and_then(|value| value.to_str().ok());
    let kind = header.and_then(ErrorKind::from_code).unwrap_or_else(|| kind_of(status.code()));
    Error::new(kind, status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_survive_the_wire() {
        for kind in ErrorKind::ALL {
            let error = Error::new(kind, "what happened");
            assert_eq!(from_status(&to_status(&error)), error);
        }
    }

    #[test]
    fn foreign_statuses_get_the_kind_of_their_code() {
        assert_eq!(from_status(&Status::unavailable("gone")).kind(), ErrorKind::Unavailable);
        assert_eq!(from_status(&Status::unknown("what")).kind(), ErrorKind::Internal);
    }
}
