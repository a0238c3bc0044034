//! A load that goes on while a test does harm: numbered batches, each sent with its own token until
//! it is acknowledged. Whatever happens in between, each must be there exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use granary_common::TaskOwner;
use tokio::task::JoinHandle;

use crate::{SqlClient, TestResult, bulk};

/// Rows of a batch.
pub const BATCH_ROWS: u64 = 100;
/// The table that the load fills.
pub const TABLE: &str = "events";

const ATTEMPT_LIMIT: Duration = Duration::from_secs(20);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(200);
/// Attempts for one batch: about as long as a restart of everything may take.
const ATTEMPTS_MAX: u32 = 300;

/// Creates the table of the load.
pub async fn create_table(client: &mut SqlClient) -> TestResult {
    let table = format!(
        "CREATE TABLE {TABLE} (id Int64, batch Int64, text String) \
         ENGINE = MergeTree ORDER BY id DISTRIBUTED BY (id) BUCKETS 4"
    );
    client.update(&table).await?;
    Ok(())
}

/// A running load. Stop it to learn what was acknowledged.
pub struct Load {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Option<TestResult>>,
}

impl Load {
    /// Begins to insert through the coordinators at `urls` in turn, from batch `first` on.
    pub fn start(tasks: &TaskOwner, urls: Vec<String>, first: u64) -> Load {
        let acknowledged = Arc::new(AtomicU64::new(first));
        let stop = Arc::new(AtomicBool::new(false));
        let work = run(urls, Arc::clone(&acknowledged), Arc::clone(&stop));
        Load { acknowledged, stop, task: tasks.spawn(work) }
    }

    /// Batches acknowledged so far, counted from batch 0.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// The same, for those who look on.
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.acknowledged)
    }

    /// Ends the load after the batch that it is at, and returns how many are acknowledged.
    ///
    /// Fails when a batch could not be brought in.
    pub async fn stop(self) -> TestResult<u64> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await?.ok_or("the load was cut off")??;
        Ok(self.acknowledged.load(Ordering::SeqCst))
    }
}

async fn run(urls: Vec<String>, acknowledged: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> TestResult {
    while !stop.load(Ordering::SeqCst) {
        let number = acknowledged.load(Ordering::SeqCst);
        insert_until_acknowledged(&urls, number).await?;
        acknowledged.store(number + 1, Ordering::SeqCst);
    }
    Ok(())
}

async fn insert_until_acknowledged(urls: &[String], number: u64) -> TestResult {
    let batch = batch(number)?;
    let mut last = String::new();
    for attempt in 0..ATTEMPTS_MAX {
        let url = &urls[(number as usize + attempt as usize) % urls.len()];
        let header = bulk::header(TABLE, &format!("load-{number}"));
        let insert = bulk::insert(url, header, std::slice::from_ref(&batch));
        match tokio::time::timeout(ATTEMPT_LIMIT, insert).await {
            Ok(Ok(receipt)) if receipt.rows == BATCH_ROWS => return Ok(()),
            Ok(Ok(receipt)) => return Err(format!("{} rows acknowledged", receipt.rows).into()),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "no answer in time".to_owned(),
        }
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
    Err(format!("batch {number} was not acknowledged: {last}").into())
}

/// The rows of a batch.
pub fn batch(number: u64) -> TestResult<RecordBatch> {
    let ids = (number * BATCH_ROWS..(number + 1) * BATCH_ROWS).map(|id| id as i64);
    let texts = ids.clone().map(|id| format!("row {id}"));
    Ok(RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef),
        ("batch", Arc::new(Int64Array::from(vec![number as i64; BATCH_ROWS as usize])) as ArrayRef),
        ("text", Arc::new(StringArray::from_iter_values(texts)) as ArrayRef),
    ])?)
}

/// Batches 0 to `batches` are there exactly once, wholly, and nothing else is.
pub async fn check_exactly_once(client: &mut SqlClient, batches: u64) -> TestResult {
    let figures = format!(
        "SELECT count(*), count(DISTINCT id), min(id), max(id), count(DISTINCT batch), \
         count(DISTINCT text) FROM {TABLE}"
    );
    let rows = batches * BATCH_ROWS;
    let want = format!("{rows}\t{rows}\t0\t{}\t{batches}\t{rows}", rows - 1);
    let got = client.lines(&figures).await?;
    match got == [want.clone()] {
        true => Ok(()),
        false => Err(format!("got {got:?}, want {want}").into()),
    }
}

/// A query beside the load: it may fail while a process is away, but what it returns is whole
/// batches, each once, with everything that was acknowledged before it began.
pub async fn check_snapshot(client: &mut SqlClient, load: &Load) -> TestResult<bool> {
    let acknowledged = load.acknowledged();
    let figures = format!("SELECT count(*), count(DISTINCT id) FROM {TABLE}");
    let Ok(lines) = client.lines(&figures).await else { return Ok(false) };
    let line = lines.first().ok_or("no row")?;
    let (count, distinct) = line.split_once('\t').ok_or("not two cells")?;
    let count: u64 = count.parse()?;
    if count.to_string() != distinct || !count.is_multiple_of(BATCH_ROWS) {
        return Err(format!("a query saw {count} rows, {distinct} distinct").into());
    }
    if count < acknowledged * BATCH_ROWS {
        return Err(format!("a query saw {count} rows after {acknowledged} batches").into());
    }
    Ok(true)
}
