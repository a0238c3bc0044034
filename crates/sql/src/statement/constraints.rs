//! `CONSTRAINT name CHECK condition` of CREATE TABLE and ALTER TABLE.

use granary_common::Error;
use sqlparser::ast::{CheckConstraint, Expr, Ident};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;

use super::AlterAction;
use super::parse::{Parsed, if_exists, if_not_exists, is_next_word};
use crate::Notice;

/// A constraint, as ClickHouse has it: without brackets. One that is no CHECK and no ASSUME is left
/// to the parser.
pub(super) enum ConstraintClause {
    Check(CheckConstraint),
    /// `ASSUME condition`: nothing is looked at.
    Assumed(Notice),
}

/// The constraint that is ahead, when it is one of these.
pub(super) fn constraint(parser: &mut Parser<'_>) -> Parsed<Option<ConstraintClause>> {
    let word = |ahead: usize| parser.peek_nth_token(ahead).token.to_string().to_uppercase();
    if word(0) != "CONSTRAINT" || !["CHECK", "ASSUME"].contains(&word(2).as_str()) {
        return Ok(None);
    }
    parser.expect_keyword(Keyword::CONSTRAINT)?;
    named(parser).map(Some)
}

/// What follows the word CONSTRAINT.
fn named(parser: &mut Parser<'_>) -> Parsed<ConstraintClause> {
    let name = parser.parse_identifier()?;
    if is_next_word(parser, "ASSUME") {
        let condition = parser.parse_expr()?;
        let text = format!("CONSTRAINT {name} ASSUME {condition} has no effect");
        return Ok(ConstraintClause::Assumed(Notice::new(text)));
    }
    if !parser.parse_keyword(Keyword::CHECK) {
        let next = parser.peek_token();
        return Ok(parser.expected("CHECK: other constraints cannot be added to a table", next)?);
    }
    condition(parser, Some(name)).map(ConstraintClause::Check)
}

/// What follows the word CHECK.
fn condition(parser: &mut Parser<'_>, name: Option<Ident>) -> Parsed<CheckConstraint> {
    let expr = match parser.parse_expr()? {
        Expr::Nested(inner) => inner,
        condition => Box::new(condition),
    };
    let enforced = match parser.parse_keywords(&[Keyword::NOT, Keyword::ENFORCED]) {
        true => Some(false),
        false => parser.parse_keyword(Keyword::ENFORCED).then_some(true),
    };
    Ok(CheckConstraint { name, expr, enforced })
}

/// ALTER TABLE ... ADD CONSTRAINT.
pub(super) fn add_constraint(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let if_not_exists = if_not_exists(parser);
    match named(parser)? {
        ConstraintClause::Check(check) => Ok(AlterAction::AddConstraint { check, if_not_exists }),
        ConstraintClause::Assumed(_) => {
            Err(Error::unsupported("ASSUME has no effect here; leave it out").into())
        }
    }
}

/// ALTER TABLE ... ADD CHECK.
pub(super) fn add_check(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let check = condition(parser, None)?;
    Ok(AlterAction::AddConstraint { check, if_not_exists: false })
}

/// ALTER TABLE ... DROP CONSTRAINT.
pub(super) fn drop_constraint(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let if_exists = if_exists(parser);
    Ok(AlterAction::DropConstraint { name: parser.parse_identifier()?.value, if_exists })
}
