//! The workers as one query sees them: fixed when its session is made, so that planning and routing
//! agree on which task runs where.

use granary_common::WorkerId;
use granary_execution::WorkerDirectory;
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
    /// The workers of `directory` now.
    pub fn of(directory: &dyn WorkerDirectory) -> Vec<(WorkerId, Url)> {
        directory.live()
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
