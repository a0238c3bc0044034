//! MERGE INTO.

use granary_common::Error;
use sqlparser::ast::{Expr, Ident, TableFactor};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::mutate::assignments;
use super::parse::Parsed;
use super::{Statement, TableName};

/// `MERGE INTO table USING source ON condition WHEN ...`
#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    pub table: TableName,
    /// The name under which the statement knows the table.
    pub alias: Option<Ident>,
    pub source: TableFactor,
    pub on: Expr,
    /// The first one that fits a row decides.
    pub clauses: Vec<MergeClause>,
}

/// `WHEN [NOT] MATCHED [BY SOURCE] [AND condition] THEN action`
#[derive(Clone, Debug, PartialEq)]
pub struct MergeClause {
    /// Whether it is for rows of the table that no row of the source matches.
    pub by_source: bool,
    pub condition: Option<Expr>,
    pub action: MergeAction,
}

/// What a clause does; only INSERT is for rows that match nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum MergeAction {
    Delete,
    /// `None` for `SET *`: every column from the source's column of its name.
    Update(Option<Vec<(String, Expr)>>),
    /// `None` for `INSERT *`.
    Insert(Option<MergeInsert>),
}

/// `INSERT [(columns)] VALUES (values)`
#[derive(Clone, Debug, PartialEq)]
pub struct MergeInsert {
    pub columns: Option<Vec<String>>,
    pub values: Vec<Expr>,
}

/// MERGE INTO.
pub(super) fn merge(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.expect_keyword(Keyword::MERGE)?;
    let _ = parser.parse_keyword(Keyword::INTO);
    let table = TableName::of(&parser.parse_object_name(false)?)?;
    let alias = match parser.parse_keyword(Keyword::AS) {
        true => Some(parser.parse_identifier()?),
        false if parser.peek_keyword(Keyword::USING) => None,
        false => Some(parser.parse_identifier()?),
    };
    parser.expect_keyword(Keyword::USING)?;
    let source = parser.parse_table_factor()?;
    parser.expect_keyword(Keyword::ON)?;
    let on = parser.parse_expr()?;
    let mut clauses = Vec::new();
    while parser.parse_keyword(Keyword::WHEN) {
        clauses.push(clause(parser)?);
    }
    if clauses.is_empty() {
        parser.expect_keyword(Keyword::WHEN)?;
    }
    Ok(Statement::Merge(Box::new(Merge { table, alias, source, on, clauses })))
}

/// `UPDATE t SET ... FROM source WHERE condition`, behind FROM: each row takes the values of the row
/// of the source that meets the condition.
pub(super) fn update_from(
    parser: &mut Parser<'_>,
    table: TableName,
    alias: Option<Ident>,
    assignments: Vec<(String, Expr)>,
) -> Parsed<Statement> {
    let tables = parser.parse_table_and_joins()?;
    if !tables.joins.is_empty() || parser.peek_token_ref().token == Token::Comma {
        let message = "UPDATE ... FROM takes one table or subquery; join in a subquery";
        return Err(Error::unsupported(message).into());
    }
    parser.expect_keyword(Keyword::WHERE)?;
    let on = parser.parse_expr()?;
    let action = MergeAction::Update(Some(assignments));
    let clause = MergeClause { by_source: false, condition: None, action };
    Ok(Statement::Merge(Box::new(Merge {
        table,
        alias,
        source: tables.relation,
        on,
        clauses: vec![clause],
    })))
}

fn clause(parser: &mut Parser<'_>) -> Parsed<MergeClause> {
    let is_matched = !parser.parse_keyword(Keyword::NOT);
    parser.expect_keyword(Keyword::MATCHED)?;
    let by_source = !is_matched && parser.parse_keywords(&[Keyword::BY, Keyword::SOURCE]);
    let _ = parser.parse_keywords(&[Keyword::BY, Keyword::TARGET]);
    let condition = match parser.parse_keyword(Keyword::AND) {
        true => Some(parser.parse_expr()?),
        false => None,
    };
    parser.expect_keyword(Keyword::THEN)?;
    let action = match is_matched || by_source {
        true => matched_action(parser)?,
        false => {
            parser.expect_keyword(Keyword::INSERT)?;
            MergeAction::Insert(insert(parser)?)
        }
    };
    if by_source && action == MergeAction::Update(None) {
        let message = "WHEN NOT MATCHED BY SOURCE: there is no row of the source for SET *";
        return Err(Error::invalid(message).into());
    }
    Ok(MergeClause { by_source, condition, action })
}

fn matched_action(parser: &mut Parser<'_>) -> Parsed<MergeAction> {
    if parser.parse_keyword(Keyword::DELETE) {
        return Ok(MergeAction::Delete);
    }
    parser.expect_keyword(Keyword::UPDATE)?;
    parser.expect_keyword(Keyword::SET)?;
    match parser.consume_token(&Token::Mul) {
        true => Ok(MergeAction::Update(None)),
        false => Ok(MergeAction::Update(Some(assignments(parser)?))),
    }
}

fn insert(parser: &mut Parser<'_>) -> Parsed<Option<MergeInsert>> {
    if parser.consume_token(&Token::Mul) {
        return Ok(None);
    }
    let columns = match parser.peek_token_ref().token == Token::LParen {
        true => {
            parser.next_token();
            let names = parser.parse_comma_separated(Parser::parse_identifier)?;
            parser.expect_token(&Token::RParen)?;
            Some(names.into_iter().map(|name| name.value).collect())
        }
        false => None,
    };
    parser.expect_keyword(Keyword::VALUES)?;
    parser.expect_token(&Token::LParen)?;
    let values = parser.parse_comma_separated(Parser::parse_expr)?;
    parser.expect_token(&Token::RParen)?;
    Ok(Some(MergeInsert { columns, values }))
}
