//! Statements about the past of tables: RESTORE TABLE, UNDROP TABLE, CREATE TABLE ... CLONE.

use granary_common::Error;
use sqlparser::ast::TableVersion;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;

use super::parse::{Parsed, is_next_word, on_cluster};
use super::{Statement, TableName};
use crate::Notice;

/// A point of the past as written.
#[derive(Clone, Debug, PartialEq)]
pub struct PastClause(pub(crate) TableVersion);

/// A statement about the past of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum PastStatement {
    /// Makes a table again what it was.
    Restore { table: TableName, point: PastClause, notices: Vec<Notice> },
    /// Brings a dropped table back.
    Undrop { table: TableName, notices: Vec<Notice> },
    /// Makes a table of another one's parts.
    Clone {
        name: TableName,
        if_not_exists: bool,
        source: TableName,
        point: Option<PastClause>,
        notices: Vec<Notice>,
    },
}

impl PastStatement {
    /// What was accepted without effect while parsing.
    pub fn notices(&self) -> &[Notice] {
        match self {
            PastStatement::Restore { notices, .. }
            | PastStatement::Undrop { notices, .. }
            | PastStatement::Clone { notices, .. } => notices,
        }
    }
}

fn statement(past: PastStatement) -> Statement {
    Statement::Past(Box::new(past))
}

/// `RESTORE TABLE t TO VERSION [AS OF] n | TIMESTAMP [AS OF] time`, behind RESTORE TABLE.
pub(super) fn restore(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let table = TableName::of(&parser.parse_object_name(false)?)?;
    let notices = on_cluster(parser)?;
    parser.expect_keyword(Keyword::TO)?;
    let point = match clause(parser)? {
        Some(point) => point,
        None if parser.parse_keyword(Keyword::VERSION) => {
            PastClause(TableVersion::VersionAsOf(parser.parse_expr()?))
        }
        None if parser.parse_keyword(Keyword::TIMESTAMP) => {
            PastClause(TableVersion::TimestampAsOf(parser.parse_expr()?))
        }
        None => {
            let message = "RESTORE TABLE t TO takes VERSION n or TIMESTAMP time";
            return Err(Error::invalid(message).into());
        }
    };
    Ok(statement(PastStatement::Restore { table, point, notices }))
}

/// `UNDROP TABLE t`, behind UNDROP.
pub(super) fn undrop(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.expect_keyword(Keyword::TABLE)?;
    let table = TableName::of(&parser.parse_object_name(false)?)?;
    let notices = on_cluster(parser)?;
    Ok(statement(PastStatement::Undrop { table, notices }))
}

/// `[SHALLOW] CLONE [AS] source [AT(...)]`, behind the name of the new table.
pub(super) fn clone(
    parser: &mut Parser<'_>,
    create: &super::CreateTable,
) -> Parsed<Option<Statement>> {
    let is_shallow = is_next_word(parser, "SHALLOW");
    if !is_next_word(parser, "CLONE") {
        return match is_shallow {
            true => Err(Error::invalid("SHALLOW is followed by CLONE").into()),
            false => Ok(None),
        };
    }
    if create.or_replace {
        let message = "CREATE OR REPLACE TABLE ... CLONE is not supported; drop the table first, or \
                       clone under another name and EXCHANGE TABLES";
        return Err(Error::unsupported(message).into());
    }
    if create.temporary {
        let message = "a temporary table is no clone: write CREATE TEMPORARY TABLE ... AS SELECT";
        return Err(Error::unsupported(message).into());
    }
    let _ = parser.parse_keyword(Keyword::AS);
    let source = TableName::of(&parser.parse_object_name(false)?)?;
    let point = clause(parser)?;
    let Some(name) = create.name.clone() else {
        return Err(Error::internal("CREATE TABLE without a name").into());
    };
    Ok(Some(statement(PastStatement::Clone {
        name,
        if_not_exists: create.if_not_exists,
        source,
        point,
        notices: create.notices.clone(),
    })))
}

/// `AT(...)` or `BEFORE(...)`, which all other spellings with AS OF have become.
fn clause(parser: &mut Parser<'_>) -> Parsed<Option<PastClause>> {
    Ok(parser.maybe_parse_table_version()?.map(PastClause))
}
