//! Which rows are not shown as they are: remembered, found by the keys of all rows, or, after a small
//! insert, by its keys alone.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::common::runtime::SpawnedTask;
use futures::FutureExt;
use granary_common::Error;
use granary_storage::merge::{
    HiddenRows, LATER_ROWS_MAX, LaterRows, MetRows, key_ranges, shown_rows,
};
use granary_storage::{PartRef, PartStore};

use super::Collapsing;
use crate::error::to_datafusion;
use crate::part_scan::layout::Unit;

/// A filter that leaves one of so many rows, or more, is no reason to merge rows.
const READS_MUCH: u64 = 8;
/// Parts with at most one of so many rows are looked at by their keys alone.
const LATER_SHARE: u64 = 8;

impl Collapsing {
    /// The rows of each part that are not shown as they are, where it is worth to know them: for an
    /// engine that makes rows of several only where rows are many.
    pub async fn hidden(&self, units: &[Unit]) -> Result<Option<Arc<HiddenRows>>, DataFusionError> {
        let Some((store, parts)) = self.own_parts(units) else { return Ok(None) };
        if !self.rule.only_chooses() && (self.is_few(units) || self.wants_few()) {
            return Ok(None);
        }
        let known = store.known_hidden(&self.spec.schema, &parts).await;
        if known.is_some() || !self.reads_much(&parts).await? {
            return Ok(known);
        }
        let finding = self.find_hidden(store, units, &parts).boxed();
        let found = store.hidden(&self.spec.schema, &parts, finding).await;
        found.map(Some).map_err(to_datafusion)
    }

    /// Looks at the keys of all rows of `parts`, or of the later ones where more is known of those
    /// before.
    async fn find_hidden(
        &self,
        store: &Arc<PartStore>,
        units: &[Unit],
        parts: &[PartRef],
    ) -> granary_common::Result<HiddenRows> {
        let schema = &self.spec.schema;
        if let Some(found) = self.find_with_later(store, units, parts).await? {
            return Ok(found);
        }
        let cutting = self.spec.key_ranges.cutting(self.threads);
        let ranges = key_ranges(store, schema, parts, None, cutting).await?;
        let finding = ranges.into_iter().map(|rows| {
            let (store, schema) = (Arc::clone(store), Arc::clone(schema));
            let (rule, parts) = (self.rule.clone(), parts.to_vec());
            async move { shown_rows(&store, &schema, &rule, &parts, &rows).await }
        });
        Ok(HiddenRows::others(parts.len(), &all_of(finding).await?))
    }

    /// The same where the first of `parts` are known and the others have few rows.
    async fn find_with_later(
        &self,
        store: &Arc<PartStore>,
        units: &[Unit],
        parts: &[PartRef],
    ) -> granary_common::Result<Option<HiddenRows>> {
        let Some((first, known)) = self.known_of_first(store, units, parts).await? else {
            return Ok(None);
        };
        let (schema, (earlier, later)) = (&self.spec.schema, parts.split_at(first));
        let Some(rows) = LaterRows::read(store, schema, &self.rule, later).await? else {
            return Ok(None);
        };
        let (rows, mut pieces) = (Arc::new(rows), Vec::new());
        for (place, part) in earlier.iter().enumerate() {
            let near = rows.near(store, schema, part, self.spec.key_ranges.rows_min).await?;
            pieces.extend(near.into_iter().map(|near| (place, near)));
        }
        let places: Vec<usize> = pieces.iter().map(|(place, _)| *place).collect();
        let finding = pieces.into_iter().map(|(place, near)| {
            let (store, schema, rows) = (Arc::clone(store), Arc::clone(schema), Arc::clone(&rows));
            let (part, known) = (earlier[place].clone(), known.of(place).cloned());
            let known = known.unwrap_or_default();
            async move { rows.meet(&store, &schema, &part, near, &known).await }
        });
        let mut met: Vec<Vec<MetRows>> = earlier.iter().map(|_| Vec::new()).collect();
        for (place, found) in places.into_iter().zip(all_of(finding).await?) {
            met[place].push(found);
        }
        Ok(Some(rows.hidden(&known, &met, later.iter().map(|part| part.rows))))
    }

    /// What is hidden of the first of `parts`, and how many these are, when little comes after them.
    async fn known_of_first(
        &self,
        store: &Arc<PartStore>,
        units: &[Unit],
        parts: &[PartRef],
    ) -> granary_common::Result<Option<(usize, Arc<HiddenRows>)>> {
        let Some((oldest, others)) = parts.split_first() else { return Ok(None) };
        let rows = parts.iter().map(|part| part.rows).sum::<u64>();
        let rows_max = LATER_ROWS_MAX.min(rows / LATER_SHARE);
        let known = store.known_hidden_of_first(&self.spec.schema, parts, rows_max).await;
        let is_settled = self.is_settled(units.iter().take(1).map(|unit| unit.part));
        let later: u64 = others.iter().map(|part| part.rows).sum();
        if known.is_some() || !is_settled || later > rows_max {
            return Ok(known);
        }
        let deleted = store.deletions(oldest).await?.unwrap_or_default();
        Ok(Some((1, Arc::new(HiddenRows::of_parts(vec![deleted])))))
    }

    /// Whether the filter leaves so much that the keys of all rows are worth looking at.
    pub async fn reads_much(&self, parts: &[PartRef]) -> Result<bool, DataFusionError> {
        let (Some(filter), Some(store)) = (&self.spec.filter, &self.access.store) else {
            return Ok(true);
        };
        let (mut all, mut left) = (0, 0);
        for part in parts {
            let open = store.open(part).await.map_err(to_datafusion)?;
            all += open.rows();
            left += open.prune(filter).rows();
        }
        Ok(left >= all / READS_MUCH)
    }
}

/// What all of `work` gives, done at the same time; what is left of it stops when this is dropped.
async fn all_of<T: Send + 'static>(
    work: impl Iterator<Item = impl Future<Output = granary_common::Result<T>> + Send + 'static>,
) -> granary_common::Result<Vec<T>> {
    let tasks: Vec<_> = work.map(SpawnedTask::spawn).collect();
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        let stopped = |error| Error::internal(format!("looking for rows was stopped: {error}"));
        done.push(task.join_unwind().await.map_err(stopped)??);
    }
    Ok(done)
}
