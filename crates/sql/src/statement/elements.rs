//! What stands between the brackets of CREATE TABLE: columns, constraints, indexes, projections.

use sqlparser::ast::{Expr, Query};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::CreateTable;
use super::constraints::{ConstraintClause, constraint};
use super::parse::{Parsed, is_next_word};

/// `INDEX name expr TYPE kind [GRANULARITY n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexClause {
    pub name: String,
    pub expression: Expr,
    /// The kind with its arguments, as written.
    pub kind: String,
    pub granularity: u64,
}

/// `PROJECTION name (SELECT ...)`.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionClause {
    pub name: String,
    pub query: Box<Query>,
}

/// Reads the brackets, if there are any.
pub(super) fn elements(parser: &mut Parser<'_>, create: &mut CreateTable) -> Parsed<()> {
    if !parser.consume_token(&Token::LParen) || parser.consume_token(&Token::RParen) {
        return Ok(());
    }
    loop {
        if begins(parser, "INDEX") {
            parser.next_token();
            create.indexes.push(index(parser)?);
        } else if begins(parser, "PROJECTION") {
            parser.next_token();
            create.projections.push(projection(parser)?);
        } else if let Some(clause) = constraint(parser)? {
            match clause {
                ConstraintClause::Check(check) => create.constraints.push(check.into()),
                ConstraintClause::Assumed(notice) => create.notices.push(notice),
            }
        } else if let Some(constraint) = parser.parse_optional_table_constraint()? {
            create.constraints.push(constraint);
        } else {
            create.columns.push(parser.parse_column_def()?);
        }
        if parser.consume_token(&Token::RParen) {
            return Ok(());
        }
        parser.expect_token(&Token::Comma)?;
    }
}

/// Whether an element of this kind comes: a column may have the word as its name. Columns have a
/// type after the name, the others two more things at least.
fn begins(parser: &Parser<'_>, word: &str) -> bool {
    let is_it = matches!(&parser.peek_token_ref().token, Token::Word(found)
        if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word));
    let named = matches!(parser.peek_nth_token(1).token, Token::Word(_));
    let ended = matches!(parser.peek_nth_token(2).token, Token::Comma | Token::RParen);
    is_it && named && !ended
}

/// What follows the word INDEX.
pub(super) fn index(parser: &mut Parser<'_>) -> Parsed<IndexClause> {
    let name = parser.parse_identifier()?.value;
    let expression = parser.parse_expr()?;
    if !is_next_word(parser, "TYPE") {
        let next = parser.peek_token();
        return Ok(parser.expected("TYPE of the index", next)?);
    }
    let kind = kind(parser)?;
    let granularity = match is_next_word(parser, "GRANULARITY") {
        true => parser.parse_literal_uint()?,
        false => 1,
    };
    Ok(IndexClause { name, expression, kind, granularity })
}

/// `minmax` or `bloom_filter(0.01)`.
fn kind(parser: &mut Parser<'_>) -> Parsed<String> {
    let mut text = parser.parse_identifier()?.value;
    if parser.consume_token(&Token::LParen) {
        let arguments = parser.parse_comma_separated0(Parser::parse_expr, Token::RParen)?;
        parser.expect_token(&Token::RParen)?;
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        text.push_str(&format!("({})", arguments.join(", ")));
    }
    Ok(text)
}

/// What follows the word PROJECTION.
pub(super) fn projection(parser: &mut Parser<'_>) -> Parsed<ProjectionClause> {
    let name = parser.parse_identifier()?.value;
    parser.expect_token(&Token::LParen)?;
    let query = parser.parse_query()?;
    parser.expect_token(&Token::RParen)?;
    Ok(ProjectionClause { name, query })
}
