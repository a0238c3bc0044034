//! `* APPLY(f)` and `COLUMNS('re') APPLY(f)`: functions of several columns become texts in the
//! brackets of COLUMNS, where the tree's rewrites find them.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::brackets::closing;

/// Rewrites all of them, in place.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) {
    let is_word = |token: &TokenWithSpan, text: &str| {
        matches!(&token.token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
    };
    let mut at = 1;
    while at + 2 < tokens.len() {
        let opens = matches!(tokens[at + 1].token, Token::LParen);
        if !is_word(&tokens[at], "APPLY") || !opens {
            at += 1;
            continue;
        }
        let Some(end) = closing(tokens, at + 1) else { return };
        let span = tokens[at].span;
        let put = |token| TokenWithSpan { token, span };
        let text: Vec<String> =
            tokens[at + 2..end].iter().map(|token| token.token.to_string()).collect();
        let function =
            [put(Token::Comma), put(Token::SingleQuotedString(text.join(" "))), put(Token::RParen)];
        match &tokens[at - 1].token {
            Token::Mul => {
                let all = [
                    put(Token::make_word("COLUMNS", None)),
                    put(Token::LParen),
                    put(Token::SingleQuotedString(String::new())),
                ];
                tokens.splice(at - 1..=end, all.into_iter().chain(function));
            }
            Token::RParen if begins_columns(tokens, at - 1) => {
                tokens.splice(at - 1..=end, function);
            }
            _ => at += 1,
        }
    }
}

/// Whether the bracket that closes at `closes` is that of COLUMNS.
fn begins_columns(tokens: &[TokenWithSpan], closes: usize) -> bool {
    let mut depth = 0_usize;
    for at in (0..=closes).rev() {
        match tokens[at].token {
            Token::RParen => depth += 1,
            Token::LParen => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at > 0
                        && matches!(&tokens[at - 1].token, Token::Word(word)
                            if word.value.eq_ignore_ascii_case("COLUMNS"));
                }
            }
            _ => {}
        }
    }
    false
}
