//! BACKUP and RESTORE.

use std::fmt;

use granary_catalog::BackupPlace;
use granary_common::Error;
use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::parse::{Failure, Parsed, is_next_word, on_cluster};
use super::{Statement, TableName, setting_text};
use crate::Notice;

/// `BACKUP what TO place` or `RESTORE what FROM place`.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupStatement {
    /// The way back.
    pub is_restore: bool,
    pub what: Vec<BackupScope>,
    pub place: BackupPlace,
    /// The name of the backup; `None`: one is made, or the newest is taken.
    pub name: Option<String>,
    /// A place whose newest backup has files that need not be copied again.
    pub base: Option<BackupPlace>,
    pub notices: Vec<Notice>,
}

/// What a backup or a restoration is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupScope {
    All,
    Database(String),
    /// A table or view; restored under the other name, if there is one.
    Table {
        name: TableName,
        target: Option<TableName>,
    },
}

impl fmt::Display for BackupScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupScope::All => f.write_str("ALL"),
            BackupScope::Database(name) => write!(f, "database '{name}'"),
            BackupScope::Table { name, .. } => write!(f, "'{name}'"),
        }
    }
}

/// `BACKUP ...`, behind the word.
pub(super) fn backup(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let what = scopes(parser)?;
    rest(parser, what, Keyword::TO)
}

/// `RESTORE ...`, behind the word; RESTORE TABLE t TO is about the table's own past.
pub(super) fn restore(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let is_past = |parser: &mut Parser<'_>| {
        parser.expect_keyword(Keyword::TABLE)?;
        parser.parse_object_name(false)?;
        if parser.parse_keywords(&[Keyword::ON, Keyword::CLUSTER]) {
            parser.parse_identifier()?;
        }
        parser.expect_keyword(Keyword::TO)
    };
    let start = parser.index();
    let found = is_past(parser).is_ok();
    while parser.index() > start {
        parser.prev_token();
    }
    if found {
        parser.expect_keyword(Keyword::TABLE)?;
        return super::past::restore(parser);
    }
    let what = scopes(parser)?;
    rest(parser, what, Keyword::FROM)
}

fn scopes(parser: &mut Parser<'_>) -> Parsed<Vec<BackupScope>> {
    let mut what = vec![scope(parser)?];
    while parser.consume_token(&Token::Comma) {
        what.push(scope(parser)?);
    }
    Ok(what)
}

fn scope(parser: &mut Parser<'_>) -> Parsed<BackupScope> {
    if parser.parse_keyword(Keyword::ALL) {
        return Ok(BackupScope::All);
    }
    if parser.parse_one_of_keywords(&[Keyword::DATABASE, Keyword::SCHEMA]).is_some() {
        return Ok(BackupScope::Database(parser.parse_identifier()?.value));
    }
    if parser.parse_one_of_keywords(&[Keyword::TABLE, Keyword::VIEW]).is_none() {
        let next = parser.peek_token();
        return Ok(parser.expected("ALL, DATABASE, TABLE or VIEW", next)?);
    }
    let name = TableName::of(&parser.parse_object_name(false)?)?;
    let target = match parser.parse_keyword(Keyword::AS) {
        true => Some(TableName::of(&parser.parse_object_name(false)?)?),
        false => None,
    };
    Ok(BackupScope::Table { name, target })
}

fn rest(parser: &mut Parser<'_>, what: Vec<BackupScope>, word: Keyword) -> Parsed<Statement> {
    let notices = on_cluster(parser)?;
    parser.expect_keyword(word)?;
    let is_restore = word == Keyword::FROM;
    let renames = |scope: &BackupScope| matches!(scope, BackupScope::Table { target: Some(_), .. });
    if !is_restore && what.iter().any(renames) {
        let message = "a backup keeps names; write AS where the table is restored";
        return Err(Error::unsupported(message).into());
    }
    let place = place(parser)?;
    let mut statement =
        BackupStatement { is_restore, what, place, name: None, base: None, notices };
    if parser.parse_keyword(Keyword::SETTINGS) {
        setting(parser, &mut statement)?;
        while parser.consume_token(&Token::Comma) {
            setting(parser, &mut statement)?;
        }
    }
    if is_next_word(parser, "ASYNC") {
        let message = "ASYNC is not supported: the statement returns when the work is done";
        return Err(Error::unsupported(message).into());
    }
    let _ = is_next_word(parser, "SYNC");
    Ok(Statement::Backup(Box::new(statement)))
}

fn setting(parser: &mut Parser<'_>, statement: &mut BackupStatement) -> Parsed<()> {
    let name = parser.parse_identifier()?.value;
    parser.expect_token(&Token::Eq)?;
    match name.to_ascii_lowercase().as_str() {
        "backup_name" => statement.name = Some(setting_text(&parser.parse_expr()?)),
        "base_backup" if statement.is_restore => {
            let message = "base_backup belongs to BACKUP: a backup knows what it is based on";
            return Err(Error::invalid(message).into());
        }
        "base_backup" => statement.base = Some(place(parser)?),
        _ => {
            let message =
                format!("unknown setting '{name}'; there are backup_name and base_backup");
            return Err(Error::invalid(message).into());
        }
    }
    Ok(())
}

/// `'url'`, `Disk('name', 'folder')`, `File('path')` or `S3('url')`.
fn place(parser: &mut Parser<'_>) -> Parsed<BackupPlace> {
    if matches!(parser.peek_token_ref().token, Token::SingleQuotedString(_)) {
        return Ok(BackupPlace::Url(parser.parse_literal_string()?));
    }
    let written = parser.parse_expr()?;
    let Expr::Function(function) = &written else { return Err(no_place(&written)) };
    let FunctionArguments::List(list) = &function.args else { return Err(no_place(&written)) };
    let text = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(setting_text(value)),
        _ => None,
    };
    let texts: Option<Vec<String>> = list.args.iter().map(text).collect();
    let kind = function.name.to_string().to_ascii_lowercase();
    match (kind.as_str(), texts.as_deref()) {
        ("disk", Some([disk, folder])) => {
            Ok(BackupPlace::Disk { disk: disk.clone(), folder: folder.clone() })
        }
        ("file" | "s3", Some([url])) => Ok(BackupPlace::Url(url.clone())),
        ("s3", Some([_, ..])) => Err(Error::unsupported(
            "S3 takes the URL alone: credentials come from the coordinator's environment",
        )
        .into()),
        _ => Err(no_place(&written)),
    }
}

fn no_place(written: &Expr) -> Failure {
    let message = format!(
        "'{written}' is no place for backups: write 'url', File('path'), S3('url') or \
         Disk('name', 'folder')"
    );
    Error::invalid(message).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn parsed(sql: &str) -> BackupStatement {
        match parse(sql).unwrap().remove(0) {
            Statement::Backup(statement) => *statement,
            other => panic!("{sql} is {other:?}"),
        }
    }

    fn table(name: &str, target: Option<&str>) -> BackupScope {
        let named = |name: &str| {
            let (database, name) = name
                .split_once('.')
                .map_or((None, name), |(database, name)| (Some(database.to_owned()), name));
            TableName { database, name: name.to_owned() }
        };
        BackupScope::Table { name: named(name), target: target.map(named) }
    }

    #[test]
    fn every_form_is_read() {
        let disk = |folder: &str| BackupPlace::Disk { disk: "d".into(), folder: folder.into() };
        let url = |url: &str| BackupPlace::Url(url.into());
        let all = |place| BackupStatement {
            is_restore: false,
            what: vec![BackupScope::All],
            place,
            name: None,
            base: None,
            notices: Vec::new(),
        };
        for (sql, expected) in [
            ("BACKUP ALL TO 's3://b/x'", all(url("s3://b/x"))),
            ("backup all to S3('s3://b/x') SYNC", all(url("s3://b/x"))),
            ("BACKUP ALL TO File('/b')", all(url("/b"))),
            (
                "BACKUP TABLE a.t, VIEW v, DATABASE e TO Disk('d', '2') \
                 SETTINGS base_backup = Disk('d', '1'), backup_name = 'night'",
                BackupStatement {
                    what: vec![
                        table("a.t", None),
                        table("v", None),
                        BackupScope::Database("e".into()),
                    ],
                    base: Some(disk("1")),
                    name: Some("night".into()),
                    ..all(disk("2"))
                },
            ),
            (
                "RESTORE TABLE t AS a.u FROM Disk('d', '2') SETTINGS backup_name = 'night'",
                BackupStatement {
                    is_restore: true,
                    what: vec![table("t", Some("a.u"))],
                    name: Some("night".into()),
                    ..all(disk("2"))
                },
            ),
            (
                "RESTORE TABLE t FROM '/b'",
                BackupStatement {
                    is_restore: true,
                    what: vec![table("t", None)],
                    ..all(url("/b"))
                },
            ),
        ] {
            assert_eq!(parsed(sql), expected, "{sql}");
        }
        assert_eq!(parsed("BACKUP ALL ON CLUSTER c TO '/b'").notices.len(), 1);
        for past in ["RESTORE TABLE t TO VERSION 3", "RESTORE TABLE a.t ON CLUSTER c TO VERSION 3"]
        {
            assert!(matches!(parse(past).unwrap().remove(0), Statement::Past(_)), "{past}");
        }
    }

    #[test]
    fn what_is_not_offered_is_refused() {
        for (sql, expected) in [
            ("BACKUP TABLE t AS u TO '/b'", "a backup keeps names"),
            ("BACKUP t TO '/b'", "ALL, DATABASE, TABLE or VIEW"),
            ("BACKUP ALL TO '/b' ASYNC", "ASYNC is not supported"),
            ("BACKUP ALL TO Disk('d')", "is no place for backups"),
            ("BACKUP ALL TO S3('u', 'key', 'secret')", "credentials come from"),
            ("BACKUP ALL TO '/b' SETTINGS password = 'x'", "unknown setting 'password'"),
            ("RESTORE ALL FROM '/b' SETTINGS base_backup = '/c'", "base_backup belongs to BACKUP"),
            ("RESTORE ALL TO '/b'", "FROM"),
        ] {
            let error = parse(sql).unwrap_err();
            assert!(error.message().contains(expected), "{sql}: {error}");
        }
    }
}
