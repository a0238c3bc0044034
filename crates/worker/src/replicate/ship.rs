//! What this worker writes goes to other workers before it is committed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::remote::wire::within;
use granary_catalog::replication::CopyTargets;
use granary_catalog::{DeletionContent, NewPart, PartLocation};
use granary_common::{Clock, Error, Result, TableId, WorkerId};
use granary_execution::{CopySpec, WorkerDirectory};
use granary_storage::{PartCopy, PartRef, deletion_file};
use parking_lot::Mutex;

/// How long a worker may take for a copy, whatever its size.
const COPY_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of a copy for which it may take a second more.
const COPY_BYTES_PER_S: u64 = 8 << 20;
/// A worker that failed to take a copy is not asked again for so long.
const LEFT_ALONE_MS: u64 = 5_000;

/// Sends copies of parts that this worker has just written.
#[derive(Debug)]
pub struct Shipper {
    worker: WorkerId,
    workers: Arc<dyn WorkerDirectory>,
    clock: Arc<dyn Clock>,
    /// Until when workers are left alone, on the monotonic clock.
    left_alone: Mutex<HashMap<WorkerId, u64>>,
}

impl Shipper {
    /// Sends in the name of `worker`.
    pub fn new(
        worker: WorkerId,
        workers: Arc<dyn WorkerDirectory>,
        clock: Arc<dyn Clock>,
    ) -> Shipper {
        Shipper { worker, workers, clock, left_alone: Mutex::default() }
    }

    /// Copies new local parts of `table` to the targets, and notes in each who has it. Kind
    /// `Unavailable` when fewer copies than the least could be made.
    pub async fn replicate(
        &self,
        table: TableId,
        mut parts: Vec<NewPart>,
        targets: &CopyTargets,
    ) -> Result<Vec<NewPart>> {
        let is_local = |part: &NewPart| matches!(part.location, PartLocation::Local { .. });
        if parts.is_empty() || !parts.iter().all(is_local) {
            return Ok(parts);
        }
        let bytes = parts.iter().map(|part| part.bytes).sum();
        let wanted = parts.iter().map(|part| PartCopy::of_new(table, part)).collect();
        let copies = self.ship(wanted, bytes, targets).await;
        if copies.len() < targets.least {
            return Err(Error::unavailable(format!(
                "only {} of min_copies = {} workers can take the rows; start workers, or lower the \
                 table's setting",
                copies.len(),
                targets.least
            )));
        }
        for part in &mut parts {
            if let PartLocation::Local { copies: holders, .. } = &mut part.location {
                holders.clone_from(&copies);
            }
        }
        Ok(parts)
    }

    /// Sends `parts`, of `bytes` together, to every replica among the targets at the same time, then
    /// to spares until there are enough copies. Gives who has all of them now, this worker first.
    pub async fn ship(
        &self,
        parts: Vec<PartCopy>,
        bytes: u64,
        targets: &CopyTargets,
    ) -> Vec<WorkerId> {
        let mut copies = vec![self.worker];
        let spec = CopySpec { parts, sources: vec![self.worker] };
        let sent = targets.replicas.iter().map(|to| self.send(*to, &spec, bytes));
        let sent = futures::future::join_all(sent).await;
        copies
            .extend(targets.replicas.iter().zip(sent).filter(|(_, sent)| *sent).map(|(to, _)| *to));
        for spare in &targets.spares {
            if copies.len() >= targets.wanted {
                break;
            }
            if self.send(*spare, &spec, bytes).await {
                copies.push(*spare);
            }
        }
        copies
    }

    /// Sends a deletion vector that was just written here to wherever else its part has copies. Gives
    /// who has it now, this worker first.
    pub async fn ship_deletions(&self, part: &PartRef, content: &DeletionContent) -> Vec<WorkerId> {
        let (Some(file), PartLocation::Local { copies, .. }) =
            (deletion_file(content), &part.location)
        else {
            return vec![self.worker];
        };
        let others = copies.iter().copied().filter(|worker| *worker != self.worker).collect();
        let targets = CopyTargets { replicas: others, ..CopyTargets::default() };
        let bytes = file.bytes;
        let copy = PartCopy {
            files: part.files,
            disk: part.location.disk().map(str::to_owned),
            whole: false,
            deletions: vec![file],
        };
        self.ship(vec![copy], bytes, &targets).await
    }

    /// Whether `to` has the parts now.
    async fn send(&self, to: WorkerId, spec: &CopySpec, bytes: u64) -> bool {
        let now_ms = self.clock.monotonic_ms();
        if self.left_alone.lock().get(&to).is_some_and(|until_ms| now_ms < *until_ms) {
            return false;
        }
        let limit = COPY_LIMIT + Duration::from_secs(bytes / COPY_BYTES_PER_S);
        let copying = async { self.workers.api(to)?.copy_parts(spec.clone()).await };
        let late = || Error::unavailable(format!("no answer in {} s", limit.as_secs()));
        let copied = within(&*self.clock, limit, copying).await.unwrap_or_else(|| Err(late()));
        match copied {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(worker = %to, %error, "a worker did not take copies");
                let until_ms = self.clock.monotonic_ms() + LEFT_ALONE_MS;
                let mut left_alone = self.left_alone.lock();
                left_alone.retain(|_, until_ms| now_ms < *until_ms);
                left_alone.insert(to, until_ms);
                false
            }
        }
    }
}
