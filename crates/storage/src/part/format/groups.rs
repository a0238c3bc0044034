//! A file whose columns come in groups, one group after the other.
//!
//! ```text
//! group ─ its columns ─ table ─► segments, children ─┐
//! group ─ …                                          ├─► one struct of all columns
//! ```
//!
//! The file is as if all columns had come together, but for the order of its segments.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use vortex::array::ArrayRef;
use vortex::dtype::DType;
use vortex::error::{VortexResult, vortex_err};
use vortex::layout::layouts::struct_::StructLayout;
use vortex::layout::segments::SegmentSinkRef;
use vortex::layout::sequence::{
    SendableSequentialStream, SequencePointer, SequentialStreamAdapter, SequentialStreamExt,
};
use vortex::layout::{LayoutRef, LayoutStrategy, LayoutWriterContext};
use vortex::session::VortexSession;

/// Rows of some columns of the file.
pub(super) struct ArrayGroup {
    pub dtype: DType,
    /// Every group has the same number of rows.
    pub arrays: BoxStream<'static, VortexResult<ArrayRef>>,
}

/// Writes its own groups in place of the rows that it is given, of which there are none. A group is
/// first asked for rows when the one before it is written.
pub(super) struct Grouped {
    table: Arc<dyn LayoutStrategy>,
    groups: Mutex<Vec<ArrayGroup>>,
}

impl Grouped {
    /// Writes each group as `table` says.
    pub fn new(table: Arc<dyn LayoutStrategy>, groups: Vec<ArrayGroup>) -> Grouped {
        Grouped { table, groups: Mutex::new(groups) }
    }
}

#[async_trait]
impl LayoutStrategy for Grouped {
    async fn write_stream(
        &self,
        context: LayoutWriterContext,
        sink: SegmentSinkRef,
        stream: SendableSequentialStream,
        mut end: SequencePointer,
        session: &VortexSession,
    ) -> VortexResult<LayoutRef> {
        let dtype = stream.dtype().clone();
        let fields = dtype.as_struct_fields_opt();
        let names =
            fields.ok_or_else(|| vortex_err!("a file has columns, and not {dtype}"))?.names();
        // It stands before all segments in their order, which would wait for it.
        drop(stream);
        let mut rows = None;
        let mut columns: Vec<Option<LayoutRef>> = names.iter().map(|_| None).collect();
        let groups = std::mem::take(&mut *self.groups.lock());
        for ArrayGroup { dtype, arrays } in groups {
            let (mut next, of_end) = (end.split_off(), end.split_off());
            let arrays = arrays.map(move |array| array.map(|array| (next.advance(), array)));
            let arrays = SequentialStreamAdapter::new(dtype.clone(), arrays).sendable();
            let (context, sink) = (context.clone(), Arc::clone(&sink));
            let written = self.table.write_stream(context, sink, arrays, of_end, session).await?;
            if *rows.get_or_insert(written.row_count()) != written.row_count() {
                return Err(vortex_err!("the columns of a file have different numbers of rows"));
            }
            let of_group = dtype.as_struct_fields_opt().map(|fields| fields.names().clone());
            for (name, column) in of_group.iter().flat_map(|of| of.iter()).zip(written.children()?)
            {
                let place = names.iter().position(|other| other == name);
                let place = place.ok_or_else(|| vortex_err!("the file has no column {name}"))?;
                columns[place] = Some(column);
            }
        }
        let columns = columns.into_iter().collect::<Option<Vec<_>>>();
        let columns = columns.ok_or_else(|| vortex_err!("a column of the file was not written"))?;
        Ok(StructLayout::new(rows.unwrap_or(0), dtype, columns).into_layout())
    }
}
