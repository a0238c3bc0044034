//! Copies come in: from whichever holder answers, going on where the last one broke off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use granary_common::{Error, PartId, Result, TableId, WorkerId};
use granary_execution::{FileRead, WorkerDirectory};
use granary_storage::merge::Throttle;
use granary_storage::skip::copy_index_files;
use granary_storage::{FileSource, PartCopy, PartRef, PartStore, Volume, copy_part};

use super::{Arrivals, Arriving};
use crate::metrics::count_copied;

/// A source that sends nothing for so long is given up.
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// Fetches parts to this worker's volumes.
#[derive(Debug)]
pub struct Receiver {
    pub store: Arc<PartStore>,
    /// The way to the other workers.
    pub workers: Arc<dyn WorkerDirectory>,
    pub arrivals: Arc<Arrivals>,
}

impl Receiver {
    /// Fetches a part from `sources`. The files are safe from sweeps for as long as what it gives
    /// lives.
    pub async fn copy(
        &self,
        wanted: &PartCopy,
        sources: &[WorkerId],
        throttle: &dyn Throttle,
    ) -> Result<Arriving> {
        let arriving = self.arrivals.arrive(wanted.files.1)?;
        let source = self.peers(wanted, sources);
        let volume = self.volume(wanted.disk.as_deref())?;
        copy_part(volume, wanted, &source, throttle).await?;
        // What is open is of files that were damaged and have been replaced.
        if self.store.is_open(wanted.files.1) {
            self.store.reopen(wanted.files.1).await;
        }
        Ok(arriving)
    }

    /// Fetches what `sources` have of the indexes in the files `names` of a part that was copied.
    pub async fn copy_indexes(
        &self,
        part: &PartRef,
        wanted: &PartCopy,
        sources: &[WorkerId],
        names: &[String],
    ) -> Result<()> {
        let source = self.peers(wanted, sources);
        let volume = self.volume(wanted.disk.as_deref())?;
        for name in copy_index_files(volume, wanted.files, names, &source).await? {
            self.store.forget_skip_file(part, &name).await;
        }
        Ok(())
    }

    fn peers<'a>(&'a self, wanted: &PartCopy, sources: &'a [WorkerId]) -> Peers<'a> {
        Peers { workers: &*self.workers, files: wanted.files, sources, turn: AtomicUsize::new(0) }
    }

    /// The worker's disk of this name, or its data folder. Kind `Unavailable` when it has none.
    pub fn volume(&self, disk: Option<&str>) -> Result<&Arc<Volume>> {
        self.store.volumes().own_disk(disk).ok_or_else(|| {
            let name = disk.unwrap_or_default();
            Error::unavailable(format!(
                "this worker has no disk '{name}'; configure it here as well"
            ))
        })
    }
}

/// The workers that hold a part, in turn.
struct Peers<'a> {
    workers: &'a dyn WorkerDirectory,
    files: (TableId, PartId),
    sources: &'a [WorkerId],
    turn: AtomicUsize,
}

#[async_trait]
impl FileSource for Peers<'_> {
    async fn read(&self, file: &str, offset: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        let mut failure = Error::unavailable("no other worker holds it");
        for _ in self.sources {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let source = self.sources[turn % self.sources.len()];
            let wanted = FileRead { files: self.files, name: file.to_owned(), offset };
            let opened = async { self.workers.api(source)?.read_file(wanted).await };
            match tokio::time::timeout(STALL_LIMIT, opened).await {
                Ok(Ok(bytes)) => return Ok(impatient(bytes)),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = stalled(),
            }
        }
        Err(failure)
    }
}

/// The same bytes, or an error where they stop coming.
fn impatient(bytes: BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>> {
    let pieces = stream::unfold(Some(bytes), async |bytes| {
        let mut bytes = bytes?;
        match tokio::time::timeout(STALL_LIMIT, bytes.next()).await {
            Ok(piece) => {
                let piece = piece?;
                count_copied(piece.as_ref().map_or(0, Bytes::len));
                Some((piece, Some(bytes)))
            }
            Err(_) => Some((Err(stalled()), None)),
        }
    });
    pieces.boxed()
}

fn stalled() -> Error {
    Error::unavailable(format!("no bytes came for {} s", STALL_LIMIT.as_secs()))
}
