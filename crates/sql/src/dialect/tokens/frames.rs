//! `EXCLUDE` in the frame of a window, for which the grammar has no place: `NO OTHERS` is what is meant
//! without it, and the others become a text among what the window is partitioned by.
//!
//! ```text
//!   OVER (PARTITION BY p ORDER BY t ROWS 2 PRECEDING EXCLUDE TIES)
//!   OVER (PARTITION BY upper('<mark>TIES'), p ORDER BY t ROWS 2 PRECEDING)
//! ```

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, TokenizerError};

use crate::functions::excluded_marker;

/// Settles every frame, in place.
///
/// # Errors
/// Where other words come after EXCLUDE.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) -> Result<(), TokenizerError> {
    let mut at = 1;
    while at + 1 < tokens.len() {
        let ends_bound = ["ROW", "PRECEDING", "FOLLOWING"];
        let is_in_frame = ends_bound.iter().any(|word| is_word(&tokens[at - 1], word));
        if !is_in_frame || !is_word(&tokens[at], "EXCLUDE") {
            at += 1;
            continue;
        }
        let location = tokens[at].span.start;
        let end = tokens[at..].iter().position(|token| token.token == Token::RParen);
        let end = at + end.unwrap_or(tokens.len() - at);
        let words: Vec<String> = tokens[at + 1..end].iter().map(word).collect();
        let words = words.join(" ");
        let (marker, begin) = (excluded_marker(&words), opening(&tokens[..at]));
        tokens.drain(at..end);
        match (marker, begin) {
            _ if words == "NO OTHERS" => {}
            (Some(marker), Some(begin)) => at += mark(tokens, begin, marker),
            _ => {
                return Err(TokenizerError {
                    message: "a window's frame takes EXCLUDE CURRENT ROW, GROUP, TIES or NO OTHERS"
                        .to_owned(),
                    location,
                });
            }
        }
    }
    Ok(())
}

/// Where the bracket is that is still open at the end of `tokens`.
fn opening(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0;
    tokens.iter().rposition(|token| {
        match token.token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return true,
            Token::LParen => depth -= 1,
            _ => {}
        }
        false
    })
}

/// Puts `marker` among what the window that begins at `begin` is partitioned by; how many tokens that
/// took.
fn mark(tokens: &mut Vec<TokenWithSpan>, begin: usize, marker: String) -> usize {
    // The name of another window may come first.
    let starts = |at: usize| {
        ["PARTITION", "ORDER", "ROWS", "RANGE", "GROUPS"]
            .iter()
            .any(|word| tokens.get(at).is_some_and(|token| is_word(token, word)))
    };
    let at = if starts(begin + 1) { begin + 1 } else { begin + 2 };
    let has_partition = tokens.get(at).is_some_and(|token| is_word(token, "PARTITION"));
    let span = tokens[begin].span;
    // Constants by themselves would be left out.
    let name = Token::make_word("upper", None);
    let text = [name, Token::LParen, Token::SingleQuotedString(marker), Token::RParen];
    let (place, added) = match has_partition {
        true => (at + 2, text.into_iter().chain([Token::Comma]).collect()),
        false => {
            let words = [Keyword::PARTITION, Keyword::BY];
            let words = words.map(|word| Token::make_keyword(&format!("{word:?}")));
            (at, words.into_iter().chain(text).collect::<Vec<_>>())
        }
    };
    let (place, count) = (place.min(tokens.len()), added.len());
    tokens.splice(place..place, added.into_iter().map(|token| TokenWithSpan { token, span }));
    count
}

fn word(token: &TokenWithSpan) -> String {
    token.token.to_string().to_uppercase()
}

fn is_word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}
