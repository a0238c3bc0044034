//! What workers say of themselves, asked of every live one.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use granary_common::{Error, WorkerId};
use granary_execution::{DiskReport, ScrubReport, WorkerReport};

use super::View;
use super::columns::Columns;

/// A worker that does not answer within this time has no rows.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Workers that are asked at the same time.
const ASKED_MAX: usize = 64;

async fn reports(view: &View) -> Vec<(WorkerId, WorkerReport)> {
    let workers = &view.core.with.workers;
    let asked = workers.live().into_iter().map(|(worker, _)| async move {
        let asking = async { workers.api(worker)?.report().await };
        let answer = tokio::select! {
            answer = asking => answer,
            () = view.core.with.clock.sleep(ANSWER_LIMIT) => Err(Error::deadline("no answer")),
        };
        match answer {
            Ok(report) => Some((worker, report)),
            Err(error) => {
                tracing::warn!(%worker, %error, "a worker does not tell how it is");
                None
            }
        }
    });
    stream::iter(asked).buffered(ASKED_MAX).filter_map(std::future::ready).collect().await
}

pub(super) async fn worker_disks(view: &View) -> Columns {
    let reports = reports(view).await;
    let rows: Vec<(WorkerId, &DiskReport)> = reports
        .iter()
        .flat_map(|(worker, report)| report.disks.iter().map(move |disk| (*worker, disk)))
        .collect();
    let numbers = |of: fn(&DiskReport) -> u64| rows.iter().map(move |(_, disk)| of(disk));
    Columns::new()
        .numbers("worker", rows.iter().map(|(worker, _)| worker.0))
        .texts("disk", rows.iter().map(|(_, disk)| &disk.disk))
        .numbers("total_bytes", numbers(|disk| disk.total_bytes))
        .numbers("used_bytes", numbers(|disk| disk.used_bytes))
        .numbers("budget_bytes", numbers(|disk| disk.budget_bytes))
        .flags("takes_writes", rows.iter().map(|(_, disk)| disk.used_bytes <= disk.budget_bytes))
}

pub(super) async fn scrubs(view: &View) -> Columns {
    let rows = reports(view).await;
    let numbers = |of: fn(&ScrubReport) -> u64| rows.iter().map(move |(_, row)| of(&row.scrub));
    Columns::new()
        .numbers("worker", rows.iter().map(|(worker, _)| worker.0))
        .numbers("round_parts", numbers(|scrub| scrub.parts_of_round))
        .numbers("round_parts_checked", numbers(|scrub| scrub.parts_of_round_checked))
        .optional_times("last_round_finished", rows.iter().map(|(_, row)| row.scrub.finished_ms))
        .numbers("parts_checked", numbers(|scrub| scrub.parts_checked))
        .numbers("bytes_checked", numbers(|scrub| scrub.bytes_checked))
        .numbers("parts_damaged", numbers(|scrub| scrub.parts_damaged))
}
