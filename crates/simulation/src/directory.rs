//! The way from a host to the workers. Only what is asked about copies is offered: everything else
//! belongs to the query engine, which is not simulated.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use granary_catalog::{Catalog, NewPart, WorkerState};
use granary_common::{Error, Result, WorkerId};
use granary_execution::{
    BuiltPart, CopySpec, FileRead, KeySummary, OptimizeSpec, Optimized, RemotePartRead,
    RemotePartScan, RunningMerge, WorkerApi, WorkerDirectory, WorkerReport, WriteSpec,
    WrittenDeletions,
};
use granary_storage::{ColumnStatistics, Deletions, PartRef};
use url::Url;

use crate::catalog::SimulatedCatalog;
use crate::cluster::{Cluster, host_of};
use crate::net::Host;
use crate::worker::answered;

/// The workers as a host knows them.
#[derive(Debug)]
pub struct Directory {
    cluster: Arc<Cluster>,
    from: Host,
    catalog: Arc<SimulatedCatalog>,
}

impl Directory {
    pub fn new(cluster: &Arc<Cluster>, from: Host, catalog: &Arc<SimulatedCatalog>) -> Directory {
        Directory { cluster: Arc::clone(cluster), from, catalog: Arc::clone(catalog) }
    }
}

impl WorkerDirectory for Directory {
    fn api(&self, worker: WorkerId) -> Result<Arc<dyn WorkerApi>> {
        let snapshot = self.catalog.snapshot();
        let away = || Error::unavailable(format!("worker {worker} is not alive"));
        let row = snapshot.workers.get(&worker).ok_or_else(away)?;
        let number = host_of(&snapshot, worker).ok_or_else(away)?;
        match row.state {
            WorkerState::Alive => {
                Ok(Arc::new(There { cluster: Arc::clone(&self.cluster), from: self.from, number }))
            }
            _ => Err(away()),
        }
    }

    fn live(&self) -> Vec<(WorkerId, Url)> {
        Vec::new()
    }

    fn shun(&self, _: WorkerId) {}

    fn url(&self, _: WorkerId) -> Result<Url> {
        not_simulated()
    }
}

fn not_simulated<T>() -> Result<T> {
    Err(Error::unsupported("the query engine is not simulated"))
}

/// A worker as another host reaches it.
#[derive(Debug)]
struct There {
    cluster: Arc<Cluster>,
    from: Host,
    number: u64,
}

#[async_trait]
impl WorkerApi for There {
    async fn copy_parts(&self, spec: CopySpec) -> Result<()> {
        let (cluster, number) = (Arc::clone(&self.cluster), self.number);
        let serve = move || async move {
            match cluster.worker(number) {
                Some(worker) => worker.copy(&spec).await.map(drop),
                None => Err(Error::unavailable("the worker has not registered yet")),
            }
        };
        answered(self.cluster.net.call(self.from, Host::Worker(number), serve).await)
    }

    async fn write_block(&self, _: WriteSpec, _: RecordBatch) -> Result<Vec<NewPart>> {
        not_simulated()
    }

    async fn scan_part(&self, _: RemotePartScan) -> Result<RemotePartRead> {
        not_simulated()
    }

    async fn part_statistics(&self, _: Vec<PartRef>) -> Result<Vec<Vec<ColumnStatistics>>> {
        not_simulated()
    }

    async fn write_deletions(&self, _: PartRef, _: Deletions) -> Result<WrittenDeletions> {
        not_simulated()
    }

    async fn optimize(&self, _: OptimizeSpec) -> Result<Optimized> {
        not_simulated()
    }

    async fn check_part(&self, _: PartRef) -> Result<Option<String>> {
        not_simulated()
    }

    async fn running_merges(&self) -> Result<Vec<RunningMerge>> {
        not_simulated()
    }

    async fn report(&self) -> Result<WorkerReport> {
        not_simulated()
    }

    async fn read_file(&self, _: FileRead) -> Result<BoxStream<'static, Result<Bytes>>> {
        not_simulated()
    }

    async fn offer_filter(&self, _: u64, _: BuiltPart, _: Arc<KeySummary>) -> Result<()> {
        not_simulated()
    }
}
