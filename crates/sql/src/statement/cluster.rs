//! Statements about workers: ALTER SYSTEM DRAIN | UNDRAIN WORKER.

use granary_common::Error;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;

use super::Statement;
use super::parse::{Parsed, is_next_word};

/// Whether `ALTER SYSTEM` is ahead.
pub(super) fn is_alter_system(parser: &Parser<'_>) -> bool {
    super::parse::is_ahead(parser, &[Keyword::ALTER, Keyword::SYSTEM])
}

/// `ALTER SYSTEM DRAIN | UNDRAIN WORKER n`; the parser stands at its first word.
pub(super) fn alter_system(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    parser.next_token();
    let drained = is_next_word(parser, "DRAIN");
    if !(drained || is_next_word(parser, "UNDRAIN")) || !is_next_word(parser, "WORKER") {
        let message = "of ALTER SYSTEM, DRAIN WORKER n and UNDRAIN WORKER n are supported";
        return Err(Error::unsupported(message).into());
    }
    let worker = parser.parse_literal_uint()?;
    Ok(Statement::DrainWorker { worker, drained })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn workers_are_named_by_their_ids() {
        for (text, expected) in [
            ("ALTER SYSTEM DRAIN WORKER 3", Statement::DrainWorker { worker: 3, drained: true }),
            ("alter system undrain worker 3", Statement::DrainWorker { worker: 3, drained: false }),
        ] {
            assert_eq!(parse(text).expect(text), [expected]);
        }
        for text in ["ALTER SYSTEM DRAIN WORKER", "ALTER SYSTEM DRAIN 3", "ALTER SYSTEM FLUSH"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
