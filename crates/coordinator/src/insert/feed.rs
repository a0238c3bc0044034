//! What materialized views make of an inserted block.
//!
//! The view's query reads the whole block in place of its source; every other table is read at the
//! snapshot of the insert. Its rows go the way of any insert into the target, whose own views get
//! them in turn, and become visible with the block.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::{MemTable, TableProvider};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use granary_catalog::{Table, TableWrite, View};
use granary_common::units::display_bytes;
use granary_common::{Error, Result};
use granary_execution::error::from_datafusion;
use granary_sql::view_plan;

use super::block::{Block, batch_bytes};
use super::target::Target;
use crate::core::Coordinator;
use crate::query::hold_past;

/// Views on views' targets; the catalog refuses cycles, and this bounds the stack.
const DEPTH_MAX: usize = 16;

/// Writes what each view of `source` makes of `rows`, which are in the table's columns.
pub(super) fn feed_views<'a>(
    core: &'a Arc<Coordinator>,
    source: &'a Target,
    rows: &'a [RecordBatch],
    turn: u64,
) -> BoxFuture<'a, Result<Vec<TableWrite>>> {
    async move {
        let mut writes = Vec::new();
        for view in source.snapshot.materialized_views_of(source.table.id) {
            if source.view_limits().0 >= DEPTH_MAX {
                return Err(Error::invalid(format!(
                    "view '{}' follows a chain of more than {DEPTH_MAX} views",
                    view.name
                )));
            }
            let fed = feed(core, source, view, rows, turn).await;
            let within = |error: Error| error.context(format!("materialized view '{}'", view.name));
            writes.extend(fed.map_err(within)?);
        }
        Ok(writes)
    }
    .boxed()
}

async fn feed(
    core: &Arc<Coordinator>,
    source: &Target,
    view: &Arc<View>,
    rows: &[RecordBatch],
    turn: u64,
) -> Result<Vec<TableWrite>> {
    let target = source.snapshot.table_behind(view).map(|state| Arc::clone(&state.table));
    let target = target.ok_or_else(|| Error::conflict("its table was dropped meanwhile"))?;
    // What the view makes of a row does not depend on who inserts it.
    let views = source.views(core).in_database(&view.query_database).in_utc();
    let block = visible_rows(&source.table, rows)?;
    let state = views.with_rows(source.table.id, block).session_state()?;
    let plan = view_plan(&state, view).await?;
    // A view that it reads may read the past.
    let _past = hold_past(core, &plan).await?;
    let schema = Arc::clone(plan.schema().inner());
    let (kept, names, stored) = stored_columns(&target, &schema)?;
    let physical = core.with.engine.physical_plan(&state, &plan).await?;
    let mut batches = core.with.engine.execute(&physical, &state)?;
    let bytes_max = source.view_limits().1;
    let mut made = Block::starting_at(1);
    while let Some(batch) = batches.try_next().await.map_err(|error| from_datafusion(&error))? {
        let batch = batch.project(&kept).map_err(projection_failed)?;
        if batch.num_rows() == 0 {
            continue;
        }
        if made.bytes.saturating_add(batch_bytes(&batch)) > bytes_max {
            return Err(Error::exhausted(format!(
                "it makes more than {} of one block; insert fewer rows at once",
                display_bytes(bytes_max)
            )));
        }
        made.push(batch);
    }
    if made.rows == 0 {
        return Ok(Vec::new());
    }
    let target = source.of_view(target, &names, &stored, &state)?;
    target.write(core, &Arc::new(made), turn).await
}

/// The block as users see the table.
fn visible_rows(table: &Table, rows: &[RecordBatch]) -> Result<Arc<dyn TableProvider>> {
    let columns: Vec<usize> = (0..table.columns.len())
        .filter(|at| table.columns.get(*at).is_some_and(|column| column.is_visible()))
        .collect();
    let visible: Vec<RecordBatch> = rows
        .iter()
        .map(|batch| batch.project(&columns))
        .collect::<std::result::Result<_, _>>()
        .map_err(projection_failed)?;
    let fields = table.visible_columns();
    let fields = fields.map(|column| column.column_type.arrow_field(&column.name));
    let schema = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
    let rows = MemTable::try_new(schema, vec![visible]).map_err(|error| from_datafusion(&error))?;
    Ok(Arc::new(rows))
}

/// The columns of the view that its target has: their places, their names and their schema.
fn stored_columns(
    target: &Table,
    schema: &SchemaRef,
) -> Result<(Vec<usize>, Vec<String>, SchemaRef)> {
    let is_stored = |name: &str| target.insertable_columns().any(|column| column.name == name);
    let kept: Vec<usize> =
        (0..schema.fields().len()).filter(|at| is_stored(schema.field(*at).name())).collect();
    let names = kept.iter().map(|at| schema.field(*at).name().clone()).collect();
    let stored = schema.project(&kept).map_err(projection_failed)?;
    Ok((kept, names, Arc::new(stored)))
}

fn projection_failed(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("columns of a view: {error}"))
}
