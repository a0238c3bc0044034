//! Which replicas of buckets come where, looked at again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use granary_common::{Clock, SystemClock, TaskOwner};
use tokio::task::JoinHandle;

use crate::{SqlClient, TestResult};

const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A bucket of a table, by name.
pub type BucketName = (String, u64);
/// A replica: a bucket on a worker.
pub type Replica = (BucketName, u64);

/// The replicas as they are.
pub async fn replicas(client: &mut SqlClient) -> TestResult<BTreeSet<Replica>> {
    let lines = client.lines("SELECT table, bucket, worker FROM system.bucket_replicas").await?;
    lines.iter().map(|line| read(line)).collect()
}

/// The bytes of every bucket.
pub async fn bytes(client: &mut SqlClient) -> TestResult<BTreeMap<BucketName, u64>> {
    let lines = client.lines("SELECT table, bucket, bytes FROM system.buckets").await?;
    lines.iter().map(|line| read(line)).collect()
}

fn read(line: &str) -> TestResult<Replica> {
    let cells: Vec<&str> = line.split('\t').collect();
    let [table, bucket, number] = cells[..] else { return Err(format!("{line}?").into()) };
    Ok(((table.to_owned(), bucket.parse()?), number.parse()?))
}

/// Bytes of the buckets behind `replicas`.
pub fn bytes_of<'a>(
    replicas: impl IntoIterator<Item = &'a Replica>,
    bytes: &BTreeMap<BucketName, u64>,
) -> u64 {
    replicas.into_iter().map(|(bucket, _)| bytes.get(bucket).copied().unwrap_or(0)).sum()
}

/// The bytes of each worker that holds a replica.
pub fn bytes_by_worker(
    replicas: &BTreeSet<Replica>,
    bytes: &BTreeMap<BucketName, u64>,
) -> BTreeMap<u64, u64> {
    let mut held = BTreeMap::new();
    for (bucket, worker) in replicas {
        *held.entry(*worker).or_insert(0) += bytes.get(bucket).copied().unwrap_or(0);
    }
    held
}

/// How far the fullest and the emptiest are from the mean at most, in percent.
pub fn spread_percent(held: impl IntoIterator<Item = u64>) -> f64 {
    let held: Vec<u64> = held.into_iter().collect();
    let mean = held.iter().sum::<u64>() as f64 / held.len().max(1) as f64;
    let off = held.iter().map(|bytes| (*bytes as f64 - mean).abs());
    let most = off.fold(0.0, f64::max);
    if mean > 0.0 { 100.0 * most / mean } else { 0.0 }
}

/// Notes every replica that appears.
pub struct Tracker {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Option<TestResult<Vec<Replica>>>>,
}

impl Tracker {
    /// Looks through the coordinator at `url`.
    pub async fn start(tasks: &TaskOwner, url: &str) -> TestResult<Tracker> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = SqlClient::connect(url).await?;
        let before = replicas(&mut client).await?;
        let task = tasks.spawn(track(client, before, Arc::clone(&stop)));
        Ok(Tracker { stop, task })
    }

    /// What appeared, once for each time.
    pub async fn stop(self) -> TestResult<Vec<Replica>> {
        self.stop.store(true, SeqCst);
        self.task.await?.ok_or("the tracker was cut off")?
    }
}

async fn track(
    mut client: SqlClient,
    mut last: BTreeSet<Replica>,
    stop: Arc<AtomicBool>,
) -> TestResult<Vec<Replica>> {
    let mut appeared = Vec::new();
    loop {
        let is_last = stop.load(SeqCst);
        let now = replicas(&mut client).await?;
        appeared.extend(now.difference(&last).cloned());
        last = now;
        if is_last {
            return Ok(appeared);
        }
        SystemClock.sleep(LOOK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_the_largest_distance_from_the_mean() {
        for (held, expected) in
            [(&[][..], 0.0), (&[5], 0.0), (&[10, 10], 0.0), (&[9, 11], 10.0), (&[0, 0, 30], 200.0)]
        {
            assert_eq!(spread_percent(held.iter().copied()), expected, "{held:?}");
        }
    }
}
