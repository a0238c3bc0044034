//! DELETE and UPDATE.

use granary_common::{Error, Result};
use sqlparser::ast::{
    Assignment, AssignmentTarget, Expr, Ident, ObjectName, SetExpr, TableWithJoins, With,
};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::alter::{PartitionClause, in_partition};
use super::parse::{Parsed, on_cluster};
use super::{Statement, TableName, setting_text};
use crate::Notice;

/// `DELETE FROM table [WHERE predicate]`
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    pub table: TableName,
    /// The name under which the predicate knows the table.
    pub alias: Option<Ident>,
    /// Common table expressions of the predicate's subqueries.
    pub with: Option<With>,
    /// Rows for which it is true go; without one, all.
    pub predicate: Option<Expr>,
    /// `IN PARTITION`.
    pub partition: Option<PartitionClause>,
    /// `SETTINGS name = value`, as text.
    pub settings: Vec<(String, String)>,
    pub notices: Vec<Notice>,
}

/// `UPDATE table SET column = expression, ... [WHERE predicate]`
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub table: TableName,
    /// The name under which the expressions know the table.
    pub alias: Option<Ident>,
    /// Common table expressions of the subqueries.
    pub with: Option<With>,
    /// Columns with their new values, which see the old ones.
    pub assignments: Vec<(String, Expr)>,
    /// Rows for which it is true change; without one, all.
    pub predicate: Option<Expr>,
    /// `IN PARTITION`.
    pub partition: Option<PartitionClause>,
    /// Whether columns of keys may not change, as in `ALTER TABLE ... UPDATE`.
    pub keeps_keys: bool,
    /// `SETTINGS name = value`, as text.
    pub settings: Vec<(String, String)>,
    pub notices: Vec<Notice>,
}

/// DELETE FROM.
pub(super) fn delete(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.expect_keyword(Keyword::DELETE)?;
    parser.expect_keyword(Keyword::FROM)?;
    let table = TableName::of(&parser.parse_object_name(false)?)?;
    let notices = on_cluster(parser)?;
    let alias = alias(parser, &[Keyword::WHERE, Keyword::IN, Keyword::SETTINGS, Keyword::USING])?;
    let partition = in_partition(parser)?;
    let using = match parser.parse_keyword(Keyword::USING) {
        true => parser.parse_comma_separated(Parser::parse_table_and_joins)?,
        false => Vec::new(),
    };
    let mut predicate = predicate(parser)?;
    if !using.is_empty() {
        predicate = Some(exists_in(using, predicate)?);
    }
    let settings = optional_settings(parser)?;
    Ok(Statement::Delete(Box::new(Delete {
        table,
        alias,
        with: None,
        predicate,
        partition,
        settings,
        notices,
    })))
}

/// `DELETE FROM t USING u WHERE condition`: rows for which one of the others meets the condition.
fn exists_in(tables: Vec<TableWithJoins>, condition: Option<Expr>) -> Result<Expr> {
    let mut exists = crate::bind::parsed_expression("EXISTS (SELECT 1 FROM t)")?;
    if let Expr::Exists { subquery, .. } = &mut exists
        && let SetExpr::Select(select) = subquery.body.as_mut()
    {
        select.from = tables;
        select.selection = condition;
    }
    Ok(exists)
}

/// UPDATE ... SET.
pub(super) fn update(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.expect_keyword(Keyword::UPDATE)?;
    let table = TableName::of(&parser.parse_object_name(false)?)?;
    let notices = on_cluster(parser)?;
    let alias = alias(parser, &[Keyword::SET])?;
    parser.expect_keyword(Keyword::SET)?;
    let assignments = assignments(parser)?;
    if parser.parse_keyword(Keyword::FROM) {
        return super::merge::update_from(parser, table, alias, assignments);
    }
    let partition = in_partition(parser)?;
    let predicate = predicate(parser)?;
    let settings = optional_settings(parser)?;
    Ok(Statement::Update(Box::new(Update {
        table,
        alias,
        with: None,
        assignments,
        predicate,
        partition,
        keeps_keys: false,
        settings,
        notices,
    })))
}

/// `[AS] alias`, unless one of the keywords follows.
fn alias(parser: &mut Parser<'_>, clauses: &[Keyword]) -> Parsed<Option<Ident>> {
    if parser.parse_keyword(Keyword::AS) {
        return Ok(Some(parser.parse_identifier()?));
    }
    match &parser.peek_token_ref().token {
        Token::Word(word) if !clauses.contains(&word.keyword) => {
            Ok(Some(parser.parse_identifier()?))
        }
        _ => Ok(None),
    }
}

/// `[WHERE expression]`.
pub(super) fn predicate(parser: &mut Parser<'_>) -> Parsed<Option<Expr>> {
    match parser.parse_keyword(Keyword::WHERE) {
        true => Ok(Some(parser.parse_expr()?)),
        false => Ok(None),
    }
}

/// `column = expression, ...`.
pub(super) fn assignments(parser: &mut Parser<'_>) -> Parsed<Vec<(String, Expr)>> {
    let list = parser.parse_comma_separated(Parser::parse_assignment)?;
    let assigned = list.into_iter().map(assignment).collect::<Result<Vec<_>>>()?;
    Ok(assigned.into_iter().flatten().collect())
}

/// The last part of a name such as `t.column` is the column.
fn assignment(assignment: Assignment) -> Result<Vec<(String, Expr)>> {
    match (assignment.target, assignment.value) {
        (AssignmentTarget::ColumnName(name), value) => Ok(vec![(column_name(&name)?, value)]),
        (AssignmentTarget::Tuple(names), Expr::Tuple(values)) if names.len() == values.len() => {
            let pairs = names.iter().zip(values);
            pairs.map(|(name, value)| Ok((column_name(name)?, value))).collect()
        }
        (AssignmentTarget::Tuple(_), _) => {
            Err(Error::unsupported("SET (a, b) = takes as many values; assign one by one"))
        }
    }
}

fn column_name(name: &ObjectName) -> Result<String> {
    let last = name.0.last().and_then(|part| part.as_ident());
    let last =
        last.ok_or_else(|| Error::invalid(format!("'{name}' is not the name of a column")))?;
    Ok(last.value.clone())
}

/// `[SETTINGS name = value, ...]`.
pub(super) fn optional_settings(parser: &mut Parser<'_>) -> Parsed<Vec<(String, String)>> {
    if !parser.parse_keyword(Keyword::SETTINGS) {
        return Ok(Vec::new());
    }
    Ok(parser.parse_comma_separated(|parser| {
        let name = parser.parse_identifier()?.value;
        parser.expect_token(&Token::Eq)?;
        Ok((name, setting_text(&parser.parse_expr()?)))
    })?)
}
