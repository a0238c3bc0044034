//! FINAL after a table's name becomes a part of the name, which says how the table is read. An
//! alias keeps the name that columns refer to.

use granary_execution::TableReading;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// Moves every FINAL into the name of its table.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        match is_final(&tokens[at].token).then(|| place_of_name(&tokens[..at])).flatten() {
            Some((name, has_alias)) => at = rename(tokens, name, at, has_alias),
            None => at += 1,
        }
    }
}

fn is_final(token: &Token) -> bool {
    matches!(token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("FINAL"))
}

/// The place of the table's name when `before` ends with FROM, a comma of its list, or JOIN, a
/// name, perhaps a point of the past and perhaps an alias; and whether there is an alias.
fn place_of_name(before: &[TokenWithSpan]) -> Option<(usize, bool)> {
    let length = before.len();
    let keyword = |at: usize| match &before.get(at)?.token {
        Token::Word(word) => Some(word.keyword),
        _ => None,
    };
    let behind_as = length >= 2 && keyword(length - 2) == Some(Keyword::AS);
    let has_alias = length >= 1 && keyword(length - 1) == Some(Keyword::NoKeyword);
    let ends = [Some(length), has_alias.then(|| length - 1), behind_as.then(|| length - 2)];
    ends.into_iter().flatten().find_map(|end| {
        let name = start_of_point(&before[..end]).checked_sub(1)?;
        keyword(name)?;
        let mut first = name;
        while first >= 2 && before[first - 1].token == Token::Period {
            keyword(first - 2)?;
            first -= 2;
        }
        let opens = first.checked_sub(1)?;
        let is_table = match keyword(opens) {
            Some(word) => matches!(word, Keyword::FROM | Keyword::JOIN),
            None => before[opens].token == Token::Comma && ends_in_from(&before[..opens]),
        };
        is_table.then_some((name, end < length))
    })
}

/// Where `AT(...)` or `BEFORE(...)` begins that `before` ends with; else its end.
fn start_of_point(before: &[TokenWithSpan]) -> usize {
    let mut closed = 0_usize;
    for (at, token) in before.iter().enumerate().rev() {
        match &token.token {
            Token::RParen => closed += 1,
            Token::LParen if closed == 1 => {
                let is_point = at.checked_sub(1).is_some_and(|at| {
                    matches!(&before[at].token, Token::Word(word)
                        if matches!(word.keyword, Keyword::AT | Keyword::BEFORE))
                });
                return if is_point { at - 1 } else { before.len() };
            }
            Token::LParen => closed -= 1,
            _ if closed == 0 => return before.len(),
            _ => {}
        }
    }
    before.len()
}

/// Whether the place behind `before` is in the list of a FROM.
fn ends_in_from(before: &[TokenWithSpan]) -> bool {
    let mut closed = 0_usize;
    for token in before.iter().rev() {
        match &token.token {
            Token::RParen | Token::RBracket => closed += 1,
            Token::LParen | Token::LBracket if closed == 0 => return false,
            Token::LParen | Token::LBracket => closed -= 1,
            Token::Word(word) if closed == 0 => match word.keyword {
                Keyword::FROM => return true,
                Keyword::SELECT | Keyword::WHERE | Keyword::BY | Keyword::HAVING => return false,
                _ => {}
            },
            _ => {}
        }
    }
    false
}

/// Renames the table at `name` and takes the FINAL at `at` away; gives the place to go on.
fn rename(tokens: &mut Vec<TokenWithSpan>, name: usize, at: usize, has_alias: bool) -> usize {
    let Token::Word(word) = &tokens[name].token else { return at + 1 };
    let table = word.value.clone();
    let reading = TableReading { table: table.clone(), collapsed: true, ..TableReading::default() };
    let quoted = |value: String| {
        Token::Word(Word { value, quote_style: Some('`'), keyword: Keyword::NoKeyword })
    };
    let aliased = has_alias || is_alias(&tokens[at + 1..]);
    tokens[name].token = quoted(reading.name());
    match aliased {
        true => {
            tokens.remove(at);
            at
        }
        false => {
            // FINAL itself gives way to the alias.
            tokens[at].token = quoted(table);
            at + 1
        }
    }
}

/// Whether an alias begins `after`.
fn is_alias(after: &[TokenWithSpan]) -> bool {
    match after.first().map(|token| &token.token) {
        Some(Token::Word(word)) => {
            word.keyword == Keyword::AS || word.keyword == Keyword::NoKeyword
        }
        _ => false,
    }
}
