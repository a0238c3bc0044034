//! Text to statement, statement to logical plan or catalog command: the dialect, its types and its
//! functions.
//!
//! ```text
//!   text ──parse──► Statement ─┬─ Query ──bind_query──► LogicalPlan (DataFusion's)
//!                              ├─ CreateTable ──create_table──► NewTable
//!                              └─ Insert ──► rows ──RowProjection──► rows in the table's columns
//! ```
//!
//! This crate never sees parts, workers or batches on the wire; it knows the catalog's snapshot
//! and DataFusion's planner.

pub mod alter;
pub mod bind;
mod constraints;
pub mod create_table;
pub mod dialect;
pub mod error;
pub mod functions;
pub mod insert;
pub mod mutate;
pub mod notice;
pub mod overwrite;
pub mod partition;
mod relations;
pub mod resolve;
mod secrets;
mod session;
pub mod settings;
pub mod show;
pub mod statement;
pub mod temporary;
mod ttl;
pub mod types;
pub mod view;
mod walk;

pub use alter::{AlterSource, AlteredTable, Preparation, alter_table};
pub use bind::{
    OutsideCall, OutsideTables, ParameterViews, SessionSettings, SessionTables, SessionUser,
    SessionViewCalls, as_shown, bind_insert_source, bind_query, check_function, parameter_types,
    past_point, query_of_table, query_settings, reads_past, register_outside,
    with_named_parameters, with_parameters,
};
pub use granary_common::did_you_mean;
pub use granary_functions::column_type_from_arrow;
pub use sqlparser::ast::Query;

pub use create_table::{TableSource, create_table};
pub use dialect::GranaryDialect;
pub use error::error_from_datafusion;
pub use functions::GranaryFunctions;
pub use insert::{RowProjection, has_plain_values, insert_values, with_formatted_rows};
pub use mutate::{bind_mutation, delete_query, merge_query, mutated_table, update_query};
pub use notice::Notice;
pub use overwrite::with_overwritten_columns;
pub use partition::partition_values;
pub use resolve::{Named, find_database, resolve_name, resolve_table};
pub use secrets::without_secrets;
pub use session::{LazySession, SessionSource};
pub use settings::DialectSettings;
pub use show::{
    DescribedColumn, describe, describe_columns, describe_view, show_create_function,
    show_create_table, show_create_view,
};
pub use statement::{
    AlterAction, AlterPartition, AlterTable, AlterUser, BackupScope, BackupStatement, CheckTable,
    ClusterStatement, ColumnPlace, CreateFunction, CreateTable, CreateView, Delete,
    DictionaryShape, EqualColumns, ExistsName, FormattedRows, Insert, InsertOutside, LikePattern,
    MaterializedClause, Merge, MergeAction, MergeClause, MergeInsert, Optimize, OverwriteClause,
    PartitionClause, PartitionCommand, PastClause, PastStatement, Rebuilt, RefreshClause,
    RowFormat, Statement, SystemView, TableName, Update, ViewAction, carries_rows,
    dictionary_shape, dictionary_text, parse, refresh_text,
};
pub use temporary::{TemporaryTables, with_temporary};
pub use types::type_from_sql;
pub use view::{AliasArguments, alias_arguments, query_columns, view_plan, view_query};

#[cfg(test)]
mod tests;
