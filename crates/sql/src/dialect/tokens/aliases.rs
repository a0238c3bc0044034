//! `WITH expression AS name`: the name stands for the expression in the rest of the statement.

use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// An expression and the name that stands for it.
struct Alias {
    name: String,
    expression: Vec<TokenWithSpan>,
}

/// Puts the expressions in the place of their names, in the query that the WITH begins: a statement, one
/// in brackets, or that of a view or an INSERT. Common table expressions in it stay.
pub(super) fn expand(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let inserts = is_keyword(tokens.first(), Keyword::INSERT);
    let creates = is_keyword(tokens.first(), Keyword::CREATE);
    // From the last one, so that queries inside of others are done before these.
    for at in (0..tokens.len()).rev() {
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let begins = match before {
            None => true,
            Some(before) if before.token == Token::LParen => true,
            before if creates => is_keyword(before, Keyword::AS),
            _ => inserts,
        };
        if begins && is_keyword(tokens.get(at), Keyword::WITH) {
            let end = end_of_query(&tokens, at);
            let rest = tokens.split_off(end);
            let query = tokens.split_off(at);
            tokens.extend(expand_query(query));
            tokens.extend(rest);
        }
    }
    tokens
}

/// Where the bracket closes in which the query stands that begins at `start`, or the statement ends.
fn end_of_query(tokens: &[TokenWithSpan], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match &token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket if depth == 0 => return at,
            Token::RParen | Token::RBracket => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

fn expand_query(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if is_keyword(tokens.get(1), Keyword::RECURSIVE) {
        return tokens;
    }
    let (items, body) = items(&tokens);
    let mut aliases = Vec::new();
    let mut tables: Vec<Range<usize>> = Vec::new();
    for item in items {
        match alias(&tokens[item.clone()]) {
            Some(alias) => aliases.push(alias),
            None => tables.push(item),
        }
    }
    if aliases.is_empty() {
        return tokens;
    }
    let mut expanded = Vec::with_capacity(tokens.len());
    for (at, table) in tables.into_iter().enumerate() {
        let separator = if at == 0 { Token::make_keyword("WITH") } else { Token::Comma };
        expanded.push(TokenWithSpan { token: separator, span: tokens[0].span });
        expanded.extend_from_slice(&tokens[table]);
    }
    let kept = expanded.len();
    expanded.extend_from_slice(&tokens[body..]);
    for alias in aliases.iter().rev() {
        let from = if kept == 0 { 0 } else { 1 };
        expanded = replace(expanded, from, alias);
    }
    expanded
}

fn is_keyword(token: Option<&TokenWithSpan>, keyword: Keyword) -> bool {
    matches!(token.map(|token| &token.token), Some(Token::Word(word)) if word.keyword == keyword)
}

/// The items of the WITH, and where the query after it begins.
fn items(tokens: &[TokenWithSpan]) -> (Vec<Range<usize>>, usize) {
    let mut items = Vec::new();
    let (mut start, mut depth) = (1, 0_usize);
    for (at, token) in tokens.iter().enumerate().skip(1) {
        match &token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            Token::Comma if depth == 0 => {
                items.push(start..at);
                start = at + 1;
            }
            Token::Word(word)
                if depth == 0 && matches!(word.keyword, Keyword::SELECT | Keyword::INSERT) =>
            {
                items.push(start..at);
                return (items, at);
            }
            _ => {}
        }
    }
    (Vec::new(), tokens.len())
}

/// `expression AS name`; `name AS (SELECT ...)` is a table.
fn alias(item: &[TokenWithSpan]) -> Option<Alias> {
    let [expression @ .., keyword, name] = item else { return None };
    let Token::Word(name) = &name.token else { return None };
    if expression.is_empty() || !is_keyword(Some(keyword), Keyword::AS) {
        return None;
    }
    Some(Alias { name: name.value.clone(), expression: expression.to_vec() })
}

fn replace(tokens: Vec<TokenWithSpan>, from: usize, alias: &Alias) -> Vec<TokenWithSpan> {
    let mut replaced = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.iter().enumerate() {
        let is_name = matches!(&token.token, Token::Word(word) if word.value == alias.name);
        let neighbour = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map(|t| &t.token);
        let before = neighbour(at.checked_sub(1));
        let after = neighbour(Some(at + 1));
        let is_part = before == Some(&Token::Period)
            || matches!(after, Some(Token::Period | Token::LParen))
            || at.checked_sub(1).is_some_and(|at| is_keyword(tokens.get(at), Keyword::AS));
        if at < from || !is_name || is_part {
            replaced.push(token.clone());
            continue;
        }
        replaced.push(TokenWithSpan { token: Token::LParen, span: token.span });
        replaced.extend(alias.expression.iter().cloned());
        replaced.push(TokenWithSpan { token: Token::RParen, span: token.span });
    }
    replaced
}
