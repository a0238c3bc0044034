//! Parts as inputs of a merge: their rows in sort order, and where each row is in its part.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use granary_common::{ColumnId, Error, Result};

use super::gather::Gather;
use super::positions::Positions;
use super::progress::MergeProgress;
use super::row_order::RowOrder;
use super::run::MergeSpec;
use crate::read::{OpenPart, PartRef, PartScan, PartStore};
use crate::schema::PartSchema;
use crate::write::sorted::SortedColumns;

/// Rows of a batch that is read, at most.
const READ_ROWS: usize = 8192;

/// The rows of `part`, or those of them in `rows`, in the order of its keys, without deleted ones.
pub(super) async fn open_sorted(
    store: &PartStore,
    schema: &Arc<PartSchema>,
    part: &PartRef,
    columns: &[ColumnId],
    rows: Option<Range<u64>>,
) -> Result<(BoxStream<'static, Result<RecordBatch>>, Positions)> {
    if rows.as_ref().is_some_and(Range::is_empty) {
        return Ok((stream::empty().boxed(), Positions::new(0..0, None)));
    }
    let open = store.open(part).await?;
    let scanned = rows.clone().unwrap_or(0..open.rows());
    let positions = Positions::new(scanned, open.deletions().map(|rows| &**rows));
    let scan = sorted_scan(columns.to_vec(), rows.map(|rows| Vec::from([rows])));
    Ok((open.scan(Arc::clone(schema), scan), positions))
}

fn sorted_scan(columns: Vec<ColumnId>, rows: Option<Vec<Range<u64>>>) -> PartScan {
    PartScan {
        columns,
        filter: None,
        ordered: true,
        rows,
        batch_rows: READ_ROWS,
        limit: None,
        hints: Vec::new(),
    }
}

/// The parts of a whole merge, open.
pub(super) struct Inputs {
    schema: Arc<PartSchema>,
    parts: Arc<[Arc<OpenPart>]>,
    /// Bytes of a row of each in its files.
    row_bytes: Vec<f64>,
    progress: Arc<MergeProgress>,
}

impl Inputs {
    /// Opens the inputs of `spec`; what is read of them is told to `progress`.
    pub async fn open(
        store: &PartStore,
        spec: &MergeSpec,
        progress: &Arc<MergeProgress>,
    ) -> Result<Inputs> {
        let mut parts = Vec::with_capacity(spec.inputs.len());
        for part in &spec.inputs {
            parts.push(store.open(part).await?);
        }
        let row_bytes = |part: &PartRef| part.bytes as f64 / part.rows.max(1) as f64;
        Ok(Inputs {
            schema: Arc::clone(&spec.schema),
            parts: parts.into(),
            row_bytes: spec.inputs.iter().map(row_bytes).collect(),
            progress: Arc::clone(progress),
        })
    }

    pub fn parts(&self) -> &[Arc<OpenPart>] {
        &self.parts
    }

    /// Where the rows of each are that its scans give.
    pub fn positions(&self) -> Vec<Positions> {
        let of = |part: &Arc<OpenPart>| {
            Positions::new(0..part.rows(), part.deletions().map(|rows| &**rows))
        };
        self.parts.iter().map(of).collect()
    }

    /// The rows of each in the order of its keys, without deleted ones; of all its columns `columns`,
    /// in the table's order.
    pub fn scans(
        &self,
        columns: &BTreeSet<ColumnId>,
    ) -> Vec<BoxStream<'static, Result<RecordBatch>>> {
        let ids = self.schema.columns.iter().map(|column| column.id);
        let ids: Vec<ColumnId> = ids.filter(|id| columns.contains(id)).collect();
        let share = ids.len() as f64 / self.schema.columns.len().max(1) as f64;
        let scan = |(part, row_bytes): (&Arc<OpenPart>, &f64)| {
            let batches = part.scan_once(&self.schema, sorted_scan(ids.clone(), None));
            metered(batches, row_bytes * share, share, Arc::clone(&self.progress))
        };
        self.parts.iter().zip(&self.row_bytes).map(scan).collect()
    }

    /// More columns of the output, whose rows are known by the time that they are asked for.
    pub fn gathered(
        self: &Arc<Self>,
        columns: BTreeSet<ColumnId>,
        order: &Arc<OnceLock<Arc<RowOrder>>>,
    ) -> SortedColumns {
        let schema = Arc::new(self.schema.only(&columns));
        let (inputs, order) = (Arc::clone(self), Arc::clone(order));
        let batches = stream::once(async move {
            let unknown = || Error::internal("the order of a merge's rows is not known");
            let order = Arc::clone(order.get().ok_or_else(unknown)?);
            let gather = Gather::new(order, inputs.scans(&columns));
            Ok::<_, Error>(stream::try_unfold(gather, Gather::next))
        });
        SortedColumns { schema, batches: batches.try_flatten().boxed() }
    }
}

/// Counts what is read of a `share` of the columns, and waits where the merge is to be slower.
pub(super) fn metered(
    batches: BoxStream<'static, Result<RecordBatch>>,
    row_bytes: f64,
    share: f64,
    progress: Arc<MergeProgress>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let mut rows_read = 0;
    let metered = batches.and_then(move |batch| {
        let progress = Arc::clone(&progress);
        let rows = batch.num_rows();
        let before = (rows_read as f64 * share) as u64;
        rows_read += rows;
        let after = (rows_read as f64 * share) as u64;
        async move {
            progress.read(after - before, (rows as f64 * row_bytes) as u64).await;
            Ok(batch)
        }
    });
    metered.boxed()
}
