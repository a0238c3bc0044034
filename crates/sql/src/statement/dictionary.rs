//! CREATE DICTIONARY: a table that is read by key under another name.
//!
//! A dictionary is a view over the table with the declared columns. Its definition stands as a comment
//! before the view's query, so that `dictGet` knows its key and its defaults:
//!
//! ```text
//!   /* DICTIONARY (k UInt64, name String) PRIMARY KEY k SOURCE(...) */ SELECT CAST(k AS UInt64) ...
//! ```

mod clauses;

use granary_catalog::{View, ViewKind};
use granary_common::{Error, Result};
use sqlparser::ast::Expr;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use self::clauses::{Source, clause};
use super::parse::{Parsed, if_not_exists, is_next_word, on_cluster};
use super::view::CreateView;
use super::{CreateTable, Statement, TableName};
use crate::Notice;
use crate::bind::parsed_query;
use crate::dialect::{GranaryDialect, tokenize};
use crate::show::identifier;
use crate::types::type_from_sql;

/// Before the definition and behind it.
const OPEN: &str = "/* DICTIONARY ";
const CLOSE: &str = " */ ";

/// One attribute, or a part of the key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    column_type: String,
    /// What a key that is not there has.
    pub(crate) default: Option<Expr>,
}

/// What CREATE DICTIONARY says behind the name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Definition {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) key: Vec<String>,
    source: Option<Source>,
    /// As written, with what is inside of the brackets.
    layout: Option<String>,
    lifetime: Option<String>,
    comment: Option<String>,
}

/// Whether CREATE [OR REPLACE] DICTIONARY follows.
pub(super) fn is_create_dictionary(parser: &Parser<'_>) -> bool {
    let is_word = |ahead: usize, text: &str| {
        matches!(&parser.peek_nth_token_ref(ahead).token, Token::Word(word)
            if word.value.eq_ignore_ascii_case(text))
    };
    is_word(0, "CREATE")
        && (is_word(1, "DICTIONARY")
            || is_word(1, "OR") && is_word(2, "REPLACE") && is_word(3, "DICTIONARY"))
}

/// CREATE [OR REPLACE] DICTIONARY; the parser stands at it.
pub(super) fn create_dictionary(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.expect_keyword(Keyword::CREATE)?;
    let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    parser.next_token();
    let if_not_exists = if_not_exists(parser);
    let name = TableName::of(&parser.parse_object_name(false)?)?;
    let mut notices = on_cluster(parser)?;
    let definition = definition(parser)?;
    if definition.layout.is_some() || definition.lifetime.is_some() {
        notices.push(Notice::new(
            "LAYOUT and LIFETIME have no effect: a dictionary looks into its table each time",
        ));
    }
    let text = definition.view_text()?;
    let query = parsed_query(&text).map_err(|error| {
        Error::invalid(format!("the SOURCE of the dictionary is no table: {}", error.message()))
    })?;
    let mut table = CreateTable { if_not_exists, notices, ..CreateTable::default() };
    table.clauses.comment.clone_from(&definition.comment);
    let columns = definition.attributes.into_iter().map(|attribute| attribute.name).collect();
    Ok(Statement::CreateView(Box::new(CreateView {
        or_replace,
        name,
        columns,
        query: Box::new(query),
        text,
        materialized: None,
        table,
    })))
}

fn definition(parser: &mut Parser<'_>) -> Parsed<Definition> {
    let mut definition = Definition::default();
    parser.expect_token(&Token::LParen)?;
    loop {
        definition.attributes.push(attribute(parser)?);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen)?;
    while clause(parser, &mut definition)? {}
    let (attributes, key) = (&definition.attributes, &definition.key);
    if key.is_empty() {
        return Err(Error::invalid("a dictionary has a PRIMARY KEY").into());
    }
    let is_unknown = |name: &&String| !attributes.iter().any(|of| of.name == **name);
    if let Some(unknown) = key.iter().find(is_unknown) {
        let message = format!("PRIMARY KEY: the dictionary has no attribute '{unknown}'");
        return Err(Error::invalid(message).into());
    }
    if definition.source.is_none() {
        let message = "a dictionary has a SOURCE, such as SOURCE(CLICKHOUSE(TABLE 't'))";
        return Err(Error::invalid(message).into());
    }
    Ok(definition)
}

/// `name type [DEFAULT expression] [HIERARCHICAL] [INJECTIVE] [IS_OBJECT_ID]`
fn attribute(parser: &mut Parser<'_>) -> Parsed<Attribute> {
    let name = parser.parse_identifier()?.value;
    let column_type = type_from_sql(&parser.parse_data_type()?)?.to_string();
    let mut default = None;
    loop {
        if parser.parse_keyword(Keyword::DEFAULT) {
            default = Some(parser.parse_expr()?);
        } else if is_next_word(parser, "EXPRESSION") {
            let message = "EXPRESSION of an attribute is not supported: compute it in a view and \
                           make the dictionary over that";
            return Err(Error::unsupported(message).into());
        } else if !["HIERARCHICAL", "BIDIRECTIONAL", "INJECTIVE", "IS_OBJECT_ID"]
            .iter()
            .any(|word| is_next_word(parser, word))
        {
            return Ok(Attribute { name, column_type, default });
        }
    }
}

impl Definition {
    /// The query of the view behind the dictionary, with the definition before it.
    fn view_text(&self) -> Result<String> {
        let columns: Vec<String> = self
            .attributes
            .iter()
            .map(|Attribute { name, column_type, .. }| {
                let name = identifier(name);
                format!("CAST({name} AS {column_type}) AS {name}")
            })
            .collect();
        let source = self.source.as_ref().map(Source::read_from).unwrap_or_default();
        let written = self.written();
        if written.contains("*/") {
            return Err(Error::invalid("the definition of a dictionary does not contain '*/'"));
        }
        Ok(format!("{OPEN}{written}{CLOSE}SELECT {} FROM {source}", columns.join(", ")))
    }

    /// As CREATE DICTIONARY has it behind the name.
    fn written(&self) -> String {
        let attribute = |Attribute { name, column_type, default }: &Attribute| {
            let default = default.as_ref().map(|value| format!(" DEFAULT {value}"));
            format!("{} {column_type}{}", identifier(name), default.unwrap_or_default())
        };
        let attributes: Vec<String> = self.attributes.iter().map(attribute).collect();
        let key: Vec<String> = self.key.iter().map(|name| identifier(name)).collect();
        let mut text = format!("({}) PRIMARY KEY ({})", attributes.join(", "), key.join(", "));
        if let Some(source) = &self.source {
            text.push_str(&format!(" SOURCE(CLICKHOUSE({}))", source.written()));
        }
        for (word, clause) in [("LAYOUT", &self.layout), ("LIFETIME", &self.lifetime)] {
            if let Some(clause) = clause {
                text.push_str(&format!(" {word}({clause})"));
            }
        }
        text
    }
}

/// What CREATE DICTIONARY said behind the name of this view, when it is a dictionary.
pub fn dictionary_text(view: &View) -> Option<&str> {
    let is_plain = view.kind == ViewKind::Plain;
    let (written, _) = view.query.strip_prefix(OPEN).filter(|_| is_plain)?.split_once(CLOSE)?;
    Some(written)
}

/// The definition of a view that is a dictionary.
pub(crate) fn dictionary_of(view: &View) -> Option<Definition> {
    let tokens = tokenize(dictionary_text(view)?).ok()?;
    let dialect = GranaryDialect;
    definition(&mut Parser::new(&dialect).with_tokens_with_locations(tokens)).ok()
}

/// The columns of a dictionary's key, its other attributes and its layout, for `system.dictionaries`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictionaryShape {
    pub key: Vec<String>,
    pub attributes: Vec<String>,
    /// Empty where none is written.
    pub layout: String,
    pub source: String,
}

/// The shape of a view that is a dictionary.
pub fn dictionary_shape(view: &View) -> Option<DictionaryShape> {
    let Definition { attributes, key, source, layout, .. } = dictionary_of(view)?;
    let names = attributes.into_iter().map(|attribute| attribute.name);
    Some(DictionaryShape {
        attributes: names.filter(|name| !key.contains(name)).collect(),
        key,
        layout: layout.unwrap_or_default(),
        source: source.map(|source| source.read_from()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use crate::{Statement, parse};

    fn text_of(sql: &str) -> std::result::Result<String, String> {
        match parse(sql).map_err(|error| error.to_string())?.pop() {
            Some(Statement::CreateView(create)) => Ok(create.text),
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn a_dictionary_is_a_view_with_its_definition() {
        let text = text_of(
            "CREATE OR REPLACE DICTIONARY IF NOT EXISTS d.names (id UInt64, name String DEFAULT '?' \
             INJECTIVE) PRIMARY KEY id SOURCE(CLICKHOUSE(HOST 'localhost' PORT 9000 USER 'default' \
             PASSWORD '' DB 'x' TABLE 't' WHERE 'id > 1')) LAYOUT(HASHED(SHARDS 2)) \
             LIFETIME(MIN 0 MAX 300) COMMENT 'c'",
        );
        let expected = "/* DICTIONARY (id UInt64, name String DEFAULT '?') PRIMARY KEY (id) \
                        SOURCE(CLICKHOUSE(DB 'x' TABLE 't' WHERE 'id > 1')) \
                        LAYOUT(HASHED ( SHARDS 2 )) LIFETIME(MIN 0 MAX 300) */ \
                        SELECT CAST(id AS UInt64) AS id, CAST(name AS String) AS name \
                        FROM x.t WHERE id > 1";
        assert_eq!(text.as_deref(), Ok(expected));
    }

    #[test]
    fn what_is_no_dictionary_is_said() {
        for (rest, expected) in [
            ("(id UInt64) SOURCE(CLICKHOUSE(TABLE 't'))", "has a PRIMARY KEY"),
            ("(id UInt64) PRIMARY KEY x SOURCE(CLICKHOUSE(TABLE 't'))", "no attribute 'x'"),
            ("(id UInt64) PRIMARY KEY id", "has a SOURCE"),
            ("(id UInt64) PRIMARY KEY id SOURCE(FILE(path 'f'))", "source FILE is not supported"),
            ("(id UInt64) PRIMARY KEY id SOURCE(CLICKHOUSE(HOST 'far' TABLE 't'))", "HOST"),
            ("(id UInt64) PRIMARY KEY id SOURCE(CLICKHOUSE(DB 'd'))", "TABLE"),
            (
                "(id UInt64) PRIMARY KEY id SOURCE(CLICKHOUSE(TABLE 't')) LAYOUT(RANGE_HASHED())",
                "layout RANGE_HASHED is not supported",
            ),
        ] {
            let error = text_of(&format!("CREATE DICTIONARY d {rest}")).expect_err(rest);
            assert!(error.contains(expected), "{rest}: {error}");
        }
    }
}
