//! The roles as processes.
//!
//! ```text
//!   settings ─► logs, metrics ─► HTTP (/healthz at once) ─► role starts ─► ready line
//!                                                                             │
//!        exit with its error ◄── the role failed ◄───────────────┤
//!                     exit 0 ◄── drained ◄── /readyz fails ◄── SIGTERM, SIGINT
//! ```

mod allocator;
mod coordinator;
mod cores;
mod health;
mod http;
mod member;
mod memory;
mod metadata;
mod server;
mod signals;
mod worker;

pub use allocator::settle as settle_allocator;

use std::process::ExitCode;
use std::time::Duration;

use granary_common::{Error, Result, TaskOwner};
use tracing::{info, warn};

use crate::cluster::ReadyLine;
use crate::config::{Effective, Role, Settings};
use crate::telemetry::{self, MetricsHandle};
use health::Health;
use http::HttpServer;
use signals::Signals;

const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Runs a role until it is told to end. `Ok` means that it drained.
///
/// Kind `Unavailable` when a port or the data folder is in use, `Unsupported` when a newer build
/// wrote the folder.
pub fn run(effective: &Effective, exit_with_stdin: bool) -> Result<ExitCode> {
    allocator::settle();
    let metrics = telemetry::install(&effective.settings)?;
    effective.remarks.iter().for_each(|remark| warn!("{remark}"));
    if exit_with_stdin {
        signals::exit_with_stdin()?;
    }
    let runtime = cores::query_runtime(effective.settings.threads)?;
    let done = runtime.block_on(live(effective.role, &effective.settings, metrics));
    runtime.shutdown_timeout(STOP_LIMIT);
    done.map(|()| ExitCode::SUCCESS)
}

/// A role that has started.
enum Node {
    Metadata(Box<metadata::Metadata>),
    Worker(Box<worker::Worker>),
    Coordinator(coordinator::Coordinator),
    Server(Box<server::Server>),
}

async fn live(role: Role, settings: &Settings, metrics: MetricsHandle) -> Result<()> {
    let mut signals = Signals::listen()?;
    let tasks = TaskOwner::current();
    let health = Health::starting();
    let http = HttpServer::start(settings.http_listen, &health, metrics).await?;
    info!(role = role.name(), version = env!("CARGO_PKG_VERSION"), "starting");
    let started = tokio::select! {
        started = start(role, settings, &health, &tasks) => started,
        () = signals.asked_to_end() => {
            // Nothing was acknowledged yet that is not on disk.
            info!("ended while starting");
            std::process::exit(0);
        }
    };
    let (node, ready) = started?;
    announce(&ready.with("http", http.address));
    health.set_ready();

    tokio::select! {
        () = signals.asked_to_end() => {}
        error = failed(&node) => {
            health.set_draining();
            return Err(error);
        }
    }
    health.set_draining();
    let limit = Duration::from_secs(settings.drain_limit_s);
    info!(limit_s = settings.drain_limit_s, "draining; a second signal ends at once");
    tokio::select! {
        in_time = drain(node, limit) => match in_time {
            true => info!("drained"),
            false => warn!("the drain limit passed; what still ran was stopped"),
        },
        () = signals.asked_to_end() => warn!("ended without waiting for what runs"),
    }
    tasks.stop(STOP_LIMIT).await;
    Ok(())
}

async fn start(
    role: Role,
    settings: &Settings,
    health: &Health,
    tasks: &TaskOwner,
) -> Result<(Node, ReadyLine)> {
    let line = ReadyLine::new();
    Ok(match role {
        Role::Metadata => {
            let node = metadata::Metadata::start(settings, health).await?;
            let line = node.announce(line);
            (Node::Metadata(Box::new(node)), line)
        }
        Role::Worker => {
            let node = worker::Worker::start(settings, tasks).await?;
            let line = node.announce(line);
            (Node::Worker(Box::new(node)), line)
        }
        Role::Coordinator => {
            let node = coordinator::Coordinator::start(settings, health, tasks).await?;
            let line = node.announce(line);
            (Node::Coordinator(node), line)
        }
        Role::Server => {
            let node = server::Server::start(settings, health, tasks).await?;
            let line = node.announce(line);
            (Node::Server(Box::new(node)), line)
        }
    })
}

/// Ends when the role cannot do its work any more, for example because its disk is full.
async fn failed(node: &Node) -> Error {
    match node {
        Node::Metadata(node) => node.failed().await,
        Node::Server(node) => node.failed().await,
        Node::Worker(_) | Node::Coordinator(_) => std::future::pending().await,
    }
}

/// Whether all of its work ended in time.
async fn drain(node: Node, limit: Duration) -> bool {
    match node {
        Node::Metadata(node) => node.drain().await,
        Node::Worker(node) => node.drain(limit).await,
        Node::Coordinator(node) => node.drain(limit).await,
        Node::Server(node) => node.drain(limit).await,
    }
}

/// Prints the line that supervisors and tests wait for.
fn announce(line: &ReadyLine) {
    use std::io::Write as _;
    info!("{line}");
    let mut stdout = std::io::stdout().lock();
    // A closed standard output means that nobody waits for the line.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// The error of a port that cannot be listened on.
fn listen_error(setting: &str, address: std::net::SocketAddr, error: &std::io::Error) -> Error {
    Error::unavailable(format!("cannot listen on {address} ({setting}): {error}"))
}
