//! `SELECT a FROM t ORDER BY a LIMIT 1 UNION ALL SELECT ...`: in ClickHouse order and limit may stand
//! before a UNION, and are of the SELECT before it. And `x / any(y)`: behind an operator of numbers ANY is
//! the aggregate, and `UPDATE c = 1 IN PARTITION p` names a partition.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::spelling::keyword;

/// A query between brackets.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Where its last SELECT stands.
    select: Option<usize>,
    /// Whether that has an order or a limit.
    ordered: bool,
}

/// Rewrites both, in place.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) {
    name_aggregates(tokens);
    end_assignments(tokens);
    let mut levels = vec![Level::default()];
    let mut at = 0;
    while at < tokens.len() {
        let follows = |next: usize| keyword(tokens.get(at + next));
        match &tokens[at].token {
            Token::LParen | Token::LBracket => levels.push(Level::default()),
            Token::RParen | Token::RBracket if levels.len() > 1 => {
                levels.pop();
            }
            Token::SemiColon => levels = vec![Level::default()],
            _ => {}
        }
        let word = follows(0);
        let is_combined = match word {
            Some(Keyword::UNION | Keyword::INTERSECT) => true,
            Some(Keyword::EXCEPT) => !is_list(tokens, at),
            _ => false,
        };
        let is_ordered = match word {
            Some(Keyword::ORDER) => follows(1) == Some(Keyword::BY),
            Some(Keyword::LIMIT | Keyword::FETCH) => true,
            _ => false,
        };
        if let Some(level) = levels.last_mut() {
            if word == Some(Keyword::SELECT) {
                *level = Level { select: Some(at), ordered: false };
            }
            level.ordered |= is_ordered;
            if is_combined && let (Some(select), true) = (level.select, level.ordered) {
                *level = Level::default();
                let put = |token, span| TokenWithSpan { token, span };
                let (first, last) = (tokens[select].span, tokens[at].span);
                tokens.insert(at, put(Token::RParen, last));
                tokens.insert(select, put(Token::LParen, first));
                at += 2;
            }
        }
        at += 1;
    }
}

/// Whether EXCEPT is followed by names in brackets, as behind `*`.
fn is_list(tokens: &[TokenWithSpan], except: usize) -> bool {
    let is_open = |at: usize| tokens.get(at).is_some_and(|token| token.token == Token::LParen);
    let begins =
        |at: usize| matches!(keyword(tokens.get(at)), Some(Keyword::SELECT | Keyword::WITH));
    match is_open(except + 1) {
        true => !begins(except + 2) && !is_open(except + 2),
        false => {
            !begins(except + 1)
                && !matches!(
                    keyword(tokens.get(except + 1)),
                    Some(Keyword::ALL | Keyword::DISTINCT)
                )
        }
    }
}

/// `ALTER TABLE t UPDATE c = 1 IN PARTITION p`: the value ends before IN.
fn end_assignments(tokens: &mut [TokenWithSpan]) {
    if keyword(tokens.first()) != Some(Keyword::ALTER) {
        return;
    }
    let mut updates = false;
    for at in 1..tokens.len().saturating_sub(1) {
        updates |= keyword(tokens.get(at)) == Some(Keyword::UPDATE);
        let is_partition = keyword(tokens.get(at + 1)) == Some(Keyword::PARTITION);
        if updates
            && is_partition
            && let Token::Word(word) = &mut tokens[at].token
            && word.keyword == Keyword::IN
        {
            word.keyword = Keyword::NoKeyword;
        }
    }
}

fn name_aggregates(tokens: &mut [TokenWithSpan]) {
    for at in 1..tokens.len().saturating_sub(1) {
        let is_operator = matches!(
            tokens[at - 1].token,
            Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod
        );
        if is_operator
            && keyword(tokens.get(at)) == Some(Keyword::ANY)
            && tokens[at + 1].token == Token::LParen
        {
            tokens[at].token = Token::Word(Word {
                value: "any_value".to_owned(),
                quote_style: None,
                keyword: Keyword::NoKeyword,
            });
        }
    }
}
