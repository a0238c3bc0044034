//! SHOW, DESCRIBE and EXISTS. What shows rows of a system table stands for a query of it.

use granary_common::Error;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::parse::{Parsed, is_ahead, is_next_word, other};
use super::{ExistsName, LikePattern, Statement, TableName};
use crate::dialect::{GranaryDialect, tokenize};

/// Lists whose rows a system table has: the word after SHOW, the query, and the column that LIKE
/// looks at.
const LISTS: [(&str, &str, &str); 5] = [
    ("CLUSTERS", "SELECT DISTINCT cluster FROM system.clusters WHERE true", "cluster"),
    (
        "DICTIONARIES",
        "SELECT name FROM system.dictionaries WHERE database = currentDatabase()",
        "name",
    ),
    (
        "PROCESSLIST",
        "SELECT query_id, user, database, elapsed_ms, rows, query, coordinator \
         FROM system.queries WHERE state = 'running'",
        "query",
    ),
    ("SETTINGS", "SELECT name, value, changed, default FROM system.settings WHERE true", "name"),
    (
        "FUNCTIONS",
        "SELECT name, is_aggregate, syntax, description FROM system.functions WHERE true",
        "name",
    ),
];

/// SHOW; the parser stands at it.
pub(super) fn show(parser: &mut Parser<'_>) -> Parsed<Statement> {
    if is_ahead(parser, &[Keyword::SHOW, Keyword::CREATE]) {
        return show_create(parser);
    }
    if is_ahead(parser, &[Keyword::SHOW, Keyword::DATABASES])
        || is_ahead(parser, &[Keyword::SHOW, Keyword::SCHEMAS])
    {
        skip(parser, 2);
        return Ok(Statement::ShowDatabases { like: like_pattern(parser)? });
    }
    let first = usize::from(is_ahead(parser, &[Keyword::SHOW, Keyword::FULL]))
        + usize::from(is_ahead(parser, &[Keyword::SHOW, Keyword::EXTENDED]))
        + 1;
    let Token::Word(word) = parser.peek_nth_token(first).token else {
        return Err(other(parser)?);
    };
    let word = word.value.to_uppercase();
    match word.as_str() {
        "TABLES" => {
            skip(parser, first + 1);
            let database = database(parser)?;
            Ok(Statement::ShowTables { database, like: like_pattern(parser)? })
        }
        "COLUMNS" | "FIELDS" => {
            skip(parser, first + 1);
            show_columns(parser)
        }
        "INDEX" | "INDEXES" | "INDICES" | "KEYS" => {
            skip(parser, first + 1);
            show_indexes(parser)
        }
        "CHANGED" if is_word_at(parser, first + 1, "SETTINGS") => {
            skip(parser, first + 2);
            list("SELECT name, value, default FROM system.settings WHERE changed", "name", parser)
        }
        _ => match LISTS.iter().find(|(name, ..)| *name == word) {
            Some((_, query, column)) => {
                skip(parser, first + 1);
                list(query, column, parser)
            }
            None => Err(other(parser)?),
        },
    }
}

fn show_create(parser: &mut Parser<'_>) -> Parsed<Statement> {
    skip(parser, 2);
    if parser.parse_one_of_keywords(&[Keyword::DATABASE, Keyword::SCHEMA]).is_some() {
        return Ok(Statement::ShowCreateDatabase { database: parser.parse_identifier()?.value });
    }
    let _ = parser.parse_one_of_keywords(&[Keyword::TABLE, Keyword::VIEW]).is_some()
        || is_next_word(parser, "DICTIONARY");
    Ok(Statement::ShowCreateTable { table: table(parser)? })
}

/// `{FROM | IN} t [{FROM | IN} database] [LIKE ...]`
fn show_columns(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.expect_one_of_keywords(&[Keyword::FROM, Keyword::IN])?;
    let mut table = table(parser)?;
    if let Some(database) = database(parser)? {
        table.database = Some(database);
    }
    Ok(Statement::Describe { table, like: like_pattern(parser)? })
}

/// `{FROM | IN} t [{FROM | IN} database]`
fn show_indexes(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.expect_one_of_keywords(&[Keyword::FROM, Keyword::IN])?;
    let mut table = table(parser)?;
    if let Some(database) = database(parser)? {
        table.database = Some(database);
    }
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    let database = table.database.as_deref().map_or_else(|| "currentDatabase()".to_owned(), quoted);
    let query = format!(
        "SELECT table, name, type, expr, granularity FROM system.data_skipping_indices \
         WHERE table = {} AND database = {database}",
        quoted(&table.name)
    );
    list(&query, "name", parser)
}

/// DESCRIBE of a table or of a query's columns; the parser stands at it.
pub(super) fn describe(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    let _ = parser.parse_keyword(Keyword::TABLE);
    let is_query = match &parser.peek_token_ref().token {
        Token::LParen => true,
        Token::Word(word) => matches!(word.keyword, Keyword::SELECT | Keyword::WITH),
        _ => false,
    };
    if is_query {
        return Ok(Statement::DescribeQuery { query: parser.parse_query()? });
    }
    // A function that stands for a table.
    if parser.peek_nth_token_ref(1).token == Token::LParen {
        let query = Box::new(crate::bind::all_of(parser.parse_table_factor()?)?);
        return Ok(Statement::DescribeQuery { query });
    }
    Ok(Statement::Describe { table: table(parser)?, like: None })
}

/// `EXISTS [TABLE | VIEW | DATABASE] name`; the parser stands at its first word.
pub(super) fn exists(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    let _ = parser.parse_keyword(Keyword::TEMPORARY);
    if parser.parse_one_of_keywords(&[Keyword::DATABASE, Keyword::SCHEMA]).is_some() {
        return Ok(Statement::Exists(ExistsName::Database(parser.parse_identifier()?.value)));
    }
    if parser.parse_keyword(Keyword::VIEW) || is_next_word(parser, "DICTIONARY") {
        return Ok(Statement::Exists(ExistsName::View(table(parser)?)));
    }
    let _ = parser.parse_keyword(Keyword::TABLE);
    Ok(Statement::Exists(ExistsName::Table(table(parser)?)))
}

fn table(parser: &mut Parser<'_>) -> Parsed<TableName> {
    Ok(TableName::of(&parser.parse_object_name(false)?)?)
}

/// `[{FROM | IN} database]`
fn database(parser: &mut Parser<'_>) -> Parsed<Option<String>> {
    match parser.parse_one_of_keywords(&[Keyword::FROM, Keyword::IN]) {
        Some(_) => Ok(Some(parser.parse_identifier()?.value)),
        None => Ok(None),
    }
}

fn skip(parser: &mut Parser<'_>, tokens: usize) {
    for _ in 0..tokens {
        parser.next_token();
    }
}

fn is_word_at(parser: &Parser<'_>, ahead: usize, text: &str) -> bool {
    matches!(parser.peek_nth_token(ahead).token, Token::Word(word)
        if word.value.eq_ignore_ascii_case(text))
}

/// `query`, narrowed to the rows whose `column` is like what follows.
fn list(query: &str, column: &str, parser: &mut Parser<'_>) -> Parsed<Statement> {
    let mut text = query.to_owned();
    if let Some(LikePattern { pattern, negated, ignore_case }) = like_pattern(parser)? {
        let not = if negated { "NOT " } else { "" };
        let like = if ignore_case { "ILIKE" } else { "LIKE" };
        let pattern = pattern.replace('\\', "\\\\").replace('\'', "''");
        text.push_str(&format!(" AND {column} {not}{like} '{pattern}'"));
    }
    text.push_str(" ORDER BY 1");
    let tokens = tokenize(&text).map_err(|error| Error::internal(error.to_string()))?;
    let dialect = GranaryDialect;
    Ok(Statement::Query(Parser::new(&dialect).with_tokens_with_locations(tokens).parse_query()?))
}

fn like_pattern(parser: &mut Parser<'_>) -> Parsed<Option<LikePattern>> {
    let negated = parser.parse_keyword(Keyword::NOT);
    let ignore_case = match parser.parse_one_of_keywords(&[Keyword::LIKE, Keyword::ILIKE]) {
        Some(keyword) => keyword == Keyword::ILIKE,
        None if negated => {
            parser.expect_keyword(Keyword::LIKE)?;
            false
        }
        None => return Ok(None),
    };
    Ok(Some(LikePattern { pattern: parser.parse_literal_string()?, negated, ignore_case }))
}

/// Words of SYSTEM for what a server of ClickHouse keeps beside its data and Granary does not:
/// each with why there is nothing to do.
const NOTHING_TO_DO: [(&[&str], &str); 8] = [
    (&["FLUSH", "LOGS"], "system tables are always up to date"),
    (&["FLUSH", "ASYNC"], "an acknowledged insert is visible to every later query"),
    (&["FLUSH", "DISTRIBUTED"], "an acknowledged insert is on all shards"),
    (&["SYNC", "REPLICA"], "an acknowledged insert is on all in-sync copies"),
    (&["SYNC", "DATABASE"], "every statement acts on the whole cluster"),
    (&["RELOAD", "CONFIG"], "settings of a server are read when it starts"),
    (&["RELOAD", "DICTIONARIES"], "a dictionary looks into its table each time"),
    (&["RELOAD", "DICTIONARY"], "a dictionary looks into its table each time"),
];

/// The notice for a SYSTEM statement that scripts carry along and that has nothing to do here; the
/// parser stands after SYSTEM, and behind the statement when there is one.
pub(super) fn nothing_to_do(parser: &mut Parser<'_>) -> Option<crate::Notice> {
    let (words, why) = NOTHING_TO_DO.iter().find(|(words, _)| {
        words.iter().enumerate().all(|(at, word)| is_word_at(parser, at, word))
    })?;
    let text = format!("SYSTEM {} has no effect: {why}", words.join(" "));
    while !matches!(parser.peek_token_ref().token, Token::SemiColon | Token::EOF) {
        parser.next_token();
    }
    Some(crate::Notice::new(text))
}

#[cfg(test)]
mod tests {
    use crate::{Statement, parse};

    fn one(text: &str) -> Statement {
        parse(text).expect(text).pop().expect(text)
    }

    #[test]
    fn lists_are_queries() {
        for (text, ending) in [
            ("SHOW PROCESSLIST", "WHERE state = 'running' ORDER BY 1"),
            ("show full processlist", "WHERE state = 'running' ORDER BY 1"),
            ("SHOW SETTINGS", "WHERE true ORDER BY 1"),
            ("SHOW SETTINGS LIKE 'max%'", "WHERE true AND name LIKE 'max%' ORDER BY 1"),
            ("SHOW CHANGED SETTINGS", "WHERE changed ORDER BY 1"),
            ("SHOW INDEXES FROM d.t", "WHERE table = 't' AND database = 'd' ORDER BY 1"),
            ("SHOW FUNCTIONS NOT ILIKE 'a''b'", "AND name NOT ILIKE 'a''b' ORDER BY 1"),
        ] {
            let Statement::Query(query) = one(text) else { panic!("{text} is not a query") };
            let query = query.to_string();
            assert!(query.ends_with(ending), "{text}: {query}");
        }
        assert!(parse("SHOW NONSENSE").is_err());
    }

    #[test]
    fn columns_of_tables_and_queries_are_described() {
        for text in ["DESCRIBE TABLE d.t", "DESC d.t", "SHOW COLUMNS FROM t FROM d"] {
            let Statement::Describe { table, like: None } = one(text) else { panic!("{text}") };
            assert_eq!(table.to_string(), "d.t", "{text}");
        }
        let Statement::Describe { like, .. } = one("SHOW FULL COLUMNS IN t LIKE 'a%'") else {
            panic!("not a description")
        };
        assert_eq!(like.expect("a pattern").pattern, "a%");
        for text in [
            "DESCRIBE (SELECT 1 AS a)",
            "DESC SELECT 1",
            "DESCRIBE WITH x AS (SELECT 1) SELECT * FROM x",
        ] {
            assert!(matches!(one(text), Statement::DescribeQuery { .. }), "{text}");
        }
    }

    #[test]
    fn what_has_nothing_to_do_says_why() {
        for text in ["SYSTEM FLUSH LOGS", "SYSTEM SYNC REPLICA d.t STRICT", "system reload config"]
        {
            let statement = one(text);
            let [notice] = statement.notices() else { panic!("{text}: {statement:?}") };
            assert!(notice.to_string().contains("has no effect: "), "{text}: {notice}");
        }
        assert!(parse("SYSTEM FLUSH EVERYTHING").is_err());
    }
}
