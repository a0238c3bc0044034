//! Text to statements: `sqlparser` reads the pieces, this decides which statement they make.

use granary_common::{Error, Result};
use sqlparser::ast::{ObjectName, SetExpr, Statement as Tree};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Word};

use super::formatted::taken_apart;
use super::insert::{insert, insert_behind_with};
use super::{CreateTable, Statement, TableName, setting_text};
use crate::Notice;
use crate::dialect::{GranaryDialect, NESTING_MAX, tokenize};
use crate::error::{from_parser, from_tokenizer, too_deep};

/// Why a statement was not parsed.
pub(super) enum Failure {
    Syntax(ParserError),
    Refused(Error),
}

impl From<ParserError> for Failure {
    fn from(error: ParserError) -> Self {
        Failure::Syntax(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Refused(error)
    }
}

pub(super) type Parsed<T> = std::result::Result<T, Failure>;

/// The statements of `text`, separated by semicolons. An empty text has none.
///
/// # Errors
/// InvalidInput with line, column and a caret for what is not SQL; Unsupported for statements
/// that are SQL and not offered.
pub fn parse(text: &str) -> Result<Vec<Statement>> {
    if let Some((sql, rows)) = taken_apart(text)? {
        let mut statements = parse(&sql)?;
        if let [Statement::Insert(insert)] = statements.as_mut_slice() {
            insert.formatted = Some(rows);
        }
        return Ok(statements);
    }
    let tokens = tokenize(text).map_err(|error| from_tokenizer(error, text))?;
    let dialect = GranaryDialect;
    let mut parser =
        Parser::new(&dialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(tokens);
    let mut statements = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        if parser.peek_token_ref().token == Token::EOF {
            return Ok(statements);
        }
        let statement = one_statement(&mut parser, text).and_then(|statement| {
            let next = parser.peek_token();
            match next.token {
                Token::SemiColon | Token::EOF => Ok(statement),
                _ => parser.expected("the end of the statement", next).map_err(Failure::from),
            }
        });
        match statement {
            Ok(statement) => statements.push(statement),
            Err(Failure::Syntax(ParserError::RecursionLimitExceeded)) => {
                let place = parser.peek_token_ref().span.start;
                return Err(too_deep((place.line, place.column), text));
            }
            Err(Failure::Syntax(error)) => return Err(from_parser(error, text)),
            Err(Failure::Refused(error)) => return Err(error),
        }
    }
}

fn one_statement(parser: &mut Parser<'_>, text: &str) -> Parsed<Statement> {
    let first = parser.peek_token();
    let Token::Word(Word { keyword, .. }) = &first.token else {
        return match first.token {
            Token::LParen => query(parser),
            _ => Ok(parser.expected("an SQL statement", first)?),
        };
    };
    match keyword {
        Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::FROM => query(parser),
        Keyword::INSERT => insert(parser),
        Keyword::DELETE => super::mutate::delete(parser),
        Keyword::UPDATE => super::mutate::update(parser),
        Keyword::MERGE => super::merge::merge(parser),
        Keyword::ALTER if super::cluster::is_alter_system(parser) => {
            super::cluster::alter_system(parser)
        }
        Keyword::ALTER if super::user::is_alter_user(parser) => super::user::alter_user(parser),
        Keyword::ALTER => super::alter::alter_table(parser),
        Keyword::CREATE => create(parser, text),
        Keyword::DROP => drop(parser),
        Keyword::TRUNCATE => truncate(parser),
        Keyword::RENAME => rename(parser),
        Keyword::EXCHANGE => exchange(parser),
        Keyword::SHOW => super::show::show(parser),
        Keyword::DESCRIBE | Keyword::DESC => super::show::describe(parser),
        Keyword::EXISTS => super::show::exists(parser),
        Keyword::EXPLAIN => super::explain::explain(parser),
        Keyword::USE => use_database(parser),
        Keyword::SET => set(parser),
        Keyword::OPTIMIZE => super::merges::optimize(parser),
        Keyword::SYSTEM => super::merges::system(parser),
        Keyword::REFRESH => super::refresh::refresh_view(parser),
        Keyword::CHECK => super::check::check(parser),
        Keyword::KILL => super::processes::kill(parser),
        _ if is_next_word(parser, "UNDROP") => super::past::undrop(parser),
        _ if is_next_word(parser, "BACKUP") => super::backup::backup(parser),
        _ if is_next_word(parser, "RESTORE") => super::backup::restore(parser),
        _ => Err(other(parser)?),
    }
}

/// A query; `SELECT ... INTO t` is CREATE TABLE t AS SELECT.
fn query(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let mut query = parser.parse_query()?;
    if let SetExpr::Insert(Tree::Insert(_)) = query.body.as_ref() {
        return insert_behind_with(parser, *query);
    }
    let into = match query.body.as_mut() {
        SetExpr::Select(select) => select.into.take(),
        _ => None,
    };
    let Some(into) = into else { return Ok(Statement::Query(query)) };
    if into.unlogged {
        return Err(Error::unsupported("every table of SELECT INTO is logged").into());
    }
    Ok(Statement::CreateTable(Box::new(CreateTable {
        temporary: into.temporary,
        name: Some(TableName::of(&into.name)?),
        query: Some(query),
        ..CreateTable::default()
    })))
}

/// A statement that we do not offer: an error of its own if the parser knows it, else of syntax.
pub(super) fn other(parser: &mut Parser<'_>) -> Parsed<Failure> {
    let words: Vec<String> = (0..2)
        .map_while(|ahead| match parser.peek_nth_token(ahead).token {
            Token::Word(word) if word.keyword != Keyword::NoKeyword => {
                Some(word.value.to_uppercase())
            }
            _ => None,
        })
        .collect();
    let is_about_users = matches!(words.first().map(String::as_str), Some("GRANT" | "REVOKE"))
        || matches!(words.get(1).map(String::as_str), Some("USER" | "ROLE" | "POLICY"));
    if let Some(instead) = instead(parser) {
        return Ok(Failure::Refused(Error::unsupported(instead)));
    }
    if is_about_users {
        let message = format!("{} is not supported: there are no users and roles", words.join(" "));
        return Ok(Failure::Refused(Error::unsupported(message)));
    }
    parser.parse_statement()?;
    Ok(Failure::Refused(Error::unsupported(format!("{} is not supported yet", words.join(" ")))))
}

/// What to do in the place of statements that others have.
fn instead(parser: &Parser<'_>) -> Option<&'static str> {
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    Some(match word.value.to_uppercase().as_str() {
        "DETACH" => {
            "DETACH is not offered: DROP TABLE keeps what it drops for UNDROP TABLE, and RENAME \
             TABLE takes a table out of the way"
        }
        "ATTACH" => {
            "ATTACH is not offered: UNDROP TABLE brings a dropped table back, RESTORE one of a \
             backup"
        }
        "PREPARE" | "EXECUTE" | "DEALLOCATE" => {
            "statements are prepared by clients, with ? or $1 in the places of values, not by \
             PREPARE and EXECUTE"
        }
        _ => return None,
    })
}

fn create(parser: &mut Parser<'_>, text: &str) -> Parsed<Statement> {
    if is_ahead(parser, &[Keyword::CREATE, Keyword::DATABASE])
        || is_ahead(parser, &[Keyword::CREATE, Keyword::SCHEMA])
    {
        parser.next_token();
        parser.next_token();
        let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
        let name = parser.parse_identifier()?.value;
        let notices = on_cluster(parser)?;
        // `ENGINE = Atomic`: a database is always one.
        if parser.parse_keyword(Keyword::ENGINE) {
            let _ = parser.consume_token(&Token::Eq);
            parser.parse_expr()?;
        }
        return Ok(Statement::CreateDatabase { name, if_not_exists, notices });
    }
    if super::clauses::is_create_table(parser) {
        return super::clauses::create_table(parser);
    }
    if super::view::is_create_view(parser) {
        return super::view::create_view(parser, text);
    }
    if super::dictionary::is_create_dictionary(parser) {
        return super::dictionary::create_dictionary(parser);
    }
    if super::function::is_create_function(parser) {
        return super::function::create_function(parser, text);
    }
    Err(other(parser)?)
}

fn drop(parser: &mut Parser<'_>) -> Parsed<Statement> {
    if is_ahead(parser, &[Keyword::DROP, Keyword::DATABASE])
        || is_ahead(parser, &[Keyword::DROP, Keyword::SCHEMA])
    {
        parser.next_token();
        parser.next_token();
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let name = parser.parse_identifier()?.value;
        let notices = on_cluster(parser)?;
        let _ = parser.parse_keyword(Keyword::CASCADE);
        at_once(parser);
        return Ok(Statement::DropDatabase { name, if_exists, notices });
    }
    if is_ahead(parser, &[Keyword::DROP, Keyword::FUNCTION]) {
        return super::function::drop_function(parser);
    }
    let is_dictionary = matches!(&parser.peek_nth_token_ref(1).token, Token::Word(word)
        if word.value.eq_ignore_ascii_case("DICTIONARY"));
    let is_view = is_dictionary || is_ahead(parser, &[Keyword::DROP, Keyword::VIEW]);
    let temporary = [Keyword::TEMPORARY, Keyword::TEMP]
        .iter()
        .any(|word| is_ahead(parser, &[Keyword::DROP, *word, Keyword::TABLE]));
    if !is_view && !temporary && !is_ahead(parser, &[Keyword::DROP, Keyword::TABLE]) {
        return Err(other(parser)?);
    }
    for _ in 0..2 + usize::from(temporary) {
        parser.next_token();
    }
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let names = parser.parse_comma_separated(|parser| parser.parse_object_name(false))?;
    let tables = names.iter().map(TableName::of).collect::<Result<_>>()?;
    let notices = on_cluster(parser)?;
    at_once(parser);
    Ok(match is_view {
        true => Statement::DropViews { views: tables, if_exists, notices },
        false => Statement::DropTables { tables, if_exists, temporary, notices },
    })
}

/// `SYNC` or `NO DELAY`, which statements are anyway.
fn at_once(parser: &mut Parser<'_>) {
    let _ = is_next_word(parser, "SYNC")
        || (is_next_word(parser, "NO") && is_next_word(parser, "DELAY"));
}

fn truncate(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    let _ = parser.parse_keyword(Keyword::TABLE);
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let table = TableName::of(&parser.parse_object_name(false)?)?;
    let notices = on_cluster(parser)?;
    at_once(parser);
    Ok(Statement::TruncateTable { table, if_exists, notices })
}

fn rename(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    parser.expect_keyword(Keyword::TABLE)?;
    let pairs = parser.parse_comma_separated(|parser| {
        let from = parser.parse_object_name(false)?;
        parser.expect_keyword(Keyword::TO)?;
        Ok((from, parser.parse_object_name(false)?))
    })?;
    let named =
        |(from, to): &(ObjectName, ObjectName)| Ok((TableName::of(from)?, TableName::of(to)?));
    let renames = pairs.iter().map(named).collect::<Result<_>>()?;
    let notices = on_cluster(parser)?;
    Ok(Statement::RenameTables { renames, notices })
}

/// `EXCHANGE TABLES a AND b`, which swaps two names in one step.
fn exchange(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    parser.expect_keyword(Keyword::TABLES)?;
    let first = TableName::of(&parser.parse_object_name(false)?)?;
    parser.expect_keyword(Keyword::AND)?;
    let second = TableName::of(&parser.parse_object_name(false)?)?;
    let notices = on_cluster(parser)?;
    Ok(Statement::ExchangeTables { first, second, notices })
}

fn use_database(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    let _ = parser.parse_one_of_keywords(&[Keyword::DATABASE, Keyword::SCHEMA]);
    Ok(Statement::Use { database: parser.parse_identifier()?.value })
}

fn set(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    let _ = parser.parse_keyword(Keyword::SESSION);
    let assignments = parser.parse_comma_separated(|parser| {
        let name: Vec<String> = parser
            .parse_object_name(false)?
            .0
            .iter()
            .map(|part| part.as_ident().map_or_else(|| part.to_string(), |i| i.value.clone()))
            .collect();
        if !parser.parse_keyword(Keyword::TO) {
            parser.expect_token(&Token::Eq)?;
        }
        let value = parser.parse_expr()?;
        Ok((name.join("."), setting_text(&value)))
    })?;
    Ok(Statement::Set { assignments })
}

/// `ON CLUSTER name`, which every statement here takes: a cluster is always one.
pub(super) fn on_cluster(parser: &mut Parser<'_>) -> Parsed<Vec<Notice>> {
    if !parser.parse_keywords(&[Keyword::ON, Keyword::CLUSTER]) {
        return Ok(Vec::new());
    }
    let cluster = parser.parse_identifier()?;
    Ok(vec![Notice::new(format!(
        "ON CLUSTER {} has no effect: every statement acts on the whole cluster",
        cluster.value
    ))])
}

/// Whether the next tokens are these keywords.
pub(super) fn is_ahead(parser: &Parser<'_>, keywords: &[Keyword]) -> bool {
    keywords.iter().enumerate().all(|(ahead, keyword)| {
        matches!(parser.peek_nth_token(ahead).token, Token::Word(word) if word.keyword == *keyword)
    })
}

/// Takes the next token when it is this word, keyword or not.
pub(super) fn is_next_word(parser: &mut Parser<'_>, text: &str) -> bool {
    let found = matches!(&parser.peek_token_ref().token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text));
    if found {
        parser.next_token();
    }
    found
}

/// Whether `IF EXISTS` comes next; it is read then.
pub(super) fn if_exists(parser: &mut Parser<'_>) -> bool {
    parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS])
}

/// Whether `IF NOT EXISTS` comes next; it is read then.
pub(super) fn if_not_exists(parser: &mut Parser<'_>) -> bool {
    parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS])
}
