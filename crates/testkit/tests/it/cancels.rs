//! Queries that nobody wants any more end on the coordinator and on every worker: their client
//! dropped the stream, cancelled them through another coordinator, or died.

use std::process::{Command, Stdio};
use std::time::Duration;

use arrow_flight::sql::{ActionCancelQueryRequest, ActionCancelQueryResult, Any, ProstMessageExt};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo,
};
use futures::StreamExt;
use granary_common::TaskOwner;
use granary_testkit::process::{self, Stopwatch};
use granary_testkit::{Mode, SqlClient, SqlError, TestCluster, TestResult, paths};
use prost::Message;
use tonic::Code;

use super::wait_for;

const ROWS: &str = "400000";
/// It gives rows as long as its client takes them.
const ENDLESS_ROWS: &str = "SELECT a.id, b.id AS b_id, a.name FROM t AS a CROSS JOIN t AS b";
/// It gives its only row after very long.
const ENDLESS_SUM: &str = "SELECT sum(sqrt(a.id * b.id)) AS endless FROM t AS a CROSS JOIN t AS b";
/// Within this time a query is to be everywhere, or gone from everywhere.
const LIMIT: Duration = Duration::from_secs(40);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// A process that uses less of a second is idle.
const IDLE_MS: u64 = 400;

struct Setting {
    cluster: TestCluster,
    /// A session with each coordinator.
    watchers: [SqlClient; 2],
}

impl Setting {
    async fn new() -> TestResult<Setting> {
        let cluster = TestCluster::start(Mode::Cluster).await?;
        let mut first = cluster.client(0).await?;
        first
            .update(
                "CREATE TABLE t (id Int64, name String) ENGINE = MergeTree ORDER BY id \
                 DISTRIBUTED BY (id) BUCKETS 6",
            )
            .await?;
        let rows = format!("INSERT INTO t SELECT number, 'n' || number FROM numbers({ROWS})");
        first.update(&rows).await?;
        let second = cluster.client(1).await?;
        Ok(Setting { cluster, watchers: [first, second] })
    }

    /// A session with coordinator `place` whose queries run on every worker.
    async fn client(&self, place: usize) -> TestResult<SqlClient> {
        let mut client = self.cluster.client(place).await?;
        for set in Mode::Cluster.settings() {
            client.update(set).await?;
        }
        Ok(client)
    }

    /// Pieces of work that run on each worker.
    async fn running(&self) -> TestResult<Vec<u64>> {
        let mut running = Vec::new();
        for worker in &self.cluster.cluster.workers {
            let http = worker.address("http").ok_or("no HTTP port")?;
            running.push(process::metric(http, "granary_worker_work_running").await? as u64);
        }
        Ok(running)
    }

    /// Waits until every worker has a fragment of the query that coordinator `place` runs.
    async fn wait_everywhere(&mut self, place: usize) -> TestResult {
        let began = Stopwatch::start();
        loop {
            let ours = self.watchers[place].value(&processes()).await?;
            let running = self.running().await?;
            if ours == "1" && running.iter().all(|count| *count > 0) {
                return Ok(());
            }
            if began.elapsed() > LIMIT {
                return Err(format!("{ours} queries run; on workers: {running:?}").into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until nothing is left of any query, neither in the tables, nor on workers, nor of the
    /// time that they need, and asks for an answer.
    async fn check_gone(&mut self, why: &str) -> TestResult {
        let began = Stopwatch::start();
        let late = |what: String| format!("{why}: {LIMIT:?} later, {what}");
        for watcher in &mut self.watchers {
            wait_for(watcher, &processes(), "0").await.map_err(|error| late(error.to_string()))?;
            let listed = "SELECT count(*) FROM system.queries WHERE state = 'running' \
                          AND query NOT LIKE '%system.queries%'";
            assert_eq!(watcher.value(listed).await?, "0", "{why}: system.queries");
        }
        loop {
            let running = self.running().await?;
            if running.iter().all(|count| *count == 0) {
                break;
            }
            if began.elapsed() > LIMIT {
                return Err(late(format!("workers run {running:?}")).into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        loop {
            let busy = self.busy_ms().await?;
            if busy.iter().all(|ms| *ms < IDLE_MS) {
                break;
            }
            if began.elapsed() > LIMIT {
                return Err(late(format!("workers use {busy:?} ms of a second")).into());
            }
        }
        for place in [0, 1] {
            let count = self.client(place).await?.value("SELECT count(*) FROM t").await?;
            assert_eq!(count, ROWS, "{why}: the next query");
        }
        Ok(())
    }

    /// Processor time of each worker within one second, in ms.
    async fn busy_ms(&self) -> TestResult<Vec<u64>> {
        let used = || -> TestResult<Vec<u64>> {
            let workers = self.cluster.cluster.workers.iter();
            workers.map(|worker| process::cpu_ms(worker.pid())).collect()
        };
        let before = used()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = used()?;
        Ok(after.iter().zip(before).map(|(after, before)| after - before).collect())
    }
}

fn processes() -> String {
    "SELECT count(*) FROM system.processes WHERE query LIKE '%FROM t AS a%' \
     AND query NOT LIKE '%system.processes%'"
        .to_owned()
}

/// A query that runs: what its client waits for.
type Waiting = tokio::task::JoinHandle<Option<Result<(), SqlError>>>;

/// Starts [`ENDLESS_SUM`] through coordinator `place`.
async fn start_sum(setting: &Setting, place: usize) -> TestResult<(FlightInfo, Waiting)> {
    let mut client = setting.client(place).await?;
    let info = client.flight.execute(ENDLESS_SUM.to_owned(), None).await?;
    let fetched = info.clone();
    let tasks = TaskOwner::current();
    Ok((info, tasks.spawn(async move { client.fetch(fetched).await.map(drop) })))
}

async fn act(client: &mut SqlClient, name: &str, body: Vec<u8>) -> TestResult<Vec<u8>> {
    let action = Action { r#type: name.to_owned(), body: body.into() };
    let mut results = client.flight.inner_mut().do_action(action).await?.into_inner();
    Ok(results.message().await?.ok_or("no result")?.body.to_vec())
}

async fn cancel_flight_info(client: &mut SqlClient, info: &FlightInfo) -> TestResult<CancelStatus> {
    let body = CancelFlightInfoRequest { info: Some(info.clone()) }.encode_to_vec();
    let result = act(client, "CancelFlightInfo", body).await?;
    Ok(CancelFlightInfoResult::decode(&*result)?.status())
}

async fn check_cancelled(waiting: Waiting) -> TestResult {
    let outcome = tokio::time::timeout(LIMIT, waiting).await??;
    let Some(Err(error)) = outcome else { return Err("the cancelled query gave an answer".into()) };
    assert_eq!(error.code(), Some(Code::Cancelled), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unwanted_queries_end_on_every_worker() -> TestResult {
    let mut setting = Setting::new().await?;

    let mut stream = setting.client(0).await?.stream(ENDLESS_ROWS).await?;
    stream.next().await.ok_or("no batch")??;
    setting.wait_everywhere(0).await?;
    drop(stream);
    setting.check_gone("a dropped stream").await?;

    // The client reads nothing meanwhile, so that the server must end it by itself.
    let mut client = setting.client(0).await?;
    let info = client.flight.execute(ENDLESS_ROWS.to_owned(), None).await?;
    let ticket = info.endpoint[0].ticket.clone().ok_or("no ticket")?;
    let mut stream = client.flight.do_get(ticket).await?;
    stream.next().await.ok_or("no batch")??;
    setting.wait_everywhere(0).await?;
    let done = cancel_flight_info(&mut setting.watchers[1], &info).await?;
    assert_eq!(done, CancelStatus::Cancelled);
    setting.check_gone("CancelFlightInfo of a result that nobody reads").await?;
    let error = loop {
        match stream.next().await.ok_or("the stream ended as if it were whole")? {
            Ok(_) => {}
            Err(error) => break SqlError::from(error),
        }
    };
    assert_eq!(error.code(), Some(Code::Cancelled), "{error}");
    let again = cancel_flight_info(&mut setting.watchers[1], &info).await?;
    assert_eq!(again, CancelStatus::NotCancellable);

    let (info, waiting) = start_sum(&setting, 1).await?;
    setting.wait_everywhere(1).await?;
    let done = cancel_flight_info(&mut setting.watchers[0], &info).await?;
    assert_eq!(done, CancelStatus::Cancelled);
    check_cancelled(waiting).await?;
    setting.check_gone("CancelFlightInfo through the other coordinator").await?;

    let (info, waiting) = start_sum(&setting, 0).await?;
    setting.wait_everywhere(0).await?;
    let request = ActionCancelQueryRequest { info: info.encode_to_vec().into() };
    let body = request.as_any().encode_to_vec();
    let done = Any::decode(&*act(&mut setting.watchers[1], "CancelQuery", body).await?)?;
    let done: ActionCancelQueryResult = done.unpack()?.ok_or("not a CancelQuery result")?;
    assert_eq!(done.result, CancelStatus::Cancelled as i32);
    check_cancelled(waiting).await?;
    setting.check_gone("CancelQuery through the other coordinator").await?;

    let (_, waiting) = start_sum(&setting, 0).await?;
    setting.wait_everywhere(0).await?;
    let id = "SELECT query_id FROM system.processes WHERE query LIKE '%AS endless FROM t AS a%' \
              AND query NOT LIKE '%system.processes%'";
    let id = setting.watchers[0].value(id).await?;
    setting.watchers[1].update(&format!("KILL QUERY '{id}'")).await?;
    check_cancelled(waiting).await?;
    setting.check_gone("KILL QUERY through the other coordinator").await?;
    let error = setting.watchers[1].update(&format!("KILL QUERY '{id}'")).await;
    let code = error.err().and_then(|error| error.code());
    assert_eq!(code, Some(Code::NotFound));

    let mut shell = Command::new(paths::granary_binary()?)
        .args(["sql", "--url", &setting.cluster.url(1)?])
        .args(["-c", Mode::Cluster.settings()[0], "-c", ENDLESS_SUM])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let everywhere = setting.wait_everywhere(1).await;
    shell.kill()?;
    shell.wait()?;
    everywhere?;
    setting.check_gone("a client that died").await
}
