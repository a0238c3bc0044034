//! CREATE TABLE: its clauses come in any order, which `sqlparser`'s own rule does not allow.
//! Columns, types, expressions and queries are `sqlparser`'s.

use granary_common::Error;
use sqlparser::ast::Expr;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::parse::{Parsed, is_ahead, is_next_word, on_cluster};
use super::{CreateTable, DistributionClause, EngineClause, Statement, TableName, setting_text};

/// Whether CREATE [OR REPLACE] [TEMPORARY] TABLE comes next.
pub(super) fn is_create_table(parser: &Parser<'_>) -> bool {
    let replaces = is_ahead(parser, &[Keyword::CREATE, Keyword::OR, Keyword::REPLACE]);
    let next = if replaces { 3 } else { 1 };
    let is_word = |at: usize, words: &[Keyword]| {
        matches!(&parser.peek_nth_token_ref(at).token, Token::Word(word)
            if words.contains(&word.keyword))
    };
    let temporary = is_word(next, &[Keyword::TEMPORARY, Keyword::TEMP]);
    is_ahead(parser, &[Keyword::CREATE])
        && is_word(next + usize::from(temporary), &[Keyword::TABLE])
}

/// CREATE [OR REPLACE] [TEMPORARY] TABLE.
pub(super) fn create_table(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.expect_keyword(Keyword::CREATE)?;
    let mut create = CreateTable {
        or_replace: parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]),
        temporary: parser.parse_one_of_keywords(&[Keyword::TEMPORARY, Keyword::TEMP]).is_some(),
        ..CreateTable::default()
    };
    parser.expect_keyword(Keyword::TABLE)?;
    create.if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    create.name = Some(TableName::of(&parser.parse_object_name(false)?)?);
    create.notices = on_cluster(parser)?;
    if let Some(clone) = super::past::clone(parser, &create)? {
        return Ok(clone);
    }
    super::elements::elements(parser, &mut create)?;
    while clause(parser, &mut create)? {}
    Ok(Statement::CreateTable(Box::new(create)))
}

/// Reads one clause; false when none follows.
pub(super) fn clause(parser: &mut Parser<'_>, create: &mut CreateTable) -> Parsed<bool> {
    if parser.parse_keyword(Keyword::ENGINE) {
        let engine = engine(parser)?;
        once("ENGINE", &mut create.engine, engine)?;
        return Ok(true);
    }
    if parser.parse_keyword(Keyword::AS) {
        source(parser, create)?;
        return Ok(true);
    }
    if parser.parse_keyword(Keyword::LIKE) {
        let like = TableName::of(&parser.parse_object_name(false)?)?;
        once("LIKE", &mut create.like, like)?;
        return Ok(true);
    }
    let clauses = &mut create.clauses;
    if parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY]) {
        once("PARTITION BY", &mut clauses.partition_by, key(parser)?)?;
    } else if parser.parse_keywords(&[Keyword::ORDER, Keyword::BY]) {
        once("ORDER BY", &mut clauses.order_by, key(parser)?)?;
    } else if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
        once("PRIMARY KEY", &mut clauses.primary_key, key(parser)?)?;
    } else if parser.parse_keywords(&[Keyword::UNIQUE, Keyword::KEY]) {
        once("UNIQUE KEY", &mut clauses.unique_key, key(parser)?)?;
    } else if parser.parse_keywords(&[Keyword::SAMPLE, Keyword::BY]) {
        once("SAMPLE BY", &mut clauses.sample_by, parser.parse_expr()?)?;
    } else if is_next_word(parser, "TTL") {
        let rules = super::ttl::rules(parser)?;
        once("TTL", &mut clauses.ttl, rules)?;
    } else if is_next_word(parser, "DISTRIBUTED") {
        let distribution = distribution(parser)?;
        once("DISTRIBUTED BY", &mut clauses.distributed_by, distribution)?;
    } else if is_next_word(parser, "COLOCATE") {
        parser.expect_keyword(Keyword::WITH)?;
        let group = name_or_string(parser)?;
        once("COLOCATE WITH", &mut clauses.colocate_with, group)?;
    } else if parser.parse_keyword(Keyword::SETTINGS) {
        let settings = parser.parse_comma_separated(|parser| {
            let name = parser.parse_identifier()?.value;
            parser.expect_token(&Token::Eq)?;
            Ok((name, setting_text(&parser.parse_expr()?)))
        })?;
        clauses.settings.extend(settings);
    } else if parser.parse_keyword(Keyword::COMMENT) {
        let _ = parser.consume_token(&Token::Eq);
        once("COMMENT", &mut clauses.comment, parser.parse_literal_string()?)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn once<T>(name: &str, place: &mut Option<T>, value: T) -> Parsed<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::invalid(format!("{name} is written twice")).into()),
    }
}

/// `= Name` or `= Name(arguments)`; the equals sign may be missing.
fn engine(parser: &mut Parser<'_>) -> Parsed<EngineClause> {
    let _ = parser.consume_token(&Token::Eq);
    let name = parser.parse_identifier()?.value;
    let arguments = match parser.consume_token(&Token::LParen) {
        true => {
            let arguments = parser.parse_comma_separated0(Parser::parse_expr, Token::RParen)?;
            parser.expect_token(&Token::RParen)?;
            arguments
        }
        false => Vec::new(),
    };
    Ok(EngineClause { name, arguments })
}

/// `AS other_table`, `AS SELECT ...` or `AS (SELECT ...)`.
fn source(parser: &mut Parser<'_>, create: &mut CreateTable) -> Parsed<()> {
    let starts_query = [Keyword::SELECT, Keyword::WITH, Keyword::VALUES, Keyword::FROM]
        .iter()
        .any(|keyword| is_ahead(parser, &[*keyword]));
    if starts_query || parser.peek_token_ref().token == Token::LParen {
        let query = parser.parse_query()?;
        return once("AS", &mut create.query, query);
    }
    let like = TableName::of(&parser.parse_object_name(false)?)?;
    once("AS", &mut create.like, like)
}

/// The expressions of a key: one, a tuple of them, or `tuple()` for none.
pub(super) fn key(parser: &mut Parser<'_>) -> Parsed<Vec<Expr>> {
    // `()` is not an expression for the parser.
    if parser.peek_token_ref().token == Token::LParen
        && parser.peek_nth_token(1).token == Token::RParen
    {
        parser.next_token();
        parser.next_token();
        return Ok(Vec::new());
    }
    Ok(match parser.parse_expr()? {
        Expr::Tuple(expressions) => expressions,
        Expr::Nested(inner) => vec![*inner],
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("tuple") => {
            arguments_of_tuple(&function)?
        }
        other => vec![other],
    })
}

fn arguments_of_tuple(function: &sqlparser::ast::Function) -> Parsed<Vec<Expr>> {
    use sqlparser::ast::{FunctionArg, FunctionArgExpr, FunctionArguments};
    let FunctionArguments::List(list) = &function.args else { return Ok(Vec::new()) };
    let expression = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Ok(expression.clone()),
        other => Err(Error::invalid(format!("'{other}' cannot be part of a key")).into()),
    };
    list.args.iter().map(expression).collect()
}

fn distribution(parser: &mut Parser<'_>) -> Parsed<DistributionClause> {
    let columns = match is_next_word(parser, "RANDOMLY") || is_next_word(parser, "RANDOM") {
        true => Vec::new(),
        false => {
            parser.expect_keyword(Keyword::BY)?;
            let _ = parser.parse_keyword(Keyword::HASH);
            key(parser)?
        }
    };
    let buckets = match is_next_word(parser, "BUCKETS") {
        true => Some(parser.parse_literal_uint()?),
        false => None,
    };
    Ok(DistributionClause { columns, buckets })
}

fn name_or_string(parser: &mut Parser<'_>) -> Parsed<String> {
    match &parser.peek_token_ref().token {
        Token::SingleQuotedString(_) => Ok(parser.parse_literal_string()?),
        _ => Ok(parser.parse_identifier()?.value),
    }
}
