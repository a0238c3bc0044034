//! DuckDB's statements `PIVOT t ON column [IN (...)] USING aggregates [GROUP BY keys]` and
//! `UNPIVOT t ON columns INTO NAME k VALUE v` as queries with the table operators of these names.

use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, TokenizerError};

use super::brackets::closing;
use super::limits::check_growth;
use super::spelling::keyword;

/// Rewrites all of them, in place.
///
/// # Errors
/// Where tables within each other, each written twice, become too long.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) -> Result<(), TokenizerError> {
    let before = tokens.len();
    // From the end, so that what lies inside another one is rewritten first.
    for at in (0..tokens.len()).rev() {
        let pivots = match keyword(tokens.get(at)) {
            Some(Keyword::PIVOT) => true,
            Some(Keyword::UNPIVOT) => false,
            _ => continue,
        };
        if !begins_statement(tokens, at) {
            continue;
        }
        let Some(clauses) = Clauses::of(tokens, at) else { continue };
        let written = match pivots {
            true => clauses.pivot(tokens),
            false => clauses.unpivot(tokens),
        };
        if let Some(written) = written {
            check_growth(before, tokens.len() + written.len(), &tokens[at])?;
            let span = tokens[at].span;
            let placed = written.into_iter().map(|token| TokenWithSpan { token, span });
            tokens.splice(at..clauses.end, placed.collect::<Vec<_>>());
        }
    }
    Ok(())
}

fn begins_statement(tokens: &[TokenWithSpan], at: usize) -> bool {
    match at.checked_sub(1).map(|before| &tokens[before].token) {
        None | Some(Token::LParen | Token::SemiColon) => true,
        // Behind common table expressions; the operator of a subquery has brackets behind it.
        Some(Token::RParen) => {
            matches!(tokens.get(at + 1).map(|token| &token.token), Some(Token::Word(_)))
        }
        _ => false,
    }
}

/// Where the clauses of one statement are.
struct Clauses {
    table: Range<usize>,
    on: Range<usize>,
    using: Range<usize>,
    group_by: Range<usize>,
    into: Range<usize>,
    /// Where ORDER BY or LIMIT go on, or the statement ends.
    end: usize,
}

impl Clauses {
    fn of(tokens: &[TokenWithSpan], at: usize) -> Option<Self> {
        let mut marks: Vec<(Keyword, usize)> = Vec::new();
        let mut place = at + 1;
        let end = loop {
            let Some(token) = tokens.get(place) else { break place };
            match &token.token {
                Token::LParen | Token::LBracket | Token::LBrace => {
                    place = closing(tokens, place)? + 1;
                    continue;
                }
                Token::RParen | Token::SemiColon => break place,
                Token::Word(word) if word.quote_style.is_none() => match word.keyword {
                    Keyword::ORDER | Keyword::LIMIT | Keyword::SETTINGS => break place,
                    mark @ (Keyword::ON | Keyword::USING | Keyword::GROUP | Keyword::INTO) => {
                        marks.push((mark, place));
                    }
                    _ => {}
                },
                _ => {}
            }
            place += 1;
        };
        let starts = |mark: Keyword| marks.iter().find(|(known, _)| *known == mark).map(|m| m.1);
        let on = starts(Keyword::ON)?;
        let clause = |mark: Keyword, words: usize| {
            let Some(start) = starts(mark) else { return end..end };
            let next = marks.iter().map(|mark| mark.1).find(|place| *place > start);
            start + words..next.unwrap_or(end)
        };
        Some(Self {
            table: at + 1..on,
            on: clause(Keyword::ON, 1),
            using: clause(Keyword::USING, 1),
            group_by: clause(Keyword::GROUP, 2),
            into: clause(Keyword::INTO, 1),
            end,
        })
    }

    fn pivot(&self, tokens: &[TokenWithSpan]) -> Option<Vec<Token>> {
        let words = |range: &Range<usize>| plain(tokens.get(range.clone()).unwrap_or_default());
        let table = words(&self.table);
        let on = words(&self.on);
        let place = on.iter().position(|token| is_keyword(token, Keyword::IN));
        let (column, values) = match place {
            Some(place) => (on[..place].to_vec(), on[place + 1..].to_vec()),
            None => (on.clone(), Vec::new()),
        };
        let aggregates = match words(&self.using) {
            using if using.is_empty() => call_of_count(),
            using => using,
        };
        let group_by = words(&self.group_by);
        let mut written = text("SELECT * FROM");
        match group_by.is_empty() {
            true => written.extend(table.iter().cloned()),
            false => {
                // What is neither turned nor aggregated is grouped by; other columns go.
                written.extend([Token::LParen, Token::make_keyword("SELECT")]);
                let mut shown = split_at_commas(&group_by);
                shown.push(column.clone());
                shown.extend(names_in(&aggregates));
                let mut unique: Vec<Vec<Token>> = Vec::new();
                for name in shown {
                    if !unique.contains(&name) {
                        unique.push(name);
                    }
                }
                written.extend(unique.join(&Token::Comma));
                written.push(Token::make_keyword("FROM"));
                written.extend(table.iter().cloned());
                written.push(Token::RParen);
            }
        }
        written.extend([Token::make_keyword("PIVOT"), Token::LParen]);
        written.extend(aggregates);
        written.push(Token::make_keyword("FOR"));
        written.extend(column.iter().cloned());
        written.push(Token::make_keyword("IN"));
        match values.is_empty() {
            false => written.extend(values),
            true => {
                written.extend([Token::LParen, Token::make_keyword("SELECT")]);
                written.push(Token::make_keyword("DISTINCT"));
                written.extend(column);
                written.push(Token::make_keyword("FROM"));
                written.extend(table);
                written.push(Token::RParen);
            }
        }
        written.push(Token::RParen);
        Some(written)
    }

    fn unpivot(&self, tokens: &[TokenWithSpan]) -> Option<Vec<Token>> {
        let words = |range: &Range<usize>| plain(tokens.get(range.clone()).unwrap_or_default());
        let into = words(&self.into);
        let [name_word, name, value_word, value] = into.as_slice() else { return None };
        if !is_keyword(name_word, Keyword::NAME) || !is_keyword(value_word, Keyword::VALUE) {
            return None;
        }
        let mut written = text("SELECT * FROM");
        written.extend(words(&self.table));
        written.extend([Token::make_keyword("UNPIVOT"), Token::LParen, value.clone()]);
        written.extend([Token::make_keyword("FOR"), name.clone(), Token::make_keyword("IN")]);
        written.push(Token::LParen);
        written.extend(words(&self.on));
        written.extend([Token::RParen, Token::RParen]);
        Some(written)
    }
}

fn plain(tokens: &[TokenWithSpan]) -> Vec<Token> {
    tokens.iter().map(|token| token.token.clone()).collect()
}

fn text(words: &str) -> Vec<Token> {
    let token = |word: &str| match word {
        "*" => Token::Mul,
        word => Token::make_keyword(word),
    };
    words.split(' ').map(token).collect()
}

fn call_of_count() -> Vec<Token> {
    vec![Token::make_word("count", None), Token::LParen, Token::Mul, Token::RParen]
}

fn is_keyword(token: &Token, wanted: Keyword) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.keyword == wanted)
}

fn split_at_commas(tokens: &[Token]) -> Vec<Vec<Token>> {
    tokens.split(|token| *token == Token::Comma).map(<[Token]>::to_vec).collect()
}

/// The columns that aggregates name.
fn names_in(tokens: &[Token]) -> Vec<Vec<Token>> {
    let mut names = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let is_call = tokens.get(at + 1) == Some(&Token::LParen);
        let is_alias = at > 0 && is_keyword(&tokens[at - 1], Keyword::AS);
        let is_clause = word.quote_style.is_none()
            && matches!(
                word.keyword,
                Keyword::AS
                    | Keyword::DISTINCT
                    | Keyword::ORDER
                    | Keyword::BY
                    | Keyword::AND
                    | Keyword::OR
                    | Keyword::NOT
                    | Keyword::NULL
                    | Keyword::FILTER
                    | Keyword::WHERE
            );
        if !is_call && !is_alias && !is_clause {
            names.push(vec![token.clone()]);
        }
    }
    names
}
