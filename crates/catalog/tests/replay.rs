//! Changes are the whole truth: replaying them gives the state that `apply` gave, and so do the
//! state's rows.

mod support;

use granary_catalog::*;
use granary_common::{CatalogVersion, ClusterId, PartId, TableId, WorkerId};
use proptest::prelude::*;
use support::*;

/// A command in terms of small numbers, so that commands meet each other.
#[derive(Clone, Debug)]
enum Step {
    Init,
    CreateDatabase(u8),
    DropDatabase(u8),
    CreateTable(u8, u8),
    DropTable(u8),
    RenameTable(u8, u8),
    ExchangeTables(u8, u8),
    Truncate(u8),
    Register(u8),
    SetState(u8, bool),
    Lease(u8, u8),
    Insert { table: u8, token: u8, part: u8, stale: bool },
    Stage { table: u8, transaction: u8, part: u8 },
    Publish { table: u8, transaction: u8, token: u8 },
    Abort(u8),
    Mark { table: u8, part: u8, worker: u8, damaged: bool },
    Expire(u8),
    Horizon(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let small = 0u8..4;
    prop_oneof![
        1 => Just(Step::Init),
        2 => small.clone().prop_map(Step::CreateDatabase),
        1 => small.clone().prop_map(Step::DropDatabase),
        4 => (small.clone(), small.clone()).prop_map(|(a, b)| Step::CreateTable(a, b)),
        1 => small.clone().prop_map(Step::DropTable),
        1 => (small.clone(), small.clone()).prop_map(|(a, b)| Step::RenameTable(a, b)),
        1 => (small.clone(), small.clone()).prop_map(|(a, b)| Step::ExchangeTables(a, b)),
        1 => small.clone().prop_map(Step::Truncate),
        2 => small.clone().prop_map(Step::Register),
        1 => (small.clone(), any::<bool>()).prop_map(|(a, b)| Step::SetState(a, b)),
        2 => (small.clone(), 1u8..20).prop_map(|(a, b)| Step::Lease(a, b)),
        8 => (small.clone(), small.clone(), 1u8..60, any::<bool>())
            .prop_map(|(table, token, part, stale)| Step::Insert { table, token, part, stale }),
        3 => (small.clone(), small.clone(), 1u8..60)
            .prop_map(|(table, transaction, part)| Step::Stage { table, transaction, part }),
        2 => (small.clone(), small.clone(), small.clone())
            .prop_map(|(table, transaction, token)| Step::Publish { table, transaction, token }),
        1 => small.clone().prop_map(Step::Abort),
        2 => (small.clone(), 1u8..60, small.clone(), any::<bool>())
            .prop_map(|(table, part, worker, damaged)| Step::Mark { table, part, worker, damaged }),
        1 => any::<u8>().prop_map(Step::Expire),
        1 => any::<u8>().prop_map(Step::Horizon),
    ]
}

fn command(bench: &Bench, step: &Step) -> CommandBody {
    let table_id = |table: u8| TableId(u64::from(table) + 1);
    let exists = |table: u8| bench.state.tables.contains_key(&table_id(table));
    let transaction = |number: u8| format!("x{number}");
    let insert = |table: u8, token: u8, parts: &[u64]| match exists(table) {
        true => bench.commit(table_id(table), &format!("t{token}"), parts),
        false => CommitWrite {
            tables: Vec::new(),
            staged: None,
            token: String::new(),
            digest: String::new(),
            rows: 0,
            others: Vec::new(),
            origin: WriteOrigin::Insert,
        },
    };
    match step {
        Step::Init => CommandBody::InitCluster { cluster: ClusterId("c".into()) },
        Step::CreateDatabase(n) => {
            CommandBody::CreateDatabase { name: format!("d{n}"), if_not_exists: n % 2 == 0 }
        }
        Step::DropDatabase(n) => {
            CommandBody::DropDatabase { name: format!("d{n}"), if_exists: n % 2 == 0 }
        }
        Step::CreateTable(n, d) => {
            let database = granary_common::DatabaseId(u64::from(*d) + 1);
            let table = NewTable { database, buckets: Some(2), ..new_table(&format!("t{n}")) };
            CommandBody::CreateTable { table, if_not_exists: n % 2 == 0 }
        }
        Step::DropTable(n) => CommandBody::DropTable { table: table_id(*n) },
        Step::ExchangeTables(a, b) => {
            CommandBody::ExchangeTables { first: table_id(*a), second: table_id(*b) }
        }
        Step::RenameTable(n, to) => CommandBody::RenameTable {
            table: table_id(*n),
            database: DEFAULT_DATABASE,
            name: format!("t{to}"),
        },
        Step::Truncate(n) => CommandBody::TruncateTable { table: table_id(*n) },
        Step::Register(n) => register(&format!("w{n}")),
        Step::SetState(n, alive) => CommandBody::SetWorkerState {
            worker: WorkerId(u64::from(*n)),
            incarnation: 1,
            state: if *alive { WorkerState::Alive } else { WorkerState::Dead },
        },
        Step::Lease(n, count) => lease(u64::from(*n), 1, u64::from(*count)),
        Step::Insert { table, token, part, stale } => {
            let mut commit = insert(*table, *token, &[u64::from(*part)]);
            if let (true, Some(write)) = (*stale, commit.tables.first_mut()) {
                write.data_version += 1;
            }
            CommandBody::CommitWrite(commit)
        }
        Step::Stage { table, transaction: number, part } => match exists(*table) {
            true => CommandBody::StageParts {
                transaction: transaction(*number),
                write: bench.write(table_id(*table), &[u64::from(*part)]),
                views: Vec::new(),
                continues: false,
            },
            false => CommandBody::AbortStaged { transaction: transaction(*number) },
        },
        Step::Publish { table, transaction: number, token } => {
            let staged = Some(transaction(*number));
            CommandBody::CommitWrite(CommitWrite { staged, ..insert(*table, *token, &[]) })
        }
        Step::Abort(n) => CommandBody::AbortStaged { transaction: transaction(*n) },
        Step::Mark { table, part, worker, damaged } => CommandBody::MarkDamage {
            copy: CopyId {
                table: table_id(*table),
                part: PartId(u64::from(*part)),
                worker: (*worker > 0).then_some(WorkerId(u64::from(*worker))),
            },
            reason: damaged.then(|| "cut".to_owned()),
        },
        Step::Expire(n) => CommandBody::Expire {
            staged_before_ms: u64::from(*n),
            tokens_before_ms: u64::from(*n) / 2,
            tokens_per_table: u64::from(*n) % 4,
        },
        Step::Horizon(n) => CommandBody::AdvanceHorizon { horizon: CatalogVersion(u64::from(*n)) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changes_and_rows_rebuild_the_state(steps in proptest::collection::vec(step(), 1..80)) {
        let mut bench = Bench::with_workers(2);
        let mut follower = bench.state.clone();
        for (time_ms, step) in steps.iter().enumerate() {
            bench.time_ms = time_ms as u64;
            let body = command(&bench, step);
            let version = CatalogVersion(bench.state.version.0 + 1);
            let command = Command { time_ms: bench.time_ms, body };
            // As it travels: encoded and decoded.
            let bytes = codec::encode(&command).expect("encodes");
            let command: Command = codec::decode(&bytes).expect("decodes");
            match apply(&bench.state, version, &command) {
                Ok(transition) => {
                    let sent: Vec<Vec<u8>> = transition.changes.iter()
                        .map(|change| codec::encode(change).expect("encodes")).collect();
                    let received: Vec<Change> = sent.iter()
                        .map(|bytes| codec::decode(bytes).expect("decodes")).collect();
                    follower = follower.with_changes(version, &received);
                    bench.state = transition.next;
                }
                Err(_) => bench.state.version = version,
            }
            prop_assert_eq!(dump(&follower), dump(&bench.state));
        }
        let rows: Vec<Change> = bench.state.rows().into_iter().map(Change::Put).collect();
        let rebuilt = Snapshot::default().with_changes(bench.state.version, &rows);
        prop_assert_eq!(dump(&rebuilt), dump(&bench.state));
        // The order of keys in a store is an order in which rows can be put, too.
        let mut stored = bench.state.rows();
        stored.sort_by_key(|row| row.key().to_bytes());
        let rows: Vec<Change> = stored.into_iter().map(Change::Put).collect();
        let loaded = Snapshot::default().with_changes(bench.state.version, &rows);
        prop_assert_eq!(dump(&loaded), dump(&bench.state));
    }
}
