//! Forms that begin with a word: `CAST(x AS T)`, `CASE ... END`, `floor(x TO DAY)`; and functions
//! `(x, y) -> z`.
//!
//! `sqlparser` reads them as a form and, where that fails, once more as the name of a function or
//! a column. Forms within each other would be read twice as often with each level, and a mistake inside
//! of them be reported elsewhere. Here the tokens say which of both it is, and it is read once.

use sqlparser::ast::{
    CastKind, Expr, Ident, LambdaFunction, LambdaFunctionParameter, LambdaSyntax, ObjectName,
    OneOrManyWithParens,
};
use sqlparser::keywords::{Keyword, RESERVED_FOR_COLUMN_ALIAS};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::operators::BETWEEN_PRECEDENCE;

/// Parameters of a function that are looked for.
const PARAMETERS_MAX: usize = 16;

/// The form that begins with the next token; `None` where the parser has to find out.
pub(super) fn parse(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let token = parser.peek_token_ref();
    if token.token == Token::LParen {
        return parameters(parser).map(|parameters| function(parser, parameters));
    }
    let Token::Word(word) = &token.token else { return None };
    if word.quote_style.is_some() {
        return None;
    }
    let keyword = word.keyword;
    let next = &parser.peek_nth_token_ref(1).token;
    let is_form = match keyword {
        Keyword::CASE | Keyword::INTERVAL | Keyword::NOT => true,
        Keyword::ARRAY => *next == Token::LBracket,
        Keyword::CAST
        | Keyword::TRY_CAST
        | Keyword::SAFE_CAST
        | Keyword::CONVERT
        | Keyword::CEIL
        | Keyword::FLOOR
        | Keyword::SUBSTR
        | Keyword::SUBSTRING
        | Keyword::OVERLAY
        | Keyword::EXTRACT
        | Keyword::POSITION
        | Keyword::CURRENT_TIMESTAMP
        | Keyword::CURRENT_TIME
        | Keyword::CURRENT_DATE
        | Keyword::LOCALTIME
        | Keyword::LOCALTIMESTAMP => *next == Token::LParen,
        _ => false,
    };
    if !is_form {
        return None;
    }
    let name = word.to_ident(token.span);
    parser.advance_token();
    Some(match keyword {
        Keyword::CASE | Keyword::INTERVAL | Keyword::NOT if is_name(parser) => {
            Ok(Expr::Identifier(name))
        }
        Keyword::CASE => parser.parse_case_expr(),
        Keyword::INTERVAL => interval(parser),
        Keyword::NOT => parser.parse_not(),
        Keyword::ARRAY => {
            parser.advance_token();
            parser.parse_array_expr(true)
        }
        Keyword::CAST => parser.parse_cast_expr(CastKind::Cast),
        Keyword::TRY_CAST => parser.parse_cast_expr(CastKind::TryCast),
        Keyword::SAFE_CAST => parser.parse_cast_expr(CastKind::SafeCast),
        // Which these are was settled on the tokens.
        Keyword::EXTRACT => parser.parse_extract_expr(),
        Keyword::POSITION => position(parser),
        Keyword::CONVERT
        | Keyword::CEIL
        | Keyword::FLOOR
        | Keyword::SUBSTR
        | Keyword::SUBSTRING
        | Keyword::OVERLAY => form_or_call(parser, keyword, name),
        _ => parser.parse_time_functions(ObjectName::from(vec![name])),
    })
}

/// The names of `(x, y) -> body`, which begins with the next token.
fn parameters(parser: &Parser<'_>) -> Option<Vec<LambdaFunctionParameter>> {
    let mut parameters = Vec::new();
    while parameters.len() < PARAMETERS_MAX {
        let at = 1 + 2 * parameters.len();
        let name = parser.peek_nth_token_ref(at);
        let Token::Word(word) = &name.token else { return None };
        let name = word.to_ident(name.span);
        parameters.push(LambdaFunctionParameter { name, data_type: None });
        match parser.peek_nth_token_ref(at + 1).token {
            Token::Comma => {}
            Token::RParen if parser.peek_nth_token_ref(at + 2).token == Token::Arrow => {
                return Some(parameters);
            }
            _ => return None,
        }
    }
    None
}

fn function(
    parser: &mut Parser<'_>,
    parameters: Vec<LambdaFunctionParameter>,
) -> Result<Expr, ParserError> {
    // The brackets, the names and commas in them, and the arrow.
    for _ in 0..2 * parameters.len() + 2 {
        parser.advance_token();
    }
    Ok(Expr::Lambda(LambdaFunction {
        params: OneOrManyWithParens::Many(parameters),
        body: Box::new(parser.parse_expr()?),
        syntax: LambdaSyntax::Arrow,
    }))
}

/// Whether a value ends before the next token, so that the word behind it was a name.
fn is_name(parser: &Parser<'_>) -> bool {
    match &parser.peek_token_ref().token {
        Token::Word(word) if word.quote_style.is_none() => {
            RESERVED_FOR_COLUMN_ALIAS.contains(&word.keyword)
                || matches!(
                    word.keyword,
                    Keyword::AS
                        | Keyword::ASC
                        | Keyword::DESC
                        | Keyword::AND
                        | Keyword::OR
                        | Keyword::IS
                        | Keyword::IN
                        | Keyword::LIKE
                        | Keyword::ILIKE
                        | Keyword::BETWEEN
                        | Keyword::THEN
                        | Keyword::ELSE
                )
        }
        Token::Comma
        | Token::RParen
        | Token::RBracket
        | Token::EOF
        | Token::SemiColon
        | Token::Period
        | Token::DoubleColon
        | Token::Arrow
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::LtEq
        | Token::Gt
        | Token::GtEq
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat => true,
        _ => false,
    }
}

/// `INTERVAL 1 DAY`, and `INTERVAL DAY '1'` with the unit first.
fn interval(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let keyword_at = |place: usize| match &parser.peek_nth_token_ref(place).token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    };
    let has_unit_first = matches!(
        keyword_at(0),
        Some(
            Keyword::YEAR
                | Keyword::MONTH
                | Keyword::DAY
                | Keyword::HOUR
                | Keyword::MINUTE
                | Keyword::SECOND
        )
    ) && (keyword_at(1) == Some(Keyword::TO)
        || matches!(parser.peek_nth_token_ref(1).token, Token::SingleQuotedString(_)));
    if keyword_at(0) == Some(Keyword::INTERVAL) {
        return parser.expected_ref("the length of an interval", parser.peek_token_ref());
    }
    if has_unit_first {
        parser.prev_token();
        parser.parse_data_type()?;
    }
    parser.parse_interval()
}

/// `POSITION(part IN text)`.
fn position(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let part = parser.parse_subexpr(BETWEEN_PRECEDENCE)?;
    parser.expect_keyword_is(Keyword::IN)?;
    let text = parser.parse_expr()?;
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Position { expr: Box::new(part), r#in: Box::new(text) })
}

/// What has a grammar of its own with some arguments, and is a call like others with the rest.
fn form_or_call(
    parser: &mut Parser<'_>,
    keyword: Keyword,
    name: Ident,
) -> Result<Expr, ParserError> {
    let inside = Inside::of(parser, parser.get_current_index() + 2);
    let is_form = inside.is_form(keyword);
    match keyword {
        Keyword::CEIL if is_form => parser.parse_ceil_floor_expr(true),
        Keyword::FLOOR if is_form => parser.parse_ceil_floor_expr(false),
        Keyword::CONVERT if is_form => parser.parse_convert_expr(false),
        Keyword::OVERLAY if is_form => parser.parse_overlay_expr(),
        Keyword::SUBSTR | Keyword::SUBSTRING if is_form => {
            parser.prev_token();
            parser.parse_substring()
        }
        _ => parser.parse_function(ObjectName::from(vec![name])),
    }
}

/// What stands between the brackets of a call, outside of further brackets.
#[derive(Default)]
struct Inside {
    is_empty: bool,
    commas: usize,
    /// The two tokens behind the first comma.
    second: Option<[Token; 2]>,
    words: Vec<Keyword>,
    has_names: bool,
}

impl Inside {
    /// From the token at `first`, behind the bracket, to the one that closes it.
    fn of(parser: &Parser<'_>, first: usize) -> Self {
        let token = |at: usize| &parser.token_at(at).token;
        let mut inside = Self { is_empty: *token(first) == Token::RParen, ..Self::default() };
        let mut depth = 0_usize;
        for at in first.. {
            match token(at) {
                Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
                Token::EOF | Token::SemiColon => break,
                Token::RParen | Token::RBracket | Token::RBrace if depth == 0 => break,
                Token::RParen | Token::RBracket | Token::RBrace => depth -= 1,
                _ if depth > 0 => {}
                Token::Comma => {
                    inside.commas += 1;
                    if inside.second.is_none() {
                        inside.second = Some([token(at + 1).clone(), token(at + 2).clone()]);
                    }
                }
                Token::RArrow => inside.has_names = true,
                Token::Word(word) if word.quote_style.is_none() => inside.words.push(word.keyword),
                _ => {}
            }
        }
        inside
    }

    fn is_form(&self, keyword: Keyword) -> bool {
        let has = |word: Keyword| self.words.contains(&word);
        match keyword {
            Keyword::OVERLAY => has(Keyword::PLACING),
            Keyword::CONVERT => {
                let is_type = matches!(self.second, Some([Token::Word(_), _]));
                has(Keyword::USING) || (self.commas == 1 && is_type)
            }
            Keyword::CEIL | Keyword::FLOOR => {
                let has_digits = matches!(self.second, Some([Token::Number(..), Token::RParen]));
                !self.is_empty
                    && !self.has_names
                    && (self.commas == 0 || (self.commas == 1 && has_digits))
            }
            _ => !self.is_empty && !self.has_names && self.commas <= 2,
        }
    }
}
