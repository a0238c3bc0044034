//! CHECK TABLE: every byte of every copy of a table's parts, asked of the workers that hold them.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt};
use granary_catalog::{PartLocation, Partitions, Snapshot, TableState};
use granary_common::{Error, PartId, Result, WorkerId};
use granary_storage::PartRef;

use crate::core::Coordinator;

/// Copies that are checked at the same time; each worker bounds its own.
const CHECKED_MAX: usize = 16;
/// Rows of a batch at most.
const BATCH_ROWS: usize = 256;

/// A copy of a part to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyToCheck {
    part: PartRef,
    /// Holds it, or is one of those that reach it.
    worker: WorkerId,
}

/// What was found of a copy.
struct Checked {
    part: PartId,
    /// `None`: every byte is as it was written.
    message: Option<String>,
}

/// Every copy of the table's visible parts in `partitions`, by part.
pub fn copies_to_check(
    snapshot: &Snapshot,
    state: &TableState,
    partitions: &Partitions,
) -> Vec<CopyToCheck> {
    let version = snapshot.version;
    let parts = state.visible_parts(version).filter(|part| partitions.contains(&part.partition));
    let copies = parts.flat_map(|part| {
        let workers = match &part.location {
            PartLocation::Local { copies, .. } => copies.clone(),
            PartLocation::Shared { .. } => {
                state.buckets.get(&part.bucket).map(|bucket| bucket.leader).into_iter().collect()
            }
        };
        let part = PartRef::at(part, version);
        workers.into_iter().map(move |worker| CopyToCheck { part: part.clone(), worker })
    });
    copies.collect()
}

/// The columns of the answer.
pub fn check_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("part", DataType::UInt64, false),
        Field::new("is_passed", DataType::Boolean, false),
        Field::new("message", DataType::Utf8, false),
    ]))
}

/// Checks the copies; rows come as they are found, in the order of the copies.
pub fn check(
    core: &Arc<Coordinator>,
    copies: Vec<CopyToCheck>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let core = Arc::clone(core);
    let checks = copies.into_iter().map(move |copy| check_one(Arc::clone(&core), copy));
    let checked = stream::iter(checks).buffered(CHECKED_MAX);
    checked.ready_chunks(BATCH_ROWS).map(|rows| batch(&rows)).boxed()
}

/// A copy that cannot be looked at has not passed either: nobody knows.
async fn check_one(core: Arc<Coordinator>, copy: CopyToCheck) -> Checked {
    let CopyToCheck { part, worker } = copy;
    let id = part.id;
    let checked = match core.with.workers.api(worker) {
        Ok(api) => api.check_part(part).await,
        Err(error) => Err(error),
    };
    let message = match checked {
        Ok(None) => None,
        Ok(Some(damage)) => Some(format!("worker {worker}: {damage}")),
        Err(error) => Some(format!("worker {worker}: not checked: {error}")),
    };
    Checked { part: id, message }
}

fn batch(rows: &[Checked]) -> Result<RecordBatch> {
    let parts = UInt64Array::from_iter_values(rows.iter().map(|row| row.part.0));
    let passed: Vec<bool> = rows.iter().map(|row| row.message.is_none()).collect();
    let messages = rows.iter().map(|row| row.message.as_deref().unwrap_or_default());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(parts),
        Arc::new(BooleanArray::from(passed)),
        Arc::new(StringArray::from_iter_values(messages)),
    ];
    RecordBatch::try_new(check_schema(), columns)
        .map_err(|error| Error::internal(error.to_string()))
}
