//! What the exit status says.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done; for a role: drained after SIGTERM or SIGINT |
//! | 1 | failed; the standard error says why |
//! | 2 | the command line is wrong |
//! | 3 | `granary demo`: a query gave another answer than the stored one |
//! | 130 | interrupted by Ctrl-C |
//! | 141 | the reader of the output went away |

use std::io::Write as _;
use std::process::ExitCode;

use granary_common::{Error, ErrorKind};

/// It failed.
pub const FAILED: u8 = 1;
/// A query of the demo gave another answer than the stored one.
pub const WRONG_ANSWER: u8 = 3;
/// The reader of the output went away.
pub const BROKEN_PIPE: u8 = 141;
/// Interrupted by Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// Prints `error` with its code for people and tools.
pub fn print_error(error: &Error) {
    // Where the standard error is closed nobody reads.
    let _ = writeln!(std::io::stderr().lock(), "error[{}]: {error}", error.kind().code());
}

/// Prints `error` and gives the status that it means.
pub fn failed(error: &Error) -> ExitCode {
    if error.kind() == ErrorKind::Cancelled {
        print_error(error);
        return ExitCode::from(INTERRUPTED);
    }
    print_error(error);
    ExitCode::from(FAILED)
}
