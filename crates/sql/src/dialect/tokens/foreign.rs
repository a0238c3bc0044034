//! Spellings of PostgreSQL, DuckDB and Trino, and rarer ones of ClickHouse, that the grammar has in
//! other words.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::brackets::closing;
use super::spelling::keyword;

/// Beginnings of the names of functions that take a function.
const TAKE_FUNCTIONS: [&str; 12] = [
    "array",
    "map",
    "list_",
    "transform",
    "filter",
    "reduce",
    "any_match",
    "all_match",
    "none_match",
    "zip_with",
    "apply",
    "columns",
];

/// Rewrites all of them, in place.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) {
    rows_of_format(tokens);
    let mut at = 0;
    while at < tokens.len() {
        materialized(tokens, at);
        members(tokens, at);
        filters(tokens, at);
        view(tokens, at);
        negation(tokens, at);
        document_arrow(tokens, at);
        keyed_by_number(tokens, at);
        at += 1;
    }
}

fn is_word(token: Option<&TokenWithSpan>, text: &str) -> bool {
    matches!(token.map(|token| &token.token), Some(Token::Word(word))
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

fn is(token: Option<&TokenWithSpan>, wanted: &Token) -> bool {
    token.is_some_and(|token| token.token == *wanted)
}

/// `INSERT INTO t FORMAT Values (1), (2)`: the rows are those of VALUES.
fn rows_of_format(tokens: &mut Vec<TokenWithSpan>) {
    if keyword(tokens.first()) != Some(Keyword::INSERT) {
        return;
    }
    let found = (1..tokens.len()).find(|at| {
        keyword(tokens.get(*at)) == Some(Keyword::FORMAT)
            && is_word(tokens.get(at + 1), "Values")
            && is(tokens.get(at + 2), &Token::LParen)
    });
    if let Some(at) = found {
        tokens.remove(at);
    }
}

/// `WITH t AS [NOT] MATERIALIZED (...)`: how a common table expression is computed is ours to choose.
fn materialized(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    if keyword(tokens.get(at)) != Some(Keyword::AS) {
        return;
    }
    let negated = usize::from(keyword(tokens.get(at + 1)) == Some(Keyword::NOT));
    if keyword(tokens.get(at + 1 + negated)) == Some(Keyword::MATERIALIZED)
        && is(tokens.get(at + 2 + negated), &Token::LParen)
    {
        tokens.drain(at + 1..at + 2 + negated);
    }
}

/// `x IN [1, 2]` and `x IN tuple(1, 2)` are `x IN (1, 2)`.
fn members(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    if keyword(tokens.get(at)) != Some(Keyword::IN) {
        return;
    }
    let is_call = is_word(tokens.get(at + 1), "tuple") || is_word(tokens.get(at + 1), "array");
    if is_call && is(tokens.get(at + 2), &Token::LParen) {
        tokens.remove(at + 1);
    } else if is(tokens.get(at + 1), &Token::LBracket)
        && let Some(end) = closing(tokens, at + 1)
        && !is(tokens.get(end + 1), &Token::LBracket)
    {
        tokens[at + 1].token = Token::LParen;
        tokens[end].token = Token::RParen;
    }
}

/// `count(*) FILTER (a > 1)` is `FILTER (WHERE a > 1)`.
fn filters(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let is_clause = at > 0
        && is(tokens.get(at - 1), &Token::RParen)
        && keyword(tokens.get(at)) == Some(Keyword::FILTER)
        && is(tokens.get(at + 1), &Token::LParen)
        && keyword(tokens.get(at + 2)) != Some(Keyword::WHERE);
    if is_clause {
        let span = tokens[at].span;
        tokens.insert(at + 2, TokenWithSpan { token: Token::make_keyword("WHERE"), span });
    }
}

/// `FROM view(SELECT ...)` is `FROM (SELECT ...)`.
fn view(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let is_table = at > 0
        && matches!(keyword(tokens.get(at - 1)), Some(Keyword::FROM | Keyword::JOIN))
        && is_word(tokens.get(at), "view")
        && is(tokens.get(at + 1), &Token::LParen)
        && matches!(keyword(tokens.get(at + 2)), Some(Keyword::SELECT | Keyword::WITH));
    if is_table {
        tokens.remove(at);
    }
}

/// `!x` is `NOT x`.
fn negation(tokens: &mut [TokenWithSpan], at: usize) {
    if !is(tokens.get(at), &Token::ExclamationMark) {
        return;
    }
    let begins = matches!(
        tokens.get(at + 1).map(|token| &token.token),
        Some(Token::Word(_) | Token::Number(..) | Token::LParen | Token::Placeholder(_))
    );
    if begins {
        tokens[at].token = Token::make_keyword("NOT");
    }
}

/// `{1: 'a'}` is a map: fields of a record have no numbers.
fn keyed_by_number(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let is_map = is(tokens.get(at), &Token::LBrace)
        && matches!(tokens.get(at + 1).map(|token| &token.token), Some(Token::Number(..)))
        && is(tokens.get(at + 2), &Token::Colon)
        && !(at > 0 && keyword(tokens.get(at - 1)) == Some(Keyword::MAP));
    if is_map {
        let span = tokens[at].span;
        tokens.insert(at, TokenWithSpan { token: Token::make_keyword("MAP"), span });
    }
}

/// `document -> 'key'` is a part of a document unless it is the function that a function takes. The
/// grammar would read a function in either, so the arrow of a document becomes another one.
fn document_arrow(tokens: &mut [TokenWithSpan], at: usize) {
    let is_candidate = at > 0
        && is(tokens.get(at), &Token::Arrow)
        && matches!(tokens[at - 1].token, Token::Word(_))
        && matches!(
            tokens.get(at + 1).map(|token| &token.token),
            Some(Token::SingleQuotedString(_))
        );
    if is_candidate && !is_argument_of_higher_order(tokens, at - 1) {
        tokens[at].token = Token::HashArrow;
    }
}

/// Whether the word at `at` begins an argument of a function that takes functions.
fn is_argument_of_higher_order(tokens: &[TokenWithSpan], at: usize) -> bool {
    let begins = at > 0 && matches!(tokens[at - 1].token, Token::LParen | Token::Comma);
    if !begins {
        return false;
    }
    let mut depth = 0_usize;
    for place in (0..at).rev() {
        match &tokens[place].token {
            Token::RParen | Token::RBracket => depth += 1,
            Token::LBracket => depth = depth.saturating_sub(1),
            Token::LParen if depth > 0 => depth -= 1,
            Token::LParen => {
                let Some(Token::Word(name)) = place.checked_sub(1).map(|n| &tokens[n].token) else {
                    return false;
                };
                let name = name.value.to_ascii_lowercase();
                return TAKE_FUNCTIONS.iter().any(|begin| name.starts_with(begin));
            }
            _ => {}
        }
    }
    false
}
