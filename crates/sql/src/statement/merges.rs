//! Statements about merges: OPTIMIZE TABLE and SYSTEM STOP | START MERGES.

use granary_common::Error;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::parse::{Parsed, is_next_word, on_cluster};
use super::{PartitionClause, Statement, TableName};
use crate::Notice;

/// `OPTIMIZE TABLE t [PARTITION p] [FINAL [CLEANUP]] [DEDUPLICATE [BY columns]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimize {
    pub table: TableName,
    /// `None`: all of them.
    pub partition: Option<PartitionClause>,
    /// All parts of each partition become one, else one round of merges is done.
    pub is_final: bool,
    /// Rows that the engine marks as deleted go as well.
    pub is_cleanup: bool,
    pub deduplicate: Option<EqualColumns>,
    pub notices: Vec<Notice>,
}

/// The columns in which rows are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EqualColumns {
    All,
    Except(Vec<String>),
    These(Vec<String>),
}

/// `OPTIMIZE [TABLE] ...`; the parser stands at its first word.
pub(super) fn optimize(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    let _ = parser.parse_keyword(Keyword::TABLE);
    let table = TableName::of(&parser.parse_object_name(false)?)?;
    let mut notices = on_cluster(parser)?;
    let partition = match parser.parse_keyword(Keyword::PARTITION) {
        true => Some(super::alter::partition(parser)?),
        false => None,
    };
    let is_final = parser.parse_keyword(Keyword::FINAL);
    let is_cleanup = is_next_word(parser, "CLEANUP");
    let deduplicate = match parser.parse_keyword(Keyword::DEDUPLICATE) {
        true => Some(equal_columns(parser)?),
        false => None,
    };
    if is_cleanup && !is_final {
        let message = "CLEANUP needs FINAL: only a merge of all parts may forget deleted rows";
        return Err(Error::invalid(message).into());
    }
    if deduplicate.is_some() && !is_final {
        notices.push(Notice::new(
            "DEDUPLICATE merges all parts of each partition, as with FINAL: equal rows may be in \
             any of them",
        ));
    }
    let is_final = is_final || deduplicate.is_some();
    Ok(Statement::Optimize(Optimize {
        table,
        partition,
        is_final,
        is_cleanup,
        deduplicate,
        notices,
    }))
}

/// `[BY columns]`, where columns are names, or `*` with or without EXCEPT.
fn equal_columns(parser: &mut Parser<'_>) -> Parsed<EqualColumns> {
    if !parser.parse_keyword(Keyword::BY) {
        return Ok(EqualColumns::All);
    }
    if parser.consume_token(&Token::Mul) {
        if !parser.parse_keyword(Keyword::EXCEPT) {
            return Ok(EqualColumns::All);
        }
        let in_brackets = parser.consume_token(&Token::LParen);
        let except = names(parser)?;
        if in_brackets {
            parser.expect_token(&Token::RParen)?;
        }
        return Ok(EqualColumns::Except(except));
    }
    if matches!(parser.peek_nth_token(1).token, Token::LParen) {
        let message = "DEDUPLICATE BY takes names of columns, or * EXCEPT (names)";
        return Err(Error::unsupported(message).into());
    }
    Ok(EqualColumns::These(names(parser)?))
}

fn names(parser: &mut Parser<'_>) -> Parsed<Vec<String>> {
    let names = parser.parse_comma_separated(|parser| parser.parse_identifier())?;
    Ok(names.into_iter().map(|name| name.value).collect())
}

/// `SYSTEM STOP | START MERGES [t]`, and what SYSTEM says of views; the parser stands at its first
/// word.
pub(super) fn system(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    if let Some(of_view) = super::refresh::system_view(parser)? {
        return Ok(of_view);
    }
    if let Some(notice) = super::show::nothing_to_do(parser) {
        return Ok(Statement::Nothing { notices: vec![notice] });
    }
    let is_stop = is_next_word(parser, "STOP");
    if !is_stop && !is_next_word(parser, "START") {
        let message = "of SYSTEM, STOP MERGES, START MERGES, and REFRESH, WAIT, STOP and START VIEW \
                       are supported";
        return Err(Error::unsupported(message).into());
    }
    if !is_next_word(parser, "MERGES") {
        let verb = if is_stop { "STOP" } else { "START" };
        let message = format!("of SYSTEM {verb}, SYSTEM {verb} MERGES is supported");
        return Err(Error::unsupported(message).into());
    }
    let mut notices = on_cluster(parser)?;
    let table = match parser.peek_token_ref().token {
        Token::Word(_) => Some(TableName::of(&parser.parse_object_name(false)?)?),
        _ => None,
    };
    notices.extend(on_cluster(parser)?);
    Ok(Statement::SetMerges { table, stopped: is_stop, notices })
}
