//! Everything that the query of a view gives, as rows for the table behind it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SessionState;
use futures::StreamExt;
use futures::stream::BoxStream;
use granary_catalog::{Snapshot, View};
use granary_common::{Error, Result};
use granary_execution::error::from_datafusion;
use granary_sql::{TableName, view_plan};

use super::SessionViews;
use crate::core::Coordinator;
use crate::query::{Pin, edge_schema, hold_past, to_edge};
use crate::session::{Session, StatementSettings};

/// The rows of a view that runs. Columns that its table does not have are left out.
pub(crate) struct ViewRows {
    pub table: TableName,
    pub schema: SchemaRef,
    pub batches: BoxStream<'static, Result<RecordBatch>>,
    _state: SessionState,
    _past: Option<Pin>,
}

impl ViewRows {
    /// Starts the query of `view` at `snapshot`.
    pub async fn open(
        core: &Arc<Coordinator>,
        snapshot: &Arc<Snapshot>,
        session: &Session,
        settings: &StatementSettings,
        view: &View,
    ) -> Result<Self> {
        let target = snapshot.table_behind(view).map(|state| Arc::clone(&state.table));
        let target = target.ok_or_else(|| {
            Error::not_found(format!("the table behind view '{}' was dropped", view.name))
        })?;
        let database = snapshot.databases.get(&target.database).map(|found| found.name.clone());
        let views = SessionViews::new(core, snapshot, session, settings);
        let state = views.in_database(&view.query_database).session_state()?;
        let plan = view_plan(&state, view).await?;
        let past = hold_past(core, &plan).await?;
        let all = edge_schema(plan.schema().as_arrow());
        let stored: Vec<usize> = (0..all.fields().len())
            .filter(|at| {
                let name = all.field(*at).name();
                target.insertable_columns().any(|column| column.name == *name)
            })
            .collect();
        let schema = Arc::new(all.project(&stored).map_err(not_projected)?);
        let physical = core.with.engine.physical_plan(&state, &plan).await?;
        let batches = core.with.engine.execute(&physical, &state)?;
        let batches = batches.map(move |batch| {
            let batch = to_edge(&batch.map_err(|error| from_datafusion(&error))?, &all)?;
            batch.project(&stored).map_err(not_projected)
        });
        let table = TableName { database, name: target.name.clone() };
        Ok(Self { table, schema, batches: batches.boxed(), _state: state, _past: past })
    }

    /// The names of the columns that the rows bring.
    pub fn columns(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }
}

fn not_projected(error: ArrowError) -> Error {
    Error::internal(format!("the rows of a view: {error}"))
}
