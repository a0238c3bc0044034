//! Clusters for tests: real processes on fresh folders, in the two modes that every data test
//! runs in.

use std::time::Duration;

use granary::cluster::{Cluster, ClusterSpec};
use tempfile::TempDir;

use crate::{SqlClient, TestResult, paths};

/// How a cluster is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// One process with all roles.
    Embedded,
    /// 3 metadata nodes, 3 workers and 2 coordinators, each a process.
    Cluster,
}

impl Mode {
    /// Both modes.
    pub const ALL: [Mode; 2] = [Mode::Embedded, Mode::Cluster];

    /// The word that lists and messages use.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Embedded => "embedded",
            Mode::Cluster => "cluster",
        }
    }

    /// What sessions set so that tables of a test's size are read by all workers there are, as large
    /// ones would be.
    pub fn settings(self) -> &'static [&'static str] {
        match self {
            Mode::Embedded => &[],
            Mode::Cluster => &["SET distributed_scan_bytes_min = 0"],
        }
    }
}

/// A running cluster on a folder of its own. Its processes are killed and the folder removed when
/// it is dropped; the folder stays when `GRANARY_KEEP` is set, for a look at the logs.
pub struct TestCluster {
    /// The processes.
    pub cluster: Cluster,
    folder: TempDir,
}

impl TestCluster {
    /// Starts a cluster and waits until every process is ready.
    pub async fn start(mode: Mode) -> TestResult<TestCluster> {
        Self::start_with(mode, |_| {}).await
    }

    /// Starts a cluster whose specification `change` has adapted.
    pub async fn start_with(
        mode: Mode,
        change: impl FnOnce(&mut ClusterSpec),
    ) -> TestResult<TestCluster> {
        let mut folder = tempfile::Builder::new().prefix("granary-test-").tempdir()?;
        folder.disable_cleanup(std::env::var_os("GRANARY_KEEP").is_some());
        let binary = paths::granary_binary()?;
        let mut spec = match mode {
            Mode::Embedded => ClusterSpec::embedded(binary, folder.path()),
            Mode::Cluster => ClusterSpec::new(binary, folder.path()),
        };
        // Two cores, and possibly a build beside it.
        spec.ready_limit = Duration::from_secs(120);
        // A developer's disk may be nearly full of what was built.
        spec.environment.push(("GRANARY_KEEP_FREE".to_owned(), "1 MiB".to_owned()));
        change(&mut spec);
        let cluster = Cluster::start(spec).await?;
        Ok(TestCluster { cluster, folder })
    }

    /// The folder that holds the data folders and logs.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The URL of coordinator `place`, counted from 0 and round again.
    pub fn url(&self, place: usize) -> TestResult<String> {
        let urls = self.cluster.urls();
        let at = place.checked_rem(urls.len()).ok_or("no coordinator is ready")?;
        Ok(urls[at].clone())
    }

    /// The place among the cluster's workers of the one that the catalog calls `id`.
    pub async fn place_of(&self, client: &mut SqlClient, id: usize) -> TestResult<usize> {
        let sql = format!("SELECT address FROM system.workers WHERE id = {id}");
        let address = client.value(&sql).await?;
        let is_it = |worker: &granary::cluster::ProcessHandle| {
            worker.address("internal") == Some(address.as_str())
        };
        Ok(self.cluster.workers.iter().position(is_it).ok_or("no such worker")?)
    }

    /// A new session with coordinator `place`, counted from 0 and round again.
    pub async fn client(&self, place: usize) -> TestResult<SqlClient> {
        Ok(SqlClient::connect(&self.url(place)?).await?)
    }
}
