//! Operators of PostgreSQL and DuckDB that ClickHouse's grammar has not, and words that end a query.

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, Value,
};
use sqlparser::keywords::{Keyword, RESERVED_FOR_COLUMN_ALIAS};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// `2 * x ^ 2` squares before it multiplies.
pub(super) const POWER_PRECEDENCE: u8 = 45;

/// `document ->> 'a' = 'x'` compares the part.
pub(super) const PART_PRECEDENCE: u8 = 42;

/// `xs && ys`, tighter than comparisons.
pub(super) const OVERLAP_PRECEDENCE: u8 = 25;

/// XOR of conditions, between AND and OR.
pub(super) const EXCLUSIVE_OR_PRECEDENCE: u8 = 7;

/// What binds less tightly ends the bounds of BETWEEN.
const BETWEEN_PRECEDENCE: u8 = 20;

/// `a ^ b` and `x [NOT] BETWEEN SYMMETRIC a AND b`.
pub(super) fn parse(
    parser: &mut Parser<'_>,
    left: &Expr,
    precedence: u8,
) -> Option<Result<Expr, ParserError>> {
    if parser.peek_token_ref().token == Token::Caret {
        parser.advance_token();
        let right = parser.parse_subexpr(precedence);
        return Some(right.map(|right| call("power", vec![left.clone(), right])));
    }
    if parser.peek_token_ref().token == Token::Overlap {
        parser.advance_token();
        let right = parser.parse_subexpr(precedence);
        return Some(right.map(|right| call("hasAny", vec![left.clone(), right])));
    }
    if is_exclusive_or(parser) {
        parser.advance_token();
        return Some(parser.parse_subexpr(precedence).map(|right| exclusive_or(left, right)));
    }
    let negated = keyword_at(parser, 0) == Some(Keyword::NOT);
    let place = usize::from(negated);
    let is_symmetric = keyword_at(parser, place) == Some(Keyword::BETWEEN)
        && matches!(&parser.peek_nth_token_ref(place + 1).token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("SYMMETRIC"));
    if !is_symmetric {
        return None;
    }
    for _ in 0..place + 2 {
        parser.advance_token();
    }
    Some(between(parser, left, negated))
}

/// `a XOR b` where an operand follows; else the word is a name.
pub(super) fn is_exclusive_or(parser: &Parser<'_>) -> bool {
    keyword_at(parser, 0) == Some(Keyword::XOR)
        && match &parser.peek_nth_token_ref(1).token {
            Token::Word(word) => {
                word.keyword == Keyword::NOT || !RESERVED_FOR_COLUMN_ALIAS.contains(&word.keyword)
            }
            Token::Number(..) | Token::LParen | Token::Minus | Token::Placeholder(_) => true,
            Token::SingleQuotedString(_) => true,
            _ => false,
        }
}

/// Of conditions, or of numbers as conditions: NULL beside NULL.
fn exclusive_or(left: &Expr, right: Expr) -> Expr {
    let condition = |side: Expr| {
        Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(side))),
            op: BinaryOperator::And,
            right: Box::new(Expr::Value(Value::Boolean(true).into())),
        }))
    };
    Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(condition(left.clone())),
        op: BinaryOperator::NotEq,
        right: Box::new(condition(right)),
    }))
}

fn between(parser: &mut Parser<'_>, left: &Expr, negated: bool) -> Result<Expr, ParserError> {
    let first = parser.parse_subexpr(BETWEEN_PRECEDENCE)?;
    parser.expect_keyword(Keyword::AND)?;
    let second = parser.parse_subexpr(BETWEEN_PRECEDENCE)?;
    let bounds = vec![first, second];
    Ok(Expr::Between {
        expr: Box::new(left.clone()),
        negated,
        low: Box::new(call("least", bounds.clone())),
        high: Box::new(call("greatest", bounds)),
    })
}

/// `FORMAT name` at the end of a query, which is a clause and no alias.
pub(super) fn begins_format(word: &Keyword, parser: &Parser<'_>) -> bool {
    *word == Keyword::FORMAT
        && matches!(parser.peek_nth_token_ref(0).token, Token::Word(_))
        && match &parser.peek_nth_token_ref(1).token {
            Token::EOF | Token::SemiColon => true,
            Token::Word(word) => word.keyword == Keyword::SETTINGS,
            _ => false,
        }
}

fn keyword_at(parser: &Parser<'_>, place: usize) -> Option<Keyword> {
    match &parser.peek_nth_token_ref(place).token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let argument = |expression| FunctionArg::Unnamed(FunctionArgExpr::Expr(expression));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(argument).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
