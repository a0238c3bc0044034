//! The spellings of time travel become one that the parser knows, behind the table's name:
//! `t AT(VERSION => n)` or `t AT(TIMESTAMP => time)`.

use sqlparser::keywords::{Keyword, RESERVED_FOR_COLUMN_ALIAS};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::ends_operand;

/// Words that may stand in the brackets of AT and BEFORE.
const POINTS: [&str; 5] = ["TIMESTAMP", "VERSION", "OFFSET", "STATEMENT", "STREAM"];

/// Rewrites all of them.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if let Some((start, operand, point)) = as_of(tokens, at) {
            let end = end_of(tokens, operand);
            if operand < end && begins_operand(&tokens[operand].token) {
                at = put(tokens, start, (operand, end), point);
                continue;
            }
        }
        at = match clause_end(tokens, at) {
            Some(end) => behind_final(tokens, at, end),
            None => {
                free(tokens, at);
                at + 1
            }
        };
    }
}

fn is_word(tokens: &[TokenWithSpan], at: usize, text: &str) -> bool {
    matches!(tokens.get(at).map(|token| &token.token), Some(Token::Word(word))
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

fn begins_operand(token: &Token) -> bool {
    match token {
        Token::Word(word) => !RESERVED_FOR_COLUMN_ALIAS.contains(&word.keyword),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::LParen
        | Token::Placeholder(_) => true,
        _ => false,
    }
}

/// An AS OF at `at`: where the clause begins, where its operand does, and what the operand is.
fn as_of(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, usize, &'static str)> {
    if !(is_word(tokens, at, "AS") && is_word(tokens, at + 1, "OF")) || at == 0 {
        return None;
    }
    let before = |text: &str| is_word(tokens, at - 1, text);
    let point = match () {
        () if before("VERSION") || before("SYSTEM_VERSION") => Some("VERSION"),
        () if before("TIMESTAMP") || before("SYSTEM_TIME") => Some("TIMESTAMP"),
        () => None,
    };
    if let Some(point) = point {
        let start = at - 1;
        let has_for = start > 0 && is_word(tokens, start - 1, "FOR");
        return Some((start - usize::from(has_for), at + 2, point));
    }
    let point = POINTS[..2].iter().find(|point| is_word(tokens, at + 2, point))?;
    Some((at, at + 3, point))
}

/// Where the expression ends that begins at `from`: before a word behind an operand, a comma, or a
/// bracket that was not opened in it.
fn end_of(tokens: &[TokenWithSpan], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut interval = None;
    for at in from..tokens.len() {
        match &tokens[at].token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket if depth == 0 => return at,
            Token::RParen | Token::RBracket => depth -= 1,
            Token::Comma | Token::SemiColon | Token::EOF if depth == 0 => return at,
            Token::Word(word) if depth == 0 => {
                // The unit behind the number of an interval, or behind that of AGO.
                let is_unit = interval == Some(at) || is_word(tokens, at + 1, "AGO");
                let is_ago = is_word(tokens, at, "AGO");
                let follows_unit = at > from && interval == Some(at - 1);
                let is_operand =
                    at == from || !(follows_unit || ends_operand(&tokens[at - 1].token));
                if word.keyword == Keyword::INTERVAL {
                    interval = Some(at + 2);
                } else if !(is_operand || is_unit || is_ago) {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Puts the clause in the place of the tokens from `start` to the end of its operand; gives where to
/// go on.
fn put(
    tokens: &mut Vec<TokenWithSpan>,
    start: usize,
    (from, end): (usize, usize),
    mut point: &str,
) -> usize {
    let span = tokens[start].span;
    let token = |token: Token| TokenWithSpan { token, span };
    let mut operand: Vec<TokenWithSpan> = tokens[from..end].to_vec();
    if is_word(&operand, 2, "AGO") {
        // `1 HOUR AGO`
        operand.truncate(2);
        point = "TIMESTAMP";
        let now = [
            Token::make_word("now", None),
            Token::LParen,
            Token::RParen,
            Token::Minus,
            Token::make_keyword("INTERVAL"),
        ];
        operand.splice(0..0, now.map(token));
    }
    let opening =
        [Token::make_keyword("AT"), Token::LParen, Token::make_keyword(point), Token::RArrow];
    let mut clause: Vec<TokenWithSpan> = opening.map(token).into();
    clause.extend(operand);
    clause.push(token(Token::RParen));
    let length = clause.len();
    tokens.splice(start..end, clause);
    behind_final(tokens, start, start + length)
}

/// The end of the clause `AT(...)` or `BEFORE(...)` at `at`.
fn clause_end(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let is_clause = (is_word(tokens, at, "AT") || is_word(tokens, at, "BEFORE"))
        && tokens.get(at + 1).is_some_and(|token| token.token == Token::LParen)
        && POINTS.iter().any(|point| is_word(tokens, at + 2, point))
        && tokens.get(at + 3).is_some_and(|token| token.token == Token::RArrow);
    is_clause.then(|| (end_of(tokens, at + 2) + 1).min(tokens.len()))
}

/// FINAL stands behind the clause.
fn behind_final(tokens: &mut [TokenWithSpan], start: usize, end: usize) -> usize {
    if start > 0 && is_word(tokens, start - 1, "FINAL") {
        tokens[start - 1..end].rotate_left(1);
    }
    end
}

/// Words that are names where no clause follows.
fn free(tokens: &mut [TokenWithSpan], at: usize) {
    let is_name = is_word(tokens, at, "BEFORE")
        || is_word(tokens, at, "CHANGES")
        || (is_word(tokens, at, "AT") && !is_word(tokens, at + 1, "TIME"));
    if let (true, Token::Word(word)) = (is_name, &mut tokens[at].token) {
        word.keyword = Keyword::NoKeyword;
    }
}
