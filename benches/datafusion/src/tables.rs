//! A Granary table as a table of DataFusion: a listing of its parts' data files below a view that
//! gives the columns their names, since part files know them by their ids only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::prelude::SessionContext;
use serde::Deserialize;
use vortex::VortexSessionDefault;
use vortex::session::VortexSession;
use vortex_datafusion::VortexFormat;

use crate::Outcome;

/// The data file of a part.
const DATA_FILE: &str = "data.vortex";

#[derive(Deserialize)]
struct PartRow {
    table: String,
    id: u64,
}

#[derive(Deserialize)]
struct ColumnRow {
    table: String,
    name: String,
    position: u64,
}

/// Registers every table that has parts.
pub async fn register(
    context: &SessionContext,
    parts: &Path,
    columns: &Path,
    data: &Path,
) -> Outcome<()> {
    let files = data_files(data)?;
    let mut parts_of: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for row in json_lines::<PartRow>(parts)? {
        parts_of.entry(row.table).or_default().insert(row.id);
    }
    let mut columns_of: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
    for row in json_lines::<ColumnRow>(columns)? {
        columns_of.entry(row.table).or_default().insert(row.position, row.name);
    }
    for (table, ids) in parts_of {
        let path = |id: &u64| {
            files
                .get(id)
                .cloned()
                .ok_or_else(|| format!("part {id} of {table} is not below {}", data.display()))
        };
        let paths = ids.iter().map(path).collect::<Result<Vec<PathBuf>, String>>()?;
        let columns = columns_of.get(&table).ok_or_else(|| format!("{table} has no columns"))?;
        let names: Vec<&str> = columns.values().map(String::as_str).collect();
        register_table(context, &table, &paths, &names).await?;
    }
    Ok(())
}

async fn register_table(
    context: &SessionContext,
    table: &str,
    paths: &[PathBuf],
    columns: &[&str],
) -> Outcome<()> {
    let url = |path: &PathBuf| ListingTableUrl::parse(path.to_string_lossy());
    let urls = paths.iter().map(url).collect::<Result<Vec<_>, _>>()?;
    let format = VortexFormat::new(<VortexSession as VortexSessionDefault>::default());
    let state = context.state();
    let options = ListingOptions::new(Arc::new(format));
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(options)
        .infer_schema(&state)
        .await?;
    let stored = ListingTable::try_new(config)?;
    let stored_name = format!("{table}_parts");
    context.register_table(stored_name.as_str(), Arc::new(stored))?;
    let frame = context.table(stored_name.as_str()).await?;
    let stored: Vec<String> = frame.schema().fields().iter().map(|f| f.name().clone()).collect();
    if stored.len() != columns.len() {
        return Err(format!(
            "{table} has {} columns and its parts {}; load it anew, without ALTER TABLE",
            columns.len(),
            stored.len()
        )
        .into());
    }
    let renamed = stored.iter().zip(columns).map(|(stored, name)| format!("{stored} AS {name}"));
    let list = renamed.collect::<Vec<_>>().join(", ");
    let view = format!("CREATE VIEW {table} AS SELECT {list} FROM {stored_name}");
    context.sql(&view).await?.collect().await?;
    Ok(())
}

/// The data file of each part below `folder`, by the part's id: `.../<table id>/<part id>/<file>`.
fn data_files(folder: &Path) -> Outcome<BTreeMap<u64, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.canonicalize()?];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == DATA_FILE) {
                let part = folder.file_name().and_then(|name| name.to_str());
                if let Some(id) = part.and_then(|name| name.parse().ok()) {
                    found.insert(id, path);
                }
            }
        }
    }
    Ok(found)
}

fn json_lines<T: for<'a> Deserialize<'a>>(path: &Path) -> Outcome<Vec<T>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}
