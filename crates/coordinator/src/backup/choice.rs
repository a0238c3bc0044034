//! What a statement takes of a backup, and under which names. Pure.

use std::collections::{BTreeMap, BTreeSet};

use granary_catalog::{Backup, BackupTable, Snapshot, SqlFunction, UserSettings, View, ViewKind};
use granary_common::{Error, Result, TableId};
use granary_sql::{BackupScope, did_you_mean, find_database};

/// What the own table of a view is called.
const INNER: &str = ".inner.";

/// What is restored, and under which names.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    pub databases: BTreeSet<&'a str>,
    pub tables: Vec<Chosen<'a, BackupTable>>,
    pub views: Vec<Chosen<'a, View>>,
    /// With whole databases.
    pub functions: Vec<&'a SqlFunction>,
    /// With everything.
    pub user_settings: Vec<&'a UserSettings>,
}

/// A table or view with the database and the name that it gets.
#[derive(Debug, PartialEq)]
pub(super) struct Chosen<'a, T> {
    pub what: &'a T,
    pub database: String,
    pub name: String,
}

/// What the statement names of the backup. Kind `NotFound` for what is not in it.
pub(super) fn choose<'a>(
    backup: &'a Backup,
    current: &str,
    what: &[BackupScope],
) -> Result<Choice<'a>> {
    let mut choice = Choice::default();
    if what.iter().any(|scope| !matches!(scope, BackupScope::Table { .. })) {
        choice.functions = backup.functions.iter().collect();
    }
    if what.contains(&BackupScope::All) {
        choice.user_settings = backup.user_settings.iter().collect();
    }
    for scope in what {
        let is_there = match scope {
            BackupScope::All => {
                choice.add_databases(backup, |_| true);
                true
            }
            BackupScope::Database(wanted) => {
                choice.add_databases(backup, |name| name == wanted);
                choice.databases.contains(wanted.as_str())
            }
            BackupScope::Table { name, target } => {
                let database = name.database.as_deref().unwrap_or(current);
                let target = target.as_ref().unwrap_or(name);
                let to = target.database.as_deref().unwrap_or(current);
                choice.add_relation(backup, (database, &name.name), (to, &target.name))
            }
        };
        if !is_there {
            return Err(missing(backup, scope));
        }
    }
    Ok(choice)
}

fn missing(backup: &Backup, scope: &BackupScope) -> Error {
    let tables = backup.tables.iter().map(|table| table.table.name.as_str());
    let views = backup.views.iter().map(|(_, view)| view.name.as_str());
    let hint = match scope {
        BackupScope::All => String::new(),
        BackupScope::Database(name) => did_you_mean(name, databases(backup)),
        BackupScope::Table { name, .. } => did_you_mean(&name.name, tables.chain(views)),
    };
    Error::not_found(format!("the backup does not hold {scope}{hint}"))
}

/// Those that were taken whole, and those of its tables and views.
fn databases(backup: &Backup) -> impl Iterator<Item = &str> {
    let of_tables = backup.tables.iter().map(|table| table.database.as_str());
    let of_views = backup.views.iter().map(|(database, _)| database.as_str());
    backup.databases.iter().map(String::as_str).chain(of_tables).chain(of_views)
}

impl<'a> Choice<'a> {
    fn add_databases(&mut self, backup: &'a Backup, is_wanted: impl Fn(&str) -> bool) {
        self.databases.extend(databases(backup).filter(|name| is_wanted(name)));
        for table in backup.tables.iter().filter(|table| is_wanted(&table.database)) {
            self.add_table(table, &table.database, &table.table.name);
        }
        for (database, view) in backup.views.iter().filter(|(database, _)| is_wanted(database)) {
            self.add_view(view, database, &view.name);
        }
    }

    /// A table, or a view with the table that is its own; gives whether there is one.
    fn add_relation(
        &mut self,
        backup: &'a Backup,
        (database, name): (&str, &str),
        (to, target): (&str, &str),
    ) -> bool {
        let mut is_there = false;
        for table in &backup.tables {
            if table.database == database && table.table.name == name {
                self.add_table(table, to, target);
                is_there = true;
            }
        }
        for (of, view) in &backup.views {
            if of != database || view.name != name {
                continue;
            }
            for table in backup.tables.iter().filter(|t| Some(t.table.id) == view.kind.owned()) {
                let own = match table.table.name.starts_with(INNER) && target != name {
                    true => format!("{INNER}{target}"),
                    false => table.table.name.clone(),
                };
                self.add_table(table, to, &own);
            }
            self.add_view(view, to, target);
            is_there = true;
        }
        is_there
    }

    fn add_table(&mut self, what: &'a BackupTable, database: &str, name: &str) {
        let chosen = Chosen { what, database: database.to_owned(), name: name.to_owned() };
        if !self.tables.contains(&chosen) {
            self.tables.push(chosen);
        }
    }

    fn add_view(&mut self, what: &'a View, database: &str, name: &str) {
        let chosen = Chosen { what, database: database.to_owned(), name: name.to_owned() };
        if !self.views.contains(&chosen) {
            self.views.push(chosen);
        }
    }

    /// The functions that are not there yet.
    pub fn missing_functions(&self, snapshot: &Snapshot) -> Vec<&'a SqlFunction> {
        let is_missing = |row: &&&SqlFunction| !snapshot.functions.contains_key(&row.name);
        self.functions.iter().filter(is_missing).copied().collect()
    }

    /// The settings of users that have none yet.
    pub fn missing_settings(&self, snapshot: &Snapshot) -> Vec<&'a UserSettings> {
        let is_missing = |row: &&&UserSettings| !snapshot.user_settings.contains_key(&row.user);
        self.user_settings.iter().filter(is_missing).copied().collect()
    }

    /// Refuses functions that are others here: what calls them would mean something else.
    fn check_functions(&self, snapshot: &Snapshot) -> Result<()> {
        let differs = |row: &&&SqlFunction| {
            let here = snapshot.functions.get(&row.name);
            here.is_some_and(|here| (&here.parameters, &here.body) != (&row.parameters, &row.body))
        };
        match self.functions.iter().find(differs) {
            None => Ok(()),
            Some(row) => Err(Error::already_exists(format!(
                "the function in SQL '{}' is another one here than in the backup; drop it first, or \
                 restore single tables",
                row.name
            ))),
        }
    }

    /// Refuses names that are taken, databases that are not there, and views that would be without
    /// their tables, before anything is made.
    pub fn check(&self, backup: &Backup, snapshot: &Snapshot) -> Result<()> {
        self.check_functions(snapshot)?;
        let tables = self.tables.iter().map(|table| (&table.database, &table.name));
        let views = self.views.iter().map(|view| (&view.database, &view.name));
        let mut seen = BTreeSet::new();
        for (database, name) in tables.chain(views) {
            if !seen.insert((database, name)) {
                return Err(Error::invalid(format!("two of them would be called '{name}'")));
            }
            let id = match find_database(snapshot, database) {
                Ok(id) => id,
                Err(_) if self.databases.contains(database.as_str()) => continue,
                Err(error) => return Err(error),
            };
            let found = snapshot.find_relation(id, name);
            if found.is_some_and(|found| found.name() == name) {
                return Err(Error::already_exists(format!(
                    "'{name}' exists in database '{database}'; drop or rename it first, or restore \
                     the other one under another name with AS"
                )));
            }
        }
        let made: BTreeMap<TableId, TableId> =
            self.tables.iter().map(|table| (table.what.table.id, table.what.table.id)).collect();
        for view in &self.views {
            self.check_names(view)?;
            kind_here(view.what, &made, backup, snapshot)?;
        }
        Ok(())
    }

    /// The text of a view's query names its tables, and is not changed.
    fn check_names(&self, view: &Chosen<'_, View>) -> Result<()> {
        let ViewKind::Materialized { source, .. } = &view.what.kind else { return Ok(()) };
        let renamed = self.tables.iter().find(|table| {
            table.what.table.id == *source
                && (table.name != table.what.table.name || table.database != table.what.database)
        });
        match renamed {
            None => Ok(()),
            Some(table) => Err(Error::unsupported(format!(
                "view '{}' reads '{}', which cannot be restored with it under another name",
                view.what.name, table.what.table.name
            ))),
        }
    }
}

/// The kind of a view over the tables that were `made`, by their ids in the backup, or else over those
/// of the same names. Kind `NotFound` when there is none.
pub(super) fn kind_here(
    view: &View,
    made: &BTreeMap<TableId, TableId>,
    backup: &Backup,
    snapshot: &Snapshot,
) -> Result<ViewKind> {
    let of = |id: &TableId| {
        if let Some(made) = made.get(id) {
            return Ok(*made);
        }
        let named = backup.made_of.get(id);
        let found = named.and_then(|(database, name)| {
            let database = find_database(snapshot, database).ok()?;
            snapshot.find_table(database, name)
        });
        found.map(|state| state.table.id).ok_or_else(|| {
            let missing = match named {
                Some((database, name)) => format!("table '{database}.{name}'"),
                None => "its table".to_owned(),
            };
            Error::not_found(format!("view '{}' needs {missing}; restore it first", view.name))
        })
    };
    let mut kind = view.kind.clone();
    match &mut kind {
        ViewKind::Plain => {}
        ViewKind::Materialized { source, target, .. } => {
            (*source, *target) = (of(source)?, of(target)?);
        }
        ViewKind::Refreshable { target, .. } | ViewKind::Alias { target } => *target = of(target)?,
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use granary_catalog::{Distribution, EngineKind, Table, TableEngine};
    use granary_common::{CatalogVersion, ColumnId, DatabaseId, ErrorKind};
    use granary_sql::TableName;

    use super::*;

    fn table(id: u64, database: &str, name: &str) -> BackupTable {
        let table = Table {
            id: TableId(id),
            database: DatabaseId(1),
            name: name.to_owned(),
            engine: TableEngine { kind: EngineKind::MergeTree, arguments: Vec::new() },
            columns: Vec::new(),
            next_column_id: ColumnId(0),
            order_by: Vec::new(),
            primary_key_len: 0,
            partition_by: Vec::new(),
            distribution: Distribution::Rotation,
            buckets: 1,
            colocation_group: None,
            settings: BTreeMap::new(),
            comment: None,
            schema_version: 1,
            view_set_version: 1,
            data_version: 1,
            created: CatalogVersion(1),
            dropped: None,
            unique_key: Vec::new(),
            merges_stopped: false,
            options: granary_catalog::TableOptions::default(),
        };
        BackupTable { database: database.to_owned(), table, parts: Vec::new() }
    }

    fn view(name: &str, kind: ViewKind) -> (String, View) {
        let view = View {
            id: TableId(90),
            database: DatabaseId(1),
            name: name.to_owned(),
            query: "SELECT 1".to_owned(),
            query_database: "a".to_owned(),
            columns: Vec::new(),
            kind,
            comment: None,
            created: CatalogVersion(1),
            filled: None,
        };
        ("a".to_owned(), view)
    }

    /// Tables `a.t` and `b.t`, and `a.v`, which is made of `a.t` and has a table of its own.
    fn example() -> Backup {
        let kind =
            ViewKind::Materialized { source: TableId(1), target: TableId(3), owns_target: true };
        let names = [(1, "t"), (3, ".inner.v")];
        let named = |(id, name): (u64, &str)| (TableId(id), ("a".to_owned(), name.to_owned()));
        Backup {
            cluster: "c".to_owned(),
            version: CatalogVersion(7),
            begun_ms: 0,
            databases: vec!["a".to_owned(), "empty".to_owned()],
            tables: vec![table(1, "a", "t"), table(2, "b", "t"), table(3, "a", ".inner.v")],
            views: vec![view("v", kind)],
            made_of: names.into_iter().map(named).collect(),
            bases: Vec::new(),
            elsewhere: BTreeMap::new(),
            functions: Vec::new(),
            user_settings: Vec::new(),
        }
    }

    fn named(name: &str, target: Option<&str>) -> BackupScope {
        let name_of = |name: &str| TableName { database: None, name: name.to_owned() };
        BackupScope::Table { name: name_of(name), target: target.map(name_of) }
    }

    /// What is chosen with the current database `a`, as text.
    fn chosen(what: &[BackupScope]) -> Result<String> {
        let backup = example();
        let choice = choose(&backup, "a", what)?;
        let databases = choice.databases.iter().map(|name| (*name).to_owned());
        let tables = choice.tables.iter();
        let tables = tables.map(|t| format!("{}:{}.{}", t.what.table.id, t.database, t.name));
        let views = choice.views.iter().map(|v| format!("view {}.{}", v.database, v.name));
        Ok(databases.chain(tables).chain(views).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn everything_that_is_named_is_chosen_once() {
        let all = "a b empty 1:a.t 2:b.t 3:a..inner.v view a.v";
        for (what, expected) in [
            (vec![BackupScope::All], all),
            (vec![BackupScope::All, named("t", None)], all),
            (vec![BackupScope::Database("b".into())], "b 2:b.t"),
            (vec![BackupScope::Database("empty".into())], "empty"),
            (vec![named("t", None)], "1:a.t"),
            (vec![named("t", Some("u")), named("t", None)], "1:a.u 1:a.t"),
            (vec![named("v", None)], "3:a..inner.v view a.v"),
            (vec![named("v", Some("w"))], "3:a..inner.w view a.w"),
        ] {
            assert_eq!(chosen(&what).unwrap(), expected, "{what:?}");
        }
        for missing in [named("tt", None), BackupScope::Database("c".into())] {
            let error = chosen(&[missing]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused_before_anything_is() {
        let check = |what: &[BackupScope]| {
            let backup = example();
            choose(&backup, "a", what)?.check(&backup, &Snapshot::default())
        };
        let whole = BackupScope::Database("a".into());
        assert!(check(std::slice::from_ref(&whole)).is_ok());
        for (what, kind) in [
            // Its database is not there, and is not restored.
            (vec![named("t", None)], ErrorKind::NotFound),
            // The source of the view neither.
            (vec![whole.clone(), named("v", Some("t"))], ErrorKind::InvalidInput),
            (vec![whole, named("t", Some("u"))], ErrorKind::Unsupported),
        ] {
            assert_eq!(check(&what).unwrap_err().kind(), kind, "{what:?}");
        }
    }
}
