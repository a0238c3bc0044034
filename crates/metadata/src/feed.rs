//! The applied state in memory, and the recent changes that watchers follow.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use granary_catalog::{Change, Snapshot};
use granary_common::CatalogVersion;
use parking_lot::RwLock;
use tokio::sync::watch;

/// Changes that are kept for watchers that reconnect; one that is further behind gets the state.
const RECENT_CHANGES_MAX: usize = 20_000;
const RECENT_SETS_MAX: usize = 8_192;

/// What one position of the log changed; nothing, when its command was refused.
#[derive(Debug)]
pub(crate) struct ChangeSet {
    pub version: CatalogVersion,
    pub changes: Vec<Change>,
}

/// What a watcher gets next.
pub(crate) enum Next {
    State(Arc<Snapshot>),
    /// In order; empty when there is nothing new.
    Changes(Vec<Arc<ChangeSet>>),
}

/// The newest applied state with its recent history.
#[derive(Debug)]
pub(crate) struct Feed {
    inner: RwLock<Inner>,
    version: watch::Sender<CatalogVersion>,
}

#[derive(Debug)]
struct Inner {
    snapshot: Arc<Snapshot>,
    recent: VecDeque<Arc<ChangeSet>>,
    recent_changes: usize,
    /// Every change after this version is in `recent`.
    complete_after: CatalogVersion,
    /// Every node that ever was a member.
    known_nodes: BTreeSet<u64>,
}

impl Feed {
    pub fn new() -> Arc<Self> {
        let inner = Inner {
            snapshot: Arc::new(Snapshot::default()),
            recent: VecDeque::new(),
            recent_changes: 0,
            complete_after: CatalogVersion(0),
            known_nodes: BTreeSet::new(),
        };
        let version = watch::channel(CatalogVersion(0)).0;
        Arc::new(Self { inner: RwLock::new(inner), version })
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.inner.read().snapshot)
    }

    pub fn watch(&self) -> watch::Receiver<CatalogVersion> {
        self.version.subscribe()
    }

    pub fn knew_node(&self, node: u64) -> bool {
        self.inner.read().known_nodes.contains(&node)
    }

    /// The cluster's id in the form of a header; empty when it is not known yet.
    pub fn cluster_id(&self) -> String {
        let snapshot = self.snapshot();
        snapshot.cluster.as_ref().map(|cluster| cluster.id.0.clone()).unwrap_or_default()
    }

    /// Begins anew with a state that did not come by changes.
    pub fn reset(&self, snapshot: Snapshot, known_nodes: BTreeSet<u64>) {
        let version = snapshot.version;
        let mut inner = self.inner.write();
        inner.snapshot = Arc::new(snapshot);
        inner.recent.clear();
        inner.recent_changes = 0;
        inner.complete_after = version;
        inner.known_nodes = known_nodes;
        drop(inner);
        self.version.send_replace(version);
    }

    /// Publishes the state after `sets`.
    pub fn publish(
        &self,
        snapshot: Arc<Snapshot>,
        sets: Vec<Arc<ChangeSet>>,
        known_nodes: &BTreeSet<u64>,
    ) {
        let version = snapshot.version;
        let mut inner = self.inner.write();
        inner.snapshot = snapshot;
        if inner.known_nodes.len() != known_nodes.len() {
            inner.known_nodes.clone_from(known_nodes);
        }
        for set in sets {
            inner.recent_changes += set.changes.len();
            inner.recent.push_back(set);
        }
        while inner.recent_changes > RECENT_CHANGES_MAX || inner.recent.len() > RECENT_SETS_MAX {
            let Some(oldest) = inner.recent.pop_front() else { break };
            inner.recent_changes -= oldest.changes.len();
            inner.complete_after = oldest.version;
        }
        drop(inner);
        self.version.send_replace(version);
    }

    /// What a watcher that holds `version` needs; 0 holds nothing.
    pub fn after(&self, version: CatalogVersion) -> Next {
        let inner = self.inner.read();
        if version.0 == 0 || version < inner.complete_after {
            return Next::State(Arc::clone(&inner.snapshot));
        }
        let first = inner.recent.partition_point(|set| set.version <= version);
        Next::Changes(inner.recent.range(first..).cloned().collect())
    }

    /// Waits until the state is at or past `version`.
    pub async fn reached(&self, version: CatalogVersion) -> Arc<Snapshot> {
        let mut watch = self.watch();
        // The sender lives in `self`, so waiting cannot fail while this is borrowed.
        let _ = watch.wait_for(|reached| *reached >= version).await;
        self.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(feed: &Feed, version: u64, changes: usize) {
        let version = CatalogVersion(version);
        let delete = || Change::Delete(granary_catalog::RowKey::Cluster);
        let set =
            ChangeSet { version, changes: std::iter::repeat_with(delete).take(changes).collect() };
        let mut snapshot = Snapshot::default();
        snapshot.version = version;
        feed.publish(Arc::new(snapshot), vec![Arc::new(set)], &BTreeSet::new());
    }

    fn versions(feed: &Feed, after: u64) -> Option<Vec<u64>> {
        match feed.after(CatalogVersion(after)) {
            Next::State(_) => None,
            Next::Changes(sets) => Some(sets.iter().map(|set| set.version.0).collect()),
        }
    }

    #[test]
    fn watchers_continue_where_they_were() {
        let feed = Feed::new();
        for version in 1..=5 {
            publish(&feed, version, 1);
        }
        assert_eq!(versions(&feed, 0), None);
        assert_eq!(versions(&feed, 3), Some(vec![4, 5]));
        assert_eq!(versions(&feed, 5), Some(vec![]));
        // A watcher that saw more than this node has applied waits.
        assert_eq!(versions(&feed, 9), Some(vec![]));
    }

    #[test]
    fn watchers_too_far_behind_get_the_state() {
        let feed = Feed::new();
        publish(&feed, 1, 1);
        publish(&feed, 2, RECENT_CHANGES_MAX);
        publish(&feed, 3, 1);
        assert_eq!(versions(&feed, 1), None);
        assert_eq!(versions(&feed, 2), Some(vec![3]));
    }
}
