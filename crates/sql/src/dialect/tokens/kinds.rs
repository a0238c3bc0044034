//! How strict a join is, in ClickHouse's words: `ANY LEFT JOIN`, `LEFT ANY JOIN`, `ALL INNER JOIN`,
//! `SEMI LEFT JOIN`.
//!
//! ALL is what joins are anyway. SEMI and ANTI go behind the side. ANY becomes a mark in the condition,
//! which the tree's rewrites take out again.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, TokenizerError};

use super::joins::condition_of;
use super::spelling::keyword;

/// What a condition of an ANY join begins with; a column of that name in USING.
pub(crate) const ANY_MARK: &str = "__granary_any";

const WORDS: [&str; 9] = ["LEFT", "RIGHT", "FULL", "INNER", "OUTER", "ANY", "ALL", "SEMI", "ANTI"];

/// Rewrites all of them, in place.
///
/// # Errors
/// For PASTE JOIN, whose word would be taken for the name of the table before it.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) -> Result<(), TokenizerError> {
    let mut at = 0;
    while at < tokens.len() {
        if keyword(tokens.get(at)) == Some(Keyword::JOIN) {
            let before = at.checked_sub(1).and_then(|before| tokens.get(before));
            if before.and_then(word).is_some_and(|word| ["PASTE", "POSITIONAL"].contains(&&*word)) {
                return Err(TokenizerError {
                    message:
                        "joins by position are not supported, rows have no order of their own: \
                              join on row_number() OVER (ORDER BY ...)"
                            .to_owned(),
                    location: tokens[at].span.start,
                });
            }
            at = settle_join(tokens, at);
        }
        at += 1;
    }
    Ok(())
}

fn word(token: &TokenWithSpan) -> Option<String> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    }
}

/// The join whose JOIN stands at `join`; gives where it stands then.
fn settle_join(tokens: &mut Vec<TokenWithSpan>, join: usize) -> usize {
    let is_kind = |token: &TokenWithSpan| word(token).filter(|text| WORDS.contains(&text.as_str()));
    let mut first = join;
    let mut kinds: Vec<String> = Vec::new();
    while let Some(kind) = first.checked_sub(1).and_then(|before| is_kind(&tokens[before])) {
        kinds.push(kind);
        first -= 1;
    }
    let has = |kind: &str| kinds.iter().any(|known| known == kind);
    // A subquery before a join may end with ALL only inside brackets, so the word belongs to the join.
    if !["ANY", "ALL", "SEMI", "ANTI"].iter().any(|kind| has(kind)) {
        return join;
    }
    let side = ["LEFT", "RIGHT", "FULL", "INNER"].into_iter().find(|side| has(side));
    let filter = ["SEMI", "ANTI"].into_iter().find(|filter| has(filter));
    let mut words = Vec::new();
    match (side, filter) {
        (None, Some(filter)) => words.extend(["LEFT", filter]),
        (side, filter) => words.extend(side.into_iter().chain(filter)),
    }
    let span = tokens[join].span;
    let marked = has("ANY") && filter.is_none();
    let replaced: Vec<TokenWithSpan> = words
        .into_iter()
        .map(|text| TokenWithSpan { token: Token::make_keyword(text), span })
        .collect();
    let join = first + replaced.len();
    let old_end = first + kinds.len();
    tokens.splice(first..old_end, replaced);
    if marked && let Some(condition) = condition_of(tokens, join + 1) {
        mark(tokens, condition);
    }
    join
}

/// Puts the mark into the condition that begins with ON or USING at `at`.
fn mark(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let span = tokens[at].span;
    let put = |token| TokenWithSpan { token, span };
    let name = put(Token::make_word(ANY_MARK, None));
    if keyword(tokens.get(at)) == Some(Keyword::ON) {
        tokens.splice(at + 1..at + 1, [name, put(Token::make_keyword("AND"))]);
        return;
    }
    match tokens.get(at + 1).map(|token| &token.token) {
        Some(Token::LParen) => {
            tokens.splice(at + 2..at + 2, [name, put(Token::Comma)]);
        }
        Some(_) => {
            // USING k, without brackets.
            tokens.insert(at + 2, put(Token::RParen));
            tokens.splice(at + 1..at + 1, [put(Token::LParen), name, put(Token::Comma)]);
        }
        None => {}
    }
}
