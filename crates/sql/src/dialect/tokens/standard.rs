//! Spellings of the standard and of DuckDB that the grammar has in other words.

use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Rewrites all of them, in place.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) {
    powers(tokens);
    trims(tokens);
}

/// `a ** b` is `a ^ b`.
fn powers(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        let both = tokens[at - 1].token == Token::Mul && tokens[at].token == Token::Mul;
        if both && tokens[at - 1].span.end == tokens[at].span.start {
            tokens.remove(at);
            tokens[at - 1].token = Token::Caret;
        }
        at += 1;
    }
}

/// `trim(BOTH FROM x)` is `trim(BOTH ' ' FROM x)`, and `trim(FROM x)` is `trim(x)`.
fn trims(tokens: &mut Vec<TokenWithSpan>) {
    let is_word = |token: &TokenWithSpan, text: &str| {
        matches!(&token.token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
    };
    let mut at = 0;
    while at + 3 < tokens.len() {
        at += 1;
        if !is_word(&tokens[at - 1], "trim") || tokens[at].token != Token::LParen {
            continue;
        }
        let has_side = ["BOTH", "LEADING", "TRAILING"].iter().any(|s| is_word(&tokens[at + 1], s));
        if has_side && is_word(&tokens[at + 2], "FROM") {
            let span = tokens[at + 2].span;
            let blank = Token::SingleQuotedString(" ".to_owned());
            tokens.insert(at + 2, TokenWithSpan { token: blank, span });
        } else if is_word(&tokens[at + 1], "FROM") {
            tokens.remove(at + 1);
        }
    }
}
