//! Patterns that the engine does not know: LIKE with an escape character of its own, and SIMILAR TO,
//! whose patterns are regular expressions in the standard's spelling.

use granary_common::{Error, Result};
use sqlparser::ast::{Expr, Value, ValueWithSpan};

use super::calls::substitute;
use super::zoned::text_of;

/// What escapes where nothing else is said.
const BACKSLASH: char = '\\';

/// Rewrites one expression whose parts are rewritten already.
pub(super) fn rewrite(expression: &mut Expr) -> Result<()> {
    match expression {
        Expr::Like { pattern, escape_char: escape @ Some(_), .. }
        | Expr::ILike { pattern, escape_char: escape @ Some(_), .. } => {
            let written = literal(pattern, "LIKE ... ESCAPE")?;
            let text = by_backslash(written, escape_of(escape.as_ref())?)?;
            **pattern = text_literal(text);
            *escape = None;
            Ok(())
        }
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            let escape = match escape_char {
                None => Some(BACKSLASH),
                given => escape_of(given.as_ref())?,
            };
            let regex = regular_expression(literal(pattern, "SIMILAR TO")?, escape)?;
            let text = if *negated { "NOT regexp_like($1, $2)" } else { "regexp_like($1, $2)" };
            *expression = substitute(text, &[(**expr).clone(), text_literal(regex)])?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn literal<'e>(pattern: &'e Expr, what: &str) -> Result<&'e str> {
    text_of(pattern).ok_or_else(|| {
        Error::unsupported(format!("{what} takes a pattern that is written down, not '{pattern}'"))
    })
}

fn text_literal(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).into())
}

/// The escape character; an empty text means that there is none.
fn escape_of(escape: Option<&ValueWithSpan>) -> Result<Option<char>> {
    let text = match escape.map(|escape| &escape.value) {
        Some(Value::SingleQuotedString(text)) => text.as_str(),
        _ => return Err(Error::invalid("ESCAPE takes a text of one character")),
    };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (escape, None) => Ok(escape),
        _ => Err(Error::invalid(format!("ESCAPE takes one character, not '{text}'"))),
    }
}

/// A pattern of LIKE in which the backslash escapes.
fn by_backslash(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut written = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if Some(c) == escape {
            let Some(next) = characters.next() else { return Err(ends_with_escape(pattern)) };
            if matches!(next, '%' | '_' | BACKSLASH) {
                written.push(BACKSLASH);
            }
            written.push(next);
        } else {
            if c == BACKSLASH {
                written.push(BACKSLASH);
            }
            written.push(c);
        }
    }
    Ok(written)
}

fn ends_with_escape(pattern: &str) -> Error {
    Error::invalid(format!("the pattern '{pattern}' ends with its escape character"))
}

/// A pattern of SIMILAR TO as a regular expression for the whole text. `%` and `_` are those of LIKE;
/// alternatives, repetitions, brackets and classes are what they are in regular expressions.
fn regular_expression(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut regex = String::from("^(?s:");
    let mut in_class = false;
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        match c {
            c if Some(c) == escape => {
                let Some(next) = characters.next() else { return Err(ends_with_escape(pattern)) };
                if !next.is_alphanumeric() {
                    regex.push(BACKSLASH);
                }
                regex.push(next);
            }
            '%' if !in_class => regex.push_str(".*"),
            '_' if !in_class => regex.push('.'),
            '.' | '^' | '$' if !in_class => regex.extend([BACKSLASH, c]),
            BACKSLASH => regex.extend([BACKSLASH, BACKSLASH]),
            '[' | ']' => {
                in_class = c == '[';
                regex.push(c);
            }
            other => regex.push(other),
        }
    }
    regex.push_str(")$");
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_backslashes() {
        for (pattern, escape, expected) in [
            ("10!%", Some('!'), Ok(r"10\%")),
            ("a!!b", Some('!'), Ok("a!b")),
            (r"a\%", Some('!'), Ok(r"a\\%")),
            ("!a", Some('!'), Ok("a")),
            (r"a\%", Some('\\'), Ok(r"a\%")),
            (r"a\_", None, Ok(r"a\\_")),
            ("a!", Some('!'), Err(())),
        ] {
            let written = by_backslash(pattern, escape).map_err(|_| ());
            assert_eq!(written, expected.map(str::to_owned), "{pattern}");
        }
    }

    #[test]
    fn similar_to_is_a_regular_expression() {
        for (pattern, expected) in [
            ("a%", "^(?s:a.*)$"),
            ("(ab|c)+_", "^(?s:(ab|c)+.)$"),
            ("1.5$", r"^(?s:1\.5\$)$"),
            ("[a-c_]{2}", "^(?s:[a-c_]{2})$"),
            (r"10\%", r"^(?s:10\%)$"),
        ] {
            assert_eq!(regular_expression(pattern, Some('\\')), Ok(expected.to_owned()));
        }
    }
}
