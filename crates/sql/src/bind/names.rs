//! Tables by their names: exactly, else without case when only one matches.

use std::sync::Arc;

use datafusion::catalog::CatalogProvider;
use datafusion::execution::SessionState;
use granary_catalog::{Table, View};
use granary_common::{Error, Result, did_you_mean};
use granary_execution::TableReading;
use sqlparser::ast::{Expr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Value};

use super::enums::SessionTables;
use super::setting_calls::SessionSettings;
use super::templates;
use crate::error::place_of;
use crate::resolve::{Named, resolve_name};
use crate::statement::{Definition, TableName, dictionary_of};

/// The databases and tables of a session.
pub(super) struct Names<'a> {
    catalog: Option<Arc<dyn CatalogProvider>>,
    current_database: &'a str,
    user: String,
    tables: Option<Arc<SessionTables>>,
    settings: Option<Arc<SessionSettings>>,
    /// The text of the statement, to show where a name stands.
    sql: &'a str,
}

/// Who a session belongs to, as an extension of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionUser(pub String);

/// Names of the function that gives the session's database.
const CURRENT_DATABASE: [&str; 5] =
    ["currentdatabase", "current_database", "database", "current_schema", "schema"];

/// Names of the function that gives the session's user.
const CURRENT_USER: [&str; 4] = ["currentuser", "current_user", "user", "session_user"];

/// Names of the function that gives the name of the coordinator's machine.
const HOST_NAME: [&str; 3] = ["hostname", "fqdn", "fullhostname"];

/// As the kernel has it; empty where it does not tell.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// For how many seconds this process has run, as the kernel has it; 0 where it does not tell.
fn uptime() -> u64 {
    let ticks_per_second = 100.0; // Linux tells everybody a hundredth of a second.
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let machine = read("/proc/uptime").split(' ').next().and_then(|up| up.parse::<f64>().ok());
    // Behind the name of the process, which may have blanks.
    let stat = read("/proc/self/stat");
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let started = fields.split_whitespace().nth(19).and_then(|ticks| ticks.parse::<f64>().ok());
    match (machine, started) {
        (Some(machine), Some(started)) => (machine - started / ticks_per_second).max(0.0) as u64,
        _ => 0,
    }
}

/// Those that the standard writes without brackets.
const WITHOUT_BRACKETS: [&str; 4] =
    ["current_user", "session_user", "current_schema", "localtimestamp"];

/// The name of the session's database or user in the place of what asks for it.
pub(super) fn of_session(expression: &Expr, names: &Names<'_>) -> Option<Expr> {
    let name = match expression {
        Expr::Identifier(ident) if ident.quote_style.is_none() => {
            let name = ident.value.to_lowercase();
            WITHOUT_BRACKETS.contains(&name.as_str()).then_some(name)?
        }
        Expr::Function(function) => {
            let has_arguments = match &function.args {
                FunctionArguments::None => false,
                FunctionArguments::List(list) => !list.args.is_empty(),
                FunctionArguments::Subquery(_) => true,
            };
            (!has_arguments).then(|| function.name.to_string().to_lowercase())?
        }
        _ => return None,
    };
    if name == "localtimestamp" {
        return templates::expression("CAST(current_timestamp AS DateTime64(6))").ok();
    }
    if name == "uptime" {
        return templates::expression(&format!("CAST({} AS UInt32)", uptime())).ok();
    }
    let value = if CURRENT_DATABASE.contains(&name.as_str()) {
        names.current_database.to_owned()
    } else if CURRENT_USER.contains(&name.as_str()) {
        names.user.clone()
    } else if HOST_NAME.contains(&name.as_str()) {
        host_name()
    } else if name == "version" {
        env!("CARGO_PKG_VERSION").to_owned()
    } else {
        return None;
    };
    Some(Expr::Value(Value::SingleQuotedString(value).into()))
}

/// Whose a session is that nobody opened, as that of an expression in a table's definition.
const DEFAULT_USER: &str = "default";

/// The schemas that DataFusion makes up itself.
const INFORMATION_SCHEMA: &str = "information_schema";

impl<'a> Names<'a> {
    /// What `state` can see.
    pub(super) fn of(state: &'a SessionState, sql: &'a str) -> Names<'a> {
        let options = &state.config_options().catalog;
        let user = state.config().get_extension::<SessionUser>();
        Names {
            catalog: state.catalog_list().catalog(&options.default_catalog),
            current_database: &options.default_schema,
            tables: state.config().get_extension::<SessionTables>(),
            settings: state.config().get_extension::<SessionSettings>(),
            user: user.map_or_else(|| DEFAULT_USER.to_owned(), |user| user.0.clone()),
            sql,
        }
    }

    /// The value of a setting, whose name is in lower case.
    pub(super) fn setting(&self, name: &str) -> Option<String> {
        self.settings.as_ref().and_then(|settings| (settings.0)(name))
    }

    /// The table of this name in the catalog, without regard to case.
    pub(super) fn table(&self, name: &TableName) -> Option<Arc<Table>> {
        let SessionTables(snapshot) = self.tables.as_deref()?;
        let plain = TableReading::parse(&name.name).table;
        let name = TableName { database: name.database.clone(), name: plain };
        match resolve_name(snapshot, self.current_database, &name).ok()? {
            Named::Table(table) => Some(table),
            Named::View(_) => None,
        }
    }

    /// The dictionary of this name, without regard to case.
    pub(super) fn dictionary(&self, name: &TableName) -> Option<(Arc<View>, Definition)> {
        let SessionTables(snapshot) = self.tables.as_deref()?;
        match resolve_name(snapshot, self.current_database, name).ok()? {
            Named::View(view) => dictionary_of(&view).map(|definition| (view, definition)),
            Named::Table(_) => None,
        }
    }

    /// The exact name of a database, or of the current one, and its tables in order.
    ///
    /// # Errors
    /// NotFound with the nearest name.
    pub(super) fn tables_of(&self, database: Option<&str>) -> Result<(String, Vec<String>)> {
        let database = database.unwrap_or(self.current_database);
        let Some(catalog) = &self.catalog else { return Ok((database.to_owned(), Vec::new())) };
        let databases = catalog.schema_names();
        let Some(found) = find(&databases, database) else {
            let hint = did_you_mean(database, databases.iter().map(String::as_str));
            return Err(Error::not_found(format!("unknown database '{database}'{hint}")));
        };
        let tables = catalog.schema(found).map(|schema| schema.table_names());
        let mut tables = tables.unwrap_or_default();
        tables.sort_unstable();
        Ok((found.to_owned(), tables))
    }

    /// Replaces `name` by the exact `database.table`. Names of `ctes` stay.
    /// How the table is read stays a part of its name where the table can be read so.
    pub(super) fn resolve(&self, name: &mut ObjectName, ctes: &[String]) -> Result<()> {
        let reading = TableReading::parse(&TableName::of(name)?.name);
        if reading.is_plain() {
            return self.resolve_table(name, ctes);
        }
        let mut plain = name.clone();
        rename(&mut plain, reading.table.clone());
        self.resolve_table(&mut plain, ctes)?;
        let is_cte = ctes.contains(&reading.table) && TableName::of(&plain)?.database.is_none();
        let reading = TableReading { table: TableName::of(&plain)?.name, ..reading };
        if reading.past.is_some() && (is_cte || !self.can_read(&plain, &reading)?) {
            return Err(Error::unsupported(format!(
                "'{plain}' has no versions: AS OF is for tables of databases"
            )));
        }
        if self.can_read(&plain, &reading)? {
            rename(&mut plain, reading.name());
        }
        *name = plain;
        Ok(())
    }

    /// Whether the table of the resolved `name` can be read as `reading` says.
    pub(super) fn can_read(&self, name: &ObjectName, reading: &TableReading) -> Result<bool> {
        let table = TableName::of(name)?;
        let database = table.database.as_deref().unwrap_or(self.current_database);
        let schema = self.catalog.as_ref().and_then(|catalog| catalog.schema(database));
        Ok(schema.is_some_and(|schema| schema.table_exist(&reading.name())))
    }

    fn resolve_table(&self, name: &mut ObjectName, ctes: &[String]) -> Result<()> {
        let table = TableName::of(name)?;
        if table.database.is_none() && ctes.contains(&table.name) {
            return Ok(());
        }
        let Some(catalog) = &self.catalog else { return Ok(()) };
        let database = table.database.as_deref().unwrap_or(self.current_database);
        if database.eq_ignore_ascii_case(INFORMATION_SCHEMA) {
            *name = object_name([INFORMATION_SCHEMA.to_owned(), table.name.to_lowercase()]);
            return Ok(());
        }
        let databases = catalog.schema_names();
        let Some(database) = find(&databases, database) else {
            let hint = did_you_mean(database, databases.iter().map(String::as_str));
            let place = place_of(database, self.sql);
            return Err(Error::not_found(format!("unknown database '{database}'{hint}{place}")));
        };
        let Some(schema) = catalog.schema(database) else { return Ok(()) };
        if schema.table_exist(&table.name) {
            set_name(name, &table, database, &table.name);
            return Ok(());
        }
        let tables = schema.table_names();
        let cte = match table.database {
            None => find(ctes, &table.name),
            Some(_) => None,
        };
        match cte.or_else(|| find(&tables, &table.name)) {
            Some(found) => {
                set_name(name, &table, database, found);
                Ok(())
            }
            None => {
                let known = tables.iter().chain(ctes).map(String::as_str);
                let hint = did_you_mean(&table.name, known);
                let name = &table.name;
                let place = place_of(name, self.sql);
                Err(Error::not_found(format!("unknown table '{database}.{name}'{hint}{place}")))
            }
        }
    }
}

/// Gives the last part of `name` another text.
pub(super) fn rename(name: &mut ObjectName, table: String) {
    name.0.pop();
    name.0.push(ObjectNamePart::Identifier(Ident::new(table)));
}

/// A name without a database stays so, since that is how columns refer to it.
fn set_name(name: &mut ObjectName, written: &TableName, database: &str, table: &str) {
    *name = match written.database {
        Some(_) => object_name([database.to_owned(), table.to_owned()]),
        None => object_name([table.to_owned()]),
    };
}

fn object_name<const N: usize>(parts: [String; N]) -> ObjectName {
    ObjectName(parts.into_iter().map(|part| ObjectNamePart::Identifier(Ident::new(part))).collect())
}

/// The name of exactly this spelling, else the only one that matches without case.
fn find<'n>(names: &'n [String], name: &str) -> Option<&'n str> {
    if let Some(exact) = names.iter().find(|candidate| *candidate == name) {
        return Some(exact);
    }
    let mut alike = names.iter().filter(|candidate| candidate.eq_ignore_ascii_case(name));
    match (alike.next(), alike.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}
