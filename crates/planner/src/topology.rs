//! The workers as one query sees them: fixed when its session is made, so that planning and routing
//! agree on which task runs where.

use granary_common::WorkerId;
use granary_execution::ScanSpec;
use url::Url;

/// The live workers in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    pub workers: Vec<(WorkerId, Url)>,
    /// Partitions of a task's scans.
    pub task_partitions: usize,
    /// Bytes of a scan from which it is spread over workers.
    pub distributed_scan_bytes_min: u64,
}

impl Topology {
    /// Whether a scan is worth a task on every worker. Bytes count for the columns that are read,
    /// taking every column for equally wide.
    pub fn is_large(&self, spec: &ScanSpec) -> bool {
        let all = spec.schema.columns.len().max(1) as u64;
        let read = (spec.columns.len() as u64).clamp(1, all);
        spec.bytes() * read / all >= self.distributed_scan_bytes_min
    }

    /// The place of `worker` in the order.
    pub fn position(&self, worker: WorkerId) -> Option<usize> {
        self.workers.iter().position(|(id, _)| *id == worker)
    }

    /// Which of `tasks` reads what the first of `holders` that has a task holds. Task i of a stage
    /// runs on worker i, whatever the stage reads.
    pub fn task_of(&self, holders: &[WorkerId], tasks: usize) -> Option<usize> {
        holders.iter().filter_map(|holder| self.position(*holder)).find(|task| *task < tasks)
    }
}
