//! CREATE VIEW and CREATE MATERIALIZED VIEW.

use granary_common::Error;
use sqlparser::ast::Query;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token};

use super::clauses::clause;
use super::parse::{Parsed, is_ahead, is_next_word, on_cluster};
use super::refresh::RefreshClause;
use super::{CreateTable, Statement, TableName, refresh};

/// CREATE VIEW, every clause as written.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateView {
    pub or_replace: bool,
    pub name: TableName,
    /// New names of the query's columns; empty: as the query names them.
    pub columns: Vec<String>,
    pub query: Box<Query>,
    /// The query as written.
    pub text: String,
    /// What makes it a materialized view.
    pub materialized: Option<MaterializedClause>,
    /// `if_not_exists`, the notices, and the clauses of a materialized view's own table.
    pub table: CreateTable,
}

/// Where a materialized view keeps its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MaterializedClause {
    /// `TO table`: there; otherwise in a table of its own.
    pub to: Option<TableName>,
    /// Whether it begins with the rows that are there.
    pub populate: bool,
    /// `REFRESH`: its query runs on a schedule, not with each insert.
    pub refresh: Option<RefreshClause>,
}

/// Whether CREATE ... VIEW follows.
pub(super) fn is_create_view(parser: &Parser<'_>) -> bool {
    let replace: &[Keyword] = match is_ahead(parser, &[Keyword::CREATE, Keyword::OR]) {
        true => &[Keyword::CREATE, Keyword::OR, Keyword::REPLACE],
        false => &[Keyword::CREATE],
    };
    let follows = |kind: &[Keyword]| is_ahead(parser, &[replace, kind].concat());
    follows(&[Keyword::VIEW]) || follows(&[Keyword::MATERIALIZED, Keyword::VIEW])
}

/// CREATE [OR REPLACE] [MATERIALIZED] VIEW.
pub(super) fn create_view(parser: &mut Parser<'_>, text: &str) -> Parsed<Statement> {
    parser.expect_keyword(Keyword::CREATE)?;
    let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    let is_materialized = parser.parse_keyword(Keyword::MATERIALIZED);
    parser.expect_keyword(Keyword::VIEW)?;
    let mut table = CreateTable {
        if_not_exists: parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]),
        ..CreateTable::default()
    };
    let name = TableName::of(&parser.parse_object_name(false)?)?;
    table.notices = on_cluster(parser)?;
    let mut materialized = is_materialized.then(MaterializedClause::default);
    let mut columns = Vec::new();
    while !parser.parse_keyword(Keyword::AS) {
        if let Some(clause) = &mut materialized
            && materialized_clause(parser, clause)?
        {
            continue;
        }
        let is_list = parser.peek_token_ref().token == Token::LParen;
        if is_list && columns.is_empty() && table.columns.is_empty() {
            match has_types(parser) {
                true => (table.columns, table.constraints) = parser.parse_columns()?,
                false => columns = names(parser)?,
            }
        } else if is_list || !clause(parser, &mut table)? {
            let found = parser.peek_token();
            return Ok(parser.expected("AS and the query of the view", found)?);
        }
    }
    // Names that WITH gave to expressions are not among the tokens any more.
    let start = parser.get_current_token().span.end;
    let query = parser.parse_query()?;
    let written = written_from(parser, text, start);
    if columns.is_empty() {
        columns = table.columns.iter().map(|column| column.name.value.clone()).collect();
    }
    let text = written.unwrap_or_else(|| query.to_string());
    let create = CreateView { or_replace, name, columns, query, text, materialized, table };
    Ok(Statement::CreateView(Box::new(create)))
}

/// Reads a clause that only a materialized view has; false when none follows.
fn materialized_clause(parser: &mut Parser<'_>, clause: &mut MaterializedClause) -> Parsed<bool> {
    if is_next_word(parser, "REFRESH") {
        clause.refresh = Some(refresh::clause(parser)?);
    } else if parser.parse_keyword(Keyword::TO) {
        clause.to = Some(TableName::of(&parser.parse_object_name(false)?)?);
    } else if is_next_word(parser, "POPULATE") {
        clause.populate = true;
    } else if let Some(refresh) = &mut clause.refresh
        && is_next_word(parser, "EMPTY")
    {
        refresh.schedule.starts_empty = true;
    } else {
        return Ok(false);
    }
    if clause.populate && clause.refresh.is_some() {
        let message = "a view with REFRESH has no POPULATE: its first run fills it";
        return Err(Error::invalid(message).into());
    }
    Ok(true)
}

/// Whether the list that follows has types beside its names.
fn has_types(parser: &Parser<'_>) -> bool {
    !matches!(parser.peek_nth_token(2).token, Token::Comma | Token::RParen)
}

fn names(parser: &mut Parser<'_>) -> Parsed<Vec<String>> {
    parser.expect_token(&Token::LParen)?;
    let names = parser.parse_comma_separated(|parser| parser.parse_identifier())?;
    parser.expect_token(&Token::RParen)?;
    Ok(names.into_iter().map(|name| name.value).collect())
}

/// What the parser has read of `text` since `start`.
pub(super) fn written_from(parser: &Parser<'_>, text: &str, start: Location) -> Option<String> {
    let end = parser.peek_token_ref();
    let end = (end.token != Token::EOF).then_some(end.span.start);
    written(text, start, end)
}

/// The part of `text` between two places, without the blanks around it.
fn written(text: &str, start: Location, end: Option<Location>) -> Option<String> {
    let start = offset(text, start)?;
    let end = match end {
        Some(end) => offset(text, end)?,
        None => text.len(),
    };
    let part = text.get(start..end)?.trim();
    (!part.is_empty()).then(|| part.to_owned())
}

/// The byte at which a place lies; lines and columns count from 1, columns in characters.
fn offset(text: &str, place: Location) -> Option<usize> {
    let line_number = usize::try_from(place.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
    let line_start = match line_number {
        0 => 0,
        number => text.match_indices('\n').nth(number - 1)?.0 + 1,
    };
    let line = &text[line_start..];
    let within = line.char_indices().map(|(at, _)| at).chain([line.len()]).nth(column)?;
    Some(line_start + within)
}
