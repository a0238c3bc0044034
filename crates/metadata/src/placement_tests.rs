use granary_catalog::protocol::FULL_DISKS;
use granary_catalog::{ClusterChange, Command, NewTable, Snapshot, apply};
use granary_common::{BucketIndex, CatalogVersion, Epoch};

use super::*;
use crate::test_support::{
    REPLACE_AFTER_MS, WORKER_LEASE_MS, add_worker, formed, leases, new_table, run, view,
};

const NOW_MS: u64 = 1_000_000;

/// A cluster with a table of one bucket, as far as placement goes.
#[derive(Clone)]
struct Case {
    /// Age of each worker's lease in ms, from worker 1 on, and its zone.
    workers: Vec<(u64, &'static str)>,
    /// Those whose disks take no writes.
    full: Vec<u64>,
    factor: &'static str,
    leader: u64,
    replicas: Vec<u64>,
    in_sync: Vec<u64>,
}

const ALIVE: u64 = 0;
const DEAD: u64 = WORKER_LEASE_MS;
const LOST: u64 = REPLACE_AFTER_MS;

fn ids(workers: &[u64]) -> Vec<WorkerId> {
    workers.iter().copied().map(WorkerId).collect()
}

fn snapshot(case: &Case) -> Snapshot {
    let mut state = formed();
    for (place, (_, zone)) in case.workers.iter().enumerate() {
        add_worker(&mut state, &format!("w{place}"), zone);
    }
    run(&mut state, CommandBody::Cluster(ClusterChange::RaiseProtocol { version: FULL_DISKS }));
    for worker in case.full.iter().copied().map(WorkerId) {
        let change = ClusterChange::ChangeRoom { worker, incarnation: 1, is_full: true };
        run(&mut state, CommandBody::Cluster(change));
    }
    let settings = match case.factor {
        "" => Default::default(),
        factor => [("replication_factor".to_owned(), factor.to_owned())].into(),
    };
    let table = new_table("t", 1, settings);
    run(&mut state, CommandBody::CreateTable { table, if_not_exists: false });
    let table = *state.tables.keys().next().expect("a table");
    let bucket = Bucket {
        table,
        index: BucketIndex(0),
        leader: WorkerId(case.leader),
        replicas: ids(&case.replicas),
        in_sync: ids(&case.in_sync),
        in_sync_version: 7,
        epoch: Epoch(3),
        upsert_version: 0,
    };
    let put = granary_catalog::Change::Put(granary_catalog::Row::Bucket(bucket));
    state.with_changes(state.version, &[put])
}

/// The next placement of the bucket: leader, replicas, those in sync.
fn decided(case: &Case) -> Option<(u64, Vec<u64>, Vec<u64>)> {
    let snapshot = snapshot(case);
    let leases = leases(&snapshot, |id| NOW_MS - case.workers[id as usize - 1].0);
    let mut commands = place_buckets(&view(&snapshot, &leases, NOW_MS));
    assert!(commands.len() <= 1, "{commands:?}");
    let CommandBody::PlaceBucket(next) = commands.pop()? else { panic!("{commands:?}") };
    assert_eq!((next.epoch, next.in_sync_version), (Epoch(3), 7));
    // Whatever is decided can be carried out.
    let command = Command { time_ms: 0, body: CommandBody::PlaceBucket(next.clone()) };
    apply(&snapshot, CatalogVersion(snapshot.version.0 + 1), &command).expect("applies");
    let numbers = |workers: &[WorkerId]| workers.iter().map(|worker| worker.0).collect();
    Some((next.leader.0, numbers(&next.replicas), numbers(&next.in_sync)))
}

type Replicas<'a> = (u64, &'a [u64], &'a [u64]);

fn case(workers: &[u64], (leader, replicas, in_sync): Replicas<'_>) -> Case {
    Case {
        workers: workers.iter().map(|age_ms| (*age_ms, "")).collect(),
        full: Vec::new(),
        factor: "",
        leader,
        replicas: replicas.to_vec(),
        in_sync: in_sync.to_vec(),
    }
}

#[track_caller]
fn check(case: &Case, expected: Option<Replicas<'_>>) {
    let expected =
        expected.map(|(leader, replicas, in_sync)| (leader, replicas.to_vec(), in_sync.to_vec()));
    assert_eq!(decided(case), expected);
}

#[test]
fn leadership_moves_to_a_replica_in_sync() {
    let all = [ALIVE, ALIVE, ALIVE];
    check(&case(&all, (1, &[1, 2], &[1, 2])), None);
    let first = [DEAD, ALIVE, ALIVE];
    check(&case(&first, (1, &[1, 2], &[1, 2])), Some((2, &[1, 2], &[2])));
    // The first of those in sync, else whoever lives.
    check(&case(&first, (1, &[1, 2, 3], &[3, 1])), Some((3, &[1, 2, 3], &[3])));
    check(&case(&first, (1, &[1, 2], &[1])), Some((2, &[1, 2], &[])));
    // A replica that does not lead only falls out of sync.
    let second = [ALIVE, DEAD, ALIVE];
    check(&case(&second, (1, &[1, 2], &[1, 2])), Some((1, &[1, 2], &[1])));
    check(&case(&second, (1, &[1, 2], &[1])), None);
    // With nobody left there is nothing to do but to wait.
    check(&case(&[DEAD, DEAD, ALIVE], (1, &[1, 2], &[1, 2])), None);
    check(&case(&[LOST, LOST, ALIVE], (1, &[1, 2], &[1, 2])), None);
}

#[test]
fn lost_replicas_are_replaced_after_the_grace_time() {
    let holds = |age_ms| [ALIVE, age_ms, ALIVE, ALIVE];
    check(&case(&holds(LOST - 1), (1, &[1, 2], &[1])), None);
    check(&case(&holds(LOST), (1, &[1, 2], &[1])), Some((1, &[1, 3], &[1])));
    // First what cannot wait, then the rest.
    check(&case(&holds(LOST), (2, &[2, 1], &[2, 1])), Some((1, &[2, 1], &[1])));
    check(&case(&holds(LOST), (1, &[2, 1], &[1])), Some((1, &[1, 3], &[1])));
    // Nobody can take its place.
    check(&case(&[ALIVE, LOST], (1, &[1, 2], &[1])), None);
}

#[test]
fn replicas_become_as_many_as_the_table_wants() {
    let all = [ALIVE, ALIVE, ALIVE];
    check(&case(&all, (1, &[1], &[1])), Some((1, &[1, 2], &[1])));
    check(&case(&[ALIVE], (1, &[1], &[1])), None);
    let one = Case { factor: "1", ..case(&all, (1, &[1], &[1])) };
    check(&one, None);
    let fewer = Case { factor: "1", ..case(&all, (2, &[1, 2, 3], &[1, 2])) };
    check(&fewer, Some((1, &[1], &[1])));
    // Nobody goes before those that shall stay have everything.
    let lagging = Case { factor: "1", ..case(&all, (2, &[3, 2], &[2])) };
    check(&lagging, None);
    let three = Case { factor: "3", ..case(&all, (1, &[1], &[1])) };
    check(&three, Some((1, &[1, 2, 3], &[1])));
    let mut zoned = case(&all, (1, &[1], &[1]));
    zoned.workers = vec![(ALIVE, "a"), (ALIVE, "a"), (ALIVE, "b")];
    check(&zoned, Some((1, &[1, 3], &[1])));
}

#[test]
fn the_first_replica_leads_again_once_it_is_in_sync() {
    let all = [ALIVE, ALIVE, ALIVE];
    check(&case(&all, (2, &[1, 2], &[2])), None);
    check(&case(&all, (2, &[1, 2], &[2, 1])), Some((1, &[1, 2], &[2, 1])));
}

#[test]
fn a_replica_on_its_way_takes_the_place_when_it_has_everything() {
    let all = [ALIVE, ALIVE, ALIVE];
    check(&case(&all, (1, &[3, 2, 1], &[1, 2])), None);
    check(&case(&all, (1, &[3, 2, 1], &[1, 2, 3])), Some((3, &[3, 2], &[2, 3])));
    // What fails on the way is no loss: the old one is still there.
    check(&case(&[ALIVE, ALIVE, LOST], (1, &[3, 2, 1], &[1, 2])), Some((1, &[2, 1], &[1, 2])));
}

fn full(full: &[u64], case: Case) -> Case {
    Case { full: full.to_vec(), ..case }
}

#[test]
fn a_full_worker_does_not_lead_where_another_takes_writes() {
    let all = [ALIVE, ALIVE, ALIVE, ALIVE];
    let at_rest = || case(&all, (1, &[1, 2], &[1, 2]));
    // Copies stay where they are.
    check(&full(&[1], at_rest()), Some((2, &[1, 2], &[1, 2])));
    check(&full(&[2], at_rest()), None);
    check(&full(&[3, 4], at_rest()), None);
    // A replica before anybody else, and those in sync first.
    check(&full(&[1], case(&all, (1, &[1, 2], &[1]))), Some((2, &[1, 2], &[1])));
    let three = Case { factor: "3", ..case(&all, (1, &[1, 2, 3], &[1, 3])) };
    check(&full(&[1], three), Some((3, &[1, 2, 3], &[1, 3])));
    // Where no replica takes writes, anybody else does, by turns of the buckets.
    check(&full(&[1, 2], at_rest()), Some((3, &[1, 2], &[1, 2])));
    check(&full(&[1, 2, 3], at_rest()), Some((4, &[1, 2], &[1, 2])));
    check(&full(&[1, 2, 3, 4], at_rest()), None);
    let alone = Case { factor: "1", ..case(&all, (1, &[1], &[1])) };
    check(&full(&[1], alone), Some((2, &[1], &[1])));
    check(&full(&[1], case(&[ALIVE, DEAD, DEAD], (1, &[1, 2], &[1]))), None);
    // The one outside may become full as well.
    check(&full(&[1, 2, 3], case(&all, (3, &[1, 2], &[]))), Some((4, &[1, 2], &[])));
    check(&full(&[1, 3], case(&all, (3, &[1, 2], &[]))), Some((2, &[1, 2], &[])));
}

#[test]
fn leadership_does_not_go_back_before_there_is_room() {
    let all = [ALIVE, ALIVE, ALIVE, ALIVE];
    check(&full(&[1], case(&all, (2, &[1, 2], &[1, 2]))), None);
    // It has room again, but lacks what came meanwhile.
    check(&case(&all, (2, &[1, 2], &[2])), None);
    check(&case(&all, (2, &[1, 2], &[2, 1])), Some((1, &[1, 2], &[2, 1])));
    // Somebody leads who is no replica, until one has everything.
    check(&full(&[1, 2], case(&all, (3, &[1, 2], &[]))), None);
    check(&case(&all, (3, &[1, 2], &[])), None);
    check(&full(&[1], case(&all, (3, &[1, 2], &[2]))), Some((2, &[1, 2], &[2])));
    check(&case(&all, (3, &[1, 2], &[2, 1])), Some((1, &[1, 2], &[2, 1])));
    // When it dies, a replica leads, with room or without.
    let away = [ALIVE, ALIVE, DEAD, ALIVE];
    check(&full(&[1, 2], case(&away, (3, &[1, 2], &[]))), Some((1, &[1, 2], &[])));
}

#[test]
fn nothing_moves_to_a_full_worker() {
    let lost = [ALIVE, LOST, ALIVE, ALIVE];
    let lacks = || case(&lost, (1, &[1, 2], &[1]));
    check(&full(&[3], lacks()), Some((1, &[1, 4], &[1])));
    check(&full(&[3, 4], lacks()), None);
    // A full one may still be emptied.
    let mut state = snapshot(&full(&[1], case(&[ALIVE; 4], (2, &[1, 2], &[1, 2]))));
    run(&mut state, CommandBody::DrainWorker { worker: WorkerId(1), drained: true });
    let leases = leases(&state, |_| NOW_MS);
    let commands = place_buckets(&view(&state, &leases, NOW_MS));
    let [CommandBody::PlaceBucket(next)] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!(next.replicas, ids(&[3, 2, 1]));
}

#[test]
fn a_full_worker_keeps_what_it_has_and_gets_no_more() {
    let mut simulation = Simulation::new(3);
    simulation.add_table("wide", 12, None);
    simulation.settle();
    simulation.add_worker();
    let version = FULL_DISKS;
    simulation.run(CommandBody::Cluster(ClusterChange::RaiseProtocol { version }));
    let room = |worker, is_full| {
        let (worker, incarnation) = (WorkerId(worker), 1);
        CommandBody::Cluster(ClusterChange::ChangeRoom { worker, incarnation, is_full })
    };
    simulation.run(room(4, true));
    simulation.settle();
    assert_eq!(simulation.spread("wide"), [(8, 4), (8, 4), (8, 4), (0, 0)]);
    simulation.run(room(4, false));
    simulation.run(room(1, true));
    simulation.settle();
    let spread = simulation.spread("wide");
    assert_eq!((spread[0], simulation.moved), ((8, 0), 5), "{spread:?}");
    simulation.run(room(1, false));
    simulation.settle();
    let spread = simulation.spread("wide");
    assert!(spread.iter().all(|(held, led)| *held == 6 && (2..=4).contains(led)), "{spread:?}");
}

/// A cluster whose workers fetch everything between two looks of the controller.
struct Simulation {
    state: Snapshot,
    /// Replicas that came to a worker which had none of the bucket.
    moved: usize,
}

impl Simulation {
    fn new(workers: usize) -> Simulation {
        let case = Case { workers: vec![(ALIVE, ""); workers], ..case(&[], (1, &[1], &[1])) };
        let mut simulation = Simulation { state: snapshot(&case), moved: 0 };
        let tables: Vec<_> = simulation.state.tables.keys().copied().collect();
        tables.iter().for_each(|table| simulation.run(CommandBody::DropTable { table: *table }));
        simulation
    }

    fn run(&mut self, body: CommandBody) {
        run(&mut self.state, body);
    }

    fn add_worker(&mut self) {
        let place = self.state.workers.len();
        add_worker(&mut self.state, &format!("w{place}"), "");
    }

    fn add_table(&mut self, name: &str, buckets: u32, group: Option<&str>) {
        let table = NewTable {
            colocation_group: group.map(str::to_owned),
            ..new_table(name, buckets, Default::default())
        };
        self.run(CommandBody::CreateTable { table, if_not_exists: false });
    }

    /// Looks until there is nothing to do; gives how often that took.
    fn settle(&mut self) -> usize {
        for looks in 0..200 {
            let leases = leases(&self.state, |_| NOW_MS);
            let commands = place_buckets(&view(&self.state, &leases, NOW_MS));
            if commands.is_empty() {
                return looks;
            }
            for command in commands {
                self.run(command);
            }
            self.fetch();
        }
        panic!("buckets move for ever");
    }

    fn fetch(&mut self) {
        let buckets = self.state.tables.values().flat_map(|state| state.buckets.values());
        let behind: Vec<BucketPlacement> = buckets
            .filter(|bucket| bucket.in_sync.len() < bucket.replicas.len())
            .map(|bucket| {
                let in_sync = bucket.replicas.clone();
                BucketPlacement { in_sync, ..BucketPlacement::of(bucket) }
            })
            .collect();
        for placement in behind {
            self.moved += 1;
            self.run(CommandBody::PlaceBucket(placement));
        }
    }

    /// How many buckets of a table each worker holds, and how many it leads.
    fn spread(&self, name: &str) -> Vec<(usize, usize)> {
        let is_it = |state: &&granary_catalog::TableState| {
            state.table.name == name && state.table.dropped.is_none()
        };
        let state = self.state.tables.values().find(is_it).expect("a table");
        let count = |of: &dyn Fn(&Bucket, WorkerId) -> bool, worker: WorkerId| {
            state.buckets.values().filter(|bucket| of(bucket, worker)).count()
        };
        let workers = self.state.workers.keys();
        workers
            .map(|worker| {
                let held = count(&|bucket, worker| bucket.replicas.contains(&worker), *worker);
                let led = count(&|bucket, worker| bucket.leader == worker, *worker);
                (held, led)
            })
            .collect()
    }
}

#[test]
fn a_new_worker_gets_its_share_by_the_fewest_moves() {
    let mut simulation = Simulation::new(3);
    simulation.add_table("wide", 24, None);
    assert!(simulation.settle() == 0, "new tables lie evenly");
    simulation.add_worker();
    simulation.settle();
    let held: Vec<usize> = simulation.spread("wide").iter().map(|(held, _)| *held).collect();
    assert_eq!(held, [12, 12, 12, 12]);
    assert_eq!(simulation.moved, 12);
    let led: Vec<usize> = simulation.spread("wide").iter().map(|(_, led)| *led).collect();
    assert_eq!(led, [6, 6, 6, 6]);
}

#[test]
fn doubling_and_halving_move_what_must_move() {
    let mut simulation = Simulation::new(3);
    simulation.add_table("wide", 24, None);
    simulation.settle();
    (0..3).for_each(|_| simulation.add_worker());
    simulation.settle();
    let held = |simulation: &Simulation| -> Vec<usize> {
        simulation.spread("wide").iter().map(|(held, _)| *held).collect()
    };
    assert_eq!(held(&simulation), [8; 6]);
    assert_eq!(simulation.moved, 24);
    for worker in 4..=6 {
        simulation.run(CommandBody::DrainWorker { worker: WorkerId(worker), drained: true });
    }
    simulation.settle();
    assert_eq!(held(&simulation), [16, 16, 16, 0, 0, 0]);
    assert!(simulation.moved <= 48, "{} replicas", simulation.moved);
}

#[test]
fn tables_of_a_group_stay_together() {
    let mut simulation = Simulation::new(2);
    simulation.add_table("a", 8, Some("g"));
    simulation.add_table("b", 8, Some("g"));
    simulation.add_worker();
    simulation.settle();
    let layout = |name: &str| -> Vec<(WorkerId, Vec<WorkerId>)> {
        let state = simulation.state.tables.values().find(|s| s.table.name == name);
        let buckets = state.expect("a table").buckets.values();
        buckets.map(|bucket| (bucket.leader, bucket.replicas.clone())).collect()
    };
    assert_eq!(layout("a"), layout("b"));
    let held: Vec<usize> = simulation.spread("a").iter().map(|(held, _)| *held).collect();
    assert!(held.iter().all(|held| (5..=6).contains(held)), "{held:?}");
}

#[test]
fn a_drained_worker_becomes_empty() {
    let mut simulation = Simulation::new(4);
    simulation.add_table("wide", 16, None);
    simulation.settle();
    simulation.run(CommandBody::DrainWorker { worker: WorkerId(2), drained: true });
    simulation.settle();
    let spread = simulation.spread("wide");
    assert_eq!(spread[1], (0, 0));
    assert_eq!(spread.iter().map(|(held, _)| held).sum::<usize>(), 32);
    assert!([0, 2, 3].iter().all(|place| (10..=11).contains(&spread[*place].0)), "{spread:?}");
    simulation.run(CommandBody::DrainWorker { worker: WorkerId(2), drained: false });
    simulation.settle();
    assert_eq!(simulation.spread("wide")[1].0, 8);
}
