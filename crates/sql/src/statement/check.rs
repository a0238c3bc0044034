//! CHECK TABLE.

use granary_common::Error;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;

use super::parse::{Parsed, is_next_word, on_cluster};
use super::{PartitionClause, Statement, TableName};
use crate::Notice;

/// `CHECK TABLE t [PARTITION p]`.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckTable {
    pub table: TableName,
    /// `None`: all of them.
    pub partition: Option<PartitionClause>,
    pub notices: Vec<Notice>,
}

/// `CHECK TABLE ...`; the parser stands at its first word.
pub(super) fn check(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    if is_next_word(parser, "ALL") {
        let message = "CHECK ALL TABLES is not supported; check the tables one by one";
        return Err(Error::unsupported(message).into());
    }
    parser.expect_keyword(Keyword::TABLE)?;
    let table = TableName::of(&parser.parse_object_name(false)?)?;
    let notices = on_cluster(parser)?;
    let partition = match parser.parse_keyword(Keyword::PARTITION) {
        true => Some(super::alter::partition(parser)?),
        false => None,
    };
    if is_next_word(parser, "PART") {
        let message = "CHECK TABLE takes PARTITION, not PART";
        return Err(Error::unsupported(message).into());
    }
    Ok(Statement::CheckTable(CheckTable { table, partition, notices }))
}
