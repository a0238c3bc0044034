//! CREATE FUNCTION and DROP FUNCTION: functions that are written in SQL.

use sqlparser::ast::Expr;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::Statement;
use super::parse::{Parsed, is_ahead, on_cluster};
use super::view::written_from;
use crate::Notice;

/// `CREATE [OR REPLACE] FUNCTION [IF NOT EXISTS] name AS (x, y) -> x * y + 1`.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateFunction {
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub name: String,
    pub parameters: Vec<String>,
    pub body: Expr,
    /// The body as written.
    pub text: String,
    pub notices: Vec<Notice>,
}

/// Whether CREATE [OR REPLACE] FUNCTION follows.
pub(super) fn is_create_function(parser: &Parser<'_>) -> bool {
    is_ahead(parser, &[Keyword::CREATE, Keyword::FUNCTION])
        || is_ahead(parser, &[Keyword::CREATE, Keyword::OR, Keyword::REPLACE, Keyword::FUNCTION])
}

/// CREATE FUNCTION; the parser stands at it.
pub(super) fn create_function(parser: &mut Parser<'_>, text: &str) -> Parsed<Statement> {
    parser.expect_keyword(Keyword::CREATE)?;
    let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    parser.expect_keyword(Keyword::FUNCTION)?;
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = parser.parse_identifier()?.value;
    let notices = on_cluster(parser)?;
    parser.expect_keyword(Keyword::AS)?;
    let parameters = parameters(parser)?;
    parser.expect_token(&Token::Arrow)?;
    let start = parser.peek_token().span.start;
    let body = parser.parse_expr()?;
    let text = written_from(parser, text, start).unwrap_or_else(|| body.to_string());
    let create =
        CreateFunction { or_replace, if_not_exists, name, parameters, body, text, notices };
    Ok(Statement::CreateFunction(Box::new(create)))
}

/// `x`, `(x, y)` or `()`.
fn parameters(parser: &mut Parser<'_>) -> Parsed<Vec<String>> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(vec![parser.parse_identifier()?.value]);
    }
    let mut names = Vec::new();
    if parser.peek_token_ref().token != Token::RParen {
        names = parser.parse_comma_separated(|parser| parser.parse_identifier())?;
    }
    parser.expect_token(&Token::RParen)?;
    Ok(names.into_iter().map(|name| name.value).collect())
}

/// DROP FUNCTION; the parser stands at it.
pub(super) fn drop_function(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.expect_keyword(Keyword::DROP)?;
    parser.expect_keyword(Keyword::FUNCTION)?;
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = parser.parse_identifier()?.value;
    let notices = on_cluster(parser)?;
    Ok(Statement::DropFunction { name, if_exists, notices })
}
