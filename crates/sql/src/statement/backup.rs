//! BACKUP and RESTORE.

use granary_common::Error;
use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::parse::{Parsed, is_next_word, on_cluster};
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
    pub notices: Vec<Notice>,
}

/// What a backup or a restoration is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupScope {
    All,
    Database(String),
    /// A table or view; restored under the other name, if there is one.
    Table { name: TableName, target: Option<TableName> },
}

/// Where backups are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupPlace {
    /// A URL, or a folder of the coordinator's machine.
    Url(String),
    /// A folder of a disk of the configuration.
    Disk { disk: String, folder: String },
}

/// `BACKUP ...`, behind the word.
pub(super) fn backup(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let what = parser.parse_comma_separated(|parser| Ok(scope(parser)))?;
    let what = what.into_iter().collect::<Parsed<Vec<_>>>()?;
    rest(parser, what, Keyword::TO)
}

/// `RESTORE ...`, behind the word; RESTORE TABLE t TO is about the table's own past.
pub(super) fn restore(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let start = parser.index();
    if parser.parse_keyword(Keyword::TABLE) {
        parser.parse_object_name(false)?;
        on_cluster(parser)?;
        let is_past = parser.parse_keyword(Keyword::TO);
        while parser.index() > start {
            parser.prev_token();
        }
        if is_past {
            parser.expect_keyword(Keyword::TABLE)?;
            return super::past::restore(parser);
        }
    }
    let what = parser.parse_comma_separated(|parser| Ok(scope(parser)))?;
    let what = what.into_iter().collect::<Parsed<Vec<_>>>()?;
    rest(parser, what, Keyword::FROM)
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
    let mut statement = BackupStatement { is_restore, what, place, name: None, notices };
    if parser.parse_keyword(Keyword::SETTINGS) {
        let settings = parser.parse_comma_separated(|parser| {
            let name = parser.parse_identifier()?.value;
            parser.expect_token(&Token::Eq)?;
            Ok((name, setting_text(&parser.parse_expr()?)))
        })?;
        for (name, value) in settings {
            match name.to_ascii_lowercase().as_str() {
                "backup_name" => statement.name = Some(value),
                // Nothing is copied twice, whichever backup it was copied for.
                "base_backup" => statement.notices.push(Notice::new(
                    "base_backup has no effect: what is there already is not copied again",
                )),
                _ => {
                    let message = format!("unknown setting '{name}'; there is backup_name");
                    return Err(Error::invalid(message).into());
                }
            }
        }
    }
    if is_next_word(parser, "ASYNC") {
        let message = "ASYNC is not supported: the statement returns when the work is done";
        return Err(Error::unsupported(message).into());
    }
    Ok(Statement::Backup(Box::new(statement)))
}

/// `'url'`, `Disk('name'[, 'folder'])`, `File('path')` or `S3('url')`.
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
        ("disk", Some([disk])) => {
            Ok(BackupPlace::Disk { disk: disk.clone(), folder: String::new() })
        }
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

fn no_place(written: &Expr) -> super::parse::Failure {
    let message = format!("'{written}' is no place for backups: write 'url' or Disk('name', 'folder')");
    Error::invalid(message).into()
}
