use granary_common::CatalogVersion;

use super::*;
use crate::row::{Change, Row};

fn cluster(workers: &[(u64, &str, WorkerState)]) -> Snapshot {
    let row = |(id, zone, state): &(u64, &str, WorkerState)| {
        Change::Put(Row::Worker(Worker {
            id: WorkerId(*id),
            identity: format!("w{id}"),
            address: format!("w{id}:7422"),
            zone: (*zone).to_owned(),
            state: *state,
            incarnation: 1,
            software_version: String::new(),
            drained: false,
            is_full: false,
        }))
    };
    let changes: Vec<Change> = workers.iter().map(row).collect();
    Snapshot::default().with_changes(CatalogVersion(1), &changes)
}

/// The same cluster with these workers full.
fn filled(snapshot: &Snapshot, full: &[u64]) -> Snapshot {
    let row = |id: &u64| {
        let row = (*snapshot.workers[&WorkerId(*id)]).clone();
        Change::Put(Row::Worker(Worker { is_full: true, ..row }))
    };
    snapshot.with_changes(snapshot.version, &full.iter().map(row).collect::<Vec<_>>())
}

fn ids(workers: &[u64]) -> Vec<WorkerId> {
    workers.iter().copied().map(WorkerId).collect()
}

#[test]
fn replicas_are_spread_over_zones_and_turns() {
    use WorkerState::{Alive, Dead, Draining};
    let plain = cluster(&[(1, "", Alive), (2, "", Alive), (3, "", Alive), (4, "", Dead)]);
    let zoned = cluster(&[(1, "a", Alive), (2, "a", Alive), (3, "b", Alive), (4, "c", Alive)]);
    let leaving = cluster(&[(1, "", Alive), (2, "", Draining)]);
    for (snapshot, held, count, turn, expected) in [
        (&plain, &[1][..], 1, 0, &[2][..]),
        (&plain, &[1], 1, 1, &[3]),
        (&plain, &[1], 1, 2, &[2]),
        (&plain, &[1], 5, 0, &[2, 3]),
        (&plain, &[], 2, 1, &[2, 3]),
        (&plain, &[1, 2, 3], 1, 0, &[]),
        (&zoned, &[1], 1, 0, &[3]),
        (&zoned, &[1], 1, 1, &[4]),
        (&zoned, &[1], 3, 0, &[3, 4, 2]),
        (&zoned, &[3], 1, 0, &[1]),
        (&leaving, &[1], 1, 0, &[]),
    ] {
        let chosen = next_replicas(snapshot, &ids(held), count, turn, |_| true);
        assert_eq!(chosen, ids(expected), "beside {held:?}, {count}, turn {turn}");
    }
    let full = filled(&zoned, &[3, 4]);
    for (held, count, expected) in [
        (&[1][..], 1, &[2][..]),
        // Those that are full come last, whatever their zone.
        (&[1], 3, &[2, 3, 4]),
        (&[1, 2], 1, &[3]),
    ] {
        let chosen = next_replicas(&full, &ids(held), count, 0, |_| true);
        assert_eq!(chosen, ids(expected), "beside {held:?}, {count}");
    }
    let none = next_replicas(&plain, &ids(&[1]), 1, 0, |row| row.id.0 > 3);
    assert_eq!(none, ids(&[]));
}

#[test]
fn factors_follow_the_setting_and_the_cluster() {
    let of = |text: &str| BTreeMap::from([(FACTOR_SETTING.to_owned(), text.to_owned())]);
    let none = BTreeMap::new();
    for (settings, workers, expected) in [
        (&none, 0, 1),
        (&none, 1, 1),
        (&none, 2, 2),
        (&none, 9, 2),
        (&of("1"), 9, 1),
        (&of("3"), 2, 2),
        (&of("3"), 9, 3),
    ] {
        assert_eq!(replication_factor(settings, workers), expected, "{settings:?}, {workers}");
    }
    assert_eq!(min_copies(&none), 1);
    let two = BTreeMap::from([(MIN_COPIES_SETTING.to_owned(), "2".to_owned())]);
    assert_eq!(min_copies(&two), 2);
}
