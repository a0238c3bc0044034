//! Spellings of ClickHouse that the grammar has in other words.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Rewrites all of them, in place.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) {
    numbers_in_hex(tokens);
    whole_divisions(tokens);
    zoned_times(tokens);
    tuple_places(tokens);
    null_parts(tokens);
    aggregate_types(tokens);
    drop_global(tokens);
    enclose_using(tokens);
    single_tuples(tokens);
    ties(tokens);
    limits(tokens);
}

pub(super) fn keyword(token: Option<&TokenWithSpan>) -> Option<Keyword> {
    match token.map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

/// `0xFF` is 255; `X'FF'` stays bytes. The tokenizer tells them by nothing but their lengths.
fn numbers_in_hex(tokens: &mut [TokenWithSpan]) {
    for token in tokens {
        let Token::HexStringLiteral(digits) = &token.token else { continue };
        let length = token.span.end.column.saturating_sub(token.span.start.column);
        let is_number = length == digits.len() as u64 + 2;
        let number = u128::from_str_radix(&digits.replace('_', ""), 16);
        if let (true, Ok(number)) = (is_number, number) {
            token.token = Token::Number(number.to_string(), false);
        }
    }
}

/// `n.null`, whether a column is NULL, names a part of it and no value.
fn null_parts(tokens: &mut [TokenWithSpan]) {
    for at in 2..tokens.len() {
        let is_part = tokens[at - 1].token == Token::Period
            && matches!(tokens[at - 2].token, Token::Word(_))
            && keyword(tokens.get(at)) == Some(Keyword::NULL);
        if is_part {
            tokens[at].token = Token::make_word("null", Some('"'));
        }
    }
}

/// `a // b` is one operator, not two.
fn whole_divisions(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        let both = tokens[at - 1].token == Token::Div && tokens[at].token == Token::Div;
        if both && tokens[at - 1].span.end == tokens[at].span.start {
            tokens.remove(at);
            tokens[at - 1].token = Token::DuckIntDiv;
        }
        at += 1;
    }
}

/// `DateTime('zone')`, where the grammar expects a precision, is a type by its name.
fn zoned_times(tokens: &mut [TokenWithSpan]) {
    for at in 2..tokens.len() {
        let is_zone = matches!(tokens[at].token, Token::SingleQuotedString(_))
            && tokens[at - 1].token == Token::LParen;
        if let Token::Word(word) = &mut tokens[at - 2].token
            && is_zone
            && word.keyword == Keyword::DATETIME
        {
            word.keyword = Keyword::NoKeyword;
        }
    }
}

/// `t.1` and `items[1].2` are `t['1']` and `items[1]['2']`.
fn tuple_places(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        let place = match &tokens[at].token {
            Token::Number(text, _) => text.strip_prefix('.').map(str::to_owned),
            _ => None,
        };
        let place = place.filter(|place| place.chars().all(|c| c.is_ascii_digit()));
        let (Some(place), true) = (place, is_value_before(&tokens[at - 1], &tokens[at])) else {
            at += 1;
            continue;
        };
        let span = tokens[at].span;
        let put = |token| TokenWithSpan { token, span };
        let subscript =
            [put(Token::LBracket), put(Token::SingleQuotedString(place)), put(Token::RBracket)];
        tokens.splice(at..=at, subscript);
        at += 3;
    }
}

/// Whether a value ends with `before`, so that what follows a dot is a part of it.
fn is_value_before(before: &TokenWithSpan, number: &TokenWithSpan) -> bool {
    match &before.token {
        Token::RParen | Token::RBracket => true,
        Token::Word(word) => {
            word.keyword == Keyword::NoKeyword || before.span.end == number.span.start
        }
        _ => false,
    }
}

/// `AggregateFunction(f(0.5), T(1))`: the grammar knows no brackets inside a type by its name, so
/// what stands in the outer ones becomes one text.
fn aggregate_types(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 2 < tokens.len() {
        at += 1;
        let is_type = matches!(&tokens[at - 1].token, Token::Word(word)
            if word.quote_style.is_none()
                && ["aggregatefunction", "simpleaggregatefunction"]
                    .contains(&word.value.to_ascii_lowercase().as_str()));
        if !is_type || tokens[at].token != Token::LParen {
            continue;
        }
        let mut depth = 0_usize;
        let closes = |token: &TokenWithSpan| {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            depth == 0
        };
        let Some(length) = tokens[at..].iter().position(closes) else { return };
        if length < 2 {
            continue;
        }
        let text: String =
            tokens[at + 1..at + length].iter().map(|token| format!("{} ", token.token)).collect();
        let inside = TokenWithSpan {
            token: Token::SingleQuotedString(text.trim_end().to_owned()),
            span: tokens[at + 1].span,
        };
        tokens.splice(at + 1..at + length, [inside]);
    }
}

/// GLOBAL IN and GLOBAL JOIN: where rows go is the planner's decision.
fn drop_global(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 1 < tokens.len() {
        let before = matches!(
            keyword(tokens.get(at + 1)),
            Some(
                Keyword::IN
                    | Keyword::NOT
                    | Keyword::JOIN
                    | Keyword::INNER
                    | Keyword::LEFT
                    | Keyword::RIGHT
                    | Keyword::FULL
                    | Keyword::CROSS
                    | Keyword::ANY
                    | Keyword::ALL
                    | Keyword::SEMI
                    | Keyword::ANTI
                    | Keyword::ASOF
            )
        );
        match before && keyword(tokens.get(at)) == Some(Keyword::GLOBAL) {
            true => {
                tokens.remove(at);
            }
            false => at += 1,
        }
    }
}

/// `USING id` is `USING (id)`.
fn enclose_using(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 1 < tokens.len() {
        let is_name = matches!(tokens[at + 1].token, Token::Word(_));
        if is_name && keyword(tokens.get(at)) == Some(Keyword::USING) {
            let span = tokens[at + 1].span;
            tokens.insert(at + 2, TokenWithSpan { token: Token::RParen, span });
            tokens.insert(at + 1, TokenWithSpan { token: Token::LParen, span });
        }
        at += 1;
    }
}

/// `(a,)` is `tuple(a)`, the tuple of one value.
fn single_tuples(tokens: &mut Vec<TokenWithSpan>) {
    let mut open: Vec<usize> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].token {
            Token::LParen => open.push(at),
            Token::RParen => {
                let begin = open.pop();
                let ends_with_comma = at > 0 && tokens[at - 1].token == Token::Comma;
                let begin = begin.filter(|begin| ends_with_comma && at > begin + 2);
                if let Some(begin) = begin.filter(|begin| !is_call(tokens, *begin)) {
                    let span = tokens[begin].span;
                    tokens.remove(at - 1);
                    let name = Token::make_word("tuple", None);
                    tokens.insert(begin, TokenWithSpan { token: name, span });
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Whether the bracket at `open` stands behind the name of a function, a table or a type.
fn is_call(tokens: &[TokenWithSpan], open: usize) -> bool {
    match open.checked_sub(1).map(|before| &tokens[before].token) {
        Some(Token::Word(word)) => {
            let opens_value = [Keyword::SELECT, Keyword::WHERE, Keyword::AND, Keyword::OR];
            !opens_value.contains(&word.keyword)
        }
        Some(Token::RParen) => true,
        _ => false,
    }
}

/// `LIMIT n WITH TIES` is `FETCH FIRST n ROWS WITH TIES`, with OFFSET before it.
fn ties(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 2;
    while at + 1 < tokens.len() {
        at += 1;
        let is_ties = matches!(&tokens[at].token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("TIES"));
        if !is_ties || keyword(tokens.get(at - 1)) != Some(Keyword::WITH) {
            continue;
        }
        let token = |back: usize| at.checked_sub(back).and_then(|at| tokens.get(at)).cloned();
        let is = |back: usize, word| keyword(token(back).as_ref()) == Some(word);
        let is_comma = token(3).is_some_and(|token| token.token == Token::Comma);
        let (length, count, offset) = if is(3, Keyword::LIMIT) {
            (3, token(2), None)
        } else if is_comma && is(5, Keyword::LIMIT) {
            (5, token(2), token(4))
        } else if is(3, Keyword::OFFSET) && is(5, Keyword::LIMIT) {
            (5, token(4), token(2))
        } else {
            continue;
        };
        let Some(count) = count else { continue };
        let span = tokens[at].span;
        let word = |text: &str| TokenWithSpan { token: Token::make_keyword(text), span };
        let mut fetch = Vec::with_capacity(8);
        if let Some(offset) = offset {
            fetch.extend([word("OFFSET"), offset, word("ROWS")]);
        }
        fetch.extend([word("FETCH"), word("FIRST"), count, word("ROWS")]);
        tokens.splice(at - length..at - 1, fetch);
    }
}

/// `LIMIT a, n BY ...` and `LIMIT n OFFSET a BY ...` are `OFFSET a LIMIT n BY ...`, and a LIMIT after it is a FETCH.
fn limits(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if keyword(tokens.get(at)) == Some(Keyword::LIMIT) {
            let is_pair = tokens.get(at + 2).is_some_and(|token| token.token == Token::Comma);
            let has_offset = keyword(tokens.get(at + 2)) == Some(Keyword::OFFSET);
            let by = keyword(tokens.get(at + 4)) == Some(Keyword::BY);
            if (is_pair || has_offset) && by {
                tokens[at].token = Token::make_keyword("OFFSET");
                tokens[at + 2].token = Token::make_keyword("LIMIT");
                if has_offset {
                    tokens.swap(at + 1, at + 3);
                }
            } else if let Some(second) = second_limit(tokens, at) {
                limit_as_fetch(tokens, second);
            }
        }
        at += 1;
    }
}

/// Where the LIMIT stands that follows the `LIMIT ... BY ...` at `first`.
fn second_limit(tokens: &[TokenWithSpan], first: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut by = false;
    for (at, token) in tokens.iter().enumerate().skip(first + 1) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return None,
            Token::RParen => depth -= 1,
            Token::SemiColon => return None,
            Token::Word(word) if depth == 0 => match word.keyword {
                Keyword::BY => by = true,
                Keyword::LIMIT => return by.then_some(at),
                Keyword::SELECT | Keyword::UNION => return None,
                _ => {}
            },
            _ => {}
        }
    }
    None
}

/// `LIMIT n` is `FETCH FIRST n ROWS ONLY`.
fn limit_as_fetch(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    if at + 1 >= tokens.len() {
        return;
    }
    let span = tokens[at].span;
    let word = |text: &str| TokenWithSpan { token: Token::make_keyword(text), span };
    tokens.splice(at + 2..at + 2, [word("ROWS"), word("ONLY")]);
    tokens.splice(at..=at, [word("FETCH"), word("FIRST")]);
}
