//! A host for each process: a network namespace with an address of its own, joined by a bridge in the
//! namespace that the tests run in. `scripts/chaos` makes that one and removes all of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;

use granary::cluster::{ClusterSpec, Host};

use crate::TestResult;

const BRIDGE: &str = "bridge";
/// The processes of a cluster, as [`ClusterSpec::new`] names them.
const PROCESSES: [&str; 8] = [
    "metadata-1",
    "metadata-2",
    "metadata-3",
    "worker-1",
    "worker-2",
    "worker-3",
    "coordinator-1",
    "coordinator-2",
];
/// The worker whose disk can be filled.
pub const SMALL_DISK: &str = "worker-1";
const SMALL_DISK_SIZE: &str = "1g";

/// Network namespaces with links that can be cut.
#[derive(Debug)]
pub struct Hosts {
    /// Begins the name of each namespace.
    prefix: String,
    places: BTreeMap<&'static str, u8>,
}

impl Hosts {
    /// Makes a namespace for each process. The caller runs as root, in a namespace of its own.
    ///
    /// # Errors
    /// With what `ip` says.
    pub fn new(prefix: &str) -> TestResult<Hosts> {
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        ip(&["addr", "add", "10.201.0.1/24", "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        let places: BTreeMap<&str, u8> = PROCESSES.into_iter().zip(11..).collect();
        let hosts = Hosts { prefix: prefix.to_owned(), places };
        for name in PROCESSES {
            hosts.add(name)?;
        }
        Ok(hosts)
    }

    fn add(&self, name: &str) -> TestResult {
        let (namespace, link) = (self.namespace(name), self.link(name));
        let address = format!("{}/24", self.address(name));
        ip(&["netns", "add", &namespace])?;
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
        ip(&["link", "set", &link, "master", BRIDGE, "up"])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        ip(&["-n", &namespace, "addr", "add", &address, "dev", "eth0"])?;
        ip(&["-n", &namespace, "link", "set", "eth0", "up"])
    }

    /// Has the processes of `spec` run on the hosts, with a small disk under one worker.
    pub fn place(&self, spec: &mut ClusterSpec) {
        for name in PROCESSES {
            let enter = ["ip", "netns", "exec", &self.namespace(name)].map(str::to_owned).to_vec();
            let host = Host { address: IpAddr::V4(self.address(name)), enter };
            spec.hosts.insert(name.to_owned(), host);
        }
        let disk = spec.folder.join(SMALL_DISK);
        // Without it the worker's folder is on the big disk, and filling is refused below.
        if let Err(error) = mount_small(&disk) {
            eprintln!("no small disk for {SMALL_DISK}: {error}");
        }
    }

    /// Takes the host's cable out (`true`) or puts it in again.
    pub fn cut(&self, name: &str, cut: bool) -> TestResult {
        ip(&["link", "set", &self.link(name), if cut { "down" } else { "up" }])
    }

    /// Has the host lose one of so many packets that it receives, or none again.
    pub fn lose(&self, name: &str, one_of: Option<u32>) -> TestResult {
        let namespace = self.namespace(name);
        let enter = ["netns", "exec", &namespace, "iptables", "-w"];
        let flush = [&enter[..], &["-F", "INPUT"]].concat();
        let Some(one_of) = one_of else { return ip(&flush) };
        let probability = format!("{:.4}", 1.0 / f64::from(one_of));
        let rule = ["-A", "INPUT", "-m", "statistic", "--mode", "random", "--probability"];
        ip(&[&enter[..], &rule, &[&probability, "-j", "DROP"]].concat())
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// At most 15 characters, as the kernel wants it.
    fn link(&self, name: &str) -> String {
        format!("to-{}", self.places[name])
    }

    fn address(&self, name: &str) -> Ipv4Addr {
        Ipv4Addr::new(10, 201, 0, self.places[name])
    }
}

fn mount_small(folder: &PathBuf) -> TestResult {
    std::fs::create_dir_all(folder)?;
    let size = format!("size={SMALL_DISK_SIZE}");
    let folder = folder.display().to_string();
    run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &folder])
}

fn ip(arguments: &[&str]) -> TestResult {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> TestResult {
    let output = Command::new(program).args(arguments).output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{program} {}: {}", arguments.join(" "), said.trim()).into())
        }
    }
}
