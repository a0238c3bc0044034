//! The workers as one query sees them: fixed when its session is made, so that planning and routing
//! agree on which task runs where.

use granary_catalog::ColumnType;
use granary_common::WorkerId;
use granary_execution::ScanSpec;
use url::Url;

/// Sending a row costs about so many times what reading it does.
const FETCHING_COSTS: u64 = 8;

/// The live workers in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    pub workers: Vec<(WorkerId, Url)>,
    /// Partitions of a task's scans.
    pub task_partitions: usize,
    /// Decoded bytes of a scan from which it is spread over workers.
    pub distributed_scan_bytes_min: u64,
}

impl Topology {
    /// Whether a scan is worth a task on every worker. What counts is what a single task would have
    /// to read, the columns decoded, and what of that, `output_bytes`, it would have to fetch.
    pub fn is_large(&self, spec: &ScanSpec, output_bytes: u64) -> bool {
        let read = spec.columns.iter().filter_map(|id| spec.schema.column(*id).ok());
        let width: u64 = read.map(|column| decoded_width(&column.column_type)).sum();
        spec.rows() * width.max(1) >= self.distributed_scan_bytes_min
            || output_bytes >= self.distributed_scan_bytes_min / FETCHING_COSTS
    }

    /// The place of `worker` in the order.
    pub fn position(&self, worker: WorkerId) -> Option<usize> {
        self.workers.iter().position(|(id, _)| *id == worker)
    }

    /// Which of `tasks` reads what the first of `holders` that has a task holds. Task i of a stage
    /// runs on worker i, whatever the stage reads.
    pub fn task_of(&self, holders: &[WorkerId], tasks: usize) -> Option<usize> {
        self.tasks_of(holders, tasks).into_iter().next()
    }

    /// Which of `tasks` may read what `holders` hold, in their order.
    pub fn tasks_of(&self, holders: &[WorkerId], tasks: usize) -> Vec<usize> {
        let places = holders.iter().filter_map(|holder| self.position(*holder));
        places.filter(|task| *task < tasks).collect()
    }
}

/// Bytes of a decoded value, guessed where values have different lengths.
fn decoded_width(column_type: &ColumnType) -> u64 {
    const VARIABLE: u64 = 24;
    column_type.arrow().primitive_width().map_or(VARIABLE, |width| width as u64)
}
