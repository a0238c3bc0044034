//! OPTIMIZE TABLE and SYSTEM STOP | START MERGES.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use granary_catalog::{
    CommandBody, Distribution, EngineKind, PartLocation, Partitions, Snapshot, Table, TableState,
    WorkerState,
};
use granary_common::{BucketIndex, ColumnId, Error, Result, TableId, WorkerId};
use granary_execution::{Cleared, OptimizeSpec, Optimized};
use granary_sql::{EqualColumns, Notice, Optimize, TableName, resolve_table};

use super::partitions_of;
use crate::core::Coordinator;
use crate::query::StatementRequest;
use crate::session::parse_settings;

/// Asks the leaders of all buckets to merge and waits until they have. Running it again after an
/// error loses nothing: what was merged stays.
pub(super) async fn optimize(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    optimize: &Optimize,
    notices: &mut Vec<Notice>,
) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    let table = resolve_table(&snapshot, &request.session.database, &optimize.table)?;
    check_cleanup(&table, optimize)?;
    let deduplicate_by =
        optimize.deduplicate.as_ref().map(|columns| equal_columns(&table, columns)).transpose()?;
    if let Some(columns) = &deduplicate_by
        && !meet_in_a_bucket(&table, columns)
    {
        notices.push(Notice::new(format!(
            "equal rows in different buckets stay: table '{}' has {} buckets and is not distributed \
             by columns that are compared",
            table.name, table.buckets
        )));
    }
    let partitions = match &optimize.partition {
        None => Partitions::All,
        Some(clause) => {
            let settings = parse_settings(&request.session.settings)?;
            let state = core.session_state(&snapshot, &request.session, &settings)?;
            partitions_of(&snapshot, &table, clause, &state)?
        }
    };
    let spec = OptimizeSpec {
        is_final: optimize.is_final,
        is_cleanup: optimize.is_cleanup,
        deduplicate_by,
        ..OptimizeSpec::of(table.id, partitions)
    };
    let done = merged_by_leaders(core, spec).await?;
    tracing::debug!(
        table = table.name,
        merges = done.merges,
        parts = done.parts,
        bytes = done.bytes,
        "optimized"
    );
    Ok(())
}

/// MATERIALIZE TTL: rows that are due by now are treated when this returns.
pub(super) async fn materialize_ttl(
    core: &Arc<Coordinator>,
    table: &Table,
    partitions: Partitions,
) -> Result<()> {
    let spec = OptimizeSpec { is_ttl: true, ..OptimizeSpec::of(table.id, partitions) };
    merged_by_leaders(core, spec).await.map(drop)
}

/// MATERIALIZE INDEX: every part that is there by now has the index when this returns, at the leader
/// of its bucket and at every other live holder that answers; the notices name those that do not.
pub(super) async fn materialize_index(
    core: &Arc<Coordinator>,
    table: &Table,
    partitions: Partitions,
    name: &str,
    notices: &mut Vec<Notice>,
) -> Result<()> {
    let index = Some(name.to_owned());
    let spec = OptimizeSpec { index, ..OptimizeSpec::of(table.id, partitions) };
    merged_by_leaders(core, spec.clone()).await?;
    let snapshot = core.with.catalog.read_latest().await?;
    let Some(state) = snapshot.tables.get(&table.id) else { return Ok(()) };
    let asked = followers(&snapshot, state).into_iter().map(|(worker, buckets)| {
        let spec = OptimizeSpec { buckets: buckets.into_iter().collect(), ..spec.clone() };
        async move {
            let outcome = match core.with.workers.api(worker) {
                Ok(api) => api.optimize(spec).await,
                Err(error) => Err(error),
            };
            (worker, outcome)
        }
    });
    let answers = stream::iter(asked).buffer_unordered(core.config.limits.bucket_writes_max);
    for (worker, outcome) in answers.collect::<Vec<_>>().await {
        if let Err(error) = outcome {
            notices.push(Notice::new(format!(
                "worker {worker} did not make index '{name}' at its copies and reads more until it \
                 has; run the statement again later ({error})"
            )));
        }
    }
    Ok(())
}

/// The workers that hold parts of buckets which others lead, with these buckets.
fn followers(snapshot: &Snapshot, state: &TableState) -> BTreeMap<WorkerId, BTreeSet<BucketIndex>> {
    let mut followers: BTreeMap<WorkerId, BTreeSet<BucketIndex>> = BTreeMap::new();
    for part in state.visible_parts(snapshot.version) {
        let Some(bucket) = state.buckets.get(&part.bucket) else { continue };
        let holders = match &part.location {
            PartLocation::Local { copies, .. } => copies,
            PartLocation::Shared { .. } => &bucket.replicas,
        };
        for holder in holders.iter().filter(|holder| **holder != bucket.leader) {
            let row = snapshot.workers.get(holder);
            if row.is_some_and(|row| row.state != WorkerState::Dead) {
                followers.entry(*holder).or_default().insert(part.bucket);
            }
        }
    }
    followers
}

/// MATERIALIZE PROJECTION: every part that is there by now has the projection when this returns.
pub(super) async fn materialize_projection(
    core: &Arc<Coordinator>,
    table: &Table,
    partitions: Partitions,
    name: &str,
) -> Result<()> {
    let projection = Some(name.to_owned());
    let spec = OptimizeSpec { projection, ..OptimizeSpec::of(table.id, partitions) };
    merged_by_leaders(core, spec).await.map(drop)
}

/// CLEAR INDEX and CLEAR PROJECTION: no part that is there by now has it when this returns.
pub(super) async fn clear(
    core: &Arc<Coordinator>,
    table: &Table,
    partitions: Partitions,
    cleared: Cleared,
) -> Result<()> {
    let spec = OptimizeSpec { cleared: Some(cleared), ..OptimizeSpec::of(table.id, partitions) };
    merged_by_leaders(core, spec).await.map(drop)
}

/// Whether rows that are equal in `columns` are always in the same bucket.
fn meet_in_a_bucket(table: &Table, columns: &[ColumnId]) -> bool {
    match &table.distribution {
        _ if table.buckets <= 1 => true,
        Distribution::Rotation => false,
        Distribution::Hash(hashed) => hashed.iter().all(|column| columns.contains(column)),
    }
}

/// Sends the merges to the leaders; buckets whose leader changed are asked for again.
pub(super) async fn merged_by_leaders(
    core: &Arc<Coordinator>,
    spec: OptimizeSpec,
) -> Result<Optimized> {
    let mut done = Optimized::default();
    let mut backoff = None;
    let mut left: Option<Vec<BucketIndex>> = None;
    loop {
        let snapshot = core.with.catalog.read_latest().await?;
        let leaders = leaders(&snapshot, spec.table, left.as_deref())?;
        let asked = leaders.into_iter().map(|(worker, buckets)| {
            let spec = OptimizeSpec { buckets: buckets.clone(), ..spec.clone() };
            async move {
                let outcome = match core.with.workers.api(worker) {
                    Ok(api) => api.optimize(spec).await,
                    Err(error) => Err(error),
                };
                (buckets, outcome)
            }
        });
        let answers: Vec<_> = stream::iter(asked)
            .buffer_unordered(core.config.limits.bucket_writes_max)
            .collect()
            .await;
        let mut failed = None;
        let mut again = Vec::new();
        for (buckets, outcome) in answers {
            match outcome {
                Ok(optimized) => done.add(optimized),
                Err(error) if error.kind().is_retryable() => {
                    again.extend(buckets);
                    failed = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let Some(error) = failed else { return Ok(done) };
        // Time counts from the first failure: what went well may have taken long.
        if !backoff.get_or_insert_with(|| core.backoff()).wait().await {
            return Err(error);
        }
        left = Some(again);
    }
}

/// The buckets of a table that are left to do, by the worker that leads them.
fn leaders(
    snapshot: &Snapshot,
    table: TableId,
    left: Option<&[BucketIndex]>,
) -> Result<BTreeMap<WorkerId, Vec<BucketIndex>>> {
    let state: Option<&TableState> = snapshot.tables.get(&table);
    let state = state
        .filter(|state| state.table.dropped.is_none())
        .ok_or_else(|| Error::not_found("the table was dropped meanwhile"))?;
    let mut leaders: BTreeMap<WorkerId, Vec<BucketIndex>> = BTreeMap::new();
    for bucket in state.buckets.values() {
        if left.is_none_or(|left| left.contains(&bucket.index)) {
            leaders.entry(bucket.leader).or_default().push(bucket.index);
        }
    }
    Ok(leaders)
}

fn check_cleanup(table: &Table, optimize: &Optimize) -> Result<()> {
    let marks_deleted =
        matches!(table.engine.kind, EngineKind::Replacing { is_deleted: Some(_), .. });
    match optimize.is_cleanup && !marks_deleted {
        true => Err(Error::invalid(format!(
            "CLEANUP is for ReplacingMergeTree(version, is_deleted); the engine of table '{}' marks \
             no rows as deleted",
            table.name
        ))),
        false => Ok(()),
    }
}

/// The columns that DEDUPLICATE compares. Those of the keys must be among them, so that equal rows
/// lie side by side in one bucket and partition.
fn equal_columns(table: &Table, columns: &EqualColumns) -> Result<Vec<ColumnId>> {
    let find = |name: &String| {
        let found = table.visible_columns().find(|column| column.name.eq_ignore_ascii_case(name));
        found.map(|column| column.id).ok_or_else(|| {
            Error::not_found(format!("table '{}' has no column '{name}'", table.name))
        })
    };
    let all = table.columns.iter().map(|column| column.id);
    let chosen: Vec<ColumnId> = match columns {
        EqualColumns::All => return Ok(all.collect()),
        EqualColumns::These(names) => {
            let mut chosen = names.iter().map(find).collect::<Result<Vec<_>>>()?;
            // Hidden ones hold values of key expressions, which follow from the visible ones.
            let hidden = table.columns.iter().filter(|column| !column.is_visible());
            chosen.extend(hidden.map(|column| column.id));
            chosen
        }
        EqualColumns::Except(names) => {
            let except = names.iter().map(find).collect::<Result<Vec<_>>>()?;
            all.filter(|id| !except.contains(id)).collect()
        }
    };
    let keys = table.order_by.iter().chain(&table.partition_by);
    match keys.into_iter().find(|key| !chosen.contains(&key.column)) {
        Some(key) => Err(Error::invalid(format!(
            "DEDUPLICATE BY must name the columns of the sorting key and the partition key: '{}' is \
             missing",
            key.text
        ))),
        None => Ok(chosen),
    }
}

/// SYSTEM STOP | START MERGES, of one table or of all.
pub(super) async fn set_merges(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    table: Option<&TableName>,
    stopped: bool,
) -> Result<()> {
    let table = match table {
        Some(name) => {
            let snapshot = core.with.catalog.read_latest().await?;
            Some(resolve_table(&snapshot, &request.session.database, name)?.id)
        }
        None => None,
    };
    let command = CommandBody::SetMerges { table, stopped };
    core.with.catalog.execute(command).await.map(drop)
}
