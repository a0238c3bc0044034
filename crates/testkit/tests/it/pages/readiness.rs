//! Who may be sent work: before a process is ready, while it serves, when what it needs is away, and
//! while it drains.

use std::time::Duration;

use futures::StreamExt;
use granary::cluster::{ProcessHandle, ProcessSpec, free_ports};
use granary::config::Role;
use granary_testkit::{Mode, TestCluster, TestResult, paths};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::http::get;

/// Looks within half a minute.
const LOOKS_MAX: usize = 300;
const POLL: Duration = Duration::from_millis(100);
const SERVICES: [&str; 3] = ["", "arrow.flight.protocol.FlightService", "granary.v1.BulkInsert"];

fn http(process: &ProcessHandle) -> TestResult<String> {
    Ok(process.address("http").ok_or("no HTTP port")?.to_owned())
}

/// Waits until `/readyz` answers with `status` and `words`.
async fn wait_ready(address: &str, status: u16, words: &str) -> TestResult {
    let mut last = String::new();
    for _ in 0..LOOKS_MAX {
        match get(address, "/readyz") {
            Ok(page) if page.status == status && page.body.contains(words) => return Ok(()),
            page => last = format!("{page:?}"),
        }
        tokio::time::sleep(POLL).await;
    }
    Err(format!("/readyz did not come to {status} {words:?}: {last}").into())
}

/// What gRPC's health protocol says of `service`.
async fn health(url: &str, service: &str) -> TestResult<Result<ServingStatus, tonic::Status>> {
    let endpoint = Endpoint::from_shared(url.to_owned())?.connect_timeout(Duration::from_secs(10));
    let mut client = HealthClient::new(endpoint.connect().await?);
    let request = HealthCheckRequest { service: service.to_owned() };
    Ok(client.check(request).await.map(|answer| answer.into_inner().status()))
}

async fn wait_health(url: &str, expected: ServingStatus) -> TestResult {
    for service in SERVICES {
        let mut last = None;
        for _ in 0..LOOKS_MAX {
            last = Some(health(url, service).await?);
            if matches!(&last, Some(Ok(status)) if *status == expected) {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        assert!(matches!(&last, Some(Ok(status)) if *status == expected), "{service:?}: {last:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_that_is_ready_says_so() -> TestResult {
    for mode in Mode::ALL {
        let mut cluster = TestCluster::start(mode).await?;
        for process in cluster.cluster.processes_mut() {
            let address = http(process)?;
            for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
                let page = get(&address, path)?;
                assert_eq!((page.status, page.body.as_str()), (200, body), "{}", process.name());
            }
            assert_eq!(get(&address, "/nope")?.status, 404, "{}", process.name());
        }
        for url in cluster.cluster.urls() {
            wait_health(&url, ServingStatus::Serving).await?;
            let unknown = health(&url, "no.such.Service").await?;
            assert_eq!(unknown.map_err(|status| status.code()), Err(Code::NotFound));
        }
    }
    Ok(())
}

/// A process alone, whose metadata group does not answer.
fn lonely(role: Role, folder: &std::path::Path) -> TestResult<(ProcessHandle, String)> {
    let [own, http, nobody, neither] = free_ports::<4>()?;
    let mut arguments = vec![role.name().to_owned()];
    let mut flag = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
    let data_dir = folder.join(role.name());
    flag("data-dir", data_dir.display().to_string());
    flag("http-listen", format!("127.0.0.1:{http}"));
    let listener = match role {
        Role::Metadata => "raft-listen",
        Role::Worker => "internal-listen",
        Role::Coordinator | Role::Server => "grpc-listen",
    };
    flag(listener, format!("127.0.0.1:{own}"));
    let first = if role == Role::Metadata { own } else { nobody };
    flag("metadata", format!("127.0.0.1:{first},127.0.0.1:{nobody},127.0.0.1:{neither}"));
    let process = ProcessHandle::spawn(ProcessSpec {
        binary: paths::granary_binary()?,
        name: role.name().to_owned(),
        role,
        data_dir,
        log: folder.join(format!("{}.log", role.name())),
        arguments,
        environment: Vec::new(),
        ready_limit: Duration::from_secs(60),
        detached: false,
    })?;
    Ok((process, format!("127.0.0.1:{http}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_group_lives_and_is_not_ready() -> TestResult {
    let folder = tempfile::tempdir()?;
    for role in [Role::Metadata, Role::Worker, Role::Coordinator] {
        let (mut process, address) = lonely(role, folder.path())?;
        let words = if role == Role::Metadata { "not ready: " } else { "not ready: starting" };
        wait_ready(&address, 503, words).await?;
        // It stays so: nothing has come that it waits for.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let page = get(&address, "/readyz")?;
        assert_eq!(page.status, 503, "{}: {page:?}", role.name());
        assert_eq!(get(&address, "/healthz")?.body, "ok\n");
        assert_eq!(get(&address, "/metrics")?.status, 200);
        // It can be ended nevertheless.
        process.terminate()?;
        let status = process.wait_exit(Duration::from_secs(20)).await?;
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", role.name());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_what_a_role_needs() -> TestResult {
    let mut cluster = TestCluster::start_with(Mode::Cluster, |spec| {
        (spec.metadata, spec.coordinators, spec.workers) = (3, 1, 1);
    })
    .await?;
    let (coordinator, url) = (http(&cluster.cluster.coordinators[0])?, cluster.url(0)?);
    cluster.cluster.workers[0].kill()?;
    wait_ready(&coordinator, 503, "no worker is alive").await?;
    wait_health(&url, ServingStatus::NotServing).await?;
    assert_eq!(get(&coordinator, "/healthz")?.status, 200);
    cluster.cluster.workers[0].respawn()?;
    cluster.cluster.workers[0].wait_ready().await?;
    wait_ready(&coordinator, 200, "ready").await?;
    wait_health(&url, ServingStatus::Serving).await?;

    // Without a majority neither the member that is left nor the coordinator can do anything.
    let member = http(&cluster.cluster.metadata[0])?;
    for process in &mut cluster.cluster.metadata[1..] {
        process.kill()?;
    }
    wait_ready(&member, 503, "not ready: ").await?;
    wait_ready(&coordinator, 503, "not ready: ").await?;
    wait_health(&url, ServingStatus::NotServing).await?;
    for process in &mut cluster.cluster.metadata[1..] {
        process.respawn()?;
    }
    wait_ready(&member, 200, "ready").await?;
    wait_ready(&coordinator, 200, "ready").await?;
    wait_health(&url, ServingStatus::Serving).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_drains_is_not_ready() -> TestResult {
    let mut cluster = TestCluster::start_with(Mode::Embedded, |spec| {
        spec.environment.push(("GRANARY_DRAIN_LIMIT_S".to_owned(), "8".to_owned()));
    })
    .await?;
    let (url, address) = (cluster.url(0)?, http(&cluster.cluster.coordinators[0])?);
    // A result that its client reads slowly keeps the server from ending.
    let mut reader = cluster.client(0).await?;
    let endless = "SELECT a.number FROM numbers(1000000) AS a CROSS JOIN numbers(1000000) AS b";
    let mut stream = reader.stream(endless).await?;
    assert!(stream.next().await.is_some_and(|first| first.is_ok()));
    let metrics = super::http::parse_metrics(&get(&address, "/metrics")?.body)?;
    for name in ["statements_running", "queries_admitted"] {
        let name = format!("granary_coordinator_{name}");
        assert_eq!(super::http::sum(&metrics, &name, ""), Some(1.0), "{name}");
    }
    let mut other = cluster.client(0).await?;
    assert_eq!(other.value("SELECT 1").await?, "1");

    cluster.cluster.coordinators[0].terminate()?;
    wait_ready(&address, 503, "not ready: draining").await?;
    wait_health(&url, ServingStatus::NotServing).await?;
    assert_eq!(get(&address, "/healthz")?.status, 200, "it lives");
    let Err(refused) = other.query("SELECT 1").await else { panic!("it took new work") };
    assert_eq!(refused.code(), Some(Code::Unavailable), "{refused}");
    assert!(refused.to_string().contains("shutting down"), "{refused}");
    // What runs goes on.
    assert!(stream.next().await.is_some_and(|more| more.is_ok()));
    // The limit ends it in the end, and the process in good order.
    let server = &mut cluster.cluster.coordinators[0];
    let status = server.wait_exit(Duration::from_secs(40)).await?;
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", server.log_since_start());
    assert!(server.log_since_start().contains("the drain limit passed"));
    Ok(())
}
