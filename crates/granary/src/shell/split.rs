//! Cuts a text into statements at the semicolons that are not inside of quotes or comments.

use granary_common::{Error, Result};
use sqlparser::dialect::ClickHouseDialect;
use sqlparser::tokenizer::{Location, Token, Tokenizer};

/// The statements of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Those that a semicolon ends, without it.
    pub statements: Vec<String>,
    /// What follows the last semicolon, if it is more than space and comments.
    pub rest: Option<String>,
}

/// Cuts `text`.
///
/// Kind `InvalidInput` when a quote or comment is not closed.
pub fn split(text: &str) -> Result<Script> {
    if granary_sql::carries_rows(text) {
        // Its rows are no SQL, and go on to the end.
        let whole = text.trim();
        return Ok(match whole.strip_suffix(';') {
            Some(statement) => Script { statements: vec![statement.to_owned()], rest: None },
            None => Script { statements: Vec::new(), rest: Some(whole.to_owned()) },
        });
    }
    let dialect = ClickHouseDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| Error::invalid(error.to_string()))?;
    let lines = Lines::of(text);
    let mut script = Script::default();
    let mut start = 0;
    let mut says_something = false;
    for token in tokens {
        match token.token {
            Token::SemiColon => {
                let end = lines.offset(token.span.start);
                if says_something {
                    script.statements.push(text[start..end].trim().to_owned());
                }
                start = lines.offset(token.span.end);
                says_something = false;
            }
            Token::Whitespace(_) | Token::EOF => {}
            _ => says_something = true,
        }
    }
    script.rest = says_something.then(|| text[start..].trim().to_owned());
    Ok(script)
}

/// Turns lines and columns, counted in characters from 1, into byte offsets.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    fn offset(&self, at: Location) -> usize {
        let line = (at.line as usize).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(self.text.len());
        let column = (at.column as usize).saturating_sub(1);
        let place = self.text[start..].char_indices().nth(column);
        place.map_or(self.text.len(), |(offset, _)| start + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_semicolons_cut() {
        for (text, statements, rest) in [
            ("", &[][..], None),
            ("select 1", &[], Some("select 1")),
            ("select 1;", &["select 1"], None),
            ("a;\n b ;c", &["a", "b"], Some("c")),
            ("select ';' ; -- ; not here\n", &["select ';'"], None),
            ("select `a;b`, \"c;d\" /* ; */;;; x", &["select `a;b`, \"c;d\" /* ; */"], Some("x")),
            ("select 'é;\n;';\nselect 'ü'; rest", &["select 'é;\n;'", "select 'ü'"], Some("rest")),
            ("select 'it''s;';", &["select 'it''s;'"], None),
            ("insert into t format CSV it's;2;", &["insert into t format CSV it's;2"], None),
            ("insert into t format CSV\n1;2", &[], Some("insert into t format CSV\n1;2")),
        ] {
            let script = split(text).expect("closed quotes");
            assert_eq!(script.statements, statements, "{text}");
            assert_eq!(script.rest.as_deref(), rest, "{text}");
        }
    }

    #[test]
    fn open_quotes_are_an_error() {
        assert!(split("select 'abc;").is_err());
        assert!(split("select /* abc;").is_err());
    }
}
