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
pub(super) const BETWEEN_PRECEDENCE: u8 = 20;

/// Operands of one AND or OR from which on they become a tree that is as flat as can be. What is done to
/// each level of a tree with all that is below takes thousands of levels too long.
const FLAT_FROM: usize = 32;

/// `a ^ b`, `x [NOT] BETWEEN SYMMETRIC a AND b`, and AND and OR with all of their operands.
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
    let first = keyword_at(parser, 0);
    if matches!(first, Some(Keyword::AND | Keyword::OR)) {
        return Some(connected(parser, left, precedence));
    }
    let negated = first == Some(Keyword::NOT);
    let place = usize::from(negated);
    let between_any_two = keyword_at(parser, place) == Some(Keyword::BETWEEN)
        && is_symmetric(&parser.peek_nth_token_ref(place + 1).token);
    if !between_any_two {
        return None;
    }
    for _ in 0..place + 2 {
        parser.advance_token();
    }
    Some(between(parser, left, negated))
}

/// `left AND b AND c` or the same with OR.
fn connected(parser: &mut Parser<'_>, left: &Expr, precedence: u8) -> Result<Expr, ParserError> {
    let word = keyword_at(parser, 0);
    let op = match word {
        Some(Keyword::AND) => BinaryOperator::And,
        _ => BinaryOperator::Or,
    };
    let mut operands = vec![left.clone()];
    while keyword_at(parser, 0) == word {
        parser.advance_token();
        operands.push(parser.parse_subexpr(precedence)?);
    }
    let chain = match operands.len() < FLAT_FROM {
        true => operands.into_iter().reduce(|left, right| operation(left, &op, right)),
        false => flat(operands, &op),
    };
    chain.map_or_else(|| parser.expected_ref("a condition", parser.peek_token_ref()), Ok)
}

/// Neighbours are connected until one expression is left.
fn flat(mut operands: Vec<Expr>, op: &BinaryOperator) -> Option<Expr> {
    while operands.len() > 1 {
        let mut rest = operands.into_iter();
        let mut connected = Vec::with_capacity(rest.len().div_ceil(2));
        while let Some(left) = rest.next() {
            connected.push(match rest.next() {
                Some(right) => operation(left, op, right),
                None => left,
            });
        }
        operands = connected;
    }
    operands.pop()
}

fn operation(left: Expr, op: &BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) }
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

fn is_symmetric(token: &Token) -> bool {
    matches!(token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("SYMMETRIC"))
}

fn between(parser: &mut Parser<'_>, left: &Expr, negated: bool) -> Result<Expr, ParserError> {
    let begin = parser.get_current_index();
    let first = parser.parse_subexpr(BETWEEN_PRECEDENCE)?;
    parser.expect_keyword(Keyword::AND)?;
    let second = parser.parse_subexpr(BETWEEN_PRECEDENCE)?;
    // Each bound is written twice, so bounds within bounds would grow without end.
    for at in begin + 1..=parser.get_current_index() {
        let token = parser.token_at(at);
        if is_symmetric(&token.token) {
            return parser.expected_ref("no SYMMETRIC within the bounds of another one", token);
        }
    }
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
