//! EXPLAIN in its variants.
//!
//! `EXPLAIN [PLAN | PIPELINE | QUERY TREE] [setting = value, ...] query` shows the plan, `EXPLAIN ANALYZE`
//! runs it, `EXPLAIN SYNTAX` shows the query as it was read, `EXPLAIN AST` its tree and `EXPLAIN ESTIMATE`
//! the parts and rows of its tables. `EXPLAIN BALANCE` shows what the controller would do with buckets.

use std::ops::ControlFlow;

use granary_common::Error;
use sqlparser::ast::{DescribeAlias, ObjectName, Query, Statement as Tree, UtilityOption};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::parse::{Failure, Parsed};
use super::{Statement, TableName};
use crate::dialect::{GranaryDialect, tokenize};
use crate::walk::visit_relations;

/// What ClickHouse's settings of EXPLAIN ask for; the plan shows all of it.
const SETTINGS: [&str; 13] = [
    "indexes",
    "actions",
    "header",
    "json",
    "description",
    "graph",
    "compact",
    "optimize",
    "sorting",
    "distributed",
    "projections",
    "run_passes",
    "passes",
];

pub(super) fn explain(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    let is_last = matches!(parser.peek_nth_token(1).token, Token::EOF | Token::SemiColon);
    if is_last && word(parser, 0).as_deref() == Some("BALANCE") {
        parser.next_token();
        return Ok(Statement::ExplainBalance);
    }
    let variant = variant(parser);
    match variant.as_deref() {
        Some("SYNTAX" | "ESTIMATE" | "AST") => {
            settings(parser);
            let query = parser.parse_query()?;
            let text = match variant.as_deref() {
                Some("SYNTAX") => format!("SELECT {} AS explain", quoted(&query.to_string())),
                Some("AST") => tree(&query),
                _ => estimate(&query)?,
            };
            return parsed(&text);
        }
        Some(_) => {
            settings(parser);
            let query = parser.parse_query()?;
            return Ok(Statement::Explain { analyze: false, verbose: false, query });
        }
        None => settings(parser),
    }
    let Tree::Explain { analyze, verbose, statement, options, .. } =
        parser.parse_explain(DescribeAlias::Explain)?
    else {
        return Err(Error::unsupported("EXPLAIN takes a query").into());
    };
    let has = |name: &str| {
        let is_named = |option: &UtilityOption| option.name.value.eq_ignore_ascii_case(name);
        options.iter().flatten().any(is_named)
    };
    match *statement {
        Tree::Query(query) => Ok(Statement::Explain {
            analyze: analyze || has("analyze"),
            verbose: verbose || has("verbose"),
            query,
        }),
        _ => Err(Error::unsupported("EXPLAIN is offered for queries only").into()),
    }
}

fn word(parser: &Parser<'_>, ahead: usize) -> Option<String> {
    match parser.peek_nth_token(ahead).token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    }
}

/// Takes the variant that stands next.
fn variant(parser: &mut Parser<'_>) -> Option<String> {
    let next = word(parser, 0)?;
    match next.as_str() {
        "PLAN" | "PIPELINE" | "SYNTAX" | "ESTIMATE" | "AST" => {
            parser.next_token();
            Some(next)
        }
        "QUERY" if word(parser, 1).as_deref() == Some("TREE") => {
            parser.next_token();
            parser.next_token();
            Some("QUERY TREE".to_owned())
        }
        _ => None,
    }
}

/// Takes `indexes = 1, actions = 1`.
fn settings(parser: &mut Parser<'_>) {
    loop {
        let is_known =
            word(parser, 0).is_some_and(|name| SETTINGS.contains(&name.to_lowercase().as_str()));
        if !is_known || parser.peek_nth_token(1).token != Token::Eq {
            return;
        }
        for _ in 0..3 {
            parser.next_token();
        }
        if !parser.consume_token(&Token::Comma) {
            return;
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn parsed(text: &str) -> Parsed<Statement> {
    static DIALECT: GranaryDialect = GranaryDialect;
    let tokens =
        tokenize(text).map_err(|error| Failure::Refused(Error::internal(error.to_string())))?;
    let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
    Ok(Statement::Query(parser.parse_query()?))
}

/// The tree line by line, without what the query does not say and where it says the rest.
fn tree(query: &Query) -> String {
    let written = format!("{query:#?}");
    let is_said = |line: &&str| {
        let value = line.split_once(": ").map_or(*line, |(_, value)| value).trim();
        !line.contains("Span(") && !["None,", "false,", "[],"].contains(&value)
    };
    let lines: Vec<String> = written.lines().filter(is_said).map(quoted).collect();
    format!("SELECT arrayJoin([{}]) AS explain", lines.join(", "))
}

/// What is in the tables that a query names, before anything is pruned.
fn estimate(query: &Query) -> Parsed<String> {
    let mut names: Vec<TableName> = Vec::new();
    let _ = visit_relations(query, |name: &ObjectName| {
        names.extend(TableName::of(name).ok());
        ControlFlow::<()>::Continue(())
    });
    let conditions: Vec<String> = names
        .iter()
        .map(|name| {
            let table = granary_execution::TableReading::parse(&name.name).table;
            let database =
                name.database.as_deref().map_or_else(|| "currentDatabase()".to_owned(), quoted);
            format!("(\"table\" = {} AND \"database\" = {database})", quoted(&table))
        })
        .collect();
    if conditions.is_empty() {
        return Err(Error::invalid("EXPLAIN ESTIMATE takes a query of tables").into());
    }
    Ok(format!(
        "SELECT \"database\", \"table\", count(*) AS parts, sum(\"rows\") AS \"rows\" FROM system.parts \
         WHERE active AND ({}) GROUP BY \"database\", \"table\" ORDER BY 1, 2",
        conditions.join(" OR ")
    ))
}
