//! Types of PostgreSQL, DuckDB and Spark in ClickHouse's words: `INT[]` and `ARRAY<INT>` are
//! `Array(Nullable(INT))`, `STRUCT(a INT)` is `Tuple(a Nullable(INT))`, `MAP<K, V>` is `Map(K, V)`.
//! Where these types come from every value may be NULL, so their elements may be it here.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::spelling::keyword;

/// Rewrites all of them, in place.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if begins_foreign_type(tokens, at) {
            let mut reader = Reader { tokens, at, halves: 0, is_foreign: false, depth: 0 };
            if let Some(read) = reader.whole() {
                let end = reader.at;
                let length = read.len();
                tokens.splice(at..end, read);
                at += length;
                continue;
            }
        }
        at += 1;
    }
}

/// Whether a type may begin here that is not spelled as ClickHouse spells it.
fn begins_foreign_type(tokens: &[TokenWithSpan], at: usize) -> bool {
    let Token::Word(word) = &tokens[at].token else { return false };
    if word.quote_style.is_some() {
        return false;
    }
    let next = tokens.get(at + 1).map(|token| &token.token);
    // `THEN []` is a value behind a word that names no type.
    let in_place = at.checked_sub(1).is_some_and(|before| precedes_type(&tokens[before]));
    let in_place = in_place && precedes_type(&tokens[at]);
    match word.keyword {
        Keyword::ARRAY | Keyword::MAP if next == Some(&Token::Lt) => in_place,
        Keyword::STRUCT if matches!(next, Some(Token::Lt | Token::LParen)) => in_place,
        Keyword::ARRAY if next == Some(&Token::LBracket) => false,
        _ => match next {
            Some(Token::LBracket) => in_place && is_open_array(tokens, at + 1),
            Some(Token::LParen) if in_place => {
                let closed = closing(tokens, at + 1);
                closed.is_some_and(|closed| is_open_array(tokens, closed + 1))
            }
            _ => false,
        },
    }
}

/// A type follows `::`, AS, the name of a column and the colon of a parameter, nothing else.
fn precedes_type(token: &TokenWithSpan) -> bool {
    match &token.token {
        Token::DoubleColon | Token::Colon => true,
        Token::Word(_) => !matches!(
            keyword(Some(token)),
            Some(
                Keyword::SELECT
                    | Keyword::DISTINCT
                    | Keyword::WHERE
                    | Keyword::AND
                    | Keyword::OR
                    | Keyword::NOT
                    | Keyword::WHEN
                    | Keyword::THEN
                    | Keyword::ELSE
                    | Keyword::ON
                    | Keyword::HAVING
                    | Keyword::BY
                    | Keyword::IN
                    | Keyword::BETWEEN
                    | Keyword::FROM
                    | Keyword::VALUES
            )
        ),
        _ => false,
    }
}

/// Whether `[]` stands here: in no expression it does behind a name.
fn is_open_array(tokens: &[TokenWithSpan], at: usize) -> bool {
    matches!(tokens.get(at..at + 2), Some([open, close])
        if open.token == Token::LBracket && close.token == Token::RBracket)
}

/// Where the bracket at `opens` is closed.
fn closing(tokens: &[TokenWithSpan], opens: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(opens) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Reads one type.
struct Reader<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
    /// How many of the two brackets of `>>` are read.
    halves: u8,
    is_foreign: bool,
    /// Types around the one that is read.
    depth: usize,
}

/// Types within types. Deeper ones are left to the parser, which refuses them.
const DEPTH_MAX: usize = 64;

impl Reader<'_> {
    /// The type in ClickHouse's words, unless it is spelled so already.
    fn whole(&mut self) -> Option<Vec<TokenWithSpan>> {
        let read = self.one(false)?;
        (self.is_foreign && self.halves == 0).then_some(read)
    }

    fn one(&mut self, is_element: bool) -> Option<Vec<TokenWithSpan>> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let first = self.tokens.get(self.at)?.clone();
        let Token::Word(word) = &first.token else { return None };
        let next = self.tokens.get(self.at + 1).map(|token| &token.token);
        let (mut read, mut is_plain) = match (word.keyword, next) {
            (Keyword::ARRAY | Keyword::MAP, Some(Token::Lt)) => (self.angled(&first)?, false),
            (Keyword::STRUCT, Some(Token::Lt | Token::LParen)) => (self.fields(&first)?, false),
            _ => self.named(&first)?,
        };
        while is_open_array(self.tokens, self.at) {
            self.at += 2;
            self.is_foreign = true;
            if is_plain {
                read = call("Nullable", read, &first);
            }
            is_plain = false;
            read = call("Array", read, &first);
        }
        self.depth -= 1;
        Some(match is_element && is_plain {
            true => call("Nullable", read, &first),
            false => read,
        })
    }

    /// A type by its name, with its arguments; and whether its values may be nullable.
    fn named(&mut self, first: &TokenWithSpan) -> Option<(Vec<TokenWithSpan>, bool)> {
        let Token::Word(word) = &first.token else { return None };
        let lower = word.value.to_ascii_lowercase();
        let begin = self.at;
        self.at += 1;
        if self.tokens.get(self.at).is_some_and(|token| token.token == Token::LParen) {
            self.at = closing(self.tokens, self.at)? + 1;
        }
        while matches!(
            keyword(self.tokens.get(self.at)),
            Some(Keyword::PRECISION | Keyword::UNSIGNED | Keyword::VARYING)
        ) {
            self.at += 1;
        }
        let composed = ["array", "map", "tuple", "nullable", "lowcardinality", "nested"];
        Some((self.tokens[begin..self.at].to_vec(), !composed.contains(&lower.as_str())))
    }

    /// `ARRAY<T>` and `MAP<K, V>`. A key is never NULL.
    fn angled(&mut self, first: &TokenWithSpan) -> Option<Vec<TokenWithSpan>> {
        let name = self.tokens[self.at].token.to_string();
        let is_map = name.eq_ignore_ascii_case("map");
        self.at += 2;
        self.is_foreign = true;
        let mut inner = self.one(!is_map)?;
        if is_map {
            inner.push(self.take(&Token::Comma)?);
            inner.extend(self.one(true)?);
        }
        self.closes_angle()?;
        Some(call(if is_map { "Map" } else { "Array" }, inner, first))
    }

    /// `STRUCT<a INT, TEXT>` and `STRUCT(a INT)`; in round brackets every field has a name.
    fn fields(&mut self, first: &TokenWithSpan) -> Option<Vec<TokenWithSpan>> {
        let is_angled = self.tokens.get(self.at + 1)?.token == Token::Lt;
        self.at += 2;
        let mut inner = Vec::new();
        loop {
            let follows = self.tokens.get(self.at + 1).map(|token| &token.token);
            let has_name = matches!(follows, Some(Token::Word(_)));
            if has_name {
                let name = self.tokens[self.at].clone();
                let Token::Word(_) = &name.token else { return None };
                inner.push(name);
                self.at += 1;
            } else if !is_angled {
                return None;
            }
            inner.extend(self.one(true)?);
            match self.tokens.get(self.at)?.token == Token::Comma {
                true => inner.push(self.take(&Token::Comma)?),
                false => break,
            }
        }
        match is_angled {
            true => self.closes_angle()?,
            false => self.take(&Token::RParen).map(|_| ())?,
        }
        self.is_foreign = true;
        Some(call("Tuple", inner, first))
    }

    fn take(&mut self, wanted: &Token) -> Option<TokenWithSpan> {
        let token = self.tokens.get(self.at).filter(|token| token.token == *wanted)?;
        self.at += 1;
        Some(token.clone())
    }

    /// `>`, or half of the `>>` that the tokenizer makes of two.
    fn closes_angle(&mut self) -> Option<()> {
        match self.tokens.get(self.at)?.token {
            Token::Gt => self.at += 1,
            Token::ShiftRight if self.halves == 0 => self.halves = 1,
            Token::ShiftRight => {
                self.halves = 0;
                self.at += 1;
            }
            _ => return None,
        }
        Some(())
    }
}

/// `name(inner)`, where `first` stands in the text.
fn call(name: &str, inner: Vec<TokenWithSpan>, first: &TokenWithSpan) -> Vec<TokenWithSpan> {
    let put = |token| TokenWithSpan { token, span: first.span };
    let mut tokens = vec![put(Token::make_word(name, None)), put(Token::LParen)];
    tokens.extend(inner);
    tokens.push(put(Token::RParen));
    tokens
}
