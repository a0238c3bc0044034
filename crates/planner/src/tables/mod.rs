//! The catalog's tables as the engine sees them, at one snapshot.

mod provider;
pub mod prune;
pub mod statistics;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::DataFusionError;
use granary_catalog::{Database, Snapshot, TableState};

use self::statistics::StatisticsCache;

pub use provider::PartTable;

/// The name of the one catalog.
pub const CATALOG: &str = "granary";

/// Databases as schemas, and the extra schemas beside them.
#[derive(Debug)]
pub struct SnapshotCatalog {
    snapshot: Arc<Snapshot>,
    statistics: Arc<StatisticsCache>,
    extra: BTreeMap<String, Arc<dyn SchemaProvider>>,
}

impl SnapshotCatalog {
    /// The catalog at `snapshot`.
    pub fn new(
        snapshot: Arc<Snapshot>,
        statistics: Arc<StatisticsCache>,
        extra: Vec<(String, Arc<dyn SchemaProvider>)>,
    ) -> Self {
        Self { snapshot, statistics, extra: extra.into_iter().collect() }
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
            })),
            None => {
                let mut alike =
                    self.extra.iter().filter(|(extra, _)| extra.eq_ignore_ascii_case(name));
                alike.next().map(|(_, schema)| Arc::clone(schema))
            }
        }
    }
}

/// Tables of one database.
#[derive(Debug)]
struct SnapshotSchema {
    snapshot: Arc<Snapshot>,
    statistics: Arc<StatisticsCache>,
    database: Arc<Database>,
}

impl SnapshotSchema {
    fn find(&self, name: &str) -> Option<&TableState> {
        self.snapshot.find_table(self.database.id, name)
    }
}

#[async_trait]
impl SchemaProvider for SnapshotSchema {
    fn table_names(&self) -> Vec<String> {
        let tables = self.snapshot.tables_of(self.database.id);
        tables.map(|state| state.table.name.clone()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        Ok(self.find(name).map(|state| {
            let provider = PartTable::new(
                state.clone(),
                Arc::clone(&self.snapshot),
                &self.database.name,
                Arc::clone(&self.statistics),
            );
            Arc::new(provider) as Arc<dyn TableProvider>
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}
