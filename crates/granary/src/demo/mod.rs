//! `granary demo`: a cluster of separate processes, TPC-H in through BulkInsert, the 22 queries
//! out through Flight SQL, each compared with a stored answer of another engine.
//!
//! ```text
//!   start ──► create tables ──► generate and load ──► run and compare ──► report
//! ```

mod answers;
mod generate;
mod load;
mod queries;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use granary_common::{Error, Result, SystemRandom, TaskOwner};

use crate::client::{Client, ConnectOptions};
use crate::cluster::{Cluster, ClusterSpec, ProcessHandle};
use crate::{exit, shell};

const READY_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Shows a cluster at work on TPC-H.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoOptions {
    /// One process with all roles instead of 3 metadata nodes, 3 workers and 2 coordinators.
    #[arg(long)]
    embedded: bool,
    /// Size of the data; 1 is 8.7 million rows.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Folder with tables.sql, queries/qNN.sql and answers/scale-S/qNN.csv.
    #[arg(long, default_value = "tests/tpch", value_name = "DIR")]
    tpch_dir: PathBuf,
    /// Folder for the cluster's data and logs; must be empty or new. Default: a temporary one,
    /// which is removed in the end.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Leave the cluster running in the background.
    #[arg(long)]
    keep: bool,
    /// Pieces of a table that are loaded at the same time, 1 to 16.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=16))]
    parallel: u64,
}

/// Runs the sub-command.
pub fn run(options: &DemoOptions, runtime: &tokio::runtime::Runtime) -> ExitCode {
    let done = runtime.block_on(async {
        tokio::select! {
            done = demo(options) => done,
            interrupted = interrupted() => Err(interrupted),
        }
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(exit::WRONG_ANSWER),
        Err(error) => exit::failed(&error),
    }
}

async fn interrupted() -> Error {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        // Without a handler the signal ends the process at once, and the cluster with it.
        Err(_) => std::future::pending().await,
    }
    Error::cancelled("interrupted")
}

/// Whether every query gave the stored answer.
async fn demo(options: &DemoOptions) -> Result<bool> {
    if !(0.001..=1000.0).contains(&options.scale) {
        return Err(Error::invalid("the scale must be from 0.001 to 1000"));
    }
    let queries = queries::read(&options.tpch_dir)?;
    let tables = read_tables(&options.tpch_dir)?;
    let folder = Folder::make(options)?;
    // The text that comments are cut from takes a few seconds to make; the cluster starts
    // meanwhile.
    let tasks = TaskOwner::current();
    let texts = tasks.spawn_blocking(generate::prepare);
    let mut cluster = start(options, &folder.path).await?;
    texts.await.map_err(|error| Error::internal(format!("generating texts: {error}")))?;
    let urls = cluster.urls();
    let mut client = Client::connect(&ConnectOptions::to_url(&urls[0])).await?;

    for statement in tables {
        client.run(&statement).await?;
    }
    load::all(&client, options.scale, options.parallel as usize).await?;
    println!();

    let answers = answers_dir(options);
    if answers.is_none() {
        println!("There are no stored answers at scale {}: rows are only counted.", options.scale);
    }
    let right = report::run(&urls, &queries, answers.as_deref()).await?;
    finish(options, &mut cluster, &folder, &urls[0]).await?;
    Ok(right)
}

async fn start(options: &DemoOptions, folder: &Path) -> Result<Cluster> {
    let binary = this_program()?;
    let mut spec = match options.embedded {
        true => ClusterSpec::embedded(binary, folder),
        false => ClusterSpec::new(binary, folder),
    };
    spec.ready_limit = READY_LIMIT;
    spec.detached = options.keep;
    let secret = SystemRandom::shared().next_hex();
    spec.environment.push(("GRANARY_SECRET".to_owned(), secret));
    let what = match options.embedded {
        true => "one embedded server".to_owned(),
        false => format!(
            "{} metadata nodes, {} workers and {} coordinators",
            spec.metadata, spec.workers, spec.coordinators
        ),
    };
    println!("Starting {what}; data and logs are in {}", folder.display());
    let mut cluster = Cluster::start(spec).await?;
    for process in cluster.processes_mut() {
        println!("  {}", describe(process));
    }
    Ok(cluster)
}

fn this_program() -> Result<PathBuf> {
    std::env::current_exe()
        .map_err(|error| Error::internal(format!("cannot find this program: {error}")))
}

fn describe(process: &ProcessHandle) -> String {
    let address = |name: &&str| process.address(name).map(|at| format!("{name} {at}"));
    let names = ["grpc", "http", "internal", "raft"];
    let addresses: Vec<String> = names.iter().filter_map(address).collect();
    format!("{:<14} pid {:<7} {}", process.name(), process.pid(), addresses.join("  "))
}

async fn finish(
    options: &DemoOptions,
    cluster: &mut Cluster,
    folder: &Folder,
    url: &str,
) -> Result<()> {
    let program = this_program()?;
    let program = program.display();
    if options.keep {
        cluster.leave_running();
        let pids: Vec<String> = cluster.processes_mut().map(|p| p.pid().to_string()).collect();
        println!("\nThe cluster stays up. Try it:\n\n  {program} sql --url {url}");
        println!("\nand stop it with:\n\n  kill {}", pids.join(" "));
        println!("\nIts data is in {}.", folder.path.display());
        return Ok(());
    }
    cluster.stop(STOP_LIMIT).await?;
    println!("\nThe cluster is stopped. To keep one and ask it yourself:\n");
    let embedded = if options.embedded { " --embedded" } else { "" };
    println!("  {program} demo{embedded} --keep");
    Ok(())
}

/// The statements of `tables.sql`.
fn read_tables(folder: &Path) -> Result<Vec<String>> {
    let path = folder.join("tables.sql");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Error::not_found(format!(
            "cannot read {}: {error}; run the demo in the repository or name --tpch-dir",
            path.display()
        ))
    })?;
    let script = shell::split(&text)?;
    Ok(script.statements.into_iter().chain(script.rest).collect())
}

fn answers_dir(options: &DemoOptions) -> Option<PathBuf> {
    let folder = options.tpch_dir.join("answers").join(format!("scale-{}", options.scale));
    folder.is_dir().then_some(folder)
}

/// The folder of the cluster; removed in the end when nobody named or wants to keep it.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn make(options: &DemoOptions) -> Result<Folder> {
        let temporary = options.data_dir.is_none() && !options.keep;
        let path = match &options.data_dir {
            Some(path) => path.clone(),
            None => std::env::temp_dir().join(format!("granary-demo-{}", std::process::id())),
        };
        let failed =
            |error| Error::invalid(format!("cannot use folder {}: {error}", path.display()));
        std::fs::create_dir_all(&path).map_err(failed)?;
        if std::fs::read_dir(&path).map_err(failed)?.next().is_some() {
            return Err(Error::already_exists(format!("{} is not empty", path.display())));
        }
        let path = path.canonicalize().map_err(failed)?;
        Ok(Folder { path, temporary })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // What cannot be removed from a temporary folder is left to the system.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
