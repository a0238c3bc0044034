//! The clauses of CREATE DICTIONARY behind its attributes.

use granary_common::{Error, Result};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::Definition;
use crate::show::identifier;
use crate::statement::parse::{Parsed, is_next_word};

/// Layouts whose lookups are not by equal keys.
const OTHER_LOOKUPS: [&str; 5] =
    ["RANGE_HASHED", "COMPLEX_KEY_RANGE_HASHED", "IP_TRIE", "POLYGON", "REGEXP_TREE"];

/// Hosts that are this one.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The table behind a dictionary.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Source {
    database: Option<String>,
    table: Option<String>,
    condition: Option<String>,
    query: Option<String>,
}

impl Source {
    /// What stands behind FROM.
    pub(super) fn read_from(&self) -> String {
        let condition = self.condition.as_ref().map(|condition| format!(" WHERE {condition}"));
        let table = match (&self.query, &self.table, &self.database) {
            (Some(query), ..) => format!("({query})"),
            (None, Some(table), Some(database)) => {
                format!("{}.{}", identifier(database), identifier(table))
            }
            (None, table, None) | (None, table @ None, _) => {
                identifier(table.as_deref().unwrap_or_default())
            }
        };
        table + &condition.unwrap_or_default()
    }

    /// As it is written in SOURCE.
    pub(super) fn written(&self) -> String {
        let parts = [
            ("DB", &self.database),
            ("TABLE", &self.table),
            ("WHERE", &self.condition),
            ("QUERY", &self.query),
        ];
        let written = |(word, value): (&str, &Option<String>)| {
            let value = value.as_ref()?.replace('\\', "\\\\").replace('\'', "''");
            Some(format!("{word} '{value}'"))
        };
        parts.into_iter().filter_map(written).collect::<Vec<String>>().join(" ")
    }
}

/// Reads the next clause; false when none follows.
pub(super) fn clause(parser: &mut Parser<'_>, definition: &mut Definition) -> Parsed<bool> {
    if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
        let in_brackets = parser.consume_token(&Token::LParen);
        let names = parser.parse_comma_separated(|parser| parser.parse_identifier())?;
        if in_brackets {
            parser.expect_token(&Token::RParen)?;
        }
        definition.key = names.into_iter().map(|name| name.value).collect();
    } else if is_next_word(parser, "SOURCE") {
        definition.source = Some(source(parser)?);
    } else if is_next_word(parser, "LAYOUT") {
        let layout = in_brackets(parser)?;
        let name = layout.split([' ', '(']).next().unwrap_or_default().to_uppercase();
        if OTHER_LOOKUPS.contains(&name.as_str()) {
            let message = format!(
                "layout {name} is not supported: keys are looked up by what they are equal to"
            );
            return Err(Error::unsupported(message).into());
        }
        definition.layout = Some(layout);
    } else if is_next_word(parser, "LIFETIME") {
        definition.lifetime = Some(in_brackets(parser)?);
    } else if parser.parse_keyword(Keyword::RANGE) {
        let message = "RANGE of a dictionary is not supported: keys are looked up by what they are \
                       equal to; an ASOF JOIN finds the nearest";
        return Err(Error::unsupported(message).into());
    } else if parser.parse_keyword(Keyword::SETTINGS) {
        in_brackets(parser)?;
    } else if parser.parse_keyword(Keyword::COMMENT) {
        definition.comment = Some(parser.parse_literal_string()?);
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// What stands in the brackets that follow, as its tokens.
fn in_brackets(parser: &mut Parser<'_>) -> Parsed<String> {
    parser.expect_token(&Token::LParen)?;
    let mut texts: Vec<String> = Vec::new();
    let mut depth = 0_usize;
    loop {
        let next = parser.next_token();
        match &next.token {
            Token::EOF => return Ok(parser.expected(")", next)?),
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return Ok(texts.join(" ")),
            Token::RParen => depth -= 1,
            _ => {}
        }
        texts.push(next.token.to_string());
    }
}

/// `(CLICKHOUSE(TABLE 't' DB 'd' ...))`
fn source(parser: &mut Parser<'_>) -> Parsed<Source> {
    parser.expect_token(&Token::LParen)?;
    let kind = parser.parse_identifier()?.value.to_uppercase();
    if kind != "CLICKHOUSE" {
        let message = format!(
            "source {kind} is not supported: a dictionary looks into a table, \
             SOURCE(CLICKHOUSE(TABLE 't')); load the rows into one"
        );
        return Err(Error::unsupported(message).into());
    }
    parser.expect_token(&Token::LParen)?;
    let mut source = Source::default();
    while !parser.consume_token(&Token::RParen) {
        let next = parser.next_token();
        let Token::Word(word) = next.token.clone() else {
            return Ok(parser.expected("TABLE, DB, WHERE or QUERY", next)?);
        };
        let value = match parser.next_token().token {
            Token::SingleQuotedString(text) => text,
            Token::Word(word) => word.value,
            other => other.to_string(),
        };
        take(&mut source, &word.value.to_uppercase(), value)?;
    }
    parser.expect_token(&Token::RParen)?;
    match source.table.is_none() && source.query.is_none() {
        true => Err(Error::invalid("SOURCE(CLICKHOUSE(...)) names a TABLE or a QUERY").into()),
        false => Ok(source),
    }
}

fn take(source: &mut Source, word: &str, value: String) -> Result<()> {
    let place = match word {
        "TABLE" => &mut source.table,
        "DB" => &mut source.database,
        "WHERE" => &mut source.condition,
        "QUERY" => &mut source.query,
        "HOST" if !HERE.contains(&value.as_str()) => {
            return Err(Error::unsupported(format!(
                "HOST '{value}' is not supported: a dictionary looks into a table of this cluster"
            )));
        }
        "HOST" | "PORT" | "USER" | "PASSWORD" | "SECURE" | "INVALIDATE_QUERY" | "UPDATE_FIELD"
        | "UPDATE_LAG" => return Ok(()),
        other => {
            return Err(Error::invalid(format!("SOURCE(CLICKHOUSE(...)) knows no {other}")));
        }
    };
    *place = Some(value).filter(|value| !value.is_empty());
    Ok(())
}
