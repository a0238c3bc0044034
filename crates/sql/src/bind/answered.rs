//! Queries that are answered while another one is bound, because what they give decides its shape or
//! which version it reads.

use arrow::record_batch::RecordBatch;
use datafusion::execution::SessionState;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use futures::TryStreamExt;
use granary_common::Result;
use sqlparser::ast::Query;

use crate::error_from_datafusion;

/// The rows that the query gives, read no further than the first batch with which they are more than
/// `rows_max`.
pub(super) async fn rows(
    query: &Query,
    state: &SessionState,
    sql: &str,
    rows_max: usize,
) -> Result<Vec<RecordBatch>> {
    // Boxed: this is called while a query is bound.
    let plan = Box::pin(super::bind_query(state, query, sql)).await?;
    let answered = async {
        let logical = state.optimize(&plan)?;
        let planner = DefaultPhysicalPlanner::default();
        let physical = planner.create_physical_plan(&logical, state).await?;
        let mut stream = execute_stream(physical, state.task_ctx())?;
        let (mut batches, mut count) = (Vec::new(), 0);
        while count <= rows_max
            && let Some(batch) = stream.try_next().await?
        {
            count += batch.num_rows();
            batches.push(batch);
        }
        Ok(batches)
    };
    answered.await.map_err(|error| error_from_datafusion(error, Some(sql)))
}
