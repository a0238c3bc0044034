//! ALTER TABLE: changes of columns, clauses and settings, several in one statement.

use sqlparser::ast::{CheckConstraint, ColumnDef, ColumnOption, DataType, Expr};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::alter::in_partition;
use super::alter_buckets::{check_alone, modify_buckets};
use super::alter_settings::{modify_settings, reset_settings};
use super::constraints::{add_check, add_constraint, drop_constraint};
use super::elements::{IndexClause, ProjectionClause, index, projection};
use super::parse::{Parsed, if_exists, if_not_exists, is_next_word};
use super::{PartitionClause, TableName, TtlClause};
use crate::Notice;

/// `ALTER TABLE t action, action, ...`
#[derive(Clone, Debug, PartialEq)]
pub struct AlterTable {
    pub table: TableName,
    pub actions: Vec<AlterAction>,
    pub notices: Vec<Notice>,
}

/// Where a column is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnPlace {
    First,
    After(String),
}

/// What ALTER TABLE does to columns, clauses and settings.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // A few to a statement.
pub enum AlterAction {
    AddColumn {
        column: Box<ColumnDef>,
        place: Option<ColumnPlace>,
        if_not_exists: bool,
    },
    DropColumn {
        name: String,
        if_exists: bool,
    },
    RenameColumn {
        from: String,
        to: String,
        if_exists: bool,
    },
    ModifyColumn(Box<ModifyColumn>),
    AddIndex {
        index: IndexClause,
        if_not_exists: bool,
    },
    DropIndex {
        name: String,
        if_exists: bool,
    },
    AddConstraint {
        check: CheckConstraint,
        if_not_exists: bool,
    },
    DropConstraint {
        name: String,
        if_exists: bool,
    },
    AddProjection {
        projection: ProjectionClause,
        if_not_exists: bool,
    },
    DropProjection {
        name: String,
        if_exists: bool,
    },
    /// MATERIALIZE of an index or a projection.
    Rebuild {
        what: Rebuilt,
        name: String,
        if_exists: bool,
        partition: Option<PartitionClause>,
    },
    /// CLEAR of an index or a projection.
    Clear {
        what: Rebuilt,
        name: String,
        if_exists: bool,
        partition: Option<PartitionClause>,
    },
    ModifySettings(Vec<(String, String)>),
    ResetSettings(Vec<String>),
    ModifyComment(String),
    /// The whole sorting key, the expressions that it has already first.
    ModifyOrderBy(Vec<Expr>),
    /// `None` takes the rules away.
    ModifyTtl(Option<Vec<TtlClause>>),
    /// So many buckets from now on; rows of before move to them.
    ModifyBuckets(u32),
    /// Applies the rules to what is there now.
    MaterializeTtl(Option<PartitionClause>),
}

/// What MATERIALIZE and CLEAR are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuilt {
    Index,
    Projection,
}

/// MODIFY COLUMN: what is not said stays.
#[derive(Clone, Debug, PartialEq)]
pub struct ModifyColumn {
    pub name: String,
    pub if_exists: bool,
    pub data_type: Option<DataType>,
    pub options: Vec<ColumnOption>,
    pub removed: Option<RemovedOption>,
    pub place: Option<ColumnPlace>,
}

/// What `MODIFY COLUMN c REMOVE` takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedOption {
    Default,
    Comment,
    Codec,
    Ttl,
}

/// The actions; `None` when the first one is none of those here.
pub(super) fn actions(parser: &mut Parser<'_>) -> Parsed<Option<Vec<AlterAction>>> {
    let mut actions = Vec::new();
    loop {
        match action(parser)? {
            Some(action) => actions.push(action),
            None if actions.is_empty() => return Ok(None),
            None => {
                let next = parser.peek_token();
                return Ok(parser.expected("an action of ALTER TABLE on columns", next)?);
            }
        }
        if !parser.consume_token(&Token::Comma) {
            return check_alone(actions).map(Some);
        }
    }
}

/// What ADD adds beside columns.
const OTHER_THAN_COLUMNS: [&str; 8] =
    ["CONSTRAINT", "PARTITION", "STATISTICS", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "KEY"];

fn action(parser: &mut Parser<'_>) -> Parsed<Option<AlterAction>> {
    let words: Vec<String> = (0..2)
        .map_while(|ahead| match parser.peek_nth_token(ahead).token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
            _ => None,
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let read: fn(&mut Parser<'_>) -> Parsed<AlterAction> = match words.as_slice() {
        ["ADD", "COLUMN"] => add_column,
        ["DROP", "COLUMN"] => drop_column,
        ["RENAME", "COLUMN"] => rename_column,
        ["MODIFY" | "ALTER" | "CHANGE", "COLUMN"] => modify_column,
        ["COMMENT", "COLUMN"] => comment_column,
        ["MATERIALIZE", "COLUMN"] => materialize_column,
        ["ADD", "INDEX"] => add_index,
        ["DROP", "INDEX"] => drop_index,
        ["MATERIALIZE", "INDEX"] => rebuild_index,
        ["CLEAR", "INDEX"] => clear_index,
        ["ADD", "CONSTRAINT"] => add_constraint,
        ["ADD", "CHECK"] => add_check,
        ["DROP", "CONSTRAINT"] => drop_constraint,
        ["ADD", "PROJECTION"] => add_projection,
        ["DROP", "PROJECTION"] => drop_projection,
        ["MATERIALIZE", "PROJECTION"] => rebuild_projection,
        ["CLEAR", "PROJECTION"] => clear_projection,
        ["MODIFY", "BUCKETS"] => modify_buckets,
        ["MODIFY", "SETTING"] => modify_settings,
        ["RESET", "SETTING"] => reset_settings,
        ["MODIFY", "COMMENT"] => modify_comment,
        ["MODIFY", "TTL"] => modify_ttl,
        ["MODIFY", "ORDER"] => modify_order_by,
        ["REMOVE", "TTL"] => remove_ttl,
        ["MATERIALIZE", "TTL"] => materialize_ttl,
        // The word COLUMN may be left out.
        ["ADD", other] if !OTHER_THAN_COLUMNS.contains(other) => {
            parser.next_token();
            return add_column(parser).map(Some);
        }
        _ => return Ok(None),
    };
    parser.next_token();
    parser.next_token();
    read(parser).map(Some)
}

fn name(parser: &mut Parser<'_>) -> Parsed<String> {
    Ok(parser.parse_identifier()?.value)
}

fn place(parser: &mut Parser<'_>) -> Parsed<Option<ColumnPlace>> {
    if is_next_word(parser, "FIRST") {
        return Ok(Some(ColumnPlace::First));
    }
    match is_next_word(parser, "AFTER") {
        true => Ok(Some(ColumnPlace::After(name(parser)?))),
        false => Ok(None),
    }
}

fn add_column(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let if_not_exists = if_not_exists(parser);
    let column = Box::new(parser.parse_column_def()?);
    Ok(AlterAction::AddColumn { column, place: place(parser)?, if_not_exists })
}

/// Older rows have the column's default anyway; merges write it. So nothing is left to do.
fn materialize_column(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let if_exists = if_exists(parser);
    let name = name(parser)?;
    super::alter::in_partition(parser)?;
    let (data_type, removed, place) = (None, None, None);
    let same = ModifyColumn { name, if_exists, data_type, options: Vec::new(), removed, place };
    Ok(AlterAction::ModifyColumn(Box::new(same)))
}

fn drop_column(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let if_exists = if_exists(parser);
    Ok(AlterAction::DropColumn { name: name(parser)?, if_exists })
}

fn rename_column(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let if_exists = if_exists(parser);
    let from = name(parser)?;
    parser.expect_keyword(Keyword::TO)?;
    Ok(AlterAction::RenameColumn { from, to: name(parser)?, if_exists })
}

fn modify_column(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let if_exists = if_exists(parser);
    let mut modify = ModifyColumn {
        name: name(parser)?,
        if_exists,
        data_type: None,
        options: Vec::new(),
        removed: None,
        place: None,
    };
    if is_next_word(parser, "REMOVE") {
        modify.removed = Some(removed(parser)?);
    } else if parser.parse_keywords(&[Keyword::DROP, Keyword::DEFAULT]) {
        modify.removed = Some(RemovedOption::Default);
    } else if parser.parse_keywords(&[Keyword::SET, Keyword::DEFAULT]) {
        modify.options.push(ColumnOption::Default(parser.parse_expr()?));
    } else if parser.parse_keywords(&[Keyword::DROP, Keyword::NOT, Keyword::NULL]) {
        modify.options.push(ColumnOption::Null);
    } else if parser.parse_keywords(&[Keyword::SET, Keyword::NOT, Keyword::NULL]) {
        modify.options.push(ColumnOption::NotNull);
    } else {
        let _ = parser.parse_keywords(&[Keyword::SET, Keyword::DATA]);
        let says_type = is_next_word(parser, "TYPE");
        if says_type || !is_option(parser) {
            modify.data_type = Some(parser.parse_data_type()?);
        }
        while let Some(option) = parser.parse_optional_column_option()? {
            modify.options.push(option);
        }
        modify.place = place(parser)?;
    }
    Ok(AlterAction::ModifyColumn(Box::new(modify)))
}

/// Whether an option follows and no type.
fn is_option(parser: &Parser<'_>) -> bool {
    const OPTIONS: [&str; 11] = [
        "DEFAULT",
        "MATERIALIZED",
        "ALIAS",
        "EPHEMERAL",
        "COMMENT",
        "CODEC",
        "TTL",
        "NOT",
        "NULL",
        "FIRST",
        "AFTER",
    ];
    matches!(&parser.peek_token_ref().token, Token::Word(word) if word.quote_style.is_none()
        && OPTIONS.iter().any(|option| word.value.eq_ignore_ascii_case(option)))
}

fn removed(parser: &mut Parser<'_>) -> Parsed<RemovedOption> {
    for (word, option) in [
        ("DEFAULT", RemovedOption::Default),
        ("MATERIALIZED", RemovedOption::Default),
        ("ALIAS", RemovedOption::Default),
        ("COMMENT", RemovedOption::Comment),
        ("CODEC", RemovedOption::Codec),
        ("TTL", RemovedOption::Ttl),
    ] {
        if is_next_word(parser, word) {
            return Ok(option);
        }
    }
    let next = parser.peek_token();
    Ok(parser.expected("DEFAULT, COMMENT, CODEC or TTL after REMOVE", next)?)
}

fn comment_column(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let if_exists = if_exists(parser);
    let name = name(parser)?;
    let options = vec![ColumnOption::Comment(parser.parse_literal_string()?)];
    let modify =
        ModifyColumn { name, if_exists, data_type: None, options, removed: None, place: None };
    Ok(AlterAction::ModifyColumn(Box::new(modify)))
}

fn add_index(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let if_not_exists = if_not_exists(parser);
    let index = index(parser)?;
    // Their order means nothing.
    place(parser)?;
    Ok(AlterAction::AddIndex { index, if_not_exists })
}

fn drop_index(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let if_exists = if_exists(parser);
    Ok(AlterAction::DropIndex { name: name(parser)?, if_exists })
}

fn rebuild(parser: &mut Parser<'_>, what: Rebuilt) -> Parsed<AlterAction> {
    let if_exists = if_exists(parser);
    let name = name(parser)?;
    let partition = in_partition(parser)?;
    Ok(AlterAction::Rebuild { what, name, if_exists, partition })
}

fn rebuild_index(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    rebuild(parser, Rebuilt::Index)
}

fn clear(parser: &mut Parser<'_>, what: Rebuilt) -> Parsed<AlterAction> {
    let if_exists = if_exists(parser);
    let name = name(parser)?;
    let partition = in_partition(parser)?;
    Ok(AlterAction::Clear { what, name, if_exists, partition })
}

fn clear_index(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    clear(parser, Rebuilt::Index)
}

fn clear_projection(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    clear(parser, Rebuilt::Projection)
}

fn rebuild_projection(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    rebuild(parser, Rebuilt::Projection)
}

fn add_projection(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let if_not_exists = if_not_exists(parser);
    let projection = projection(parser)?;
    place(parser)?;
    Ok(AlterAction::AddProjection { projection, if_not_exists })
}

fn drop_projection(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let if_exists = if_exists(parser);
    Ok(AlterAction::DropProjection { name: name(parser)?, if_exists })
}

fn modify_comment(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    Ok(AlterAction::ModifyComment(parser.parse_literal_string()?))
}

fn modify_ttl(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    Ok(AlterAction::ModifyTtl(Some(super::ttl::rules(parser)?)))
}

fn modify_order_by(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    parser.expect_keyword(Keyword::BY)?;
    Ok(AlterAction::ModifyOrderBy(super::clauses::key(parser)?))
}

fn remove_ttl(_: &mut Parser<'_>) -> Parsed<AlterAction> {
    Ok(AlterAction::ModifyTtl(None))
}

fn materialize_ttl(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    Ok(AlterAction::MaterializeTtl(in_partition(parser)?))
}
