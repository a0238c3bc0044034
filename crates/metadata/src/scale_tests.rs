//! Figures of the catalog and the controller at a size that no test cluster has: synthetic state, the
//! real functions. `benches/scale/run` runs it.

use granary_catalog::{
    Bucket, BucketWrite, Change, CommitWrite, NewPart, Part, PartIdRange, PartLocation,
    PartitionValue, Row, Snapshot, TableWrite, WriteOrigin, codec,
};
use granary_common::{
    BucketIndex, CatalogVersion, Clock, Epoch, PartId, SystemClock, TableId, WorkerId,
};

use super::*;
use crate::test_support::{add_worker, formed, leases, new_table, run, view};

const NOW_MS: u64 = 1_000_000;
const BUCKETS_PER_TABLE: u32 = 1_000;
const COMMITS: u64 = 1_000;
/// Rows of the state that are put together at a time while it is built.
const ROWS_AT_ONCE: u64 = 100_000;
/// Ids of the parts that are committed while it is measured.
const NEW_PARTS: u64 = 1 << 40;

struct Size {
    workers: u64,
    buckets: u64,
    parts: u64,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Milliseconds that `work` takes, with what it gives.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before_ms = SystemClock.monotonic_ms();
    let done = work();
    ((SystemClock.monotonic_ms() - before_ms) as f64, done)
}

fn put(state: &mut Snapshot, rows: Vec<Row>) {
    let changes: Vec<Change> = rows.into_iter().map(Change::Put).collect();
    *state = state.with_changes(state.version, &changes);
}

/// Two replicas of each bucket on neighbours.
fn bucket(size: &Size, table: TableId, index: u32, turn: u64) -> Bucket {
    let worker = |offset: u64| WorkerId((turn + offset) % size.workers + 1);
    let replicas = vec![worker(0), worker(1)];
    Bucket {
        table,
        index: BucketIndex(index),
        leader: replicas[0],
        in_sync: replicas.clone(),
        replicas,
        in_sync_version: 1,
        epoch: Epoch(1),
        upsert_version: 0,
    }
}

fn part(size: &Size, table: TableId, id: u64) -> Part {
    let bucket_number = id % size.buckets;
    let index = (bucket_number % u64::from(BUCKETS_PER_TABLE)) as u32;
    let holders = bucket(size, table, index, bucket_number).replicas;
    Part {
        id: PartId(id),
        table,
        bucket: BucketIndex(index),
        partition: PartitionValue::default(),
        rows: 1_000_000,
        bytes: 100 << 20,
        key_range: None,
        schema_version: 1,
        level: 3,
        location: PartLocation::Local { copies: holders, disk: None },
        inserted: ((CatalogVersion(id), 0), (CatalogVersion(id), 0)),
        added: CatalogVersion(1),
        removed: None,
        deletions: vec![],
        files: None,
        detached: false,
    }
}

/// A cluster of this size, with its tables.
fn built(size: &Size) -> (Snapshot, Vec<TableId>) {
    let mut state = formed();
    for number in 0..size.workers {
        add_worker(&mut state, &format!("w{number}"), "");
    }
    let count = size.buckets.div_ceil(u64::from(BUCKETS_PER_TABLE));
    for number in 0..count {
        let table = new_table(&format!("t{number}"), 1, Default::default());
        run(&mut state, CommandBody::CreateTable { table, if_not_exists: false });
    }
    let tables: Vec<TableId> = state.tables.keys().copied().collect();
    for (number, table) in (0..).zip(&tables) {
        let of = |index: u32| {
            let turn = number * u64::from(BUCKETS_PER_TABLE) + u64::from(index);
            Row::Bucket(bucket(size, *table, index, turn))
        };
        put(&mut state, (0..BUCKETS_PER_TABLE).map(of).collect());
    }
    let table_of = |id: u64| tables[(id % size.buckets / u64::from(BUCKETS_PER_TABLE)) as usize];
    for first in (1..=size.parts).step_by(ROWS_AT_ONCE as usize) {
        let ids = first..(first + ROWS_AT_ONCE).min(size.parts + 1);
        put(&mut state, ids.map(|id| Row::Part(part(size, table_of(id), id))).collect());
    }
    let (start, end) = (NEW_PARTS, NEW_PARTS + COMMITS);
    let range = PartIdRange { start, end, worker: WorkerId(1), incarnation: 1 };
    put(&mut state, vec![Row::PartIdRange(range)]);
    (state, tables)
}

/// An insert of one part into a bucket of a table.
fn commit(state: &Snapshot, table: TableId, number: u64) -> CommandBody {
    let of = &state.tables[&table];
    let bucket = &of.buckets[&BucketIndex((number % u64::from(BUCKETS_PER_TABLE)) as u32)];
    let part = NewPart {
        id: PartId(NEW_PARTS + number),
        partition: PartitionValue::default(),
        rows: 1,
        bytes: 1,
        key_range: None,
        location: PartLocation::Local { copies: bucket.replicas.clone(), disk: None },
        projections: Vec::new(),
    };
    let write = BucketWrite {
        bucket: bucket.index,
        epoch: bucket.epoch,
        in_sync_version: bucket.in_sync_version,
        synced: bucket.replicas.clone(),
        parts: vec![part],
        deletions: vec![],
        removed: vec![],
        upsert_version: None,
    };
    let write = TableWrite {
        table,
        schema_version: of.table.schema_version,
        view_set_version: of.table.view_set_version,
        data_version: of.table.data_version,
        buckets: vec![write],
        overwrite: None,
    };
    CommandBody::CommitWrite(CommitWrite {
        tables: vec![write],
        staged: None,
        token: format!("token-{number}"),
        digest: String::new(),
        rows: 1,
        others: vec![],
        origin: WriteOrigin::Insert,
    })
}

/// Decides when the leases of the first `dead` workers ran out.
fn decided(state: &Snapshot, dead: u64, housekeeping: bool) -> (f64, Vec<CommandBody>) {
    let leases = leases(state, |id| if id <= dead { NOW_MS - 5_000 } else { NOW_MS });
    let view = View { housekeeping, ..view(state, &leases, NOW_MS) };
    timed(|| decide(&view))
}

#[test]
#[ignore = "takes minutes and gigabytes: benches/scale/run runs it"]
fn figures() {
    let size = Size {
        workers: setting("GRANARY_SCALE_WORKERS", 1_000),
        buckets: setting("GRANARY_SCALE_BUCKETS", 1_000_000),
        parts: setting("GRANARY_SCALE_PARTS", 10_000_000),
    };
    let Size { workers, buckets, parts } = &size;
    println!("{workers} workers, {buckets} buckets, {parts} parts");
    let before = resident();
    let (ms, (mut state, tables)) = timed(|| built(&size));
    let bytes = resident() - before;
    let each = bytes / (buckets + parts).max(1);
    println!(
        "state                {:>10.1} MiB, {each} B a bucket or part, built in {:.1} s",
        bytes as f64 / f64::from(1 << 20),
        ms / 1e3
    );

    let (ms, ()) = timed(|| {
        for number in 0..COMMITS {
            let body = commit(&state, tables[number as usize % tables.len()], number);
            run(&mut state, body);
        }
    });
    println!(
        "commit of a part     {:>10.3} ms, {:.0} a second",
        ms / COMMITS as f64,
        1e3 * COMMITS as f64 / ms
    );

    let (ms, (rows, bytes)) = timed(|| {
        let rows = state.rows();
        let bytes: usize = rows.iter().map(|row| codec::encode(row).expect("encodes").len()).sum();
        (rows.len(), bytes)
    });
    println!(
        "whole state as rows  {:>10.1} s, {rows} rows, {:.1} MiB",
        ms / 1e3,
        bytes as f64 / f64::from(1 << 20)
    );

    for (what, dead, housekeeping) in
        [("quiet", 0, false), ("housekeeping", 0, true), ("a worker died", 1, false)]
    {
        let (ms, commands) = decided(&state, dead, housekeeping);
        println!("controller, {what:<15} {ms:>8.0} ms, {} commands", commands.len());
    }
    let (_, commands) = decided(&state, 1, false);
    let (ms, count) = timed(|| {
        let count = commands.len();
        commands.into_iter().for_each(|body| run(&mut state, body));
        count
    });
    println!("its commands         {:>10.0} ms, {count} applied", ms);
}
