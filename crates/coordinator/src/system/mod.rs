//! The schemas `system` and `information_schema`: the catalog and this coordinator as tables.
//!
//! A table is built when a query names it, from the query's own snapshot, as rows in memory: they
//! can be shipped with a plan, so such tables join with users' tables wherever the plan runs.

mod bucket_tables;
mod catalog_tables;
mod cluster;
mod columns;
mod damage;
mod dictionaries;
mod history;
mod indexes;
mod information;
mod merges;
mod metadata_nodes;
mod mutations;
mod node_tables;
mod partitions;
mod reports;
mod tiers;
mod view_refreshes;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::Result as EngineResult;
use granary_catalog::Snapshot;
use granary_common::Result;
use granary_execution::error::to_datafusion;

use crate::core::Coordinator;
use crate::session::{Session, StatementSettings};
use columns::Columns;

/// The schemas beside the users' databases.
pub const SCHEMAS: [&str; 2] = ["information_schema", "system"];

const SYSTEM_TABLES: [&str; 29] = [
    "bucket_changes",
    "bucket_replicas",
    "buckets",
    "cluster",
    "clusters",
    "columns",
    "data_skipping_indices",
    "databases",
    "dictionaries",
    "disks",
    "functions",
    "merges",
    "metadata_nodes",
    "movements",
    "mutations",
    "one",
    "parts",
    "processes",
    "queries",
    "scrubs",
    "settings",
    "storage_policies",
    "table_history",
    "tables",
    "user_settings",
    "versions",
    "view_refreshes",
    "worker_disks",
    "workers",
];
const INFORMATION_TABLES: [&str; 4] = ["columns", "schemata", "tables", "views"];

/// Whether `name` is one of [`SCHEMAS`].
pub fn is_system_schema(name: &str) -> bool {
    SCHEMAS.iter().any(|schema| schema.eq_ignore_ascii_case(name))
}

/// The tables of one of [`SCHEMAS`].
pub fn table_names(schema: &str) -> Option<&'static [&'static str]> {
    match schema.to_ascii_lowercase().as_str() {
        "system" => Some(&SYSTEM_TABLES),
        "information_schema" => Some(&INFORMATION_TABLES),
        _ => None,
    }
}

/// What the tables show: the state that one statement sees.
#[derive(Clone, Debug)]
struct View {
    core: Arc<Coordinator>,
    snapshot: Arc<Snapshot>,
    session: Session,
    settings: StatementSettings,
}

/// The schemas for one statement.
pub fn schemas(
    core: &Arc<Coordinator>,
    snapshot: &Arc<Snapshot>,
    session: &Session,
    settings: &StatementSettings,
) -> Vec<(String, Arc<dyn SchemaProvider>)> {
    let view = View {
        core: Arc::clone(core),
        snapshot: Arc::clone(snapshot),
        session: session.clone(),
        settings: settings.clone(),
    };
    let schema = |name: &'static str| {
        let provider: Arc<dyn SchemaProvider> = Arc::new(SystemSchema { name, view: view.clone() });
        (name.to_owned(), provider)
    };
    SCHEMAS.into_iter().map(schema).collect()
}

#[derive(Debug)]
struct SystemSchema {
    name: &'static str,
    view: View,
}

impl SystemSchema {
    fn names(&self) -> &'static [&'static str] {
        table_names(self.name).unwrap_or(&[])
    }

    fn build(&self, table: &str) -> Result<Option<Columns>> {
        let view = &self.view;
        Ok(Some(match (self.name, table.to_ascii_lowercase().as_str()) {
            ("system", "one") => Columns::new().numbers("dummy", vec![0]),
            ("system", "databases") => catalog_tables::databases(view),
            ("system", "tables") => catalog_tables::tables(view),
            ("system", "columns") => catalog_tables::columns(view),
            ("system", "data_skipping_indices") => indexes::data_skipping_indices(view),
            ("system", "dictionaries") => dictionaries::dictionaries(view),
            ("system", "parts") => catalog_tables::parts(view),
            ("system", "buckets") => bucket_tables::buckets(view),
            ("system", "bucket_changes") => bucket_tables::bucket_changes(view),
            ("system", "bucket_replicas") => bucket_tables::bucket_replicas(view),
            ("system", "movements") => bucket_tables::movements(view),
            ("system", "workers") => catalog_tables::workers(view),
            ("system", "mutations") => mutations::mutations(view),
            ("system", "view_refreshes") => view_refreshes::view_refreshes(view),
            ("system", "disks") => tiers::disks(view),
            ("system", "storage_policies") => tiers::storage_policies(view),
            ("system", "table_history") => history::table_history(view),
            ("system", "versions") => history::versions(view),
            ("system", "cluster") => cluster::cluster(view),
            ("system", "clusters") => catalog_tables::clusters(view),
            ("system", "queries") => node_tables::queries(view, false),
            ("system", "processes") => node_tables::queries(view, true),
            ("system", "functions") => node_tables::functions(view),
            ("system", "settings") => node_tables::settings(view)?,
            ("system", "user_settings") => node_tables::user_settings(view),
            ("information_schema", "schemata") => information::schemata(view),
            ("information_schema", "tables") => information::tables(view),
            ("information_schema", "views") => information::views(view),
            ("information_schema", "columns") => information::columns(view),
            _ => return Ok(None),
        }))
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        self.names().iter().map(|name| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        let columns = match (self.name, name.to_ascii_lowercase().as_str()) {
            // Those that other nodes are asked for.
            ("system", "merges") => Some(merges::merges(&self.view).await),
            ("system", "metadata_nodes") => {
                let nodes = metadata_nodes::metadata_nodes(&self.view).await;
                Some(nodes.map_err(to_datafusion)?)
            }
            ("system", "scrubs") => Some(reports::scrubs(&self.view).await),
            ("system", "worker_disks") => Some(reports::worker_disks(&self.view).await),
            _ => self.build(name).map_err(to_datafusion)?,
        };
        let Some(columns) = columns else { return Ok(None) };
        let rows = columns.build().map_err(to_datafusion)?;
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        Ok(Some(Arc::new(table)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.names().iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}
