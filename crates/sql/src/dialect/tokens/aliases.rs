//! `WITH expression AS name`: the name stands for the expression in the rest of the statement.

use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// An expression and the name that stands for it.
struct Alias {
    name: String,
    expression: Vec<TokenWithSpan>,
}

/// Puts the expressions in the place of their names. Only a WITH at the statement's beginning has
/// them; common table expressions in it stay.
pub(super) fn expand(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !is_keyword(tokens.first(), Keyword::WITH) || is_keyword(tokens.get(1), Keyword::RECURSIVE) {
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
