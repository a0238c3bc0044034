//! TTL: when rows are due, and what becomes of them.

use std::fmt;

use granary_catalog::TtlPlace;
use granary_common::Result;
use sqlparser::ast::Expr;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::parse::{Failure, Parsed, is_next_word};
use crate::GranaryDialect;
use crate::show::{identifier, string};

/// One rule of a TTL.
#[derive(Clone, Debug, PartialEq)]
pub struct TtlClause {
    /// A Date or DateTime of the row.
    pub expiry: Expr,
    pub action: TtlClauseAction,
    /// `WHERE condition`.
    pub condition: Option<Expr>,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq)]
pub enum TtlClauseAction {
    Delete,
    /// `GROUP BY keys SET column = aggregate, ...`.
    GroupBy {
        keys: Vec<Expr>,
        set: Vec<(String, Expr)>,
    },
    /// `RECOMPRESS CODEC(...)`.
    Recompress(Box<Expr>),
    MoveTo(TtlPlace),
}

impl fmt::Display for TtlClause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expiry)?;
        match &self.action {
            TtlClauseAction::Delete => f.write_str(" DELETE")?,
            TtlClauseAction::GroupBy { keys, set } => {
                let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
                write!(f, " GROUP BY {}", keys.join(", "))?;
                let set: Vec<String> = set
                    .iter()
                    .map(|(column, value)| format!("{} = {value}", identifier(column)))
                    .collect();
                if !set.is_empty() {
                    write!(f, " SET {}", set.join(", "))?;
                }
            }
            TtlClauseAction::Recompress(codec) => write!(f, " RECOMPRESS {codec}")?,
            TtlClauseAction::MoveTo(TtlPlace::Disk(name)) => {
                write!(f, " TO DISK {}", string(name))?;
            }
            TtlClauseAction::MoveTo(TtlPlace::Volume(name)) => {
                write!(f, " TO VOLUME {}", string(name))?;
            }
        }
        match &self.condition {
            Some(condition) => write!(f, " WHERE {condition}"),
            None => Ok(()),
        }
    }
}

/// The rules as SHOW CREATE TABLE writes them, and as [`parse_ttl`] reads them.
pub(crate) fn ttl_text(rules: &[TtlClause]) -> String {
    let texts: Vec<String> = rules.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Reads the text of a table's TTL.
///
/// # Errors
/// InvalidInput when it is none.
pub(crate) fn parse_ttl(text: &str) -> Result<Vec<TtlClause>> {
    let tokens = crate::dialect::tokenize(text)
        .map_err(|error| crate::error::from_tokenizer(error, text))?;
    let dialect = GranaryDialect;
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let parsed = rules(&mut parser).and_then(|rules| {
        parser.expect_token(&Token::EOF)?;
        Ok(rules)
    });
    parsed.map_err(|failure| match failure {
        Failure::Syntax(error) => crate::error::from_parser(error, text),
        Failure::Refused(error) => error,
    })
}

/// What follows the word TTL of a table.
pub(super) fn rules(parser: &mut Parser<'_>) -> Parsed<Vec<TtlClause>> {
    let mut rules = Vec::new();
    loop {
        rules.push(rule(parser)?);
        if !parser.consume_token(&Token::Comma) {
            return Ok(rules);
        }
    }
}

fn rule(parser: &mut Parser<'_>) -> Parsed<TtlClause> {
    let expiry = expiry(parser)?;
    let mut condition = condition(parser)?;
    let action = action(parser)?;
    if condition.is_none() {
        condition = self::condition(parser)?;
    }
    Ok(TtlClause { expiry, action, condition })
}

fn condition(parser: &mut Parser<'_>) -> Parsed<Option<Expr>> {
    match parser.parse_keyword(Keyword::WHERE) {
        true => Ok(Some(parser.parse_expr()?)),
        false => Ok(None),
    }
}

/// `INTERVAL 1 DAY TO DISK 'd'` would be read as an interval of days to something else, so what
/// stands before `TO DISK` and `TO VOLUME` is read by itself.
fn expiry(parser: &mut Parser<'_>) -> Parsed<Expr> {
    let Some(length) = tokens_before_place(parser) else { return Ok(parser.parse_expr()?) };
    let tokens: Vec<TokenWithSpan> = (0..length).map(|_| parser.next_token()).collect();
    let dialect = GranaryDialect;
    let mut inner = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let expression = inner.parse_expr()?;
    match inner.peek_token_ref().token {
        Token::EOF => Ok(expression),
        _ => {
            let next = inner.peek_token();
            Ok(inner.expected("TO DISK or TO VOLUME", next)?)
        }
    }
}

/// How many tokens the rule has before its `TO DISK` or `TO VOLUME`.
fn tokens_before_place(parser: &Parser<'_>) -> Option<usize> {
    let is_word = |token: &Token, text: &str| {
        matches!(token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
    };
    let mut depth = 0_usize;
    for at in 0.. {
        match parser.peek_nth_token(at).token {
            Token::EOF | Token::SemiColon => return None,
            Token::Comma if depth == 0 => return None,
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.checked_sub(1)?,
            token if depth == 0 && is_word(&token, "TO") => {
                let next = parser.peek_nth_token(at + 1).token;
                if is_word(&next, "DISK") || is_word(&next, "VOLUME") {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn action(parser: &mut Parser<'_>) -> Parsed<TtlClauseAction> {
    if is_next_word(parser, "TO") {
        return match place(parser)? {
            Some(place) => Ok(TtlClauseAction::MoveTo(place)),
            None => {
                let next = parser.peek_token();
                Ok(parser.expected("DISK or VOLUME", next)?)
            }
        };
    }
    if is_next_word(parser, "RECOMPRESS") {
        return Ok(TtlClauseAction::Recompress(Box::new(parser.parse_expr()?)));
    }
    if parser.parse_keywords(&[Keyword::GROUP, Keyword::BY]) {
        let keys = parser.parse_comma_separated(Parser::parse_expr)?;
        let set = match parser.parse_keyword(Keyword::SET) {
            true => assignments(parser)?,
            false => Vec::new(),
        };
        return Ok(TtlClauseAction::GroupBy { keys, set });
    }
    let _ = parser.parse_keyword(Keyword::DELETE);
    Ok(TtlClauseAction::Delete)
}

/// `DISK 'd'` or `VOLUME 'v'`.
pub(super) fn place(parser: &mut Parser<'_>) -> Parsed<Option<TtlPlace>> {
    if is_next_word(parser, "DISK") {
        return Ok(Some(TtlPlace::Disk(parser.parse_literal_string()?)));
    }
    match is_next_word(parser, "VOLUME") {
        true => Ok(Some(TtlPlace::Volume(parser.parse_literal_string()?))),
        false => Ok(None),
    }
}

/// `column = value, ...`, up to what is no further assignment but the next rule.
fn assignments(parser: &mut Parser<'_>) -> Parsed<Vec<(String, Expr)>> {
    let mut set = Vec::new();
    loop {
        let column = parser.parse_identifier()?.value;
        parser.expect_token(&Token::Eq)?;
        set.push((column, parser.parse_expr()?));
        let more = parser.peek_token_ref().token == Token::Comma
            && matches!(parser.peek_nth_token(1).token, Token::Word(_))
            && parser.peek_nth_token(2).token == Token::Eq;
        if !more {
            return Ok(set);
        }
        parser.next_token();
    }
}
