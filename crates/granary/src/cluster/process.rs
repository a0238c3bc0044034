//! One process of a cluster.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use granary_common::{Clock, Error, Result, SystemClock};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ReadyLine;
use crate::config::Role;

const POLL: Duration = Duration::from_millis(20);
/// Ends the process when its standard input ends; see the flag of the same name.
pub(crate) const EXIT_WITH_STDIN: &str = "--exit-with-stdin";

/// How to start a process.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    /// The `granary` executable.
    pub binary: PathBuf,
    /// Unique in its cluster, for example `worker-2`.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its `--data-dir`.
    pub data_dir: PathBuf,
    /// Receives its output; the output of a restart is added.
    pub log: PathBuf,
    /// Sub-command and flags.
    pub arguments: Vec<String>,
    /// Variables besides those of this process.
    pub environment: Vec<(String, String)>,
    /// How long it may take until it is ready.
    pub ready_limit: Duration,
    /// It does not end by itself when this process ends.
    pub detached: bool,
}

/// A process that was started. Killed when dropped.
#[derive(Debug)]
pub struct ProcessHandle {
    spec: ProcessSpec,
    child: Child,
    log_start: u64,
    ready: Option<ReadyLine>,
    kill_on_drop: bool,
}

impl ProcessHandle {
    /// Starts the process without waiting for it.
    pub fn spawn(spec: ProcessSpec) -> Result<ProcessHandle> {
        let (child, log_start) = start(&spec)?;
        Ok(ProcessHandle { spec, child, log_start, ready: None, kill_on_drop: true })
    }

    /// How it was started.
    pub fn spec(&self) -> &ProcessSpec {
        &self.spec
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The `host:port` of its listener `grpc`, `http`, `internal` or `raft`, once it is ready.
    pub fn address(&self, listener: &str) -> Option<&str> {
        self.ready.as_ref().and_then(|line| line.address(listener))
    }

    /// Waits for the ready line.
    ///
    /// Kind `Unavailable` with the end of the log when it ends first or takes too long.
    pub async fn wait_ready(&mut self) -> Result<ReadyLine> {
        let deadline_ms = SystemClock.monotonic_ms() + self.spec.ready_limit.as_millis() as u64;
        loop {
            if let Some(line) = self.log_since_start().lines().find_map(ReadyLine::parse) {
                self.ready = Some(line.clone());
                return Ok(line);
            }
            if let Some(status) = self.exit_status()? {
                return Err(self.failure(&format!("ended with {status} before it was ready")));
            }
            if SystemClock.monotonic_ms() > deadline_ms {
                let limit_s = self.spec.ready_limit.as_secs();
                return Err(self.failure(&format!("was not ready within {limit_s} s")));
            }
            SystemClock.sleep(POLL).await;
        }
    }

    fn failure(&self, what: &str) -> Error {
        let log = self.log_since_start();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n  ");
        Error::unavailable(format!("{} {what}; the end of its log:\n  {end}", self.spec.name))
    }

    /// What it wrote since it was last started; empty when that cannot be read.
    pub fn log_since_start(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.spec.log)?;
            file.seek(SeekFrom::Start(self.log_start))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_default()
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(|error| self.os_error("ask after", &error))
    }

    /// Kills it at once (signal 9) and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        if self.exit_status()?.is_none() {
            self.child.kill().map_err(|error| self.os_error("kill", &error))?;
            self.child.wait().map_err(|error| self.os_error("wait for", &error))?;
        }
        Ok(())
    }

    /// Asks it to drain and end (signal 15).
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Stops it in its tracks (`true`), or lets it go on.
    pub fn pause(&self, pause: bool) -> Result<()> {
        self.signal(if pause { Signal::SIGSTOP } else { Signal::SIGCONT })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match kill(Pid::from_raw(self.child.id() as i32), signal) {
            // Gone already is what a signal that ends it would bring about.
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => Err(self.os_error("signal", &error.into())),
        }
    }

    /// Waits up to `limit` until it has ended; `None` when it still runs.
    pub async fn wait_exit(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let deadline_ms = SystemClock.monotonic_ms() + limit.as_millis() as u64;
        loop {
            let status = self.exit_status()?;
            if status.is_some() || SystemClock.monotonic_ms() > deadline_ms {
                return Ok(status);
            }
            SystemClock.sleep(POLL).await;
        }
    }

    /// Starts another executable from the next start on, as an upgrade does.
    pub fn set_binary(&mut self, binary: impl Into<PathBuf>) {
        self.spec.binary = binary.into();
    }

    /// Starts it again with the same arguments, without waiting for it. It must have ended.
    pub fn respawn(&mut self) -> Result<()> {
        if self.exit_status()?.is_none() {
            return Err(Error::conflict(format!("{} still runs", self.spec.name)));
        }
        (self.child, self.log_start) = start(&self.spec)?;
        self.ready = None;
        Ok(())
    }

    /// Kills it, starts it again on the same data folder and ports, and waits until it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.respawn()?;
        self.wait_ready().await.map(|_| ())
    }

    /// Does not kill it any more when dropped.
    pub fn leave_running(&mut self) {
        self.kill_on_drop = false;
    }

    fn os_error(&self, doing: &str, error: &std::io::Error) -> Error {
        Error::internal(format!("cannot {doing} {}: {error}", self.spec.name))
    }
}

impl Drop for ProcessHandle {
    fn drop(&mut self) {
        if self.kill_on_drop {
            // Nobody is left to tell; a process that cannot be killed has ended.
            let _ = self.kill();
        }
    }
}

fn start(spec: &ProcessSpec) -> Result<(Child, u64)> {
    let failed = |what: &Path, error: std::io::Error| {
        Error::invalid(format!("cannot start {}: {}: {error}", spec.name, what.display()))
    };
    let log = File::options().create(true).append(true).open(&spec.log);
    let log = log.map_err(|error| failed(&spec.log, error))?;
    let log_start = log.metadata().map_err(|error| failed(&spec.log, error))?.len();
    let errors = log.try_clone().map_err(|error| failed(&spec.log, error))?;

    let mut command = Command::new(&spec.binary);
    command.args(&spec.arguments).stdout(log).stderr(errors);
    // The keyboard's interrupt is for the process that started the cluster.
    command.process_group(0);
    for (name, _) in std::env::vars_os() {
        // Settings of this process are not those of the cluster.
        if name.to_string_lossy().starts_with("GRANARY_") {
            command.env_remove(name);
        }
    }
    command.envs(spec.environment.iter().map(|(name, value)| (name, value)));
    if spec.detached {
        command.stdin(Stdio::null());
    } else {
        command.arg(EXIT_WITH_STDIN).stdin(Stdio::piped());
    }
    let child = command.spawn().map_err(|error| failed(&spec.binary, error))?;
    Ok((child, log_start))
}
