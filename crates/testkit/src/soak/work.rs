//! What goes on while processes are killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use granary_common::random::SeededRandom;
use granary_common::{Clock, Random, SystemClock, TaskOwner};
use tokio::task::JoinHandle;
use tonic::Code;

use super::model::{BATCH_ROWS, Model, WRITERS};
use crate::{SqlClient, SqlError, TestResult, bulk};

const ATTEMPT_LIMIT: Duration = Duration::from_secs(20);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);
/// Attempts for one statement: longer than any restart may take.
const ATTEMPTS_MAX: u32 = 600;
/// One of so many batches is sent again.
const REPEAT_EVERY: u64 = 10;
/// Between two deletes, merges and queries.
const PAUSE: Duration = Duration::from_millis(150);

/// Running writers, a deleter, merges and queries.
pub struct Work {
    stop: Arc<AtomicBool>,
    queries: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Option<TestResult>>>,
}

/// What every task has.
#[derive(Clone)]
struct Context {
    urls: Arc<Vec<String>>,
    model: Arc<Model>,
    random: Arc<SeededRandom>,
    stop: Arc<AtomicBool>,
    queries: Arc<AtomicU64>,
}

impl Work {
    /// Begins where the model is.
    pub fn start(tasks: &TaskOwner, urls: Vec<String>, model: &Arc<Model>, seed: u64) -> Work {
        let stop = Arc::new(AtomicBool::new(false));
        let queries = Arc::new(AtomicU64::new(0));
        let context = |place: u64| Context {
            urls: Arc::new(urls.clone()),
            model: Arc::clone(model),
            random: Arc::new(SeededRandom::new(seed.wrapping_add(place))),
            stop: Arc::clone(&stop),
            queries: Arc::clone(&queries),
        };
        let mut handles = Vec::new();
        for writer in 0..WRITERS {
            handles.push(tasks.spawn(write(context(writer as u64), writer)));
        }
        handles.push(tasks.spawn(delete(context(100))));
        handles.push(tasks.spawn(merge(context(101))));
        handles.push(tasks.spawn(query(context(102))));
        Work { stop, queries, tasks: handles }
    }

    /// Ends when every statement under way is answered. Returns how many queries were.
    pub async fn stop(self) -> TestResult<u64> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await?.ok_or("the work was cut off")??;
        }
        Ok(self.queries.load(Ordering::SeqCst))
    }
}

impl Context {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn below(&self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }

    fn url(&self) -> &str {
        &self.urls[self.below(self.urls.len() as u64) as usize]
    }

    /// Runs a statement in a new session with any coordinator.
    async fn update(&self, sql: &str) -> Result<i64, SqlError> {
        SqlClient::connect(self.url()).await?.update(sql).await
    }
}

async fn write(context: Context, writer: usize) -> TestResult {
    while context.goes_on() {
        let batch = context.model.acknowledged(writer);
        if batch > 0 && context.below(REPEAT_EVERY) == 0 {
            insert(&context, writer, context.below(batch)).await?;
            context.model.note_repeated();
        }
        insert(&context, writer, batch).await?;
        context.model.acknowledge(writer);
    }
    Ok(())
}

/// Sends a batch under its token until it is acknowledged.
async fn insert(context: &Context, writer: usize, batch: u64) -> TestResult {
    let rows = rows(writer as u64, batch)?;
    let mut last = String::new();
    for _ in 0..ATTEMPTS_MAX {
        let header = bulk::header("soak_rows", &format!("soak-{writer}-{batch}"));
        let sent = bulk::insert(context.url(), header, std::slice::from_ref(&rows));
        match tokio::time::timeout(ATTEMPT_LIMIT, sent).await {
            Ok(Ok(receipt)) if receipt.rows == BATCH_ROWS => return Ok(()),
            Ok(Ok(receipt)) => return Err(format!("{} rows acknowledged", receipt.rows).into()),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "no answer in time".to_owned(),
        }
        SystemClock.sleep(BETWEEN_ATTEMPTS).await;
    }
    Err(format!("batch {batch} of writer {writer} was not acknowledged: {last}").into())
}

fn rows(writer: u64, batch: u64) -> TestResult<RecordBatch> {
    let first = (writer << 40) + batch * BATCH_ROWS;
    let ids = (first..first + BATCH_ROWS).map(|id| id as i64);
    let texts = ids.clone().map(|id| format!("row {id}"));
    let same = |value: u64| -> ArrayRef {
        Arc::new(Int64Array::from(vec![value as i64; BATCH_ROWS as usize]))
    };
    Ok(RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef),
        ("writer", same(writer)),
        ("batch", same(batch)),
        ("text", Arc::new(StringArray::from_iter_values(texts)) as ArrayRef),
    ])?)
}

/// Deletes whole batches, each until that is acknowledged.
async fn delete(context: Context) -> TestResult {
    while context.goes_on() {
        SystemClock.sleep(PAUSE).await;
        let writer = context.below(WRITERS as u64);
        let acknowledged = context.model.acknowledged(writer as usize);
        if acknowledged == 0 {
            continue;
        }
        let batch = context.below(acknowledged);
        if !context.model.delete(writer, batch) {
            continue;
        }
        let sql = format!("DELETE FROM soak_rows WHERE writer = {writer} AND batch = {batch}");
        let mut attempts = 0;
        while let Err(error) = context.update(&sql).await {
            attempts += 1;
            if !may_pass(&error) || attempts > ATTEMPTS_MAX {
                return Err(format!("{sql}: {error}").into());
            }
            SystemClock.sleep(BETWEEN_ATTEMPTS).await;
        }
    }
    Ok(())
}

async fn merge(context: Context) -> TestResult {
    while context.goes_on() {
        SystemClock.sleep(10 * PAUSE).await;
        let sql = match context.below(4) {
            0 => "OPTIMIZE TABLE soak_rows FINAL",
            1 => "OPTIMIZE TABLE soak_counts FINAL",
            _ => "OPTIMIZE TABLE soak_rows",
        };
        match context.update(sql).await {
            Err(error) if !may_pass(&error) => return Err(format!("{sql}: {error}").into()),
            _ => {}
        }
    }
    Ok(())
}

/// What a query returns are whole batches, each once, with all that was acknowledged before.
async fn query(context: Context) -> TestResult {
    let figures = "SELECT count(*), count(DISTINCT id) FROM soak_rows WHERE id >= 0";
    while context.goes_on() {
        SystemClock.sleep(PAUSE).await;
        let before = context.model.rows_acknowledged();
        let Ok(mut client) = SqlClient::connect(context.url()).await else { continue };
        let line = match client.lines(figures).await {
            Ok(lines) => lines.into_iter().next().ok_or("no row")?,
            Err(error) if may_pass(&error) => continue,
            Err(error) => return Err(format!("{figures}: {error}").into()),
        };
        let (count, distinct) = line.split_once('\t').ok_or("not two cells")?;
        let (count, distinct): (u64, u64) = (count.parse()?, distinct.parse()?);
        let least = before.saturating_sub(context.model.rows_deleted());
        if count != distinct || !count.is_multiple_of(BATCH_ROWS) || count < least {
            return Err(format!(
                "a query saw {count} rows, {distinct} of them distinct, where at least {least} in \
                 batches of {BATCH_ROWS} must be"
            )
            .into());
        }
        context.queries.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// Whether a killed process may be the reason.
fn may_pass(error: &SqlError) -> bool {
    match error.code() {
        Some(code) => matches!(
            code,
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::Cancelled
                | Code::Unknown
        ),
        None => true,
    }
}
