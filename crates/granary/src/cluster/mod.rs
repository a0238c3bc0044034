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

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use granary_common::{Error, Result};

use crate::config::Role;

pub use ports::free_ports;
pub use process::{ProcessHandle, ProcessSpec};
pub use ready::ReadyLine;

/// A host that stands for a machine of its own, for example a network namespace.
#[derive(Clone, Debug)]
pub struct Host {
    /// What its processes listen on.
    pub address: IpAddr,
    /// The command that starts another one, given behind it, on the host.
    pub enter: Vec<String>,
}

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
    /// Where processes run, by their names, such as `worker-1`; on the loopback interface when not
    /// listed.
    pub hosts: BTreeMap<String, Host>,
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
            hosts: BTreeMap::new(),
            detached: false,
        }
    }

    /// One process that has all roles.
    pub fn embedded(binary: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self { metadata: 0, coordinators: 0, workers: 0, ..Self::new(binary, folder) }
    }

    fn address(&self, role: Role, place: usize) -> IpAddr {
        let host = self.hosts.get(&process_name(role, place));
        host.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |host| host.address)
    }

    fn process(
        &self,
        role: Role,
        place: usize,
        listeners: &[(&str, u16)],
        more: Vec<String>,
    ) -> ProcessSpec {
        let name = process_name(role, place);
        let address = self.address(role, place);
        let data_dir = self.folder.join(&name);
        let mut all = vec![role.name().to_owned(), "--data-dir".to_owned()];
        all.push(data_dir.display().to_string());
        for (listener, port) in listeners {
            all.push(format!("--{listener}-listen"));
            all.push(SocketAddr::new(address, *port).to_string());
        }
        all.extend(more);
        let mut program = self.binary.clone();
        if let Some((enter, behind)) =
            self.hosts.get(&name).and_then(|host| host.enter.split_first())
        {
            all.insert(0, program.display().to_string());
            all.splice(0..0, behind.iter().cloned());
            program = PathBuf::from(enter);
        }
        ProcessSpec {
            binary: program,
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
        let listeners = [("grpc", grpc), ("http", http), ("internal", internal)];
        let spec = self.spec.process(Role::Server, 1, &listeners, Vec::new());
        self.coordinators.push(ProcessHandle::spawn(spec)?);
        Ok(())
    }

    fn spawn_metadata(&mut self) -> Result<()> {
        let mut ports = Vec::new();
        for _ in 0..self.spec.metadata {
            ports.push(free_ports::<2>()?);
        }
        let raft_of = |(place, [raft, _]): (usize, &[u16; 2])| {
            SocketAddr::new(self.spec.address(Role::Metadata, place), *raft).to_string()
        };
        let list: Vec<String> = (1..).zip(&ports).map(raft_of).collect();
        self.metadata_list = list.join(",");
        for (place, [raft, http]) in (1..).zip(ports) {
            let mut more = self.metadata_flags();
            more.extend(["--node-id".to_owned(), place.to_string()]);
            let listeners = [("raft", raft), ("http", http)];
            let spec = self.spec.process(Role::Metadata, place, &listeners, more);
            self.metadata.push(ProcessHandle::spawn(spec)?);
        }
        Ok(())
    }

    fn spawn_worker(&mut self, place: usize) -> Result<()> {
        let [internal, http] = free_ports::<2>()?;
        let listeners = [("internal", internal), ("http", http)];
        let spec = self.spec.process(Role::Worker, place, &listeners, self.metadata_flags());
        self.workers.push(ProcessHandle::spawn(spec)?);
        Ok(())
    }

    fn spawn_coordinator(&mut self, place: usize) -> Result<()> {
        let [grpc, http] = free_ports::<2>()?;
        let listeners = [("grpc", grpc), ("http", http)];
        let spec = self.spec.process(Role::Coordinator, place, &listeners, self.metadata_flags());
        self.coordinators.push(ProcessHandle::spawn(spec)?);
        Ok(())
    }

    fn metadata_flags(&self) -> Vec<String> {
        vec!["--metadata".to_owned(), self.metadata_list.clone()]
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

    /// Starts one more metadata node, which takes part once the group has let it in, and waits until it
    /// listens. Returns its `host:port`.
    pub async fn add_metadata(&mut self) -> Result<String> {
        let [raft, http] = free_ports::<2>()?;
        let place = self.metadata.len() + 1;
        let address = SocketAddr::new(self.spec.address(Role::Metadata, place), raft).to_string();
        let list = format!("{},{address}", self.metadata_list);
        let more = ["--metadata", &list, "--node-id", &place.to_string()].map(str::to_owned);
        let listeners = [("raft", raft), ("http", http)];
        let spec = self.spec.process(Role::Metadata, place, &listeners, more.to_vec());
        self.metadata.push(ProcessHandle::spawn(spec)?);
        self.metadata[place - 1].wait_ready().await?;
        self.metadata_list = list;
        Ok(address)
    }

    /// Starts `more` workers at the same time and waits until they are ready.
    pub async fn add_workers(&mut self, more: usize) -> Result<()> {
        let first = self.workers.len();
        for place in first + 1..=first + more {
            self.spawn_worker(place)?;
        }
        for worker in &mut self.workers[first..] {
            worker.wait_ready().await?;
        }
        Ok(())
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

fn process_name(role: Role, place: usize) -> String {
    format!("{}-{place}", role.name())
}
