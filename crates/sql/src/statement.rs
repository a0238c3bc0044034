//! A statement as parsed: what the coordinator has to do, with the syntax tree of what must be
//! bound later.

mod alter;
mod alter_buckets;
mod alter_settings;
mod alter_table;
mod backup;
mod check;
mod clauses;
mod cluster;
mod constraints;
mod dictionary;
mod elements;
mod explain;
mod formatted;
mod function;
mod insert;
mod merge;
mod merges;
mod mutate;
mod parse;
mod past;
mod pattern;
mod processes;
mod refresh;
mod show;
mod ttl;
mod user;
mod view;

use std::fmt;
use std::sync::LazyLock;

use granary_common::{Error, Result};
use sqlparser::ast::{
    ColumnDef, Expr, Function, Ident, ObjectName, ObjectNamePart, Query, TableConstraint, Value,
};

use crate::Notice;

pub use alter::{AlterPartition, PartitionClause, PartitionCommand};
pub use alter_table::{AlterAction, AlterTable, ColumnPlace, ModifyColumn, Rebuilt, RemovedOption};
pub use backup::{BackupScope, BackupStatement};
pub use check::CheckTable;
pub use cluster::ClusterStatement;
pub(crate) use dictionary::{Attribute, Definition, dictionary_of};
pub use dictionary::{DictionaryShape, dictionary_shape, dictionary_text};
pub use elements::{IndexClause, ProjectionClause};
pub use formatted::{FormattedRows, RowFormat, carries_rows};
pub use function::CreateFunction;
pub use merge::{Merge, MergeAction, MergeClause, MergeInsert};
pub use merges::{EqualColumns, Optimize};
pub use mutate::{Delete, Update};
pub use parse::parse;
pub use past::{PastClause, PastStatement};
pub use pattern::LikePattern;
pub use refresh::{RefreshClause, SystemView, ViewAction, refresh_text};
pub use ttl::{TtlClause, TtlClauseAction};
pub(crate) use ttl::{parse_ttl, ttl_text};
pub use user::AlterUser;
pub use view::{CreateView, MaterializedClause};

/// A table's name as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableName {
    /// The database, when the name says it.
    pub database: Option<String>,
    pub name: String,
}

impl TableName {
    /// Takes `granary.db.t`, `db.t` or `t`.
    pub(crate) fn of(name: &ObjectName) -> Result<TableName> {
        let part = |part: &ObjectNamePart| part.as_ident().map(|ident| ident.value.clone());
        let parts: Option<Vec<String>> = name.0.iter().map(part).collect();
        match parts.as_deref() {
            Some([table]) => Ok(TableName { database: None, name: table.clone() }),
            Some([database, table]) | Some([_, database, table]) => {
                Ok(TableName { database: Some(database.clone()), name: table.clone() })
            }
            _ => Err(Error::invalid(format!("'{name}' is not the name of a table"))),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.database {
            Some(database) => write!(f, "{database}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A name and what it is the name of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExistsName {
    Database(String),
    /// A table or a view.
    Table(TableName),
    View(TableName),
}

/// A parsed statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// SELECT, VALUES, or a set operation of them.
    Query(Box<Query>),
    /// EXPLAIN of a query; with `analyze` it runs.
    Explain {
        analyze: bool,
        verbose: bool,
        query: Box<Query>,
    },
    /// EXPLAIN BALANCE: what the controller would do with buckets.
    ExplainBalance,
    Insert(Insert),
    InsertOutside(Box<InsertOutside>),
    Delete(Box<Delete>),
    Update(Box<Update>),
    Merge(Box<Merge>),
    AlterPartition(AlterPartition),
    AlterTable(AlterTable),
    CreateDatabase {
        name: String,
        if_not_exists: bool,
        notices: Vec<Notice>,
    },
    DropDatabase {
        name: String,
        if_exists: bool,
        notices: Vec<Notice>,
    },
    CreateTable(Box<CreateTable>),
    DropTables {
        tables: Vec<TableName>,
        if_exists: bool,
        /// Whether only temporary tables are meant.
        temporary: bool,
        notices: Vec<Notice>,
    },
    CreateView(Box<CreateView>),
    DropViews {
        views: Vec<TableName>,
        if_exists: bool,
        notices: Vec<Notice>,
    },
    AlterUser(Box<AlterUser>),
    CreateFunction(Box<CreateFunction>),
    DropFunction {
        name: String,
        if_exists: bool,
        notices: Vec<Notice>,
    },
    TruncateTable {
        table: TableName,
        if_exists: bool,
        notices: Vec<Notice>,
    },
    /// Pairs of the old and the new name.
    RenameTables {
        renames: Vec<(TableName, TableName)>,
        notices: Vec<Notice>,
    },
    /// Swaps the names of two tables.
    ExchangeTables {
        first: TableName,
        second: TableName,
        notices: Vec<Notice>,
    },
    Optimize(Optimize),
    /// Accepted with a notice; there is nothing to do.
    Nothing {
        notices: Vec<Notice>,
    },
    /// SYSTEM STOP | START MERGES, of one table or of all.
    SetMerges {
        table: Option<TableName>,
        stopped: bool,
        notices: Vec<Notice>,
    },
    /// SYSTEM REFRESH | WAIT | STOP | START VIEW.
    SystemView(SystemView),
    /// Cancels the mutation of this id.
    KillMutation {
        mutation_id: String,
        notices: Vec<Notice>,
    },
    /// ALTER SYSTEM.
    Cluster(ClusterStatement),
    /// `like` and `not_like` are patterns of LIKE.
    ShowDatabases {
        like: Option<LikePattern>,
    },
    ShowTables {
        database: Option<String>,
        like: Option<LikePattern>,
    },
    ShowCreateTable {
        table: TableName,
    },
    ShowCreateDatabase {
        database: String,
    },
    /// The columns of a table or view.
    Describe {
        table: TableName,
        like: Option<LikePattern>,
    },
    /// The columns of a query's rows.
    DescribeQuery {
        query: Box<Query>,
    },
    /// Whether there is something of this name.
    Exists(ExistsName),
    CheckTable(CheckTable),
    Use {
        database: String,
    },
    /// Cancels the query of this id.
    KillQuery {
        query_id: String,
        notices: Vec<Notice>,
    },
    Set {
        assignments: Vec<(String, String)>,
    },
    /// RESTORE TABLE, UNDROP TABLE, CREATE TABLE ... CLONE.
    Past(Box<PastStatement>),
    /// BACKUP and RESTORE.
    Backup(Box<BackupStatement>),
}

/// A query asked for a format of its rows.
static FORMAT_NOTICE: LazyLock<[Notice; 1]> =
    LazyLock::new(|| [Notice::new("FORMAT has no effect: the client decides how rows look")]);

impl Statement {
    /// What was accepted without effect while parsing.
    pub fn notices(&self) -> &[Notice] {
        match self {
            Statement::CreateDatabase { notices, .. }
            | Statement::DropDatabase { notices, .. }
            | Statement::DropTables { notices, .. }
            | Statement::DropViews { notices, .. }
            | Statement::DropFunction { notices, .. }
            | Statement::TruncateTable { notices, .. }
            | Statement::RenameTables { notices, .. }
            | Statement::ExchangeTables { notices, .. }
            | Statement::Nothing { notices }
            | Statement::SetMerges { notices, .. }
            | Statement::KillMutation { notices, .. }
            | Statement::KillQuery { notices, .. } => notices,
            Statement::CreateTable(create) => &create.notices,
            Statement::CreateView(create) => &create.table.notices,
            Statement::CreateFunction(create) => &create.notices,
            Statement::AlterUser(alter) => &alter.notices,
            Statement::Optimize(optimize) => &optimize.notices,
            Statement::SystemView(of) => &of.notices,
            Statement::CheckTable(check) => &check.notices,
            Statement::Delete(delete) => &delete.notices,
            Statement::Update(update) => &update.notices,
            Statement::AlterPartition(alter) => &alter.notices,
            Statement::AlterTable(alter) => &alter.notices,
            Statement::Past(past) => past.notices(),
            Statement::Backup(backup) => &backup.notices,
            Statement::Query(query) if query.format_clause.is_some() => FORMAT_NOTICE.as_slice(),
            _ => &[],
        }
    }
}

/// `INSERT INTO table [(columns)] VALUES ... | SELECT ...`
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    pub table: TableName,
    /// The columns that the statement names, in its order.
    pub columns: Option<Vec<String>>,
    /// Gives the rows; bind it with [`crate::bind_insert_source`].
    pub source: Box<Query>,
    /// `SETTINGS name = value`, as text.
    pub settings: Vec<(String, String)>,
    /// What goes away as the rows come.
    pub overwrite: Option<OverwriteClause>,
    /// The rows, when they are no SQL: [`crate::with_formatted_rows`] puts them in `source`.
    pub formatted: Option<FormattedRows>,
}

/// `INSERT INTO FUNCTION file(...) SELECT ...`: rows to a file.
#[derive(Clone, Debug, PartialEq)]
pub struct InsertOutside {
    /// Names the file; [`crate::OutsideCall::of`] reads it.
    pub function: Function,
    /// Gives the rows; bind it with [`crate::bind_insert_source`].
    pub source: Box<Query>,
    /// `SETTINGS name = value`, as text.
    pub settings: Vec<(String, String)>,
}

/// What INSERT OVERWRITE replaces.
#[derive(Clone, Debug, PartialEq)]
pub enum OverwriteClause {
    /// Everything that the table holds.
    Table,
    /// `PARTITION (value, ...)`: this partition, which all rows must fall in.
    Partition(PartitionClause),
    /// `PARTITION (column = value, ...)`: the same, with columns that the rows do not bring.
    Columns(Vec<(String, Expr)>),
}

/// CREATE TABLE, every clause as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreateTable {
    pub or_replace: bool,
    /// Whether it goes with its session.
    pub temporary: bool,
    pub if_not_exists: bool,
    pub name: Option<TableName>,
    pub columns: Vec<ColumnDef>,
    pub constraints: Vec<TableConstraint>,
    pub indexes: Vec<IndexClause>,
    pub projections: Vec<ProjectionClause>,
    /// `AS other_table`: takes its columns.
    pub like: Option<TableName>,
    /// `AS SELECT ...`: takes its columns and its rows.
    pub query: Option<Box<Query>>,
    pub engine: Option<EngineClause>,
    pub clauses: TableClauses,
    pub notices: Vec<Notice>,
}

/// `ENGINE = Name(arguments)`.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineClause {
    pub name: String,
    pub arguments: Vec<Expr>,
}

/// The clauses after the columns, which come in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableClauses {
    pub partition_by: Option<Vec<Expr>>,
    pub order_by: Option<Vec<Expr>>,
    pub primary_key: Option<Vec<Expr>>,
    /// The columns of which a row replaces the earlier one that has the same values.
    pub unique_key: Option<Vec<Expr>>,
    pub sample_by: Option<Expr>,
    /// The rules of the TTL.
    pub ttl: Option<Vec<TtlClause>>,
    pub distributed_by: Option<DistributionClause>,
    pub colocate_with: Option<String>,
    pub settings: Vec<(String, String)>,
    pub comment: Option<String>,
}

/// `DISTRIBUTED BY (columns) [BUCKETS n]` or `DISTRIBUTED RANDOMLY [BUCKETS n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DistributionClause {
    /// Empty: whole blocks in rotation.
    pub columns: Vec<Expr>,
    pub buckets: Option<u64>,
}

/// The text of a setting's value: strings without quotes, everything else as written.
pub(crate) fn setting_text(value: &Expr) -> String {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        Expr::Identifier(Ident { value, .. }) => value.clone(),
        other => other.to_string(),
    }
}

/// Parses one expression, for example the text of a key or a default in the catalog.
///
/// # Errors
/// InvalidInput when the text is not one expression.
pub(crate) fn parse_expression(text: &str) -> Result<Expr> {
    use sqlparser::parser::Parser;
    use sqlparser::tokenizer::Token;

    let tokens = crate::dialect::tokenize(text)
        .map_err(|error| crate::error::from_tokenizer(error, text))?;
    let dialect = crate::GranaryDialect;
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(crate::dialect::REREAD_NESTING_MAX)
        .with_tokens_with_locations(tokens);
    let parsed = parser.parse_expr().and_then(|expression| {
        parser.expect_token(&Token::EOF)?;
        Ok(expression)
    });
    parsed.map_err(|error| crate::error::from_parser(error, text))
}
