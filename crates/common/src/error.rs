//! The public error: a coarse kind that tells the caller what to do, and a message that tells a
//! person where and why. Crates keep richer enums inside and convert at their edge.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the caller can do about an error. Kept across the wire (see `granary_proto::status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The statement, the rows or a setting are wrong: fix them.
    InvalidInput,
    /// A named thing does not exist: fix the name.
    NotFound,
    /// A thing of that name exists already.
    AlreadyExists,
    /// Well-formed, but not offered: choose another way.
    Unsupported,
    /// Somebody else changed the same thing first: run it again.
    Conflict,
    /// A node is away or starting: run it again, through any coordinator.
    Unavailable,
    /// A limit was reached: raise it or ask for less.
    ResourceExhausted,
    /// The caller, or an operator, stopped it.
    Cancelled,
    /// A deadline passed; the outcome may be unknown.
    DeadlineExceeded,
    /// Who you are is not known.
    Unauthenticated,
    /// You may not do this.
    PermissionDenied,
    /// Stored bytes are not what was written: restore from a copy and report.
    Corruption,
    /// A defect of Granary: report it.
    Internal,
}

impl ErrorKind {
    /// Every kind, for tables of cases.
    pub const ALL: [ErrorKind; 13] = [
        ErrorKind::InvalidInput,
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::Unsupported,
        ErrorKind::Conflict,
        ErrorKind::Unavailable,
        ErrorKind::ResourceExhausted,
        ErrorKind::Cancelled,
        ErrorKind::DeadlineExceeded,
        ErrorKind::Unauthenticated,
        ErrorKind::PermissionDenied,
        ErrorKind::Corruption,
        ErrorKind::Internal,
    ];

    /// The stable code that users see and clients match on.
    pub fn code(self) -> &'static str {
        match self {
            ErrorKind::InvalidInput => "INVALID_INPUT",
            ErrorKind::NotFound => "NOT_FOUND",
            ErrorKind::AlreadyExists => "ALREADY_EXISTS",
            ErrorKind::Unsupported => "UNSUPPORTED",
            ErrorKind::Conflict => "CONFLICT",
            ErrorKind::Unavailable => "UNAVAILABLE",
            ErrorKind::ResourceExhausted => "RESOURCE_EXHAUSTED",
            ErrorKind::Cancelled => "CANCELLED",
            ErrorKind::DeadlineExceeded => "DEADLINE_EXCEEDED",
            ErrorKind::Unauthenticated => "UNAUTHENTICATED",
            ErrorKind::PermissionDenied => "PERMISSION_DENIED",
            ErrorKind::Corruption => "CORRUPTION",
            ErrorKind::Internal => "INTERNAL",
        }
    }

    /// The kind of a code; `None` when a newer node sent one that this build does not know.
    pub fn from_code(code: &str) -> Option<ErrorKind> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether running the same request again can succeed without a change to it.
    pub fn is_retryable(self) -> bool {
        matches!(self, ErrorKind::Conflict | ErrorKind::Unavailable)
    }
}

/// An error with its kind. Cheap to move; the message is for people and is never matched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// The result of everything that crosses a crate's edge.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! constructors {
    ($($fn_name:ident => $kind:ident),* $(,)?) => {
        impl Error {
            $(
                #[doc = concat!("An error of kind [`ErrorKind::", stringify!($kind), "`].")]
                pub fn $fn_name(message: impl Into<String>) -> Self {
                    Self::new(ErrorKind::$kind, message)
                }
            )*
        }
    };
}

constructors! {
    invalid => InvalidInput,
    not_found => NotFound,
    already_exists => AlreadyExists,
    unsupported => Unsupported,
    conflict => Conflict,
    unavailable => Unavailable,
    exhausted => ResourceExhausted,
    cancelled => Cancelled,
    deadline => DeadlineExceeded,
    unauthenticated => Unauthenticated,
    denied => PermissionDenied,
    corruption => Corruption,
    internal => Internal,
}

impl Error {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text for people, without the code.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same error with what was being done put before the message.
    pub fn context(self, doing: impl fmt::Display) -> Self {
        Self { kind: self.kind, message: format!("{doing}: {}", self.message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(ErrorKind::from_code("SOMETHING_NEWER"), None);
    }

    #[test]
    fn context_keeps_the_kind() {
        let error = Error::corruption("checksum differs").context("part 7");
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert_eq!(error.to_string(), "part 7: checksum differs");
    }
}
