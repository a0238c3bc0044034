//! DuckDB's list comprehensions: `[x + 1 for x in xs if x > 2]` is
//! `arrayMap(x -> (x + 1), arrayFilter(x -> (x > 2), (xs)))`.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::brackets::closing;

/// Rewrites all of them, in place; those inside of others come after these.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].token == Token::LBracket
            && let Some(closes) = closing(tokens, at)
            && let Some(call) = call(&tokens[at + 1..closes])
        {
            tokens.splice(at..=closes, call);
        }
        at += 1;
    }
}

fn is_word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

/// Where a word stands outside of brackets.
fn place(tokens: &[TokenWithSpan], text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.checked_sub(1)?,
            _ if depth == 0 && is_word(token, text) => return Some(at),
            _ => {}
        }
    }
    None
}

/// The call that the inside of the brackets means, if it is a comprehension.
fn call(inside: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    let split = place(inside, "for").filter(|at| *at > 0)?;
    let (value, rest) = (&inside[..split], &inside[split + 1..]);
    let [name, within, source @ ..] = rest else { return None };
    if !matches!(name.token, Token::Word(_)) || !is_word(within, "in") || source.is_empty() {
        return None;
    }
    let put = |token| TokenWithSpan { token, span: name.span };
    let lambda = |function: &str, body: &[TokenWithSpan], array: Vec<TokenWithSpan>| {
        let mut call = vec![put(Token::make_word(function, None)), put(Token::LParen)];
        call.extend([name.clone(), put(Token::Arrow), put(Token::LParen)]);
        call.extend_from_slice(body);
        call.extend([put(Token::RParen), put(Token::Comma)]);
        call.extend(array);
        call.push(put(Token::RParen));
        call
    };
    let in_brackets = |array: &[TokenWithSpan]| {
        let mut all = vec![put(Token::LParen)];
        all.extend_from_slice(array);
        all.push(put(Token::RParen));
        all
    };
    let source = match place(source, "if") {
        // `if(a, b)` is a call.
        Some(at) if at > 0 => lambda("arrayFilter", &source[at + 1..], in_brackets(&source[..at])),
        _ => in_brackets(source),
    };
    Some(lambda("arrayMap", value, source))
}
