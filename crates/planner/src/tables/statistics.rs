//! Column statistics of tables, gathered from their parts when it is cheap and kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::ColumnType;
use granary_common::{ColumnId, PartId, WorkerId};
use granary_execution::{ColumnSummaries, ColumnSummary, PartAccess, ScannedPart};
use granary_storage::{ColumnStatistics, PartSchema};

/// Parts whose statistics are kept.
const PARTS_MAX: u64 = 100_000;
/// Parts of a table that are looked at; with more, the largest ones stand for all.
const PARTS_PER_TABLE_MAX: usize = 512;
/// How long planning waits for statistics that are not here yet.
const WAIT_MAX: Duration = Duration::from_millis(500);

type PartStatistics = Arc<Vec<ColumnStatistics>>;

/// Statistics of parts, which never change once written.
#[derive(Debug)]
pub struct StatisticsCache {
    access: PartAccess,
    parts: moka::sync::Cache<PartId, PartStatistics>,
}

impl StatisticsCache {
    /// An empty cache over parts that are reached through `access`.
    pub fn new(access: PartAccess) -> Self {
        Self { access, parts: moka::sync::Cache::new(PARTS_MAX) }
    }

    /// What is known of the columns of `parts`. Whatever cannot be learnt soon stays unknown:
    /// statistics guide plans and never decide about rows.
    pub async fn of_parts(&self, schema: &PartSchema, parts: &[ScannedPart]) -> ColumnSummaries {
        let mut wanted: Vec<&ScannedPart> = parts.iter().collect();
        wanted.sort_by_key(|part| std::cmp::Reverse(part.part.rows));
        wanted.truncate(PARTS_PER_TABLE_MAX);
        let missing: Vec<&ScannedPart> =
            wanted.iter().filter(|part| !self.parts.contains_key(&part.part.id)).copied().collect();
        if !missing.is_empty() {
            let gathered = tokio::time::timeout(WAIT_MAX, self.gather(&missing)).await;
            if gathered.is_err() {
                tracing::debug!(parts = missing.len(), "planning goes on without statistics");
            }
        }
        let known: Option<Vec<PartStatistics>> =
            wanted.iter().map(|part| self.parts.get(&part.part.id)).collect();
        let complete = wanted.len() == parts.len();
        known.map(|known| merge(schema, &known, complete)).unwrap_or_default()
    }

    /// How many of the rows of `parts` are in parts that have each of these columns, as far as that is
    /// known soon.
    pub async fn rows_with(
        &self,
        parts: &[ScannedPart],
        columns: &BTreeSet<ColumnId>,
    ) -> BTreeMap<ColumnId, u64> {
        let missing = parts.iter().filter(|part| !self.parts.contains_key(&part.part.id));
        let missing: Vec<&ScannedPart> = missing.take(PARTS_PER_TABLE_MAX).collect();
        if !missing.is_empty() {
            // What is not here in time counts as without the columns.
            let _ = tokio::time::timeout(WAIT_MAX, self.gather(&missing)).await;
        }
        let mut rows = BTreeMap::new();
        for part in parts {
            let Some(known) = self.parts.get(&part.part.id) else { continue };
            for found in known.iter().filter(|found| columns.contains(&found.column)) {
                *rows.entry(found.column).or_default() += part.part.rows;
            }
        }
        rows
    }

    async fn gather(&self, parts: &[&ScannedPart]) {
        let mut elsewhere: BTreeMap<WorkerId, Vec<&ScannedPart>> = BTreeMap::new();
        for part in parts {
            match &self.access.store {
                Some(store) if store.may_read(&part.part) => {
                    if let Ok(open) = store.open(&part.part).await {
                        let statistics = Arc::new(open.statistics().to_vec());
                        self.parts.insert(part.part.id, statistics);
                    }
                }
                _ => {
                    if let Some(holder) = part.holders.first() {
                        elsewhere.entry(*holder).or_default().push(part);
                    }
                }
            }
        }
        let asked = elsewhere.iter().map(|(worker, parts)| self.ask(*worker, parts));
        futures::future::join_all(asked).await;
    }

    async fn ask(&self, worker: WorkerId, parts: &[&ScannedPart]) {
        let Ok(api) = self.access.workers.api(worker) else { return };
        let wanted = parts.iter().map(|part| part.part.clone()).collect();
        match api.part_statistics(wanted).await {
            Ok(answers) => {
                for (part, statistics) in parts.iter().zip(answers) {
                    self.parts.insert(part.part.id, Arc::new(statistics));
                }
            }
            Err(error) => tracing::debug!(%worker, %error, "no statistics"),
        }
    }
}

/// The summaries of all `parts` together; exact only when these are all of the table's.
fn merge(schema: &PartSchema, parts: &[PartStatistics], complete: bool) -> ColumnSummaries {
    let mut merged = ColumnSummaries::new();
    // Which path a column of a document's parts has in a part does not show in its statistics.
    for column in schema.columns.iter().filter(|column| column.document.is_none()) {
        // Floats hold NaN, about which min and max of the engine and of the order disagree.
        let float = matches!(column.column_type.base(), ColumnType::Float32 | ColumnType::Float64);
        let of_column = |part: &PartStatistics| {
            let found = part.iter().find(|statistics| statistics.column == column.id)?;
            Some(ColumnSummary {
                min: found.min.clone(),
                max: found.max.clone(),
                exact: found.exact && complete && !float,
                null_count: complete.then_some(found.null_count),
                distinct_estimate: found.distinct_estimate,
            })
        };
        let all: Option<Vec<ColumnSummary>> = parts.iter().map(of_column).collect();
        let summary = all.and_then(|all| all.into_iter().reduce(ColumnSummary::merged));
        merged.extend(summary.map(|summary| (column.id, summary)));
    }
    merged
}
