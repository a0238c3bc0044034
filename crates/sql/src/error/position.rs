//! Where in the text an error lies: line, column and a caret below the line.

use granary_common::Error;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Token, TokenizerError};

use crate::dialect::TOO_DEEP;
use crate::secrets::{hidden_in, without_secrets};

/// Longest part of a line that is shown, in characters.
const SHOWN_WIDTH: usize = 120;

/// A syntax error as the parser reports it, with the line it lies in.
pub(crate) fn from_parser(error: ParserError, text: &str) -> Error {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => return too_deep((0, 0), text),
    };
    let (message, place) = split_place(&message);
    // The parser gives no place to the end of its input.
    let place = place.or_else(|| message.ends_with("found: EOF").then(|| end_of(text)));
    let message = lower_first(&hidden_in(message, text))
        .replace("found: EOF", "found: the end of the statement");
    Error::invalid(format!("syntax error: {message}{}", shown(place, text)))
}

/// What is nested more deeply than the parser goes, with the place where it stopped.
pub(crate) fn too_deep(place: (u64, u64), text: &str) -> Error {
    Error::invalid(format!("syntax error: {TOO_DEEP}{}", shown(Some(place), text)))
}

/// An error of a token, for example a string that does not end.
pub(crate) fn from_tokenizer(error: TokenizerError, text: &str) -> Error {
    let place = (error.location.line, error.location.column);
    let message = lower_first(&error.message);
    Error::invalid(format!("syntax error: {message}{}", shown(Some(place), text)))
}

/// The place behind the last character that is not blank.
fn end_of(text: &str) -> (u64, u64) {
    let text = text.trim_end();
    let last = text.rsplit('\n').next().unwrap_or_default();
    (text.matches('\n').count() as u64 + 1, last.chars().count() as u64 + 1)
}

/// Takes ` at Line: 1, Column: 8` off the end of a message.
fn split_place(message: &str) -> (&str, Option<(u64, u64)>) {
    let Some((text, place)) = message.rsplit_once(" at Line: ") else { return (message, None) };
    let place = place.split_once(", Column: ").and_then(|(line, column)| {
        let digits = column.trim_end_matches(|c: char| !c.is_ascii_digit());
        Some((line.parse().ok()?, digits.parse().ok()?))
    });
    match place {
        Some(place) => (text, Some(place)),
        None => (message, None),
    }
}

fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// ` (line 1, column 8)`, the line and a caret. Lines and columns count from 1; 0 is unknown.
fn shown(place: Option<(u64, u64)>, text: &str) -> String {
    let Some((line, column)) = place.filter(|(line, column)| *line > 0 && *column > 0) else {
        return String::new();
    };
    let mut shown = format!(" (line {line}, column {column})");
    if let Some(source) = without_secrets(text).lines().nth(line as usize - 1) {
        let before = column as usize - 1;
        let skipped = before.saturating_sub(SHOWN_WIDTH / 2);
        let part: String = source.chars().skip(skipped).take(SHOWN_WIDTH).collect();
        let part = part.replace('\t', " ");
        shown.push_str(&format!("\n  {part}\n  {}^", " ".repeat(before - skipped)));
    }
    shown
}

/// Where `name` stands in `text` for the first time, shown as for a syntax error.
pub(crate) fn place_of(name: &str, text: &str) -> String {
    let tokens = crate::dialect::tokenize(text).unwrap_or_default();
    let found = tokens.iter().find(|token| match &token.token {
        Token::Word(word) => word.value.eq_ignore_ascii_case(name),
        _ => false,
    });
    let place = found.map(|token| (token.span.start.line, token.span.start.column));
    shown(place, text)
}

/// How `text` spells `name`, which the library knows in lower case only.
pub(crate) fn as_written(name: &str, text: &str) -> Option<String> {
    let tokens = crate::dialect::tokenize(text).ok()?;
    tokens.into_iter().find_map(|token| match token.token {
        Token::Word(word) if word.value.eq_ignore_ascii_case(name) => Some(word.value),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_the_place() {
        let error = ParserError::ParserError(
            "Expected: an expression, found: = at Line: 1, Column: 28".to_owned(),
        );
        let error = from_parser(error, "SELECT id FROM t WHERE id = = 1");
        assert_eq!(
            error.message(),
            "syntax error: expected: an expression, found: = (line 1, column 28)\n  \
             SELECT id FROM t WHERE id = = 1\n                             ^"
        );
    }

    #[test]
    fn what_is_missing_at_the_end_is_missed_there() {
        for (text, place) in [
            ("SELECT (1", "(line 1, column 10)\n  SELECT (1\n           ^"),
            ("SELECT (1 \n\n", "(line 1, column 10)"),
            ("SELECT id\n  FROM", "(line 2, column 7)\n    FROM\n        ^"),
            ("SELECT 'ü', (", "(line 1, column 14)"),
        ] {
            let error = crate::parse(text).expect_err(text);
            assert!(error.message().contains(place), "{text:?}: {error}");
        }
    }
}
