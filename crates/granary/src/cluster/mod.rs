//! Clusters of separate processes on one machine: what `granary demo` shows and the cluster tests
//! torture. Every process is started with the flags that an operator would use.
//!
//! ```text
//!   ClusterSpec ──► Cluster { metadata, coordinators, workers : ProcessHandle }
//!                                                   │
//!                       spawn · wait for the ready line · kill · restart on the same folder
//! ```

mod ports;
mod process;
mod ready;

use std::path::PathBuf;
use std::time::Duration;

use granary_common::{Error, Result};

use crate::config::Role;

pub use ports::free_ports;
pub use process::{ProcessHandle, ProcessSpec};
pub use ready::ReadyLine;

/// What to start.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// The `granary` executable.
    pub binary: PathBuf,
    /// Holds a data folder and a log file for each process.
    pub folder: PathBuf,
    /// Members of the metadata group; 0 starts one embedded server instead of roles.
    pub metadata: usize,
    /// Coordinators.
    pub coordinators: usize,
    /// Workers.
    pub workers: usize,
    /// How long a process may take until it is ready.
    pub ready_limit: Duration,
    /// More environment variables for every process, for example settings.
    pub environment: Vec<(String, String)>,
    /// Processes may outlive the one that starts them: see [`Cluster::leave_running`]. Otherwise
    /// they end with it, however it ends.
    pub detached: bool,
}

impl ClusterSpec {
    /// The cluster of the README: 3 metadata nodes, 2 coordinators and 3 workers.
    pub fn new(binary: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            folder: folder.into(),
            metadata: 3,
            coordinators: 2,
            workers: 3,
            ready_limit: Duration::from_secs(60),
            environment: Vec::new(),
            detached: false,
        }
    }

    /// One process that has all roles.
    pub fn embedded(binary: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self { metadata: 0, coordinators: 0, workers: 0, ..Self::new(binary, folder) }
    }

    fn process(&self, role: Role, place: usize, arguments: Vec<String>) -> ProcessSpec {
        let name = format!("{}-{place}", role.name());
        let data_dir = self.folder.join(&name);
        let mut all = vec![role.name().to_owned(), "--data-dir".to_owned()];
        all.push(data_dir.display().to_string());
        all.extend(arguments);
        ProcessSpec {
            binary: self.binary.clone(),
            log: self.folder.join(format!("{name}.log")),
            name,
            role,
            data_dir,
            arguments: all,
            environment: self.environment.clone(),
            ready_limit: self.ready_limit,
            detached: self.detached,
        }
    }
}

/// Processes that make up a cluster. They are killed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    spec: ClusterSpec,
    metadata_list: String,
    /// The metadata group, node 1 first.
    pub metadata: Vec<ProcessHandle>,
    /// Coordinators; of an embedded cluster, the one server.
    pub coordinators: Vec<ProcessHandle>,
    /// Workers.
    pub workers: Vec<ProcessHandle>,
}

impl Cluster {
    /// Starts every process and waits until all are ready.
    ///
    /// Kind `Unavailable` with the end of the log when a process is not ready in time or ends.
    pub async fn start(spec: ClusterSpec) -> Result<Cluster> {
        std::fs::create_dir_all(&spec.folder).map_err(|error| {
            Error::invalid(format!("cannot create {}: {error}", spec.folder.display()))
        })?;
        let mut cluster = Cluster {
            spec,
            metadata_list: String::new(),
            metadata: Vec::new(),
            coordinators: Vec::new(),
            workers: Vec::new(),
        };
        if cluster.spec.metadata == 0 {
            cluster.spawn_server()?;
        } else {
            cluster.spawn_metadata()?;
            for place in 1..=cluster.spec.workers {
                cluster.spawn_worker(place)?;
            }
            for place in 1..=cluster.spec.coordinators {
                cluster.spawn_coordinator(place)?;
            }
        }
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    fn spawn_server(&mut self) -> Result<()> {
        let [grpc, http, internal] = free_ports::<3>()?;
        let arguments = listeners(&[("grpc", grpc), ("http", http), ("internal", internal)]);
        let spec = self.spec.process(Role::Server, 1, arguments);
        self.coordinators.push(ProcessHandle::spawn(spec)?);
        Ok(())
    }

    fn spawn_metadata(&mut self) -> Result<()> {
        let mut ports = Vec::new();
        for _ in 0..self.spec.metadata {
            ports.push(free_ports::<2>()?);
        }
        let list: Vec<String> = ports.iter().map(|[raft, _]| format!("127.0.0.1:{raft}")).collect();
        self.metadata_list = list.join(",");
        for (place, [raft, http]) in (1..).zip(ports) {
            let mut arguments = listeners(&[("raft", raft), ("http", http)]);
            arguments.extend(["--metadata".to_owned(), self.metadata_list.clone()]);
            arguments.extend(["--node-id".to_owned(), place.to_string()]);
            let spec = self.spec.process(Role::Metadata, place, arguments);
            self.metadata.push(ProcessHandle::spawn(spec)?);
        }
        Ok(())
    }

    fn spawn_worker(&mut self, place: usize) -> Result<()> {
        let [internal, http] = free_ports::<2>()?;
        let mut arguments = listeners(&[("internal", internal), ("http", http)]);
        arguments.extend(["--metadata".to_owned(), self.metadata_list.clone()]);
        let spec = self.spec.process(Role::Worker, place, arguments);
        self.workers.push(ProcessHandle::spawn(spec)?);
        Ok(())
    }

    fn spawn_coordinator(&mut self, place: usize) -> Result<()> {
        let [grpc, http] = free_ports::<2>()?;
        let mut arguments = listeners(&[("grpc", grpc), ("http", http)]);
        arguments.extend(["--metadata".to_owned(), self.metadata_list.clone()]);
        let spec = self.spec.process(Role::Coordinator, place, arguments);
        self.coordinators.push(ProcessHandle::spawn(spec)?);
        Ok(())
    }

    /// Every process: metadata, then workers, then coordinators.
    pub fn processes_mut(&mut self) -> impl Iterator<Item = &mut ProcessHandle> {
        self.metadata.iter_mut().chain(&mut self.workers).chain(&mut self.coordinators)
    }

    /// Waits until every process is ready.
    pub async fn wait_ready(&mut self) -> Result<()> {
        for process in self.processes_mut() {
            process.wait_ready().await?;
        }
        Ok(())
    }

    /// `http://host:port` of each coordinator's gRPC port, for clients.
    pub fn urls(&self) -> Vec<String> {
        let address = |process: &ProcessHandle| process.address("grpc").map(str::to_owned);
        let addresses = self.coordinators.iter().filter_map(address);
        addresses.map(|address| format!("http://{address}")).collect()
    }

    /// Starts one more worker and waits until it is ready. Returns its place in `workers`.
    pub async fn add_worker(&mut self) -> Result<usize> {
        self.spawn_worker(self.workers.len() + 1)?;
        let place = self.workers.len() - 1;
        self.workers[place].wait_ready().await?;
        Ok(place)
    }

    /// Kills every process, as a power failure of the whole machine would, and starts all again
    /// on the same folders and ports.
    pub async fn restart_all(&mut self) -> Result<()> {
        for process in self.processes_mut() {
            process.kill()?;
        }
        for process in self.processes_mut() {
            process.respawn()?;
        }
        self.wait_ready().await
    }

    /// Does not kill the processes any more when dropped. Only those of a detached cluster live on
    /// when this process ends.
    pub fn leave_running(&mut self) {
        self.processes_mut().for_each(ProcessHandle::leave_running);
    }

    /// Asks every process to drain: coordinators first, then workers, then the metadata group.
    /// Kills those that have not ended within `limit` each.
    pub async fn stop(&mut self, limit: Duration) -> Result<()> {
        for group in [&mut self.coordinators, &mut self.workers, &mut self.metadata] {
            for process in group.iter() {
                process.terminate()?;
            }
            for process in group.iter_mut() {
                if process.wait_exit(limit).await?.is_none() {
                    process.kill()?;
                }
            }
        }
        Ok(())
    }
}

fn listeners(ports: &[(&str, u16)]) -> Vec<String> {
    let flag =
        |(name, port): &(&str, u16)| [format!("--{name}-listen"), format!("127.0.0.1:{port}")];
    ports.iter().flat_map(flag).collect()
}
