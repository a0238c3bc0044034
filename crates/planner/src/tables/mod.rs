//! The catalog's tables as the engine sees them, at one snapshot.

mod hints;
mod outside;
mod partition_conditions;
mod partitions;
mod past;
mod patterns;
mod provider;
pub mod prune;
mod runs;
mod shape;
pub mod statistics;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::Result as EngineResult;
use granary_catalog::{Database, Relation, Snapshot, TableState, View, ViewKind};
use granary_common::{Error, Result, TableId};
use granary_execution::TableReading;
use granary_execution::error::to_datafusion;

use self::statistics::StatisticsCache;

pub use outside::OutsideTable;
pub use past::past_reads;
pub use provider::PartTable;
pub(crate) use provider::ProjectedParts;

/// The name of the one catalog.
pub const CATALOG: &str = "granary";

/// Databases as schemas, and the extra schemas beside them.
#[derive(Debug)]
pub struct SnapshotCatalog {
    snapshot: Arc<Snapshot>,
    statistics: Arc<StatisticsCache>,
    extra: BTreeMap<String, Arc<dyn SchemaProvider>>,
    views: Option<Arc<dyn ViewBinder>>,
    collapsed: bool,
}

/// What stands behind names that are no stored tables. This crate does not know SQL, so whoever
/// opens the session binds its views.
#[async_trait]
pub trait ViewBinder: fmt::Debug + Send + Sync {
    /// The rows of a view that has no table of its own.
    async fn bind(&self, view: &View) -> Result<Arc<dyn TableProvider>>;

    /// What is read in place of a table, for example the rows that are being inserted into it.
    fn stand_in(&self, table: TableId) -> Option<Arc<dyn TableProvider>>;
}

impl SnapshotCatalog {
    /// The catalog at `snapshot`.
    pub fn new(
        snapshot: Arc<Snapshot>,
        statistics: Arc<StatisticsCache>,
        extra: Vec<(String, Arc<dyn SchemaProvider>)>,
    ) -> Self {
        Self {
            snapshot,
            statistics,
            extra: extra.into_iter().collect(),
            views: None,
            collapsed: false,
        }
    }

    /// The same catalog with its views.
    pub fn with_views(self, views: Option<Arc<dyn ViewBinder>>) -> Self {
        Self { views, ..self }
    }

    /// The same catalog; `collapsed` reads every table as with FINAL.
    pub fn collapsed(self, collapsed: bool) -> Self {
        Self { collapsed, ..self }
    }
}

impl CatalogProvider for SnapshotCatalog {
    fn schema_names(&self) -> Vec<String> {
        let databases = self.snapshot.databases.values().map(|database| database.name.clone());
        self.extra.keys().cloned().chain(databases).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if let Some(extra) = self.extra.get(name) {
            return Some(Arc::clone(extra));
        }
        match self.snapshot.find_database(name) {
            Some(database) => Some(Arc::new(SnapshotSchema {
                snapshot: Arc::clone(&self.snapshot),
                statistics: Arc::clone(&self.statistics),
                database: Arc::clone(database),
                views: self.views.clone(),
                collapsed: self.collapsed,
            })),
            None => {
                let mut alike =
                    self.extra.iter().filter(|(extra, _)| extra.eq_ignore_ascii_case(name));
                alike.next().map(|(_, schema)| Arc::clone(schema))
            }
        }
    }
}

/// Tables and views of one database.
#[derive(Debug)]
struct SnapshotSchema {
    snapshot: Arc<Snapshot>,
    statistics: Arc<StatisticsCache>,
    database: Arc<Database>,
    views: Option<Arc<dyn ViewBinder>>,
    collapsed: bool,
}

impl SnapshotSchema {
    /// What `name` asks for, and how it is read. A table of just that name comes first.
    fn find(&self, name: &str) -> Option<(Relation<'_>, TableReading)> {
        let plain = TableReading { table: name.to_owned(), ..TableReading::default() };
        let (found, mut reading) = match self.relation(name) {
            Some(found) => (found, plain),
            None => {
                let reading = TableReading::parse(name);
                (self.relation(&reading.table)?, reading)
            }
        };
        reading.collapsed |= self.collapsed;
        (!reading.positions || self.has_positions(&found)).then_some((found, reading))
    }

    fn relation(&self, name: &str) -> Option<Relation<'_>> {
        let found = self.snapshot.find_relation(self.database.id, name);
        found.filter(|found| self.views.is_some() || matches!(found, Relation::Table(_)))
    }

    fn has_positions(&self, found: &Relation<'_>) -> bool {
        let state = match found {
            Relation::Table(state) => Some(*state),
            Relation::View(view) if matches!(view.kind, ViewKind::Plain) => None,
            Relation::View(view) => self.snapshot.table_behind(view),
        };
        state.is_some_and(|state| {
            self.stand_in(state).is_none() && PartTable::has_virtual_columns(&state.table)
        })
    }

    fn stand_in(&self, state: &TableState) -> Option<Arc<dyn TableProvider>> {
        self.views.as_ref().and_then(|views| views.stand_in(state.table.id))
    }

    fn stored(&self, state: &TableState, reading: &TableReading) -> Result<Arc<dyn TableProvider>> {
        if let Some(stand_in) = self.stand_in(state).filter(|_| reading.past.is_none()) {
            return Ok(stand_in);
        }
        let database = self.snapshot.databases.get(&state.table.database);
        let database = database.map_or(self.database.name.as_str(), |found| found.name.as_str());
        Ok(Arc::new(PartTable::new(
            state.clone(),
            Arc::clone(&self.snapshot),
            database,
            Arc::clone(&self.statistics),
            reading,
        )?))
    }

    async fn view(
        &self,
        view: &Arc<View>,
        reading: &TableReading,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        match &view.kind {
            ViewKind::Plain if reading.past.is_some() => Err(Error::unsupported(format!(
                "'{}' is a view: write AS OF behind the tables of its query",
                view.name
            ))),
            ViewKind::Plain => match &self.views {
                Some(views) => views.bind(view).await.map(Some),
                None => Ok(None),
            },
            _ => match self.snapshot.table_behind(view) {
                Some(state) => self.stored(state, reading).map(Some),
                None => Err(Error::not_found(format!(
                    "the table behind '{}' does not exist any more; it was dropped",
                    view.name
                ))),
            },
        }
    }
}

#[async_trait]
impl SchemaProvider for SnapshotSchema {
    fn table_names(&self) -> Vec<String> {
        let tables = self.snapshot.tables_of(self.database.id);
        let tables = tables.map(|state| state.table.name.clone());
        let views = self.snapshot.views_of(self.database.id).map(|view| view.name.clone());
        tables.chain(views.filter(|_| self.views.is_some())).collect()
    }

    async fn table(&self, name: &str) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        match self.find(name) {
            Some((Relation::Table(state), reading)) => {
                self.stored(state, &reading).map(Some).map_err(to_datafusion)
            }
            Some((Relation::View(view), reading)) => {
                self.view(view, &reading).await.map_err(to_datafusion)
            }
            None => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}
