//! Bounds of what a statement may be made of, so that reading it ends soon and takes no more stack than
//! there is.

use sqlparser::keywords::{Keyword, RESERVED_FOR_COLUMN_ALIAS};
use sqlparser::tokenizer::{Token, TokenWithSpan, TokenizerError};

use super::spelling::keyword;
use crate::dialect::REREAD_NESTING_MAX;

/// Brackets within brackets. The parser stops earlier, but reads types without a limit of its own.
const BRACKETS_MAX: usize = REREAD_NESTING_MAX;

/// How often the innermost of queries may be read. `FROM ((SELECT ...` may begin a table or a join in
/// brackets, which the parser tries one after the other, so each level multiplies what is read.
const READINGS_MAX: usize = 4_096;

/// Operators one after the other, `a + b + c`, each of which takes what is before it as an operand. Of
/// AND and OR there may be any number.
const OPERATORS_MAX: usize = 2_000;

/// How many tokens may come to a statement where names stand for several of them.
const GROWTH_MAX: usize = 500_000;

/// What a statement that is nested too deeply is told, here and by the parser.
pub(crate) const TOO_DEEP: &str = "the statement is nested too deeply";

/// What is between two brackets.
struct Level {
    /// How often it may be read.
    readings: usize,
    /// Operators since the last word or comma that ends an expression.
    operators: usize,
    /// Whether its commas are operators, as in a call that stands for several.
    folds: bool,
}

/// Calls that become as many operations within each other as they have arguments.
const FOLDED: [&str; 7] =
    ["concat", "concatwithseparator", "and", "or", "multiif", "decode", "arrayintersect"];

/// Operators that an argument of such a call counts as: brackets come with each.
const ARGUMENT_WEIGHT: usize = 4;

fn folds(before: Option<&TokenWithSpan>) -> bool {
    matches!(before.map(|token| &token.token), Some(Token::Word(word))
        if FOLDED.iter().any(|name| word.value.eq_ignore_ascii_case(name)))
}

/// Checks brackets and operators.
///
/// # Errors
/// Where they are nested too deeply or too many.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), TokenizerError> {
    let outermost = || vec![Level { readings: 1, operators: 0, folds: false }];
    let mut open = outermost();
    for (at, token) in tokens.iter().enumerate() {
        let depth = open.len();
        let Some(level) = open.last_mut() else { continue };
        let refused = |message: String| TokenizerError { message, location: token.span.start };
        match token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                let readings = level.readings * readings(tokens, at);
                let folds = folds(at.checked_sub(1).and_then(|before| tokens.get(before)));
                open.push(Level { readings, operators: 0, folds });
                if depth > BRACKETS_MAX || readings > READINGS_MAX {
                    return Err(refused(TOO_DEEP.to_owned()));
                }
            }
            Token::RParen | Token::RBracket | Token::RBrace if depth > 1 => {
                open.pop();
            }
            Token::SemiColon => open = outermost(),
            _ if !level.folds && ends_expression(&token.token) => level.operators = 0,
            _ if is_operator(&token.token) || (level.folds && token.token == Token::Comma) => {
                level.operators += if level.folds { ARGUMENT_WEIGHT } else { 1 };
                if level.operators > OPERATORS_MAX {
                    return Err(refused(format!(
                        "more than {OPERATORS_MAX} operators or arguments follow each other"
                    )));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn ends_expression(token: &Token) -> bool {
    match token {
        Token::Comma => true,
        Token::Word(word) => {
            matches!(
                word.keyword,
                Keyword::AND
                    | Keyword::OR
                    | Keyword::WHEN
                    | Keyword::THEN
                    | Keyword::ELSE
                    | Keyword::ON
                    | Keyword::BY
            ) || RESERVED_FOR_COLUMN_ALIAS.contains(&word.keyword)
        }
        _ => false,
    }
}

/// Whether it has an operand before it.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::DIV | Keyword::MOD | Keyword::XOR | Keyword::IS | Keyword::LIKE | Keyword::AT
        ),
        Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::Caret
        | Token::StringConcat
        | Token::DoubleColon
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::LtEq
        | Token::Gt
        | Token::GtEq
        | Token::Ampersand
        | Token::Pipe
        | Token::Overlap
        | Token::ShiftLeft
        | Token::ShiftRight => true,
        _ => false,
    }
}

/// How often the query may be read that the brackets at `first` begin, if several follow each other.
fn readings(tokens: &[TokenWithSpan], first: usize) -> usize {
    let is_open = |at: usize| tokens.get(at).is_some_and(|token| token.token == Token::LParen);
    if !is_open(first) || first.checked_sub(1).is_some_and(is_open) {
        return 1;
    }
    let brackets = (first..first + BRACKETS_MAX).take_while(|at| is_open(*at)).count();
    let is_query = matches!(
        keyword(tokens.get(first + brackets)),
        Some(Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::FROM)
    );
    if is_query { brackets } else { 1 }
}

/// Checks what a statement of `before` tokens has become, by what stands at `culprit`.
///
/// # Errors
/// Where it has become too long.
pub(super) fn check_growth(
    before: usize,
    now: usize,
    culprit: &TokenWithSpan,
) -> Result<(), TokenizerError> {
    match now > before + GROWTH_MAX {
        false => Ok(()),
        true => Err(TokenizerError {
            message: format!(
                "{} makes the statement longer by more than {GROWTH_MAX} words",
                culprit.token
            ),
            location: culprit.span.start,
        }),
    }
}
