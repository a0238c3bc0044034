//! Workers that do not answer any more, before and when the catalog knows.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{Catalog, Snapshot, WorkerState};
use granary_common::{Error, Result, WorkerId};

use crate::core::Coordinator;

/// How long a worker may take to say that it is there.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Asks every worker whether it is there and shuns those that are not, so that the next attempt goes
/// without them. Gives whether there are any.
pub async fn shun_silent(core: &Arc<Coordinator>) -> bool {
    let workers = &core.with.workers;
    let asked = workers.live().into_iter().map(|(worker, _)| async move {
        let answer = async { workers.api(worker)?.running_merges().await };
        let is_silent = !matches!(tokio::time::timeout(ANSWER_LIMIT, answer).await, Ok(Ok(_)));
        (worker, is_silent)
    });
    let answers = futures::future::join_all(asked).await;
    let silent: Vec<WorkerId> =
        answers.iter().filter(|(_, is_silent)| *is_silent).map(|(worker, _)| *worker).collect();
    // When nobody answers, it is this node that is cut off.
    if silent.len() == answers.len() {
        return false;
    }
    for worker in &silent {
        tracing::warn!(%worker, "the worker does not answer; going on without it");
        workers.shun(*worker);
    }
    !silent.is_empty()
}

/// Runs `work`, which relies on `workers`, until one of them is dead: then it may never end. Without
/// `workers`: on any of those that are alive now.
pub async fn while_alive<T>(
    core: &Coordinator,
    workers: Option<Vec<WorkerId>>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let catalog = &core.with.catalog;
    let snapshot = catalog.snapshot();
    if snapshot.workers.len() < 2 {
        // Nobody could take over.
        return work.await;
    }
    let workers = workers.unwrap_or_else(|| alive(&snapshot));
    drop(snapshot);
    tokio::select! {
        done = work => done,
        dead = first_dead(&**catalog, &workers) => Err(Error::unavailable(format!(
            "worker {dead} died meanwhile"
        ))),
    }
}

fn alive(snapshot: &Snapshot) -> Vec<WorkerId> {
    let rows = snapshot.workers.values().filter(|row| row.state != WorkerState::Dead);
    rows.map(|row| row.id).collect()
}

async fn first_dead(catalog: &dyn Catalog, workers: &[WorkerId]) -> WorkerId {
    let mut versions = catalog.watch();
    loop {
        versions.mark_unchanged();
        let snapshot = catalog.snapshot();
        let is_dead = |worker: &&WorkerId| {
            snapshot.workers.get(*worker).is_none_or(|row| row.state == WorkerState::Dead)
        };
        if let Some(dead) = workers.iter().find(is_dead) {
            return *dead;
        }
        if versions.changed().await.is_err() {
            // The catalog has ended, and nobody learns anything any more.
            std::future::pending::<()>().await;
        }
    }
}
