//! The merges that run now, asked of every live worker.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use granary_execution::RunningMerge;

use super::View;
use super::columns::Columns;

/// A worker that does not answer within this time has no rows.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Workers that are asked at the same time.
const ASKED_MAX: usize = 64;

pub(super) async fn merges(view: &View) -> Columns {
    let workers = &view.core.with.workers;
    let asked = workers.live().into_iter().map(|(worker, _)| async move {
        let asking = async { workers.api(worker)?.running_merges().await };
        let answer = tokio::select! {
            answer = asking => answer,
            () = view.core.with.clock.sleep(ANSWER_LIMIT) => Ok(Vec::new()),
        };
        answer.unwrap_or_else(|error| {
            tracing::warn!(%worker, %error, "a worker does not tell its merges");
            Vec::new()
        })
    });
    let answers: Vec<Vec<RunningMerge>> = stream::iter(asked).buffered(ASKED_MAX).collect().await;
    rows(view, &answers.concat())
}

fn rows(view: &View, merges: &[RunningMerge]) -> Columns {
    let table = |merge: &RunningMerge| {
        let state = view.snapshot.tables.get(&merge.table);
        state.map(|state| state.table.name.clone()).unwrap_or_default()
    };
    let database = |merge: &RunningMerge| {
        let state = view.snapshot.tables.get(&merge.table);
        let row = state.and_then(|state| view.snapshot.databases.get(&state.table.database));
        row.map(|row| row.name.clone()).unwrap_or_default()
    };
    let parts = |merge: &RunningMerge| {
        merge.parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let percent = |merge: &RunningMerge| match merge.rows {
        0 => 0,
        rows => (100 * merge.rows_read / rows).min(100),
    };
    Columns::new()
        .texts("database", merges.iter().map(database))
        .texts("table", merges.iter().map(table))
        .numbers("bucket", merges.iter().map(|merge| u64::from(merge.bucket.0)))
        .texts("partition", merges.iter().map(|merge| &merge.partition))
        .numbers("worker", merges.iter().map(|merge| merge.worker.0))
        .numbers("num_parts", merges.iter().map(|merge| merge.parts.len() as u64))
        .texts("parts", merges.iter().map(parts))
        .numbers("total_bytes", merges.iter().map(|merge| merge.bytes))
        .numbers("total_rows", merges.iter().map(|merge| merge.rows))
        .numbers("rows_read", merges.iter().map(|merge| merge.rows_read))
        .numbers("rows_written", merges.iter().map(|merge| merge.rows_written))
        .numbers("progress_percent", merges.iter().map(percent))
        .numbers("elapsed_ms", merges.iter().map(|merge| merge.elapsed_ms))
        .flags("is_optimize", merges.iter().map(|merge| merge.is_optimize))
}
