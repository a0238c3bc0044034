//! What each command does, and what it refuses.

mod support;

use granary_catalog::*;
use granary_common::ErrorKind::{AlreadyExists, Conflict, InvalidInput, NotFound, Unavailable};
use granary_common::{
    BucketIndex, CatalogVersion, ClusterId, DatabaseId, PartId, TableId, WorkerId,
};
use support::*;

fn create_database(name: &str, if_not_exists: bool) -> CommandBody {
    CommandBody::CreateDatabase { name: name.to_owned(), if_not_exists }
}

fn create_table(table: NewTable) -> CommandBody {
    CommandBody::CreateTable { table, if_not_exists: false }
}

#[test]
fn only_the_first_cluster_id_counts() {
    let mut bench = Bench { state: Snapshot::default(), time_ms: 0 };
    bench.refused(create_database("d", false), Unavailable);
    bench.done(CommandBody::InitCluster { cluster: ClusterId("first".into()) });
    bench.done(CommandBody::InitCluster { cluster: ClusterId("second".into()) });
    assert_eq!(bench.state.cluster.as_ref().expect("formed").id, ClusterId("first".into()));
    assert!(bench.state.find_database("default").is_some());
}

#[test]
fn databases() {
    let mut bench = Bench::with_workers(1);
    bench.done(create_database("sales", false));
    bench.refused(create_database("sales", false), AlreadyExists);
    bench.refused(create_database("System", false), AlreadyExists);
    bench.done(create_database("sales", true));
    // Names differ by case; a lookup takes the exact one, else the only one alike.
    bench.done(create_database("SALES", false));
    let id = |bench: &Bench, name| bench.state.find_database(name).map(|database| database.id);
    assert_ne!(id(&bench, "sales"), id(&bench, "SALES"));
    assert_eq!(id(&bench, "Sales"), None);
    let drop = |name: &str, if_exists| CommandBody::DropDatabase { name: name.into(), if_exists };
    bench.done(drop("SALES", false));
    bench.refused(drop("SALES2", false), NotFound);
    bench.done(drop("SALES2", true));
    assert_eq!(id(&bench, "Sales"), id(&bench, "sales"));
}

#[test]
fn dropping_a_database_drops_its_tables() {
    let mut bench = Bench::with_workers(1);
    bench.done(create_database("d", false));
    let database = bench.state.find_database("d").expect("there").id;
    let table = NewTable { database, ..new_table("t") };
    bench.done(create_table(table.clone()));
    bench.done(CommandBody::DropDatabase { name: "d".into(), if_exists: false });
    assert!(bench.state.tables.values().all(|state| state.table.dropped.is_some()));
    bench.refused(create_table(table), Conflict);
}

#[test]
fn tables() {
    let mut bench = Bench::with_workers(1);
    let first = bench.table("t", 1);
    bench.refused(create_table(new_table("t")), AlreadyExists);
    let again = CommandBody::CreateTable { table: new_table("t"), if_not_exists: true };
    assert_eq!(bench.done(again), Outcome::TableCreated(first));

    let rename = |table, name: &str| CommandBody::RenameTable {
        table,
        database: DEFAULT_DATABASE,
        name: name.into(),
    };
    let second = bench.table("u", 1);
    bench.refused(rename(first, "u"), AlreadyExists);
    bench.refused(
        CommandBody::RenameTable { table: first, database: DatabaseId(99), name: "x".into() },
        Conflict,
    );
    bench.done(rename(first, "t"));
    bench.done(rename(first, "v"));
    assert!(bench.state.find_table(DEFAULT_DATABASE, "t").is_none());

    let exchange = |first, second| CommandBody::ExchangeTables { first, second };
    bench.done(exchange(first, second));
    let found = |bench: &Bench, name| {
        bench.state.find_table(DEFAULT_DATABASE, name).map(|state| state.table.id)
    };
    assert_eq!((found(&bench, "u"), found(&bench, "v")), (Some(first), Some(second)));
    bench.refused(exchange(first, first), InvalidInput);
    bench.refused(exchange(first, TableId(77)), NotFound);

    bench.done(CommandBody::DropTable { table: second });
    bench.refused(CommandBody::DropTable { table: second }, NotFound);
    bench.refused(rename(second, "w"), NotFound);
    bench.refused(CommandBody::TruncateTable { table: TableId(77) }, NotFound);
    // A dropped name is free, and the new table is another one.
    assert_ne!(bench.table("v", 1), second);
}

#[test]
fn buckets_spread_over_the_workers_that_are_alive() {
    let mut bench = Bench::with_workers(3);
    let dead = CommandBody::SetWorkerState {
        worker: WorkerId(2),
        incarnation: 1,
        state: WorkerState::Dead,
    };
    bench.done(dead);
    let leaders = |bench: &Bench, table: TableId| -> Vec<u64> {
        bench.state.tables[&table].buckets.values().map(|bucket| bucket.leader.0).collect()
    };
    let table = bench.table("t", 4);
    assert_eq!(leaders(&bench, table), [1, 3, 1, 3]);
    let table = bench.table("one", 1);
    assert_eq!(leaders(&bench, table), [1]);
    // The next table begins with the worker that holds fewer.
    let table = bench.table("next", 2);
    assert_eq!(leaders(&bench, table), [3, 1]);
    let default = match bench.done(create_table(new_table("default"))) {
        Outcome::TableCreated(id) => id,
        other => panic!("not a table: {other:?}"),
    };
    assert_eq!(leaders(&bench, default).len(), 4);
}

#[test]
fn a_table_needs_a_worker() {
    let mut bench = Bench::with_workers(0);
    bench.refused(create_table(new_table("t")), Unavailable);
}

#[test]
fn colocated_tables_share_their_workers() {
    let mut bench = Bench::with_workers(3);
    let member = |name: &str, buckets| NewTable {
        colocation_group: Some("g".into()),
        buckets: Some(buckets),
        ..new_table(name)
    };
    bench.table("unrelated", 1);
    bench.done(create_table(member("a", 6)));
    bench.table("unrelated too", 2);
    bench.done(create_table(member("b", 6)));
    bench.refused(create_table(member("c", 4)), InvalidInput);
    let leaders = |name| -> Vec<WorkerId> {
        let state = bench.state.find_table(DEFAULT_DATABASE, name).expect("there");
        state.buckets.values().map(|bucket| bucket.leader).collect()
    };
    assert_eq!(leaders("a"), leaders("b"));
}

#[test]
fn workers_keep_their_id_and_lose_their_old_leases() {
    let mut bench = Bench::with_workers(2);
    assert!(bench.state.may_reference_part(PartId(1)));
    let again = bench.done(register("w1"));
    assert_eq!(again, Outcome::WorkerRegistered { worker: WorkerId(1), incarnation: 2 });
    // Ids of the old incarnation may be swept, those of the other worker may not.
    assert!(!bench.state.may_reference_part(PartId(1)));
    assert!(bench.state.may_reference_part(PartId(1001)));
    bench.refused(lease(1, 1, 10), Conflict);
    bench.refused(lease(9, 1, 10), NotFound);
    bench.refused(lease(1, 2, 0), InvalidInput);
    bench.refused(lease(1, 2, u64::MAX), InvalidInput);
    let stale = CommandBody::SetWorkerState {
        worker: WorkerId(1),
        incarnation: 1,
        state: WorkerState::Dead,
    };
    bench.refused(stale, Conflict);
    let Outcome::PartIdsLeased(range) = bench.done(lease(1, 2, 10)) else { panic!("no range") };
    assert_eq!((range.start, range.end, range.incarnation), (2001, 2011, 2));
}

#[test]
fn an_insert_becomes_visible_at_its_version() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    let before = bench.state.clone();
    let receipt = bench.inserted(bench.commit(table, "a", &[1, 2]));
    assert_eq!(receipt.version, bench.state.version);
    assert_eq!((receipt.rows, receipt.parts, receipt.duplicate), (20, 2, false));
    assert_eq!(bench.visible(table), [1, 2]);
    let at =
        |version: u64| bench.state.tables[&table].visible_parts(CatalogVersion(version)).count();
    assert_eq!((at(receipt.version.0 - 1), at(receipt.version.0)), (0, 2));
    assert_eq!(before.tables[&table].parts.len(), 0, "a pinned snapshot does not change");
    let order: Vec<_> =
        bench.state.tables[&table].parts.values().map(|part| part.inserted.0).collect();
    assert_eq!(order, [(receipt.version, 0), (receipt.version, 1)]);
}

#[test]
fn the_same_token_gets_the_same_answer() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    let first = bench.inserted(bench.commit(table, "a", &[1]));
    // Another attempt wrote parts of its own, in vain.
    let second = bench.inserted(bench.commit(table, "a", &[2]));
    assert_eq!(second, InsertReceipt { duplicate: true, ..first.clone() });
    assert_eq!(bench.visible(table), [1]);
    let other = CommitWrite { digest: "other".into(), ..bench.commit(table, "a", &[3]) };
    bench.refused(CommandBody::CommitWrite(other), InvalidInput);
    // A duplicate is answered even after what it was prepared under has changed.
    let late = bench.commit(table, "a", &[4]);
    bench.done(CommandBody::TruncateTable { table });
    assert!(bench.inserted(late).duplicate);
    // The same token on another table is another insert.
    let other = bench.table("u", 1);
    assert!(!bench.inserted(bench.commit(other, "a", &[5])).duplicate);
}

/// Each way in which an insert can be out of date.
#[test]
fn a_commit_names_what_it_was_prepared_under() {
    type Spoil = fn(&mut TableWrite);
    let cases: [(&str, Spoil); 8] = [
        ("schema version", |write| write.schema_version += 1),
        ("view set version", |write| write.view_set_version += 1),
        ("data version", |write| write.data_version += 1),
        ("epoch", |write| write.buckets[0].epoch = epoch(0)),
        ("in-sync version", |write| write.buckets[0].in_sync_version += 1),
        ("a replica did not sync", |write| write.buckets[0].synced.clear()),
        ("bucket", |write| write.buckets[0].bucket = BucketIndex(1)),
        ("part id", |write| write.buckets[0].parts[0].id = PartId(5000)),
    ];
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    for (what, spoil) in cases {
        println!("{what}");
        let mut commit = bench.commit(table, what, &[1]);
        spoil(&mut commit.tables[0]);
        bench.refused(CommandBody::CommitWrite(commit.clone()), Conflict);
        let write = commit.tables.remove(0);
        bench.refused(
            CommandBody::StageParts {
                transaction: "x".into(),
                write,
                views: Vec::new(),
                continues: false,
            },
            Conflict,
        );
    }
    let none = CommitWrite { tables: Vec::new(), ..bench.commit(table, "none", &[]) };
    bench.refused(CommandBody::CommitWrite(none), granary_common::ErrorKind::Internal);
    let dropped = bench.commit(table, "late", &[1]);
    bench.done(CommandBody::DropTable { table });
    bench.refused(CommandBody::CommitWrite(dropped), NotFound);
}

#[test]
fn one_bad_table_refuses_the_whole_commit() {
    let mut bench = Bench::with_workers(1);
    let (a, b) = (bench.table("a", 1), bench.table("b", 1));
    let mut commit = bench.commit(a, "both", &[1]);
    commit.tables.push(bench.write(b, &[2]));
    let good = commit.clone();
    commit.tables[1].schema_version += 1;
    bench.refused(CommandBody::CommitWrite(commit), Conflict);
    assert_eq!(bench.inserted(good).parts, 2);
    assert_eq!((bench.visible(a), bench.visible(b)), (vec![1], vec![2]));
}

#[test]
fn ids_of_an_expired_range_cannot_be_committed() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    let late = bench.commit(table, "late", &[1]);
    bench.done(register("w1"));
    bench.refused(CommandBody::CommitWrite(late), Conflict);
}

#[test]
fn an_insert_is_wholly_before_or_after_a_truncate() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.inserted(bench.commit(table, "before", &[1]));
    let in_flight = bench.commit(table, "in flight", &[2]);
    let full = bench.state.clone();
    bench.done(CommandBody::TruncateTable { table });
    bench.refused(CommandBody::CommitWrite(in_flight), Conflict);
    assert_eq!(bench.visible(table), [0u64; 0]);
    assert_eq!(full.tables[&table].visible_parts(full.version).count(), 1);
    bench.inserted(bench.commit(table, "after", &[3]));
    assert_eq!(bench.visible(table), [3]);
}

fn stage(bench: &Bench, table: TableId, parts: &[u64]) -> CommandBody {
    let write = bench.write(table, parts);
    CommandBody::StageParts { transaction: "x".into(), write, views: Vec::new(), continues: false }
}

fn publish(bench: &Bench, table: TableId, token: &str) -> CommitWrite {
    CommitWrite { staged: Some("x".into()), ..bench.commit(table, token, &[]) }
}

#[test]
fn staged_parts_become_visible_together() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.done(stage(&bench, table, &[1, 2]));
    bench.done(stage(&bench, table, &[2, 3])); // One part again, as after an unknown outcome.
    assert_eq!(bench.visible(table), [0u64; 0]);
    assert!(bench.state.may_reference_part(PartId(1)));
    let mut last = publish(&bench, table, "a");
    last.tables = vec![bench.write(table, &[4])];
    assert_eq!(bench.inserted(last).parts, 4);
    assert_eq!(bench.visible(table), [1, 2, 3, 4]);
    assert!(bench.state.staged.is_empty());
    // The token answers again, although the transaction is gone; a new token cannot.
    assert!(bench.inserted(publish(&bench, table, "a")).duplicate);
    let lost = publish(&bench, table, "b");
    bench.refused(CommandBody::CommitWrite(lost), Conflict);
}

#[test]
fn staged_parts_do_not_survive_a_change_of_their_table() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    bench.done(stage(&bench, table, &[1]));
    bench.done(CommandBody::TruncateTable { table });
    let late = publish(&bench, table, "a");
    bench.refused(CommandBody::CommitWrite(late), Conflict);
    bench.done(CommandBody::AbortStaged { transaction: "x".into() });
    bench.done(CommandBody::AbortStaged { transaction: "x".into() });
    assert!(bench.state.staged.is_empty());
    bench.done(stage(&bench, table, &[1]));
    bench.done(CommandBody::DropTable { table });
    assert!(bench.state.staged.is_empty());
}

#[test]
fn an_insert_whose_first_blocks_have_expired_does_not_go_on() {
    let mut bench = Bench::with_workers(1);
    let version = granary_catalog::protocol::PROTOCOL_VERSION;
    bench.done(CommandBody::Cluster(ClusterChange::RaiseProtocol { version }));
    let table = bench.table("t", 1);
    let more = |bench: &Bench, part| match stage(bench, table, &[part]) {
        CommandBody::StageParts { transaction, write, views, .. } => {
            CommandBody::StageParts { transaction, write, views, continues: true }
        }
        other => panic!("{other:?} stages nothing"),
    };
    bench.time_ms = 50;
    bench.done(stage(&bench, table, &[1]));
    bench.done(more(&bench, 2));
    bench.done(CommandBody::Expire {
        staged_before_ms: 100,
        tokens_before_ms: 0,
        tokens_per_table: 10,
    });
    bench.refused(more(&bench, 3), Conflict);
    assert!(bench.state.staged.is_empty());
}

#[test]
fn tokens_and_staged_inserts_expire() {
    let mut bench = Bench::with_workers(1);
    let table = bench.table("t", 1);
    for (time_ms, token, part) in [(100, "a", 1), (200, "b", 2), (300, "c", 3)] {
        bench.time_ms = time_ms;
        bench.inserted(bench.commit(table, token, &[part]));
    }
    bench.time_ms = 150;
    bench.done(stage(&bench, table, &[4]));
    let expire = |staged_before_ms, tokens_before_ms, tokens_per_table| CommandBody::Expire {
        staged_before_ms,
        tokens_before_ms,
        tokens_per_table,
    };
    let tokens = |bench: &Bench| -> String {
        bench.state.tables[&table].tokens.keys().map(String::as_str).collect()
    };
    bench.done(expire(0, 0, 10));
    assert_eq!((tokens(&bench).as_str(), bench.state.staged.len()), ("abc", 1));
    bench.done(expire(151, 200, 10));
    assert_eq!((tokens(&bench).as_str(), bench.state.staged.len()), ("bc", 0));
    bench.done(expire(0, 0, 1));
    assert_eq!(tokens(&bench), "c", "the newest are kept");
    assert!(!bench.inserted(bench.commit(table, "a", &[5])).duplicate, "forgotten");
}

#[test]
fn the_horizon_forgets_what_nobody_can_read() {
    let mut bench = Bench::with_workers(1);
    let (kept, dropped) = (bench.table("kept", 1), bench.table("dropped", 1));
    bench.inserted(bench.commit(kept, "a", &[1]));
    bench.inserted(bench.commit(dropped, "a", &[2]));
    bench.done(CommandBody::TruncateTable { table: kept });
    let truncated = bench.state.version;
    bench.inserted(bench.commit(kept, "b", &[3]));
    bench.done(CommandBody::DropTable { table: dropped });
    let end = bench.state.version;
    let parts = |bench: &Bench, table: TableId| -> Option<usize> {
        bench.state.tables.get(&table).map(|state| state.parts.len())
    };

    bench.forget(CatalogVersion(truncated.0 - 1));
    assert_eq!((parts(&bench, kept), parts(&bench, dropped)), (Some(2), Some(1)));
    bench.forget(truncated);
    assert_eq!((parts(&bench, kept), parts(&bench, dropped)), (Some(1), Some(1)));
    bench.forget(end);
    assert_eq!((parts(&bench, kept), parts(&bench, dropped)), (Some(1), None));
    bench.forget(CatalogVersion(1));
    assert_eq!(bench.state.cluster.as_ref().expect("formed").horizon, end, "never back");
}
