//! The one list of settings. A macro turns each line into a field of [`Settings`], a key of the
//! file, a flag and an environment variable, so that none of them can be forgotten.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use granary_storage::Reserve;
use serde::{Deserialize, Serialize};

use super::tiers::{DiskReserves, Disks, Policies};
use super::values::{Addresses, LogFormat, Secret, VolumeUrl};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// All roles in one process on one data folder.
    Server,
    /// A member of the metadata group.
    Metadata,
    /// Takes queries and inserts.
    Coordinator,
    /// Keeps parts and runs tasks.
    Worker,
}

impl Role {
    /// The name of the sub-command.
    pub fn name(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Metadata => "metadata",
            Role::Coordinator => "coordinator",
            Role::Worker => "worker",
        }
    }

    /// Whether the setting `name` means something to the role.
    pub fn uses(self, name: &str) -> bool {
        Settings::ROLES.iter().any(|(of, roles)| *of == name && roles.contains(&self))
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody named it.
    Default,
    /// The file of `--config`.
    File,
    /// A flag.
    Flag,
    /// A `GRANARY_*` variable.
    Environment,
}

impl Origin {
    pub(super) fn name(self) -> &'static str {
        match self {
            Origin::Default => "default",
            Origin::File => "file",
            Origin::Flag => "flag",
            Origin::Environment => "environment",
        }
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:tt, [$($role:ident),+];)+) => {
        /// Values that one layer names: keys of the file, flags or environment variables.
        #[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Layer {
            $(
                $(#[doc = $doc])+
                #[arg(long, value_name = "VALUE")]
                pub $name: Option<$type>,
            )+
        }

        impl Layer {
            /// Sets `name` from text. `None` when there is no such setting, `Some(Err)` with the
            /// reason when the text is not one of its values.
            pub fn set(&mut self, name: &str, text: &str) -> Option<Result<(), String>> {
                match name {
                    $(stringify!($name) => {
                        let value = <$type as FromStr>::from_str(text);
                        Some(value.map(|value| self.$name = Some(value)).map_err(|e| e.to_string()))
                    })+
                    _ => None,
                }
            }

            /// The settings that the layer names.
            pub fn named(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if self.$name.is_some() { names.push(stringify!($name)); })+
                names
            }
        }

        /// One value per setting; an `Option` where "not set" is a value.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $name: settings!(@field $type, $default),)+
        }

        impl Settings {
            /// Every name, as the file spells it.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];
            /// Whether the value of `name` is never shown.
            pub(super) fn is_secret(name: &str) -> bool {
                name == "secret"
            }

            pub(super) const ROLES: &'static [(&'static str, &'static [Role])] =
                &[$((stringify!($name), &[$(Role::$role),+])),+];

            /// The later layer that names a setting wins.
            pub(super) fn merge(
                file: Layer,
                flags: Layer,
                environment: Layer,
            ) -> (Settings, Vec<(&'static str, Origin)>) {
                let mut origins = Vec::new();
                $(if environment.$name.is_some() {
                    origins.push((stringify!($name), Origin::Environment));
                } else if flags.$name.is_some() {
                    origins.push((stringify!($name), Origin::Flag));
                } else if file.$name.is_some() {
                    origins.push((stringify!($name), Origin::File));
                })+
                let settings = Settings {
                    $($name: settings!(
                        @value environment.$name.or(flags.$name).or(file.$name), $default
                    ),)+
                };
                (settings, origins)
            }

            /// Names with their values as TOML.
            pub(super) fn rendered(&self) -> Vec<(&'static str, Option<String>)> {
                vec![$((stringify!($name), toml_of(&self.$name)),)+]
            }
        }
    };
    (@field $type:ty, unset) => { Option<$type> };
    (@field $type:ty, $default:tt) => { $type };
    (@value $value:expr, unset) => { $value };
    (@value $value:expr, $default:tt) => { $value.unwrap_or_else(|| $default) };
}

fn toml_of<T: Serialize>(value: &T) -> Option<String> {
    toml::Value::try_from(value).ok().map(|value| value.to_string())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

settings! {
    /// Folder of the role's data; created when missing, owned by one process at a time.
    /// Default: granary-data in the working directory.
    data_dir: PathBuf = (PathBuf::from("granary-data")), [Server, Metadata, Coordinator, Worker];
    /// Address of the public gRPC port: Flight SQL, BulkInsert, health, reflection. Port 0 takes a
    /// free one. Default: 127.0.0.1:7420.
    grpc_listen: SocketAddr = (loopback(7420)), [Server, Coordinator];
    /// Address of the HTTP port: /healthz, /readyz, /metrics. Port 0 takes a free one.
    /// Default: 127.0.0.1:7421.
    http_listen: SocketAddr = (loopback(7421)), [Server, Metadata, Coordinator, Worker];
    /// Address of the internal gRPC port: fragments and part transfer. Port 0 takes a free one.
    /// Default: 127.0.0.1:7422.
    internal_listen: SocketAddr = (loopback(7422)), [Server, Worker];
    /// Address of the metadata group's port. Its port is the one that --metadata names for this
    /// node. Default: 127.0.0.1:7423.
    raft_listen: SocketAddr = (loopback(7423)), [Metadata];
    /// Host name or address by which others reach this process. Not set: the address of the
    /// listener, or the machine's host name when that is 0.0.0.0.
    advertise_host: String = unset, [Server, Coordinator, Worker];
    /// The metadata group: host:port of node 1, node 2 and so on, separated by commas; the same
    /// list for every process of a cluster. Default: 127.0.0.1:7423.
    metadata: Addresses = (Addresses(vec!["127.0.0.1:7423".to_owned()])),
        [Metadata, Coordinator, Worker];
    /// Place of this node in the --metadata list, counted from 1. Default: 1.
    node_id: u64 = (1), [Metadata];
    /// Failure zone of the worker, for placement. Not set: none.
    zone: String = unset, [Worker];
    /// URL of an object store for part files, for example s3://bucket/prefix, the same for every
    /// process: the disk shared, to which the policy default gives new rows. Not set: the data folder.
    volume: VolumeUrl = unset, [Server, Coordinator, Worker];
    /// Disks beside the data folder, the same for every process: a folder, in which each worker makes
    /// one of its own, or the URL of an object store, by the disk's name. Not set: none.
    disks: Disks = unset, [Server, Coordinator, Worker];
    /// Storage policies, the same for every process: for each name a list of volumes, as in
    /// { tiered = [{ volume = "hot", disks = ["default"] }, { volume = "cold", disks = ["hdd"] }] }.
    /// New rows of a table go to the first volume of its policy. Not set: only the policy default.
    policies: Policies = unset, [Server, Coordinator, Worker];
    /// Folder whose files queries may read with file(); nothing outside of it is read. In a cluster
    /// each coordinator reads its own. Not set: file() is refused.
    user_files_path: PathBuf = unset, [Server, Coordinator];
    /// Memory that queries of this process may take together, in MiB, 64 to 1048576. Not set: half
    /// of what the machine has free at start.
    memory_mib: u64 = unset, [Server, Coordinator, Worker];
    /// Threads that run queries, 1 to 1024. Not set: one for each core.
    threads: usize = unset, [Server, Coordinator, Worker];
    /// Merges of parts that run at a time, each on about one thread, 0 to 256; 0 leaves only those
    /// of OPTIMIZE TABLE, one at a time. Not set: half of the threads, at least 1.
    merge_threads: usize = unset, [Server, Worker];
    /// Memory of all merges together, in MiB, 128 to 1048576; bounds how many parts one merge takes.
    /// It comes on top of memory_mib. Default: 512.
    merge_memory_mib: u64 = (512), [Server, Worker];
    /// What one background merge reads at most, in MiB, 1 to 1048576; larger parts stay as they are.
    /// The table setting max_bytes_to_merge_at_max_space_in_pool goes before it. Default: 10240.
    merge_mib_max: u64 = (10_240), [Server, Worker];
    /// What background merges read together, in MiB a second, 0 to 1048576; 0: as fast as they can.
    /// Default: 0.
    merge_mib_s: u64 = (0), [Server, Worker];
    /// Seconds between two looks for part files that nothing refers to, 1 to 86400. Default: 300.
    sweep_interval_s: u64 = (300), [Server, Worker];
    /// Copies of parts that this worker fetches to make up for lost ones, in MiB a second, 1 to
    /// 1048576. Default: 64.
    copy_mib_s: u64 = (64), [Server, Worker];
    /// What a worker keeps in its data folder of what it read from object stores, in MiB, 0 to
    /// 1073741824; 0: nothing. It gives way to rows. Default: 10240.
    read_cache_mib: u64 = (10_240), [Server, Worker];
    /// What is kept free of the disks of a worker, its data folder among them: a share such as 5% or a
    /// size such as 20 GiB; inserts, merges and copies that would need it are refused. Not set: 2%,
    /// and 4 GiB at most.
    keep_free: Reserve = unset, [Server, Worker];
    /// The same of single disks, by their names, as in { default = "5%", hdd = "100 GiB" }.
    keep_free_of: DiskReserves = unset, [Server, Worker];
    /// Parts that are read to see whether they are whole, in MiB a second, 0 to 1048576; 0: none.
    /// Default: 8.
    scrub_mib_s: u64 = (8), [Server, Worker];
    /// Within this time no part is read twice for it, in seconds, 1 to 31536000. Default: 1209600, two
    /// weeks.
    scrub_period_s: u64 = (1_209_600), [Server, Worker];
    /// How long a worker may be silent until others lead its buckets, in seconds, 2 to 3600.
    /// Default: 4.
    worker_lease_s: u64 = (4), [Metadata];
    /// How long a dead worker is waited for before others get copies of its parts, in seconds, 0 to
    /// 604800. Default: 60.
    replace_after_s: u64 = (60), [Metadata];
    /// How long a dead worker that holds nothing any more is remembered, in seconds, 0 to 31536000; 0:
    /// until ALTER SYSTEM DROP WORKER. Default: 3600.
    forget_worker_after_s: u64 = (3600), [Metadata];
    /// How long a drain waits for running queries and inserts, in seconds, 0 to 3600. Default: 30.
    drain_limit_s: u64 = (30), [Server, Metadata, Coordinator, Worker];
    /// Secret that signs tickets and session tokens, the same for all coordinators of a cluster.
    /// Not set: the cluster's id, which suffices where clients are trusted.
    secret: Secret = unset, [Server, Coordinator];
    /// Which events are logged: error, warn, info, debug, trace, or per module as in
    /// warn,granary_worker=debug. Default: info.
    log: String = ("info,datafusion=warn,vortex=warn,openraft=warn,h2=warn".to_owned()),
        [Server, Metadata, Coordinator, Worker];
    /// How log lines look: text or json. They go to the standard error. Default: text.
    log_format: LogFormat = (LogFormat::Text), [Server, Metadata, Coordinator, Worker];
}
