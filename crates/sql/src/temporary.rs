//! Temporary tables of a session: a name without a database means one of them before it means a table
//! of the session's database.
//!
//! They lie in a database of their own, so each such name of a statement gets that database. Names in
//! the queries of views stay as they are: views outlive sessions.

use std::ops::ControlFlow;

use granary_common::{Error, Result};
use granary_execution::TableReading;
use sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Query, TableAlias, TableFactor, VisitMut, VisitorMut, With,
};

use crate::statement::{
    ExistsName, MergeAction, PartitionCommand, PastStatement, Statement, TableName,
};
use crate::walk::walk_mut;

/// The temporary tables of one session.
pub struct TemporaryTables<'a> {
    /// The database that they are in.
    pub database: &'a str,
    /// The exact name of the one that a name means; `None` when it means none.
    pub find: &'a dyn Fn(&str) -> Result<Option<String>>,
}

/// Gives the names in `statement` that mean temporary tables their database.
///
/// # Errors
/// NotFound for DROP TEMPORARY TABLE of what is none, InvalidInput for statements that would make a
/// temporary table one that lasts, and the errors of `find`.
pub fn with_temporary(statement: &mut Statement, tables: &TemporaryTables<'_>) -> Result<()> {
    let mut names = Names { tables, scopes: Vec::new() };
    match statement {
        Statement::Query(query)
        | Statement::Explain { query, .. }
        | Statement::DescribeQuery { query } => names.within(query.as_mut()),
        Statement::InsertOutside(insert) => names.within(insert.source.as_mut()),
        Statement::Insert(insert) => {
            names.give(&mut insert.table)?;
            names.within(insert.source.as_mut())
        }
        Statement::CreateTable(create) => {
            create.like.as_mut().map_or(Ok(()), |like| names.give(like))?;
            create.query.as_mut().map_or(Ok(()), |query| names.within(query.as_mut()))
        }
        Statement::Delete(delete) => {
            names.give(&mut delete.table)?;
            names.behind(delete.with.as_mut(), delete.predicate.iter_mut())
        }
        Statement::Update(update) => {
            names.give(&mut update.table)?;
            let values = update.assignments.iter_mut().map(|(_, value)| value);
            names.behind(update.with.as_mut(), values.chain(update.predicate.iter_mut()))
        }
        Statement::Merge(merge) => {
            names.give(&mut merge.table)?;
            names.within(&mut merge.source)?;
            names.within(&mut merge.on)?;
            let clauses = merge.clauses.iter_mut();
            clauses.into_iter().try_for_each(|clause| {
                clause.condition.as_mut().map_or(Ok(()), |of| names.within(of))?;
                names.in_action(&mut clause.action)
            })
        }
        other => names.of_tables(other),
    }
}

/// Looks names up, and knows which ones are those of common table expressions.
struct Names<'a> {
    tables: &'a TemporaryTables<'a>,
    scopes: Vec<Scope>,
}

/// The common table expressions of one query.
struct Scope {
    names: Vec<String>,
    recursive: bool,
    /// How many of their queries were begun.
    begun: usize,
    /// How many of the names are known where the walk is.
    known: usize,
}

impl Scope {
    fn of(with: Option<&With>) -> Self {
        let tables = with.iter().flat_map(|with| &with.cte_tables);
        let names = tables.map(|cte| cte.alias.name.value.clone()).collect();
        let recursive = with.is_some_and(|with| with.recursive);
        Self { names, recursive, begun: 0, known: 0 }
    }
}

impl Names<'_> {
    /// Statements that name tables and have no queries.
    fn of_tables(&self, statement: &mut Statement) -> Result<()> {
        match statement {
            Statement::DropTables { tables, if_exists, temporary: true, .. } => {
                self.only_temporary(tables, *if_exists)
            }
            Statement::DropTables { tables, .. } => {
                tables.iter_mut().try_for_each(|table| self.give(table))
            }
            Statement::AlterPartition(alter) => {
                self.give(&mut alter.table)?;
                match &mut alter.command {
                    PartitionCommand::ReplaceFrom(other)
                    | PartitionCommand::AttachFrom(other)
                    | PartitionCommand::MoveTo(other) => self.give(other),
                    _ => Ok(()),
                }
            }
            Statement::AlterTable(alter) => self.give(&mut alter.table),
            Statement::TruncateTable { table, .. }
            | Statement::SetMerges { table: Some(table), .. }
            | Statement::ShowCreateTable { table }
            | Statement::Describe { table, .. }
            | Statement::Exists(ExistsName::Table(table)) => self.give(table),
            Statement::Optimize(optimize) => self.give(&mut optimize.table),
            Statement::CheckTable(check) => self.give(&mut check.table),
            Statement::RenameTables { renames, .. } => {
                renames.iter_mut().try_for_each(|(from, to)| self.renamed(from, to))
            }
            Statement::ExchangeTables { first, second, .. } => {
                let lasting = (first.clone(), second.clone());
                self.give(first)?;
                self.give(second)?;
                match (*first == lasting.0) == (*second == lasting.1) {
                    true => Ok(()),
                    false => Err(stays()),
                }
            }
            Statement::Past(past) => match past.as_mut() {
                PastStatement::Restore { table, .. }
                | PastStatement::Clone { source: table, .. } => self.give(table),
                PastStatement::Undrop { .. } => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn renamed(&self, from: &mut TableName, to: &TableName) -> Result<()> {
        let lasting = from.clone();
        self.give(from)?;
        match *from != lasting && to.database.is_some() {
            true => Err(stays()),
            false => Ok(()),
        }
    }

    /// Leaves the temporary ones of `tables`.
    fn only_temporary(&self, tables: &mut Vec<TableName>, if_exists: bool) -> Result<()> {
        let mut found = Vec::with_capacity(tables.len());
        for mut table in std::mem::take(tables) {
            let written = table.clone();
            self.give(&mut table)?;
            match (table != written, if_exists) {
                (true, _) => found.push(table),
                (false, true) => {}
                (false, false) => {
                    let message = format!("the session has no temporary table '{written}'");
                    return Err(Error::not_found(message));
                }
            }
        }
        *tables = found;
        Ok(())
    }

    /// The name that `table` means.
    fn give(&self, table: &mut TableName) -> Result<()> {
        if table.database.is_none()
            && let Some(exact) = (self.tables.find)(&table.name)?
        {
            *table = TableName { database: Some(self.tables.database.to_owned()), name: exact };
        }
        Ok(())
    }

    fn within(&mut self, tree: &mut impl VisitMut) -> Result<()> {
        match walk_mut(tree, self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    /// Expressions that know common table expressions.
    fn behind<'e>(
        &mut self,
        with: Option<&mut With>,
        mut expressions: impl Iterator<Item = &'e mut sqlparser::ast::Expr>,
    ) -> Result<()> {
        self.scopes.push(Scope::of(with.as_deref()));
        with.map_or(Ok(()), |with| self.within(with))?;
        expressions.try_for_each(|expression| self.within(expression))
    }

    fn in_action(&mut self, action: &mut MergeAction) -> Result<()> {
        match action {
            MergeAction::Update(Some(assignments)) => {
                assignments.iter_mut().try_for_each(|(_, value)| self.within(value))
            }
            MergeAction::Insert(Some(insert)) => {
                insert.values.iter_mut().try_for_each(|value| self.within(value))
            }
            _ => Ok(()),
        }
    }

    fn is_cte(&self, name: &str) -> bool {
        let known = self.scopes.iter().flat_map(|scope| &scope.names[..scope.known]);
        known.into_iter().any(|cte| cte == name)
    }

    fn in_from(&self, factor: &mut TableFactor) -> Result<()> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { return Ok(()) };
        // What is no name of a table is refused by whoever binds it.
        let Ok(written) = TableName::of(name) else { return Ok(()) };
        let reading = TableReading::parse(&written.name);
        if written.database.is_some() || self.is_cte(&reading.table) {
            return Ok(());
        }
        let Some(exact) = (self.tables.find)(&reading.table)? else { return Ok(()) };
        alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: Ident::with_quote('`', &reading.table),
            columns: Vec::new(),
            at: None,
        });
        let parts =
            [self.tables.database.to_owned(), TableReading { table: exact, ..reading }.name()];
        let parts = parts.map(|part| ObjectNamePart::Identifier(Ident::with_quote('`', part)));
        *name = ObjectName(parts.to_vec());
        Ok(())
    }
}

fn stays() -> Error {
    Error::invalid("a temporary table stays one: INSERT its rows into a table that lasts")
}

impl VisitorMut for Names<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        // A common table expression knows those before it, and itself when it is recursive.
        if let Some(outer) = self.scopes.last_mut()
            && outer.begun < outer.names.len()
        {
            outer.known = outer.begun + usize::from(outer.recursive);
            outer.begun += 1;
        }
        self.scopes.push(Scope::of(query.with.as_ref()));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.scopes.pop();
        if let Some(outer) = self.scopes.last_mut()
            && outer.begun == outer.names.len()
        {
            outer.known = outer.begun;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match self.in_from(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn named(sql: &str) -> Result<Statement> {
        let mut statement = parse(sql).expect(sql).pop().expect(sql);
        let find = |name: &str| Ok((name == "t").then(|| name.to_owned()));
        let tables = TemporaryTables { database: "own", find: &find };
        with_temporary(&mut statement, &tables).map(|()| statement)
    }

    #[test]
    fn names_without_a_database_mean_temporary_tables_first() {
        for (sql, expected) in [
            ("SELECT a FROM t", "SELECT a FROM `own`.`t` AS `t`"),
            ("SELECT a FROM t AS x", "SELECT a FROM `own`.`t` AS x"),
            ("SELECT a FROM default.t", "SELECT a FROM default.t"),
            ("SELECT a FROM other", "SELECT a FROM other"),
            (
                "SELECT (SELECT max(a) FROM t) FROM u WHERE a IN (SELECT a FROM t)",
                "SELECT (SELECT max(a) FROM `own`.`t` AS `t`) FROM u WHERE a IN (SELECT a FROM \
                 `own`.`t` AS `t`)",
            ),
            ("WITH t AS (SELECT 1) SELECT * FROM t", "WITH t AS (SELECT 1) SELECT * FROM t"),
            (
                "WITH t AS (SELECT a FROM t) SELECT * FROM t",
                "WITH t AS (SELECT a FROM `own`.`t` AS `t`) SELECT * FROM t",
            ),
            (
                "WITH s AS (SELECT a FROM t), t AS (SELECT 1), u AS (SELECT 2 FROM t) SELECT * FROM t",
                "WITH s AS (SELECT a FROM `own`.`t` AS `t`), t AS (SELECT 1), u AS (SELECT 2 FROM t) \
                 SELECT * FROM t",
            ),
            (
                "WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT 2 FROM t) SELECT * FROM t",
                "WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT 2 FROM t) SELECT * FROM t",
            ),
            (
                "SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) AS x, t",
                "SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) AS x, `own`.`t` AS `t`",
            ),
        ] {
            let Statement::Query(query) = named(sql).expect(sql) else { panic!("{sql}") };
            assert_eq!(query.to_string(), expected, "{sql}");
        }
    }

    #[test]
    fn statements_about_tables_know_them() {
        for (sql, expected) in [
            ("INSERT INTO t SELECT a FROM t", 2),
            ("INSERT INTO u SELECT a FROM t", 1),
            ("DELETE FROM t WHERE a IN (SELECT a FROM t)", 2),
            ("UPDATE t SET a = (SELECT max(a) FROM t) WHERE a = 1", 2),
            ("WITH t AS (SELECT 1 AS a) DELETE FROM u WHERE a IN (SELECT a FROM t)", 0),
            ("MERGE INTO t USING t AS s ON t.a = s.a WHEN MATCHED THEN DELETE", 2),
            ("CREATE TABLE x AS SELECT * FROM t", 1),
            ("CREATE TABLE x AS t", 1),
            ("CREATE VIEW v AS SELECT * FROM t", 0),
            ("ALTER TABLE t ADD COLUMN b Int64", 1),
            ("TRUNCATE TABLE t", 1),
            ("DROP TABLE t, u", 1),
            ("DROP TEMPORARY TABLE IF EXISTS t, u", 1),
            ("DESCRIBE t", 1),
            ("SHOW CREATE TABLE t", 1),
            ("EXISTS TABLE t", 1),
            ("OPTIMIZE TABLE t", 1),
            ("RENAME TABLE t TO x", 1),
            ("EXCHANGE TABLES u AND v", 0),
        ] {
            let text = format!("{:?}", named(sql).expect(sql));
            assert_eq!(text.matches("\"own\"").count(), expected, "{sql}: {text}");
        }
        for sql in ["RENAME TABLE t TO d.x", "EXCHANGE TABLES t AND u", "DROP TEMPORARY TABLE u"] {
            assert!(named(sql).is_err(), "{sql}");
        }
    }
}
