//! ALTER TABLE: changes of whole partitions and of rows.

use granary_catalog::TtlPlace;
use granary_common::Error;
use sqlparser::ast::{Expr, Ident};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::mutate::{assignments, optional_settings, predicate};
use super::parse::{Failure, Parsed, is_next_word, on_cluster, other};
use super::{Delete, Statement, TableName, Update};
use crate::Notice;

/// Partitions of a table as a statement names them.
#[derive(Clone, Debug, PartialEq)]
pub enum PartitionClause {
    /// `PARTITION ALL`.
    All,
    /// `PARTITION ID '202401'`: the id that `system.parts` shows.
    Id(String),
    /// `PARTITION 202401` or `PARTITION (202401, 3)`: a value for each expression of the key.
    Values(Vec<Expr>),
}

/// `ALTER TABLE t <command> PARTITION ...`
#[derive(Clone, Debug, PartialEq)]
pub struct AlterPartition {
    pub table: TableName,
    pub partition: PartitionClause,
    pub command: PartitionCommand,
    pub notices: Vec<Notice>,
}

/// What happens to the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionCommand {
    Drop,
    Detach,
    Attach,
    DropDetached,
    /// The partition of this table takes the place of the table's own.
    ReplaceFrom(TableName),
    /// The partition of this table is added.
    AttachFrom(TableName),
    /// The partition leaves the table for this one.
    MoveTo(TableName),
    /// The partition, or one part of it by its id, moves to another disk.
    Relocate {
        part: Option<u64>,
        place: TtlPlace,
    },
}

/// ALTER TABLE with one command.
pub(super) fn alter_table(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let start = parser.index();
    parser.expect_keyword(Keyword::ALTER)?;
    if !parser.parse_keyword(Keyword::TABLE) {
        return Err(known_elsewhere(parser, start)?);
    }
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let table = TableName::of(&parser.parse_object_name(false)?)?;
    let notices = on_cluster(parser)?;
    if if_exists {
        return Err(Error::unsupported("ALTER TABLE IF EXISTS is not supported yet").into());
    }
    if let Some(actions) = super::alter_table::actions(parser)? {
        return Ok(Statement::AlterTable(super::AlterTable { table, actions, notices }));
    }
    if parser.parse_keywords(&[Keyword::RENAME, Keyword::TO]) {
        let to = TableName::of(&parser.parse_object_name(false)?)?;
        return Ok(Statement::RenameTables { renames: vec![(table, to)], notices });
    }
    let Some(statement) = command(parser, table, notices)? else {
        return Err(known_elsewhere(parser, start)?);
    };
    match parser.peek_token_ref().token {
        Token::Comma => Err(Error::unsupported(
            "one ALTER TABLE takes one command on partitions or rows; write one for each",
        )
        .into()),
        _ => Ok(statement),
    }
}

/// Reads the statement again from `start` as the parser's own, for an error of its kind.
fn known_elsewhere(parser: &mut Parser<'_>, start: usize) -> Parsed<Failure> {
    while parser.index() > start {
        parser.prev_token();
    }
    other(parser)
}

/// One command; none of those here when `None`.
fn command(
    parser: &mut Parser<'_>,
    table: TableName,
    notices: Vec<Notice>,
) -> Parsed<Option<Statement>> {
    if parser.parse_keyword(Keyword::DELETE) {
        let partition = in_partition(parser)?;
        let predicate = Some(required_predicate(parser, "ALTER TABLE ... DELETE")?);
        let settings = optional_settings(parser)?;
        let delete =
            Delete { table, alias: None, with: None, predicate, partition, settings, notices };
        return Ok(Some(Statement::Delete(Box::new(delete))));
    }
    if parser.parse_keyword(Keyword::UPDATE) {
        let assignments = assignments(parser)?;
        let partition = in_partition(parser)?;
        let predicate = Some(required_predicate(parser, "ALTER TABLE ... UPDATE")?);
        let settings = optional_settings(parser)?;
        let update = Update {
            table,
            alias: None,
            with: None,
            assignments,
            predicate,
            partition,
            keeps_keys: true,
            settings,
            notices,
        };
        return Ok(Some(Statement::Update(Box::new(update))));
    }
    if clears_column(parser) {
        let column = parser.parse_identifier()?.value;
        let default = Expr::Identifier(Ident::new("DEFAULT"));
        let update = Update {
            table,
            alias: None,
            with: None,
            assignments: vec![(column, default)],
            predicate: None,
            partition: in_partition(parser)?,
            keeps_keys: true,
            settings: Vec::new(),
            notices,
        };
        return Ok(Some(Statement::Update(Box::new(update))));
    }
    let Some((verb, partition)) = partition_verb(parser)? else { return Ok(None) };
    let command = partition_command(parser, verb)?;
    Ok(Some(Statement::AlterPartition(AlterPartition { table, partition, command, notices })))
}

/// Whether `CLEAR COLUMN` comes next; it is read then.
fn clears_column(parser: &mut Parser<'_>) -> bool {
    let is_column = matches!(&parser.peek_nth_token(1).token, Token::Word(word)
        if word.keyword == Keyword::COLUMN);
    is_column && is_next_word(parser, "CLEAR") && parser.parse_keyword(Keyword::COLUMN)
}

/// A mutation says which rows it means, even if it is all of them.
fn required_predicate(parser: &mut Parser<'_>, clause: &str) -> Parsed<Expr> {
    let found = predicate(parser)?;
    Ok(found.ok_or_else(|| {
        Error::invalid(format!("syntax error: {clause} needs WHERE; write WHERE 1 for all rows"))
    })?)
}

/// `IN PARTITION p`.
pub(super) fn in_partition(parser: &mut Parser<'_>) -> Parsed<Option<PartitionClause>> {
    let is_word = |ahead: usize, text: &str| {
        matches!(&parser.peek_nth_token_ref(ahead).token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
    };
    if !is_word(0, "IN") || !is_word(1, "PARTITION") {
        return Ok(None);
    }
    parser.next_token();
    parser.next_token();
    partition(parser).map(Some)
}

#[derive(Clone, Copy)]
enum Verb {
    Drop,
    Detach,
    Attach,
    DropDetached,
    Replace,
    Move,
    /// The part of this id.
    MovePart(u64),
}

/// `DROP PARTITION p` and its like, up to the partition.
fn partition_verb(parser: &mut Parser<'_>) -> Parsed<Option<(Verb, PartitionClause)>> {
    let words: Vec<String> = (0..3)
        .map_while(|ahead| match parser.peek_nth_token(ahead).token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
            _ => None,
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (verb, length) = match words.as_slice() {
        ["DROP", "PARTITION", ..] => (Verb::Drop, 2),
        ["DROP", "DETACHED", "PARTITION"] => (Verb::DropDetached, 3),
        ["DETACH", "PARTITION", ..] => (Verb::Detach, 2),
        ["ATTACH", "PARTITION", ..] => (Verb::Attach, 2),
        ["REPLACE", "PARTITION", ..] => (Verb::Replace, 2),
        ["MOVE", "PARTITION", ..] => (Verb::Move, 2),
        ["MOVE", "PART", ..] => {
            parser.next_token();
            parser.next_token();
            return Ok(Some((Verb::MovePart(part_id(parser)?), PartitionClause::All)));
        }
        ["DROP" | "DETACH" | "ATTACH", "PART", ..] | ["DROP", "DETACHED", "PART"] => {
            let message = "single parts cannot be named: merges replace them at any time; name a \
                           partition";
            return Err(Error::unsupported(message).into());
        }
        ["FREEZE" | "UNFREEZE", ..] => {
            let message = "FREEZE is not offered: BACKUP TABLE keeps what a table holds now";
            return Err(Error::unsupported(message).into());
        }
        [verb @ ("FETCH" | "FORGET"), "PARTITION", ..] => {
            let message = format!("ALTER TABLE ... {verb} PARTITION is not supported");
            return Err(Error::unsupported(message).into());
        }
        _ => return Ok(None),
    };
    for _ in 0..length {
        parser.next_token();
    }
    Ok(Some((verb, partition(parser)?)))
}

fn partition_command(parser: &mut Parser<'_>, verb: Verb) -> Parsed<PartitionCommand> {
    Ok(match verb {
        Verb::Drop => PartitionCommand::Drop,
        Verb::Detach => PartitionCommand::Detach,
        Verb::DropDetached => PartitionCommand::DropDetached,
        Verb::Attach => match parser.parse_keyword(Keyword::FROM) {
            true => PartitionCommand::AttachFrom(table_name(parser)?),
            false => PartitionCommand::Attach,
        },
        Verb::Replace => {
            parser.expect_keyword(Keyword::FROM)?;
            PartitionCommand::ReplaceFrom(table_name(parser)?)
        }
        Verb::Move => {
            parser.expect_keyword(Keyword::TO)?;
            if let Some(place) = super::ttl::place(parser)? {
                return Ok(PartitionCommand::Relocate { part: None, place });
            }
            parser.expect_keyword(Keyword::TABLE)?;
            PartitionCommand::MoveTo(table_name(parser)?)
        }
        Verb::MovePart(id) => {
            parser.expect_keyword(Keyword::TO)?;
            match super::ttl::place(parser)? {
                Some(place) => PartitionCommand::Relocate { part: Some(id), place },
                None => {
                    let next = parser.peek_token();
                    return Ok(parser.expected("DISK or VOLUME", next)?);
                }
            }
        }
    })
}

/// A part's id as `system.parts` shows it, as a number or as a text.
fn part_id(parser: &mut Parser<'_>) -> Parsed<u64> {
    let token = parser.next_token();
    let text = match &token.token {
        Token::Number(text, _) | Token::SingleQuotedString(text) => text.clone(),
        _ => return Ok(parser.expected("the id of a part", token)?),
    };
    Ok(text.parse().map_err(|_| {
        Error::invalid(format!("'{text}' is no id of a part; system.parts shows them"))
    })?)
}

fn table_name(parser: &mut Parser<'_>) -> Parsed<TableName> {
    Ok(TableName::of(&parser.parse_object_name(false)?)?)
}

/// What follows the word PARTITION.
pub(super) fn partition(parser: &mut Parser<'_>) -> Parsed<PartitionClause> {
    if parser.parse_keyword(Keyword::ALL) {
        return Ok(PartitionClause::All);
    }
    let is_id = matches!(&parser.peek_token_ref().token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("ID"))
        && matches!(parser.peek_nth_token(1).token, Token::SingleQuotedString(_));
    if is_id {
        parser.next_token();
        return Ok(PartitionClause::Id(parser.parse_literal_string()?));
    }
    Ok(PartitionClause::Values(super::clauses::key(parser)?))
}
