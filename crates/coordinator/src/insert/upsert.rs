//! Rows for a table with a UNIQUE KEY: they take the place of the rows that have their keys.
//!
//! ```text
//!   block ─► last row of each key ─┬─► lookup at the target's snapshot ─► places of older rows ─┐
//!                                  └─► (partial update: their other columns) ─► new parts ──────┴─► commit
//! ```
//!
//! The commit names the upsert versions that the buckets had at that snapshot. It is refused when
//! somebody else has written to one of them since, and the block is written again.

mod keys;
mod partial;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use granary_catalog::{BucketWrite, Table, TableWrite};
use granary_common::{Error, Result, TableId};
use granary_execution::error::from_datafusion;
use granary_sql::mutate::{KEY_PLACES, bind_key_lookup};

use super::target::Target;
use crate::core::Coordinator;
use crate::mutate::Removals;
use crate::session::StatementSettings;
use keys::KeyedRows;
use partial::Kept;

/// What becomes of rows with the unique keys of those that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyRule {
    /// There is no key, or the rows were computed from those that they replace.
    Settled,
    /// They go, and of several new ones the last one stays.
    Replace,
    /// They go with their partitions, so only the new ones matter.
    LastOfBlock,
}

impl KeyRule {
    /// The rule of an insert that adds rows.
    pub fn of(table: &Table) -> Self {
        match table.unique_key.is_empty() {
            true => KeyRule::Settled,
            false => KeyRule::Replace,
        }
    }

    /// Kind `InvalidInput` when the insert must not be longer than one block: keys are looked up
    /// once, for all of its rows.
    pub fn check_one_block(self, table: &Table) -> Result<()> {
        match self {
            KeyRule::Settled => Ok(()),
            KeyRule::Replace | KeyRule::LastOfBlock => Err(too_long(&table.name)),
        }
    }
}

fn too_long(table: &str) -> Error {
    Error::invalid(format!(
        "the insert is longer than one block, and one into a table with a UNIQUE KEY ({table}) must \
         not be: send it in pieces, or raise insert_block_rows_max and insert_block_bytes_max; \
         nothing was inserted"
    ))
}

/// Kind `InvalidInput` when one of the writes, of an insert of several blocks, replaces rows.
pub(super) fn check_stageable(writes: &[TableWrite]) -> Result<()> {
    match writes.iter().any(replaces_rows) {
        true => Err(too_long("the insert's own or a view's")),
        false => Ok(()),
    }
}

fn replaces_rows(write: &TableWrite) -> bool {
    write.buckets.iter().any(|bucket| bucket.upsert_version.is_some())
}

/// Kind `Unsupported` when an insert reaches a table with a unique key in two ways, whose rows do
/// not see each other.
pub(super) fn check_filled_once(writes: &[TableWrite]) -> Result<()> {
    let mut seen: HashSet<TableId> = HashSet::new();
    for write in writes.iter().filter(|write| replaces_rows(write)) {
        if !seen.insert(write.table) {
            return Err(Error::unsupported(
                "several materialized views write the rows of one insert into the same table with \
                 a UNIQUE KEY, and their order is undefined; write one view, with UNION ALL",
            ));
        }
    }
    Ok(())
}

/// The rows to write for `rows`, which are in the table's columns, and what they replace.
pub(super) async fn upserted(
    core: &Arc<Coordinator>,
    target: &Arc<Target>,
    rows: Vec<RecordBatch>,
) -> Result<(Vec<RecordBatch>, Vec<BucketWrite>)> {
    if target.keys == KeyRule::Settled || rows.iter().all(|batch| batch.num_rows() == 0) {
        return Ok((rows, Vec::new()));
    }
    let table = Arc::clone(&target.table);
    let keying = core.with.tasks.spawn_blocking(move || KeyedRows::of(&table, &rows));
    let failed = |error| Error::internal(format!("reading the keys of a block failed: {error}"));
    let block = keying.await.map_err(failed)??;
    if target.keys == KeyRule::LastOfBlock {
        return Ok((vec![block.rows], Vec::new()));
    }
    let mut kept = Kept::of(target)?;
    let removed = replaced(core, target, &block, &mut kept).await?;
    let rows = match kept {
        Some(kept) => kept.fill(core, target, block.rows)?,
        None => block.rows,
    };
    Ok((vec![rows], removed))
}

/// The older rows with the keys of `block`, as the commit takes them away; `kept` gets their values.
async fn replaced(
    core: &Arc<Coordinator>,
    target: &Target,
    block: &KeyedRows,
    kept: &mut Option<Kept>,
) -> Result<Vec<BucketWrite>> {
    let (snapshot, table) = (&target.snapshot, &target.table);
    let state = snapshot.tables.get(&table.id);
    let is_filled = state.is_some_and(|s| s.visible_parts(snapshot.version).next().is_some());
    if !is_filled {
        return Ok(Vec::new());
    }
    let _pin = core.pins.pin(snapshot.version);
    // What the session sets must not change which rows are found.
    let state = core.session_state(snapshot, &target.session, &StatementSettings::default())?;
    let database = snapshot.databases.get(&table.database);
    let database = database.map_or("default", |database| database.name.as_str());
    let mut columns = table.unique_key.clone();
    columns.extend(kept.iter().flat_map(|kept| kept.columns()));
    let plan = bind_key_lookup(&state, database, table, &columns).await?;
    let plan = block.restricted(plan)?;
    let places: HashMap<&[u8], u32> = block.places();
    let removals = Removals::new(Arc::clone(snapshot), table.id);
    let engine = &core.with.engine;
    let physical = engine.physical_plan(&state, &plan).await?;
    let mut batches = engine.execute(&physical, &state)?;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| from_datafusion(&error))?;
        let keys = block.keys_of(&batch, KEY_PLACES)?;
        let (mut found, mut rows) = (Vec::new(), Vec::new());
        for (at, key) in keys.iter().enumerate() {
            if let Some(row) = places.get(key.data()) {
                found.push(at as u64);
                rows.push(*row);
            }
        }
        if found.is_empty() {
            continue;
        }
        let found = UInt64Array::from(found);
        let at = |column: usize| take(batch.column(column), &found, None).map_err(arrow_failed);
        removals.add(&at(0)?, &at(1)?)?;
        if let Some(kept) = kept {
            let first = KEY_PLACES + table.unique_key.len();
            let values = (first..batch.num_columns()).map(at).collect::<Result<Vec<_>>>()?;
            kept.add(&UInt32Array::from(rows), values);
        }
    }
    removals.bucket_writes(core).await
}

fn arrow_failed(error: ArrowError) -> Error {
    Error::internal(format!("rows of a unique key: {error}"))
}
