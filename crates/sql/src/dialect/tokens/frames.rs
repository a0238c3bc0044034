//! `EXCLUDE` in the frame of a window: `NO OTHERS` is what is meant without it, and of the others the
//! engine knows none.

use sqlparser::tokenizer::{Token, TokenWithSpan, TokenizerError};

/// Takes it out, in place.
///
/// # Errors
/// Where rows are left out of a frame.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) -> Result<(), TokenizerError> {
    let mut at = 1;
    while at + 1 < tokens.len() {
        let ends_bound = ["ROW", "PRECEDING", "FOLLOWING"];
        let is_in_frame = ends_bound.iter().any(|word| is_word(&tokens[at - 1], word));
        if !is_in_frame || !is_word(&tokens[at], "EXCLUDE") {
            at += 1;
            continue;
        }
        if is_word(&tokens[at + 1], "NO") {
            tokens.drain(at..(at + 3).min(tokens.len()));
            continue;
        }
        return Err(TokenizerError {
            message: "a window's frame takes no EXCLUDE but EXCLUDE NO OTHERS".to_owned(),
            location: tokens[at].span.start,
        });
    }
    Ok(())
}

fn is_word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}
