//! The Kubernetes manifests and the processes that the tests start cannot drift apart: a cluster
//! is started with the very words, ports and variables of the manifests, and the launcher's flags
//! are those of the manifests.
//!
//! ```text
//!   deploy/kustomize/base/<role>.yaml ──► Manifest ──► ProcessSpec ──► a cluster that answers
//!                                            └───────► flags ══ flags of `granary::cluster`
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use granary::cluster::{Cluster, ClusterSpec, ProcessHandle, ProcessSpec, free_ports};
use granary::config::Role;
use granary_testkit::{SqlClient, TestResult, paths};

const READY_LIMIT: Duration = Duration::from_secs(120);
/// What the pods of a role need and processes on one machine do not.
const ONLY_IN_PODS: [&str; 3] = ["config", "advertise-host", "zone"];

/// What a manifest says about the container of a role.
struct Manifest {
    role: Role,
    arguments: Vec<String>,
    /// Variable to the field of the pod that it is taken from.
    variables: Vec<(String, String)>,
    /// Name of a listener to its port.
    ports: BTreeMap<String, u16>,
    replicas: usize,
    first_ordinal: usize,
}

impl Manifest {
    /// Reads the few lines that matter; `kubectl` checks the rest.
    fn read(role: Role) -> TestResult<Manifest> {
        let path = format!("deploy/kustomize/base/{}.yaml", role.name());
        let text = std::fs::read_to_string(paths::in_repository(&path))?;
        let (_, container) = text.split_once("containers:").ok_or("no containers")?;
        let (_, list) = container.split_once("args: [").ok_or("no args")?;
        let (list, _) = list.split_once(']').ok_or("args without an end")?;
        let list: toml::Table = toml::from_str(&format!("args = [{list}]"))?;
        let arguments = list["args"].as_array().ok_or("args are no list")?;
        let arguments = arguments.iter().filter_map(|word| word.as_str().map(str::to_owned));

        let named = |key: &str| pairs(container, "- name: ", key);
        let ports = named("containerPort: ").into_iter();
        let ports = ports.map(|(name, port)| Ok((name, port.parse()?)));
        let number = |key: &str| -> TestResult<Option<usize>> {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
            Ok(line.map(str::parse).transpose()?)
        };
        Ok(Manifest {
            role,
            arguments: arguments.collect(),
            variables: named("fieldPath: "),
            ports: ports.collect::<TestResult<_>>()?,
            replicas: number("replicas: ")?.ok_or("no replicas")?,
            first_ordinal: number("start: ")?.unwrap_or(0),
        })
    }

    fn pod_names(&self) -> Vec<String> {
        let ordinals = self.first_ordinal..self.first_ordinal + self.replicas;
        ordinals.map(|ordinal| format!("granary-{}-{ordinal}", self.role.name())).collect()
    }

    /// Names of the settings that flags and variables give.
    fn settings(&self) -> BTreeSet<String> {
        let variables = self.variables.iter().filter_map(|(name, _)| name.strip_prefix("GRANARY_"));
        let variables = variables.map(|name| name.to_lowercase().replace('_', "-"));
        flags(&self.arguments).chain(variables).collect()
    }
}

/// The values after `first` and the next `second` of a text.
fn pairs(text: &str, first: &str, second: &str) -> Vec<(String, String)> {
    let mut name = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(value) = line.strip_prefix(first) {
            name = value.to_owned();
        } else if let Some(value) = line.strip_prefix(second) {
            found.push((name.clone(), value.to_owned()));
        }
    }
    found
}

/// Names of the flags, in both spellings: `--name value` and `--name=value`.
fn flags(arguments: &[String]) -> impl Iterator<Item = String> {
    let names = arguments.iter().filter_map(|word| word.strip_prefix("--"));
    names.map(|name| name.split('=').next().unwrap_or(name).to_owned())
}

/// A pod as a process on this machine: only addresses and folders differ.
struct Pod<'a> {
    manifest: &'a Manifest,
    name: String,
    ordinal: usize,
    /// Port of the manifest to the port on this machine.
    ports: BTreeMap<u16, u16>,
}

impl Pod<'_> {
    fn specs<'a>(manifest: &'a Manifest) -> TestResult<Vec<Pod<'a>>> {
        let pods = manifest.pod_names().into_iter().zip(manifest.first_ordinal..);
        let pods = pods.map(|(name, ordinal)| {
            let listeners = manifest.ports.values().copied();
            let free = free_ports::<4>()?;
            Ok(Pod { manifest, name, ordinal, ports: listeners.zip(free).collect() })
        });
        pods.collect()
    }

    fn field(&self, path: &str) -> TestResult<String> {
        Ok(match path {
            "metadata.name" => self.name.clone(),
            "status.podIP" => "127.0.0.1".to_owned(),
            "metadata.labels['apps.kubernetes.io/pod-index']" => self.ordinal.to_string(),
            "metadata.labels['topology.kubernetes.io/zone']" => "zone-1".to_owned(),
            other => return Err(format!("{}: unknown field {other}", self.name).into()),
        })
    }

    /// The spec of its process; `hosts` are the names of other pods with this machine's addresses.
    fn spec(&self, folder: &Path, hosts: &[(String, String)]) -> TestResult<ProcessSpec> {
        let data_dir = folder.join(&self.name);
        let config = paths::in_repository("deploy/kustomize/base/granary.toml");
        let mut arguments = Vec::new();
        for word in &self.manifest.arguments {
            let mut word = word.clone();
            for (name, path) in &self.manifest.variables {
                word = word.replace(&format!("$({name})"), &self.field(path)?);
            }
            for (there, here) in &self.ports {
                word = word.replace(&format!("0.0.0.0:{there}"), &format!("127.0.0.1:{here}"));
            }
            for (there, here) in hosts {
                word = word.replace(there, here);
            }
            word = word.replace("/var/lib/granary", &data_dir.display().to_string());
            arguments
                .push(word.replace("/etc/granary/granary.toml", &config.display().to_string()));
        }
        let settings =
            self.manifest.variables.iter().filter(|(name, _)| name.starts_with("GRANARY_"));
        let environment = settings.map(|(name, path)| Ok((name.clone(), self.field(path)?)));
        Ok(ProcessSpec {
            binary: paths::granary_binary()?,
            name: self.name.clone(),
            role: self.manifest.role,
            data_dir: data_dir.clone(),
            log: folder.join(format!("{}.log", self.name)),
            arguments,
            environment: environment.collect::<TestResult<_>>()?,
            ready_limit: READY_LIMIT,
            detached: false,
        })
    }
}

fn manifests() -> TestResult<[Manifest; 3]> {
    let [metadata, worker, coordinator] = [Role::Metadata, Role::Worker, Role::Coordinator];
    Ok([Manifest::read(metadata)?, Manifest::read(worker)?, Manifest::read(coordinator)?])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifests_make_a_cluster() -> TestResult {
    let folder = tempfile::tempdir()?;
    let manifests = manifests()?;
    let mut pods = Vec::new();
    for manifest in &manifests {
        pods.extend(Pod::specs(manifest)?);
    }
    // What the cluster's name service would say.
    let mut hosts = Vec::new();
    for pod in &pods {
        let host = format!("{}.granary-{}", pod.name, pod.manifest.role.name());
        for (there, here) in &pod.ports {
            hosts.push((format!("{host}:{there}"), format!("127.0.0.1:{here}")));
        }
        hosts.push((host, "127.0.0.1".to_owned()));
    }
    let mut processes = Vec::new();
    for pod in &pods {
        processes.push(ProcessHandle::spawn(pod.spec(folder.path(), &hosts)?)?);
    }
    for process in &mut processes {
        process.wait_ready().await?;
    }
    let coordinators = processes.iter().filter_map(|process| process.address("grpc"));
    let coordinators: Vec<String> = coordinators.map(|at| format!("http://{at}")).collect();
    assert_eq!(coordinators.len(), 2);

    let mut first = SqlClient::connect(&coordinators[0]).await?;
    first.update("CREATE TABLE t (k Int64, v String) ENGINE = MergeTree ORDER BY k").await?;
    first.update("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')").await?;
    let mut second = SqlClient::connect(&coordinators[1]).await?;
    assert_eq!(second.value("SELECT count(*) FROM t WHERE k > 1").await?, "2");
    assert_eq!(second.value("SELECT count(*) FROM system.workers").await?, "3");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_launcher_uses_the_flags_of_the_manifests() -> TestResult {
    let folder = tempfile::tempdir()?;
    let one_of_each = ClusterSpec {
        metadata: 1,
        coordinators: 1,
        workers: 1,
        ready_limit: READY_LIMIT,
        ..ClusterSpec::new(paths::granary_binary()?, folder.path())
    };
    let cluster = Cluster::start(one_of_each).await?;
    let [metadata, worker, coordinator] = manifests()?;
    for (manifest, process) in [
        (metadata, &cluster.metadata[0]),
        (worker, &cluster.workers[0]),
        (coordinator, &cluster.coordinators[0]),
    ] {
        let spec = process.spec();
        assert_eq!(manifest.arguments[0], spec.arguments[0]);
        let mut expected = manifest.settings();
        expected.retain(|name| !ONLY_IN_PODS.contains(&name.as_str()));
        assert_eq!(flags(&spec.arguments).collect::<BTreeSet<_>>(), expected);
    }
    Ok(())
}

#[test]
fn kubernetes_and_the_binary_accept_the_manifests() -> TestResult {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "300"]).arg(paths::in_repository("deploy/validate"));
    let output = command.env("GRANARY_BINARY", paths::granary_binary()?).output()?;
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    println!("{out}{err}");
    // A machine without kubectl or PyPI is no failure of the manifests; `.ci/run` shows what it lacks.
    let all = match output.status.code() {
        Some(0) => true,
        Some(3) if err.contains("NOT CHECKED: ") => false,
        _ => return Err(format!("{}: {out}{err}", output.status).into()),
    };
    assert!(out.contains("granary accepts the settings file"), "{out}{err}");
    assert!(!all || out.contains("Kubernetes 1.31 accepts the manifests"), "{out}{err}");
    Ok(())
}

/// The ports on which a role listens when nobody says anything else, by the names of the listeners.
fn default_ports(role: Role) -> TestResult<BTreeMap<String, u16>> {
    let mut command = Command::new(paths::granary_binary()?);
    let output = command.args(["config", "check", role.name()]).env_clear().output()?;
    assert!(output.status.success(), "{output:?}");
    let settings: toml::Table = String::from_utf8(output.stdout)?.parse()?;
    let listeners = settings.iter().filter_map(|(name, value)| {
        let address = value.as_str()?.parse::<std::net::SocketAddr>().ok()?;
        Some((name.strip_suffix("_listen")?.to_owned(), address.port()))
    });
    Ok(listeners.collect())
}

/// The ports of the manifests are the defaults of the binary, and those that people read of.
#[test]
fn ports_are_the_documented_ones() -> TestResult {
    let guide = std::fs::read_to_string(paths::in_repository("docs/operations.md"))?;
    for (name, port) in default_ports(Role::Server)? {
        assert!(guide.contains(&format!("`127.0.0.1:{port}`")), "{name} {port}");
    }
    for manifest in manifests()? {
        let defaults = default_ports(manifest.role)?;
        assert_eq!(manifest.ports, defaults, "{}", manifest.role.name());
        for (name, port) in &manifest.ports {
            assert!(guide.contains(&format!("| `{name}_listen` |")), "{name}");
            let listener = format!("--{name}-listen=0.0.0.0:{port}");
            assert!(manifest.arguments.contains(&listener), "{listener}");
        }
    }
    Ok(())
}
