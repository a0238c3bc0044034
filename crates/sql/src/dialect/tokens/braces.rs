//! Rows, records and maps that are written down: `FROM VALUES (1), (2) t(a)` without brackets around
//! it, `STRUCT(1 AS a)`, and which braces hold a parameter and which a record.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::brackets::{closing, split};
use super::spelling::keyword;

/// Rewrites all of them, in place.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) {
    enclose_values(tokens);
    name_fields(tokens);
}

/// Types that have arguments in brackets, by the beginnings of their names.
const TYPES_WITH_ARGUMENTS: [&str; 14] = [
    "nullable",
    "lowcardinality",
    "array",
    "tuple",
    "map",
    "decimal",
    "numeric",
    "fixedstring",
    "datetime",
    "timestamp",
    "enum",
    "varchar",
    "char",
    "aggregatefunction",
];

/// Whether `inside`, what stands behind the colon in `{name: ...}`, is a type, so that the braces hold
/// a parameter; else they hold a record.
pub(super) fn is_type(inside: &[TokenWithSpan]) -> bool {
    let Some(Token::Word(first)) = inside.first().map(|token| &token.token) else { return false };
    let is_value = matches!(
        first.keyword,
        Keyword::NULL
            | Keyword::TRUE
            | Keyword::FALSE
            | Keyword::CASE
            | Keyword::CAST
            | Keyword::NOT
            | Keyword::INTERVAL
    );
    if is_value {
        return false;
    }
    let lower = first.value.to_ascii_lowercase();
    match inside.get(1).map(|token| &token.token) {
        Some(Token::LParen) => {
            TYPES_WITH_ARGUMENTS.iter().any(|name| lower.starts_with(name))
                && closing(inside, 1) == Some(inside.len() - 1)
        }
        _ => inside.iter().all(|token| matches!(token.token, Token::Word(_))),
    }
}

/// `FROM VALUES (1), (2)` is `FROM (VALUES (1), (2))`. With one row it is the table function.
fn enclose_values(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at + 1 < tokens.len() {
        let is_table = matches!(keyword(tokens.get(at - 1)), Some(Keyword::FROM | Keyword::JOIN))
            && keyword(tokens.get(at)) == Some(Keyword::VALUES);
        if is_table && let Some(end) = end_of_rows(tokens, at + 1) {
            let span = tokens[at].span;
            tokens.insert(end, TokenWithSpan { token: Token::RParen, span });
            tokens.insert(at, TokenWithSpan { token: Token::LParen, span });
            at += 1;
        }
        at += 1;
    }
}

/// Behind the last of the rows that begin here, when there are several.
fn end_of_rows(tokens: &[TokenWithSpan], first: usize) -> Option<usize> {
    let is_open = |at: usize| tokens.get(at).is_some_and(|token| token.token == Token::LParen);
    let mut rows = 0_usize;
    let mut at = first;
    while is_open(at) {
        at = closing(tokens, at)? + 1;
        rows += 1;
        let goes_on = tokens.get(at).is_some_and(|token| token.token == Token::Comma)
            && is_open(at + 1)
            && !matches!(
                keyword(tokens.get(at + 2)),
                Some(Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::FROM)
            );
        if !goes_on {
            break;
        }
        at += 1;
    }
    (rows > 1).then_some(at)
}

/// `STRUCT(1 AS a, 2)` is `named_struct('a', 1, 'c1', 2)`.
fn name_fields(tokens: &mut Vec<TokenWithSpan>) {
    // From the end, so that a record within another one is done before it.
    for at in (0..tokens.len()).rev() {
        let opens = tokens.get(at + 1).is_some_and(|token| token.token == Token::LParen);
        if !opens || keyword(tokens.get(at)) != Some(Keyword::STRUCT) {
            continue;
        }
        let Some(end) = closing(tokens, at + 1) else { continue };
        let fields = split(&tokens[at + 2..end]);
        let named: Vec<_> = fields.iter().map(|field| alias(field)).collect();
        if named.iter().all(Option::is_none) {
            continue;
        }
        let span = tokens[at].span;
        let put = |token| TokenWithSpan { token, span };
        let mut call = vec![put(Token::make_word("named_struct", None)), put(Token::LParen)];
        for (place, (field, named)) in fields.iter().zip(named).enumerate() {
            let (name, value) = match named {
                Some(name) => (name, &field[..field.len() - 2]),
                None => (format!("c{place}"), *field),
            };
            if place > 0 {
                call.push(put(Token::Comma));
            }
            call.extend([put(Token::SingleQuotedString(name)), put(Token::Comma)]);
            call.extend(value.iter().cloned());
        }
        tokens.splice(at..end, call);
    }
}

/// The name that ends `value AS name`.
fn alias(field: &[TokenWithSpan]) -> Option<String> {
    let [_, .., word, name] = field else { return None };
    if keyword(Some(word)) != Some(Keyword::AS) {
        return None;
    }
    match &name.token {
        Token::Word(word) => Some(word.value.clone()),
        Token::SingleQuotedString(text) => Some(text.clone()),
        _ => None,
    }
}
