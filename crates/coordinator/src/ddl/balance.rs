//! EXPLAIN BALANCE: what the controller would do with buckets, without doing it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, UInt64Array};
use arrow::record_batch::RecordBatch;
use granary_catalog::{BucketPlacement, Snapshot};
use granary_common::{BucketIndex, Error, Result, TableId, WorkerId};

use crate::core::Coordinator;

/// Replicas and leader of a bucket.
type Held = (Vec<WorkerId>, WorkerId);

/// One step of the plan.
struct Step {
    database: String,
    table: String,
    bucket: u64,
    from: Held,
    to: Held,
    /// That new replicas fetch.
    bytes: u64,
}

/// The steps of the plan, a row each.
pub(crate) async fn balance(core: &Coordinator, snapshot: &Snapshot) -> Result<RecordBatch> {
    let planned = core.with.catalog.planned_placements().await?;
    rows(&steps(snapshot, &planned))
}

/// The plan with what holds before each step. Tables that are newer than the snapshot are left out.
fn steps(snapshot: &Snapshot, planned: &[BucketPlacement]) -> Vec<Step> {
    let mut held: BTreeMap<(TableId, BucketIndex), Held> = BTreeMap::new();
    let mut steps = Vec::new();
    for placement in planned {
        let Some(state) = snapshot.tables.get(&placement.table) else { continue };
        let Some(bucket) = state.buckets.get(&placement.bucket) else { continue };
        let key = (placement.table, placement.bucket);
        let to = (placement.replicas.clone(), placement.leader);
        let before = held.insert(key, to.clone());
        let from = before.unwrap_or_else(|| (bucket.replicas.clone(), bucket.leader));
        let new = to.0.iter().filter(|worker| !from.0.contains(worker)).count() as u64;
        let parts = state.visible_parts(snapshot.version);
        let own = parts.filter(|part| part.bucket == placement.bucket);
        let bytes = new * own.map(|part| part.bytes).sum::<u64>();
        let database = snapshot.databases.get(&state.table.database);
        steps.push(Step {
            database: database.map(|database| database.name.clone()).unwrap_or_default(),
            table: state.table.name.clone(),
            bucket: u64::from(placement.bucket.0),
            from,
            to,
            bytes,
        });
    }
    steps
}

fn rows(steps: &[Step]) -> Result<RecordBatch> {
    let texts = |of: &dyn Fn(&Step) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(steps.iter().map(of)))
    };
    let numbers = |of: &dyn Fn(&Step) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(steps.iter().map(of)))
    };
    let workers = |held: &Held| {
        let ids: Vec<String> = held.0.iter().map(|worker| worker.0.to_string()).collect();
        ids.join(", ")
    };
    let columns = [
        ("database", texts(&|step| step.database.clone())),
        ("table", texts(&|step| step.table.clone())),
        ("bucket", numbers(&|step| step.bucket)),
        ("replicas", texts(&|step| workers(&step.from))),
        ("new_replicas", texts(&|step| workers(&step.to))),
        ("leader", numbers(&|step| step.from.1.0)),
        ("new_leader", numbers(&|step| step.to.1.0)),
        ("bytes_to_copy", numbers(&|step| step.bytes)),
    ];
    RecordBatch::try_from_iter(columns).map_err(|error| Error::internal(error.to_string()))
}
