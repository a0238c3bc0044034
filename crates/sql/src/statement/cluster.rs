//! Statements about the nodes of the cluster: ALTER SYSTEM.

use granary_common::Error;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;

use super::Statement;
use super::parse::{Parsed, is_next_word};

/// What shall become of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterStatement {
    /// Others take over what the worker holds.
    Drain { worker: u64 },
    /// It may hold something again.
    Undrain { worker: u64 },
    /// It is dead for good, and forgotten.
    DropWorker { worker: u64 },
    /// A member more of the metadata group, at `host:port`.
    AddMetadataNode { node: u64, address: String },
    /// A member less.
    DropMetadataNode { node: u64 },
}

/// Whether `ALTER SYSTEM` is ahead.
pub(super) fn is_alter_system(parser: &Parser<'_>) -> bool {
    super::parse::is_ahead(parser, &[Keyword::ALTER, Keyword::SYSTEM])
}

/// `ALTER SYSTEM DRAIN | UNDRAIN | DROP WORKER n`, `ADD METADATA NODE n 'host:port'` and `DROP
/// METADATA NODE n`; the parser stands at its first word.
pub(super) fn alter_system(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    parser.next_token();
    let verbs = ["DRAIN", "UNDRAIN", "DROP", "ADD"];
    let verb = verbs.into_iter().find(|verb| is_next_word(parser, verb)).unwrap_or_default();
    let is_worker = is_next_word(parser, "WORKER");
    let is_node = !is_worker && is_next_word(parser, "METADATA") && is_next_word(parser, "NODE");
    let statement = match (verb, is_worker, is_node) {
        ("DRAIN", true, _) => ClusterStatement::Drain { worker: parser.parse_literal_uint()? },
        ("UNDRAIN", true, _) => ClusterStatement::Undrain { worker: parser.parse_literal_uint()? },
        ("DROP", true, _) => ClusterStatement::DropWorker { worker: parser.parse_literal_uint()? },
        ("ADD", _, true) => {
            let node = parser.parse_literal_uint()?;
            ClusterStatement::AddMetadataNode { node, address: parser.parse_literal_string()? }
        }
        ("DROP", _, true) => {
            ClusterStatement::DropMetadataNode { node: parser.parse_literal_uint()? }
        }
        _ => {
            let message = "of ALTER SYSTEM, DRAIN | UNDRAIN | DROP WORKER n, ADD METADATA NODE n \
                           'host:port' and DROP METADATA NODE n are supported";
            return Err(Error::unsupported(message).into());
        }
    };
    Ok(Statement::Cluster(statement))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn nodes_are_named_by_their_ids() {
        let address = "m4:7423".to_owned();
        for (text, expected) in [
            ("ALTER SYSTEM DRAIN WORKER 3", ClusterStatement::Drain { worker: 3 }),
            ("alter system undrain worker 3", ClusterStatement::Undrain { worker: 3 }),
            ("ALTER SYSTEM DROP WORKER 3", ClusterStatement::DropWorker { worker: 3 }),
            (
                "ALTER SYSTEM ADD METADATA NODE 4 'm4:7423'",
                ClusterStatement::AddMetadataNode { node: 4, address },
            ),
            ("ALTER SYSTEM DROP METADATA NODE 2", ClusterStatement::DropMetadataNode { node: 2 }),
        ] {
            assert_eq!(parse(text).expect(text), [Statement::Cluster(expected)]);
        }
        for text in [
            "ALTER SYSTEM DRAIN WORKER",
            "ALTER SYSTEM DRAIN 3",
            "ALTER SYSTEM DROP WORKER w1",
            "ALTER SYSTEM DRAIN METADATA NODE 1",
            "ALTER SYSTEM ADD METADATA NODE 4",
            "ALTER SYSTEM ADD WORKER 4",
            "ALTER SYSTEM FLUSH",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
