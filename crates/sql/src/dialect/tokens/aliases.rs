//! `WITH expression AS name`: the name stands for the expression in the rest of the statement. And `WITH x
//! -> x + 1 AS f`: a call of the name stands for the body.

use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, TokenizerError};

use super::brackets::{closing, split};
use super::limits::{check, check_growth};

/// An expression and the name that stands for it.
struct Alias {
    name: String,
    /// Where the name is given.
    place: TokenWithSpan,
    /// The parameters of a function, and where its body begins in the expression.
    parameters: Option<(Vec<String>, usize)>,
    expression: Vec<TokenWithSpan>,
}

type Replaced = Result<Vec<TokenWithSpan>, TokenizerError>;

/// Puts the expressions in the place of their names, in the query that the WITH begins: a statement, one
/// in brackets, or that of a view or an INSERT. Common table expressions in it stay.
///
/// # Errors
/// Where names that stand for other names make the statement too long or too deep.
pub(super) fn expand(mut tokens: Vec<TokenWithSpan>) -> Replaced {
    let before = tokens.len();
    let inserts = is_keyword(tokens.first(), Keyword::INSERT);
    let creates = is_keyword(tokens.first(), Keyword::CREATE);
    // From the last one, so that queries inside of others are done before these.
    for at in (0..tokens.len()).rev() {
        let previous = at.checked_sub(1).and_then(|before| tokens.get(before));
        let begins = match previous {
            None => true,
            Some(previous) if previous.token == Token::LParen => true,
            previous if creates => is_keyword(previous, Keyword::AS),
            _ => inserts,
        };
        if begins && is_keyword(tokens.get(at), Keyword::WITH) {
            let end = end_of_query(&tokens, at);
            let rest = tokens.split_off(end);
            let query = tokens.split_off(at);
            tokens.extend(expand_query(query, before)?);
            tokens.extend(rest);
        }
    }
    Ok(tokens)
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

fn expand_query(tokens: Vec<TokenWithSpan>, before: usize) -> Replaced {
    if is_keyword(tokens.get(1), Keyword::RECURSIVE) {
        return Ok(tokens);
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
        return Ok(tokens);
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
        // WITH itself stays.
        let from = if kept == 0 { 0 } else { 1 };
        let rest = Replacing { alias, before }.replace(&expanded[from..])?;
        expanded.truncate(from);
        expanded.extend(rest);
        check(&expanded)?;
    }
    Ok(expanded)
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
    let Token::Word(word) = &name.token else { return None };
    if expression.is_empty() || !is_keyword(Some(keyword), Keyword::AS) {
        return None;
    }
    Some(Alias {
        name: word.value.clone(),
        place: name.clone(),
        parameters: parameters(expression),
        expression: expression.to_vec(),
    })
}

/// The names before the arrow of a function, and where its body begins.
fn parameters(expression: &[TokenWithSpan]) -> Option<(Vec<String>, usize)> {
    let arrow = expression.iter().position(|token| token.token == Token::Arrow)?;
    let names = match &expression[..arrow] {
        [one] => std::slice::from_ref(one),
        [open, names @ .., close]
            if (&open.token, &close.token) == (&Token::LParen, &Token::RParen) =>
        {
            names
        }
        _ => return None,
    };
    let name = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) => Some(word.value.clone()),
        _ => None,
    };
    let names: Option<Vec<String>> = names
        .split(|token| token.token == Token::Comma)
        .map(|one| if let [one] = one { name(one) } else { None })
        .collect();
    Some((names?, arrow + 1))
}

/// What stands in the places of names.
struct Replacing<'a> {
    alias: &'a Alias,
    /// How many tokens the statement had.
    before: usize,
}

impl Replacing<'_> {
    fn replace(&self, tokens: &[TokenWithSpan]) -> Replaced {
        let mut replaced = Vec::with_capacity(tokens.len());
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let is_name = is_named(token, &self.alias.name)
                && !is_part(tokens, at)
                && !at.checked_sub(1).is_some_and(|at| is_keyword(tokens.get(at), Keyword::AS));
            let is_call = tokens.get(at + 1).is_some_and(|next| next.token == Token::LParen);
            check_growth(
                self.before,
                replaced.len() + self.alias.expression.len(),
                &self.alias.place,
            )?;
            match &self.alias.parameters {
                Some((names, body)) if is_name && is_call => {
                    if let Some(end) = closing(tokens, at + 1)
                        && let Some(called) = self.called(names, *body, &tokens[at + 2..end])?
                    {
                        replaced.extend(called);
                        at = end + 1;
                        continue;
                    }
                    replaced.push(token.clone());
                }
                // A function that is given to a function stands there by itself.
                Some(_) if is_name => replaced.extend(self.alias.expression.iter().cloned()),
                None if is_name && !is_call => {
                    replaced.extend(in_brackets(&self.alias.expression, token));
                }
                _ => replaced.push(token.clone()),
            }
            at += 1;
        }
        Ok(replaced)
    }

    /// The body with the arguments in the places of the parameters, if there are as many.
    fn called(
        &self,
        names: &[String],
        body: usize,
        inside: &[TokenWithSpan],
    ) -> Result<Option<Vec<TokenWithSpan>>, TokenizerError> {
        let arguments = split(inside);
        let Some(first) = self.alias.expression.get(body) else { return Ok(None) };
        if arguments.len() != names.len() {
            return Ok(None);
        }
        let arguments: Vec<Vec<TokenWithSpan>> =
            arguments.into_iter().map(|one| self.replace(one)).collect::<Result<_, _>>()?;
        let body = &self.alias.expression[body..];
        let mut called = Vec::new();
        for (at, token) in body.iter().enumerate() {
            let parameter = names.iter().position(|name| is_named(token, name));
            let is_call = body.get(at + 1).is_some_and(|next| next.token == Token::LParen);
            match parameter.filter(|_| !is_part(body, at) && !is_call) {
                Some(parameter) => called.extend(in_brackets(&arguments[parameter], token)),
                None => called.push(token.clone()),
            }
            check_growth(self.before, called.len(), &self.alias.place)?;
        }
        Ok(Some(in_brackets(&called, first)))
    }
}

fn is_named(token: &TokenWithSpan, name: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.value == name)
}

/// Whether a dot stands beside the name at `at`.
fn is_part(tokens: &[TokenWithSpan], at: usize) -> bool {
    let is_dot = |at: usize| tokens.get(at).is_some_and(|token| token.token == Token::Period);
    at.checked_sub(1).is_some_and(is_dot) || is_dot(at + 1)
}

fn in_brackets(inside: &[TokenWithSpan], place: &TokenWithSpan) -> Vec<TokenWithSpan> {
    let put = |token| TokenWithSpan { token, span: place.span };
    let mut enclosed = vec![put(Token::LParen)];
    enclosed.extend_from_slice(inside);
    enclosed.push(put(Token::RParen));
    enclosed
}
