//! Projections of a part, written while its own rows are.
//!
//! ```text
//!   rows ─┬─► the part's data
//!         └─► Projector ─► runs ─► a bounded channel ─► index, encode, upload
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::record_batch::RecordBatch;
use futures::SinkExt;
use futures::channel::mpsc;
use futures::stream::{self, BoxStream, StreamExt};
use granary_common::{PartId, Result, TableId};

use super::part::put;
use super::sorted::{DataWrite, write_data};
use crate::part::descriptor::FileEntry;
use crate::part::format::{Effort, compute};
use crate::projection::{
    ProjectionDescriptor, Projections, Projector, data_file, fingerprint, index_file,
};
use crate::schema::PartSchema;
use crate::volume::Volume;

/// Runs that wait for their encoding.
const RUNS_WAITING_MAX: usize = 1;

/// A projection whose files are there.
pub struct WrittenProjection {
    pub descriptor: ProjectionDescriptor,
    pub files: [FileEntry; 2],
}

/// A projection that takes rows.
pub struct Projecting {
    fingerprint: u64,
    projector: Projector,
}

/// One for each projection of the rows of a part of `schema`.
pub fn begin(projections: Option<&Projections>, schema: &PartSchema) -> Result<Vec<Projecting>> {
    let Some(Projections { projections, evaluator }) = projections else { return Ok(Vec::new()) };
    let begin = |projection| {
        Ok(Projecting {
            fingerprint: fingerprint(projection)?,
            projector: Projector::new(projection, &**evaluator, schema)?,
        })
    };
    projections.iter().map(begin).collect()
}

/// All rows of a projection.
pub struct Projected {
    fingerprint: u64,
    schema: Arc<PartSchema>,
    runs: BoxStream<'static, Result<RecordBatch>>,
}

/// What they make of all rows of a part.
pub fn all_of(projecting: Vec<Projecting>, rows: &RecordBatch) -> Result<Vec<Projected>> {
    let project = |Projecting { fingerprint, mut projector }| {
        let schema = Arc::clone(projector.schema());
        let mut runs = projector.push(rows)?;
        runs.extend(projector.finish()?);
        let runs = stream::iter(runs.into_iter().map(Ok)).boxed();
        Ok(Projected { fingerprint, schema, runs })
    };
    projecting.into_iter().map(project).collect()
}

impl Projected {
    /// Writes the files as an insert does.
    pub async fn write_light(
        self,
        volume: &Volume,
        owner: (TableId, PartId),
    ) -> Result<Option<WrittenProjection>> {
        self.write(volume, owner, Effort::Light, Arc::default()).await
    }

    /// Writes and syncs the files; none without rows.
    pub async fn write(
        self,
        volume: &Volume,
        (table, part): (TableId, PartId),
        effort: Effort,
        progress: Arc<AtomicU64>,
    ) -> Result<Option<WrittenProjection>> {
        let Projected { fingerprint, schema, runs } = self;
        let file = data_file(fingerprint);
        let write = DataWrite { volume, owner: (table, part), file: &file, effort, progress };
        let Some((data, summary)) = write_data(write, &schema, runs).await? else {
            return Ok(None);
        };
        let index = summary.index.finish();
        let rows = index.rows;
        let (name, index) = (index_file(fingerprint), index.encode()?);
        let entry = FileEntry::of(&name, &index);
        put(volume, table, part, &name, index).await?;
        let descriptor =
            ProjectionDescriptor { fingerprint, schema: PartSchema::clone(&schema), rows };
        Ok(Some(WrittenProjection { descriptor, files: [data, entry] }))
    }
}

/// Rows of a part on their way to a projection that is written meanwhile.
pub struct Feed {
    projector: Projector,
    ready: Vec<RecordBatch>,
    runs: mpsc::Sender<Result<RecordBatch>>,
}

impl Feed {
    /// The feed, and what is to be written of it.
    pub fn new(Projecting { fingerprint, projector }: Projecting) -> (Feed, Projected) {
        let (runs, receiver) = mpsc::channel(RUNS_WAITING_MAX);
        let schema = Arc::clone(projector.schema());
        let projected = Projected { fingerprint, schema, runs: receiver.boxed() };
        (Feed { projector, ready: Vec::new(), runs }, projected)
    }

    /// Takes the next rows.
    pub fn push(&mut self, rows: &RecordBatch) -> Result<()> {
        let runs = self.projector.push(rows)?;
        self.ready.extend(runs);
        Ok(())
    }

    /// Hands on what is complete; waits while it is not taken.
    pub async fn hand_on(&mut self) {
        for run in self.ready.drain(..) {
            // Nobody takes it when its writer has failed, and then the whole write fails.
            let _ = self.runs.send(Ok(run)).await;
        }
    }

    /// The same with the rest, after the last rows.
    pub async fn finish(mut self) -> Result<()> {
        self.hand_on().await;
        let Feed { projector, mut runs, .. } = self;
        let last = compute(move || projector.finish()).await??;
        if let Some(last) = last {
            let _ = runs.send(Ok(last)).await;
        }
        Ok(())
    }
}
