//! Joins of ClickHouse that the grammar has in other words.
//!
//! `ARRAY JOIN a, b AS c` becomes `ARRAY JOIN (SELECT a, b AS c)`: the grammar knows only tables
//! there. `t ASOF LEFT JOIN q ON ...` becomes `t ASOF JOIN q MATCH_CONDITION (TRUE) ON ...`, where
//! TRUE means that rows without a match stay.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::spelling::keyword;

/// Rewrites all of them, in place.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        match keyword(tokens.get(at)) {
            Some(Keyword::ARRAY) if keyword(tokens.get(at + 1)) == Some(Keyword::JOIN) => {
                enclose_arrays(tokens, at + 2);
            }
            Some(Keyword::ASOF) => settle_asof(tokens, at),
            _ => {}
        }
        at += 1;
    }
}

/// Puts the list that begins at `first` into `(SELECT ...)`.
fn enclose_arrays(tokens: &mut Vec<TokenWithSpan>, first: usize) {
    let opens = tokens.get(first).is_some_and(|token| token.token == Token::LParen);
    if opens && keyword(tokens.get(first + 1)) == Some(Keyword::SELECT) {
        // The text of a statement that was read before.
        return;
    }
    let mut depth = 0_usize;
    let mut end = first;
    while end < tokens.len() {
        match &tokens[end].token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace if depth > 0 => depth -= 1,
            Token::RParen | Token::SemiColon | Token::EOF => break,
            _ if depth == 0 && ends_list(tokens, end) => break,
            _ => {}
        }
        end += 1;
    }
    let Some(span) = tokens.get(first).map(|token| token.span) else { return };
    if end == first {
        return;
    }
    tokens.insert(end, TokenWithSpan { token: Token::RParen, span });
    let opening = [Token::LParen, Token::make_keyword("SELECT")];
    tokens.splice(first..first, opening.map(|token| TokenWithSpan { token, span }));
}

/// Whether a clause or another join begins at `at`.
fn ends_list(tokens: &[TokenWithSpan], at: usize) -> bool {
    let Some(word) = keyword(tokens.get(at)) else { return false };
    let is_call = tokens.get(at + 1).is_some_and(|next| next.token == Token::LParen);
    match word {
        Keyword::LEFT | Keyword::RIGHT | Keyword::ARRAY => !is_call,
        _ => matches!(
            word,
            Keyword::WHERE
                | Keyword::PREWHERE
                | Keyword::GROUP
                | Keyword::HAVING
                | Keyword::WINDOW
                | Keyword::QUALIFY
                | Keyword::ORDER
                | Keyword::LIMIT
                | Keyword::OFFSET
                | Keyword::FETCH
                | Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT
                | Keyword::SETTINGS
                | Keyword::FORMAT
                | Keyword::JOIN
                | Keyword::INNER
                | Keyword::FULL
                | Keyword::CROSS
                | Keyword::GLOBAL
                | Keyword::ASOF
        ),
    }
}

/// Moves what stands around the ASOF at `at` behind the joined table.
fn settle_asof(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let is = |tokens: &[TokenWithSpan], at: usize, word| keyword(tokens.get(at)) == Some(word);
    let mut join = at + 1;
    while [Keyword::LEFT, Keyword::OUTER, Keyword::INNER, Keyword::ANY]
        .iter()
        .any(|word| is(tokens, join, *word))
    {
        join += 1;
    }
    if !is(tokens, join, Keyword::JOIN) {
        return;
    }
    let before = at.checked_sub(1).filter(|before| is(tokens, *before, Keyword::LEFT));
    let keeps = before.is_some() || (at..join).any(|at| is(tokens, at, Keyword::LEFT));
    let Some(condition) = condition_of(tokens, join + 1) else { return };
    let span = tokens[at].span;
    let keeps = Token::make_keyword(if keeps { "TRUE" } else { "FALSE" });
    let inserted = [Token::make_keyword("MATCH_CONDITION"), Token::LParen, keeps, Token::RParen];
    let inserted = inserted.map(|token| TokenWithSpan { token, span });
    tokens.splice(condition..condition, inserted);
    tokens.drain(at + 1..join);
    if let Some(before) = before {
        tokens.remove(before);
    }
}

/// Where the ON or USING of the join stands whose table begins at `first`.
pub(super) fn condition_of(tokens: &[TokenWithSpan], first: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(first) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return None,
            Token::RParen => depth -= 1,
            Token::SemiColon => return None,
            Token::Word(word) if depth == 0 => match word.keyword {
                Keyword::ON | Keyword::USING => return Some(at),
                Keyword::MATCH_CONDITION | Keyword::JOIN | Keyword::WHERE => return None,
                _ => {}
            },
            _ => {}
        }
    }
    None
}
