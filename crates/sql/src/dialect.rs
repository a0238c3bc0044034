//! Granary's SQL for `sqlparser`: its ClickHouse dialect, widened to standard spellings.
//!
//! Whatever needs no grammar of its own (string escapes, `INTERVAL 1h`, `{name:Type}`, FINAL) is
//! settled on the tokens before they are parsed; see [`tokens`].

mod forms;
mod operators;
mod tokens;

use std::any::TypeId;

use sqlparser::ast::{
    BinaryOperator, CaseWhen, ColumnOption, Expr, helpers::attached_token::AttachedToken,
};
use sqlparser::dialect::{ClickHouseDialect, Dialect, Precedence};
use sqlparser::keywords::{Keyword, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_TABLE_ALIAS};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

pub(crate) use tokens::{ANY_MARK, TOO_DEEP, tokenize};

/// The dialect. Double quotes and backticks enclose identifiers; case is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct GranaryDialect;

/// Deepest nesting of expressions and queries in a statement; the parser's own guard against a full
/// stack.
pub(crate) const NESTING_MAX: usize = 100;

/// The same for texts that were a statement or are made of one, to which brackets may have come.
pub(crate) const REREAD_NESTING_MAX: usize = 3 * NESTING_MAX;

const CLICKHOUSE: ClickHouseDialect = ClickHouseDialect {};

/// Binds more loosely than OR, as in ClickHouse.
const TERNARY_PRECEDENCE: u8 = 4;

macro_rules! accepted {
    ($($name:ident)*) => {
        $(fn $name(&self) -> bool { true })*
    };
}

impl Dialect for GranaryDialect {
    // The parser asks for this type where ClickHouse's grammar differs.
    fn dialect(&self) -> TypeId {
        CLICKHOUSE.dialect()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }

    // ClickHouse's own, as `sqlparser` has them.
    accepted! {
        supports_string_literal_backslash_escape supports_select_wildcard_except
        supports_limit_comma supports_insert_table_function supports_insert_format
        supports_numeric_literal_underscores supports_partition_by_after_order_by
        supports_array_join_syntax supports_dictionary_syntax supports_lambda_functions
        supports_from_first_select supports_order_by_all supports_group_by_expr
        supports_group_by_with_modifier supports_nested_comments supports_optimize_table
        supports_prewhere supports_with_fill supports_limit_by supports_interpolate
        supports_settings supports_table_versioning supports_select_format supports_select_wildcard_replace
        supports_comma_separated_trim
    }

    // Standard SQL that ClickHouse's dialect leaves out there.
    accepted! {
        supports_filter_during_aggregation supports_within_after_array_aggregation
        supports_window_clause_named_window_reference supports_dollar_placeholder
        supports_in_empty_list supports_window_function_null_treatment_arg
        supports_parens_around_table_factor
        supports_left_associative_joins_without_parens supports_subquery_as_function_arg
        supports_select_wildcard_exclude supports_comma_separated_set_assignments
        supports_explain_with_utility_options supports_interval_options
        support_map_literal_syntax supports_string_escape_constant
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        forms::parse(parser)
    }

    /// `CODEC(...)` and `TTL expr` beside a column.
    fn parse_column_option(
        &self,
        parser: &mut Parser<'_>,
    ) -> Result<Option<Result<Option<ColumnOption>, ParserError>>, ParserError> {
        let is_next = |word: &str| {
            matches!(&parser.peek_token_ref().token, Token::Word(found)
                if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
        };
        let (is_codec, is_ttl) = (is_next("CODEC"), is_next("TTL"));
        Ok(match is_ttl {
            true => Some(column_ttl(parser)),
            false => is_codec.then(|| codec(parser)),
        })
    }

    /// `SELECT 1 SETTINGS x = 1`: the word is a clause where an assignment follows, else a name.
    fn is_column_alias(&self, word: &Keyword, parser: &mut Parser<'_>) -> bool {
        let begins_settings = *word == Keyword::SETTINGS
            && matches!(parser.peek_nth_token(0).token, Token::Word(_))
            && parser.peek_nth_token(1).token == Token::Eq;
        !begins_settings
            && !operators::begins_format(word, parser)
            && !RESERVED_FOR_COLUMN_ALIAS.contains(word)
    }

    /// `FROM t FORMAT JSON`: the same for tables.
    fn is_table_alias(&self, word: &Keyword, parser: &mut Parser<'_>) -> bool {
        !operators::begins_format(word, parser) && !RESERVED_FOR_TABLE_ALIAS.contains(word)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        match &parser.peek_token_ref().token {
            token if is_question_mark(token) => return Some(Ok(TERNARY_PRECEDENCE)),
            Token::Caret => return Some(Ok(operators::POWER_PRECEDENCE)),
            Token::Arrow | Token::LongArrow | Token::HashArrow => {
                return Some(Ok(operators::PART_PRECEDENCE));
            }
            Token::Overlap => return Some(Ok(operators::OVERLAP_PRECEDENCE)),
            _ if operators::is_exclusive_or(parser) => {
                return Some(Ok(operators::EXCLUSIVE_OR_PRECEDENCE));
            }
            _ => {}
        }
        match word_operator(parser) {
            WordOperator::Is(_) => Some(Ok(self.prec_value(Precedence::MulDivModOp))),
            WordOperator::IsName => Some(Ok(self.prec_unknown())),
            WordOperator::Other => None,
        }
    }

    /// `condition ? a : b`, which is a CASE, shifts of bits, `#` (exclusive or of bits), `DIV`,
    /// `MOD` and `//`.
    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if let Some(found) = operators::parse(parser, expr, precedence) {
            return Some(found);
        }
        let operator = match &parser.peek_token_ref().token {
            Token::ShiftLeft => Some(BinaryOperator::PGBitwiseShiftLeft),
            Token::ShiftRight => Some(BinaryOperator::PGBitwiseShiftRight),
            Token::Sharp => Some(BinaryOperator::PGBitwiseXor),
            Token::DuckIntDiv => Some(BinaryOperator::MyIntegerDivide),
            _ => match word_operator(parser) {
                WordOperator::Is(operator) => Some(operator),
                WordOperator::IsName | WordOperator::Other => None,
            },
        };
        if let Some(op) = operator {
            parser.advance_token();
            let right = parser.parse_subexpr(precedence);
            let left = Box::new(expr.clone());
            return Some(right.map(|right| Expr::BinaryOp { left, op, right: Box::new(right) }));
        }
        is_question_mark(&parser.peek_token_ref().token).then(|| parse_ternary(parser, expr))
    }
}

/// What the word is that comes next.
enum WordOperator {
    Is(BinaryOperator),
    /// It would be one before an operand; here it is a name.
    IsName,
    Other,
}

/// `DIV` and `MOD` where an operand follows; `SELECT a div FROM t` names a column.
fn word_operator(parser: &Parser<'_>) -> WordOperator {
    let operator = match &parser.peek_token_ref().token {
        Token::Word(word) if word.quote_style.is_none() => match word.keyword {
            Keyword::DIV => BinaryOperator::MyIntegerDivide,
            Keyword::MOD => BinaryOperator::Modulo,
            _ => return WordOperator::Other,
        },
        _ => return WordOperator::Other,
    };
    let begins_operand = match &parser.peek_nth_token_ref(1).token {
        Token::Word(word) => {
            word.quote_style.is_some() || !RESERVED_FOR_COLUMN_ALIAS.contains(&word.keyword)
        }
        Token::Number(..) | Token::LParen | Token::Minus | Token::Placeholder(_) => true,
        _ => false,
    };
    match begins_operand {
        true => WordOperator::Is(operator),
        false => WordOperator::IsName,
    }
}

/// `NAME(...)`, brackets within brackets included.
fn codec(parser: &mut Parser<'_>) -> Result<Option<ColumnOption>, ParserError> {
    let mut tokens = vec![parser.next_token().token];
    let mut depth = 0_usize;
    loop {
        let next = parser.next_token();
        match next.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::EOF => return parser.expected("the end of CODEC(...)", next),
            _ if depth == 0 => return parser.expected("the brackets of CODEC(...)", next),
            _ => {}
        }
        tokens.push(next.token);
        if depth == 0 {
            return Ok(Some(ColumnOption::DialectSpecific(tokens)));
        }
    }
}

/// `TTL expr`: the word, then the expression's text as one token.
fn column_ttl(parser: &mut Parser<'_>) -> Result<Option<ColumnOption>, ParserError> {
    let word = parser.next_token().token;
    let rule = parser.parse_expr()?.to_string();
    Ok(Some(ColumnOption::DialectSpecific(vec![word, Token::make_word(&rule, None)])))
}

/// The token `?` that stands between two expressions; placeholders are numbered before parsing.
fn is_question_mark(token: &Token) -> bool {
    matches!(token, Token::Placeholder(text) if text == "?")
}

fn parse_ternary(parser: &mut Parser<'_>, condition: &Expr) -> Result<Expr, ParserError> {
    parser.next_token();
    let result = parser.parse_expr()?;
    parser.expect_token(&Token::Colon)?;
    let otherwise = parser.parse_expr()?;
    Ok(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition: condition.clone(), result }],
        else_result: Some(Box::new(otherwise)),
    })
}
