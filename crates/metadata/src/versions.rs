//! What the nodes of the cluster speak, and when the cluster goes on to a higher version of the
//! protocol; see `granary_catalog::protocol`.

use std::collections::BTreeMap;

use granary_catalog::protocol::{FIRST_PROTOCOL, spoken_by};
use granary_catalog::{ClusterChange, CommandBody, LeaseHolder};
use parking_lot::Mutex;

use crate::controller::{View, holds};

/// What this member and the others speak. The others say it in each answer to a message of Raft.
#[derive(Debug)]
pub(crate) struct Heard {
    own: u32,
    others: Mutex<BTreeMap<u64, u32>>,
}

impl Heard {
    /// Nothing was heard of others yet.
    pub fn new(own: u32) -> Heard {
        Heard { own, others: Mutex::default() }
    }

    /// What this member speaks.
    pub fn own(&self) -> u32 {
        self.own
    }

    /// Notes what a member says; `name` is how it names itself, node id and folder, and 0 says nothing.
    pub fn note(&self, name: &str, protocol: u32) {
        let node = name.split_once('/').and_then(|(node, _)| node.parse::<u64>().ok());
        if let Some(node) = node {
            self.others.lock().insert(node, protocol.max(FIRST_PROTOCOL));
        }
    }

    /// What another member speaks; `None` while it has not answered.
    pub fn of(&self, node: u64) -> Option<u32> {
        self.others.lock().get(&node).copied()
    }
}

/// The step to the highest version that every node speaks: all `members` of the metadata group,
/// every worker that the catalog knows, dead ones too, since they may come back as they were, and
/// the coordinators whose leases hold.
pub(crate) fn raised(view: &View<'_>, members: &[Option<u32>]) -> Option<CommandBody> {
    let snapshot = view.snapshot;
    snapshot.cluster.as_ref()?;
    // Until then this node cannot tell which coordinators there are. A new cluster has none.
    let is_settled = view.now_ms >= view.leases.since_ms + view.worker_lease_ms;
    if !is_settled && !snapshot.workers.is_empty() {
        return None;
    }
    let members = members.iter().copied().collect::<Option<Vec<u32>>>()?;
    let workers = snapshot.workers.values().map(|row| spoken_by(&row.software_version));
    let coordinators = view.leases.held.iter().filter(|(holder, lease)| {
        matches!(holder, LeaseHolder::Coordinator { .. }) && holds(view, holder, lease)
    });
    let coordinators = coordinators.map(|(_, lease)| lease.protocol);
    let version = members.into_iter().chain(workers).chain(coordinators).min()?;
    let is_higher = version > snapshot.protocol();
    is_higher.then_some(CommandBody::Cluster(ClusterChange::RaiseProtocol { version }))
}

#[cfg(test)]
mod tests {
    use granary_catalog::Snapshot;
    use granary_common::CatalogVersion;

    use super::*;
    use crate::leases::{Lease, LeaseView};
    use crate::test_support::{formed, run, view};

    const NOW_MS: u64 = 100_000;

    /// A cluster whose workers registered with these versions.
    fn cluster(spoken: u32, workers: &[u32]) -> Snapshot {
        let mut state = formed();
        for (place, version) in workers.iter().enumerate() {
            let register = CommandBody::RegisterWorker {
                identity: format!("w{place}"),
                address: format!("w{place}:7422"),
                zone: String::new(),
                software_version: format!("0.1.0+protocol.{version}"),
            };
            run(&mut state, register);
        }
        let version = spoken;
        run(&mut state, CommandBody::Cluster(ClusterChange::RaiseProtocol { version }));
        state
    }

    /// Coordinators by what they speak, and how long ago they said it.
    fn leases(led_for_ms: u64, coordinators: &[(u32, u64)]) -> LeaseView {
        let lease = |(place, (protocol, age_ms)): (usize, &(u32, u64))| {
            let lease = Lease {
                address: format!("c{place}:7420"),
                pinned: CatalogVersion(1),
                renewed_ms: NOW_MS - age_ms,
                protocol: *protocol,
                loads: Vec::new(),
                is_full: false,
            };
            (LeaseHolder::Coordinator { identity: format!("c{place}") }, lease)
        };
        let held = coordinators.iter().enumerate().map(lease).collect();
        LeaseView { since_ms: NOW_MS - led_for_ms, held }
    }

    fn decided(snapshot: &Snapshot, leases: &LeaseView, members: &[Option<u32>]) -> Option<u32> {
        let view = view(snapshot, leases, NOW_MS);
        match raised(&view, members) {
            None => None,
            Some(CommandBody::Cluster(ClusterChange::RaiseProtocol { version })) => Some(version),
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_oldest_node_decides() {
        let all = [Some(3), Some(3), Some(3)];
        // (spoken, members, workers, coordinators, expected)
        type Case<'a> = (u32, &'a [Option<u32>], &'a [u32], &'a [(u32, u64)], Option<u32>);
        let cases: [Case<'_>; 12] = [
            (1, &all, &[3, 3], &[(3, 0)], Some(3)),
            (3, &all, &[3, 3], &[(3, 0)], None),
            (1, &[Some(3), Some(2), Some(3)], &[3], &[], Some(2)),
            (2, &[Some(3), Some(2), Some(3)], &[3], &[], None),
            // One that has not been heard may be of any build.
            (1, &[Some(3), None, Some(3)], &[3], &[], None),
            (1, &all, &[3, 1], &[], None),
            (1, &all, &[3, 2], &[(3, 0)], Some(2)),
            (1, &all, &[3], &[(1, 0)], None),
            // A coordinator that has gone does not count.
            (1, &all, &[3], &[(1, 10_000)], Some(3)),
            (1, &all, &[], &[], Some(3)),
            (1, &[Some(1)], &[], &[], None),
            // Nobody goes back.
            (3, &[Some(2)], &[], &[], None),
        ];
        for (spoken, members, workers, coordinators, expected) in cases {
            let leases = leases(60_000, coordinators);
            let got = decided(&cluster(spoken, workers), &leases, members);
            assert_eq!(got, expected, "{spoken} {members:?} {workers:?} {coordinators:?}");
        }
        assert_eq!(decided(&Snapshot::default(), &leases(60_000, &[]), &all), None);
    }

    #[test]
    fn a_new_leader_waits_for_the_coordinators() {
        let members = [Some(2)];
        for (led_for_ms, workers, expected) in
            [(3_999, &[2][..], None), (4_000, &[2], Some(2)), (0, &[], Some(2))]
        {
            let got = decided(&cluster(1, workers), &leases(led_for_ms, &[]), &members);
            assert_eq!(got, expected, "{led_for_ms} {workers:?}");
        }
    }

    #[test]
    fn members_are_heard() {
        let heard = Heard::new(2);
        assert_eq!((heard.own(), heard.of(2)), (2, None));
        for (name, protocol, of_second) in
            [("", 9, None), ("x/f", 9, None), ("2/f", 0, Some(1)), ("2/f", 2, Some(2))]
        {
            heard.note(name, protocol);
            assert_eq!(heard.of(2), of_second, "{name} {protocol}");
        }
    }
}
