//! Batches out of a file.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use granary_common::{ColumnId, Error, Result};
use object_store::ObjectStore;
use object_store::path::Path;
use roaring::RoaringTreemap;
use vortex::array::{ArrayRef, VortexSessionExecute};
use vortex::arrow::ArrowSessionExt;
use vortex::dtype::FieldPath;
use vortex::error::VortexResult;
use vortex::file::{OpenOptionsSessionExt, VortexFile};
use vortex::io::VortexReadAt;
use vortex::io::object_store::ObjectStoreReadAt;
use vortex::io::session::RuntimeSessionExt;
use vortex::io::std_file::FileReadAt;
use vortex::layout::scan::scan_builder::ScanBuilder;
use vortex::scan::selection::Selection;

use super::checked::CheckedReadAt;
use super::expression::{predicate, projection};
use super::intervals::{from_stored, stored_fields};
use super::{SESSION, read_error, stored_name};
use crate::deletions::Deletions;
use crate::filter::Filter;
use crate::part::descriptor::FileEntry;
use crate::schema::{PartColumn, PartSchema};

/// Blocks of rows that one scan decodes ahead of its consumer, so that their reads overlap.
const BLOCKS_AHEAD: usize = 4;

/// Rows that a scan with a limit looks at first.
const FIRST_WINDOW_ROWS: u64 = 8192;

/// An open file: its footer and layout are in memory.
pub struct DataFile {
    file: VortexFile,
}

/// What to read of a file.
pub struct DataScan {
    /// Columns that the file has.
    pub columns: Vec<ColumnId>,
    /// Over columns that the file has.
    pub filter: Option<Filter>,
    pub ordered: bool,
    /// Ascending and apart; `None` for every row.
    pub rows: Option<Vec<Range<u64>>>,
    /// Rows that are left out.
    pub deletions: Option<Arc<Deletions>>,
    /// Whether the consumer may stop early, so that nothing is read long before it is asked for.
    pub lazy: bool,
    /// Whether nothing of what is read is kept for later scans of the file, such as dictionaries.
    pub is_once: bool,
    /// The types of `columns` and their names.
    pub output: SchemaRef,
}

impl DataFile {
    /// Opens a file on this machine, whose length is that of `entry`.
    pub async fn open_file(path: &FilePath, entry: &FileEntry) -> Result<DataFile> {
        let reader = FileReadAt::open(path, SESSION.handle()).map_err(read_error)?;
        Self::open(Arc::new(reader), entry).await
    }

    /// Opens an object, whose length is that of `entry`.
    pub async fn open_object(
        store: Arc<dyn ObjectStore>,
        path: Path,
        entry: &FileEntry,
    ) -> Result<DataFile> {
        let reader = ObjectStoreReadAt::new(store, path, SESSION.handle());
        Self::open(Arc::new(reader), entry).await
    }

    async fn open(reader: Arc<dyn VortexReadAt>, entry: &FileEntry) -> Result<DataFile> {
        let length = entry.bytes;
        let reader: Arc<dyn VortexReadAt> = match &entry.blocks {
            Some(blocks) => Arc::new(CheckedReadAt::new(reader, length, blocks.clone())),
            // Written before there were such checksums.
            None => reader,
        };
        let opened = SESSION
            .open_options()
            .with_file_size(length)
            .with_layout_reader_cache()
            .open(reader)
            .await;
        Ok(DataFile { file: opened.map_err(read_error)? })
    }

    /// Rows of the file.
    pub fn rows(&self) -> u64 {
        self.file.row_count()
    }

    /// About how many bytes its footer and layout take in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.file.footer().approx_byte_size().unwrap_or(64 << 10) as u64
    }

    /// Bytes of the file by column of `schema`, which describes the stored columns.
    pub fn encoded_bytes(&self, schema: &PartSchema) -> Result<BTreeMap<ColumnId, u64>> {
        let sizes = self.file.footer().compressed_field_sizes().map_err(read_error)?;
        let size = |column: &PartColumn| {
            let bytes = sizes.get(&FieldPath::from_name(stored_name(column.id)));
            (column.id, bytes.unwrap_or(0))
        };
        Ok(schema.columns.iter().map(size).collect())
    }

    /// Reads the rows of `scan`. `schema` describes the stored columns. Decoding runs where the
    /// stream is polled.
    pub fn scan(
        &self,
        schema: &PartSchema,
        scan: DataScan,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let dtype = self.file.dtype();
        let columns = projection(&scan.columns).bind(dtype).map_err(read_error)?;
        let filter = match &scan.filter {
            Some(filter) => Some(
                predicate(filter, schema)?
                    .bind(dtype)
                    .and_then(|bound| bound.optimize_recursive())
                    .map_err(filter_error)?,
            ),
            None => None,
        };
        let output = Arc::clone(&scan.output);
        let target = Field::new("", DataType::Struct(stored_fields(&output)), false);
        let file = match scan.is_once {
            true => &self.file.clone().with_segment_source(self.file.segment_source()),
            false => &self.file,
        };
        let mut builder = file
            .scan()
            .map_err(read_error)?
            .with_projection(columns.optimize_recursive().map_err(read_error)?)
            .with_some_filter(filter)
            .with_ordered(scan.ordered);
        builder = select_rows(builder, scan.rows.as_deref(), scan.deletions.as_deref());
        let prepared = builder
            .map(move |rows| to_arrow(rows, &target, &output))
            .prepare()
            .map_err(read_error)?;
        let blocks = if scan.lazy {
            let selected = match scan.rows.as_deref() {
                Some([first, .., last]) => first.start..last.end,
                Some([one]) => one.clone(),
                Some([]) => 0..0,
                None => 0..self.rows(),
            };
            stream::iter(growing_windows(selected))
                .map(move |window| prepared.execute(Some(window)).map(stream::iter))
                .map_ok(|tasks| tasks.map(Ok))
                .try_flatten()
                .boxed()
        } else {
            stream::iter(prepared.execute(None).map_err(read_error)?).map(Ok).boxed()
        };
        let ahead = if scan.lazy { 1 } else { BLOCKS_AHEAD };
        let batches = if scan.ordered {
            blocks.try_buffered(ahead).boxed()
        } else {
            blocks.try_buffer_unordered(ahead).boxed()
        };
        Ok(batches.try_filter_map(|batch| async move { Ok(batch) }).map_err(read_error).boxed())
    }
}

/// Cuts rows into windows that double in size, so that a consumer who wants few rows makes few.
fn growing_windows(rows: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let (mut start, mut length) = (rows.start, FIRST_WINDOW_ROWS);
    std::iter::from_fn(move || {
        let window = start..rows.end.min(start.saturating_add(length));
        (start, length) = (window.end, length.saturating_mul(2));
        (!window.is_empty()).then_some(window)
    })
}

/// Restricts a scan to the rows of `ranges`, all when there are none, that are not deleted.
fn select_rows(
    builder: ScanBuilder<ArrayRef>,
    ranges: Option<&[Range<u64>]>,
    deletions: Option<&Deletions>,
) -> ScanBuilder<ArrayRef> {
    let deleted = deletions.filter(|deletions| !deletions.is_empty()).map(Deletions::to_treemap);
    let (builder, wanted) = match ranges {
        None => (builder, None),
        Some([]) => (builder.with_row_range(0..0), None),
        Some([one]) => (builder.with_row_range(one.clone()), None),
        Some(ranges @ [first, .., last]) => {
            let mut rows = RoaringTreemap::new();
            for range in ranges {
                rows.insert_range(range.clone());
            }
            (builder.with_row_range(first.start..last.end), Some(rows))
        }
    };
    match (wanted, deleted) {
        (None, None) => builder,
        (Some(wanted), None) => builder.with_selection(Selection::IncludeRoaring(wanted)),
        (None, Some(deleted)) => builder.with_selection(Selection::ExcludeRoaring(deleted)),
        (Some(wanted), Some(deleted)) => {
            builder.with_selection(Selection::IncludeRoaring(wanted - deleted))
        }
    }
}

fn to_arrow(rows: ArrayRef, target: &Field, output: &SchemaRef) -> VortexResult<RecordBatch> {
    let length = rows.len();
    let mut context = SESSION.create_execution_ctx();
    let columns = SESSION.arrow().execute_arrow(rows, Some(target), &mut context)?;
    let (_, columns, _) = columns.as_struct().clone().into_parts();
    let columns = from_stored(columns, output);
    let options = RecordBatchOptions::new().with_row_count(Some(length));
    Ok(RecordBatch::try_new_with_options(Arc::clone(output), columns, &options)?)
}

/// A filter that the file's types do not admit.
fn filter_error(error: vortex::error::VortexError) -> Error {
    Error::invalid(format!("the filter does not fit the columns: {}", super::first_line(&error)))
}
