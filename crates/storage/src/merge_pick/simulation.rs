//! Days of inserts into one bucket and partition, merged by one thread of bounded speed.

use std::fmt::Write as _;

use granary_common::Random;
use granary_common::random::SeededRandom;

use super::*;

/// What a merge reads and writes on a small machine, bytes a second.
const MERGE_BYTES_PER_S: u64 = 40 << 20;
const DAY_S: u64 = 86_400;

struct Load {
    name: &'static str,
    days: u64,
    /// Between inserts on average, in milliseconds.
    every_ms: u64,
    /// Of an insert on average.
    bytes: u64,
    /// Parts that may be there at any time once the first hour is over.
    parts_max: usize,
    amplification_max: f64,
}

#[derive(Default)]
struct Bucket {
    parts: Vec<(Candidate, u64)>,
    next: u64,
    bytes_inserted: u64,
    bytes_written: u64,
    /// Until when the thread is busy, and with what.
    running: Option<(u64, Pick)>,
}

impl Bucket {
    fn insert(&mut self, now_ms: u64, bytes: u64) {
        let order = (CatalogVersion(self.next), 0);
        let part = Candidate {
            part: PartId(self.next),
            rows: bytes / 100 + 1,
            rows_deleted: 0,
            bytes,
            level: 0,
            inserted: (order, order),
            age_ms: 0,
            is_busy: false,
            due: Due::Nothing,
        };
        self.next += 1;
        self.bytes_inserted += bytes;
        self.bytes_written += bytes;
        self.parts.push((part, now_ms));
    }

    fn finish_merge(&mut self, now_ms: u64) {
        let Some((_, pick)) = self.running.take_if(|(until_ms, _)| *until_ms <= now_ms) else {
            return;
        };
        let is_input = |part: &Candidate| pick.parts.contains(&part.part);
        let place = self.parts.iter().position(|(part, _)| is_input(part)).unwrap();
        let inputs: Vec<Candidate> =
            self.parts.iter().map(|(part, _)| part.clone()).filter(is_input).collect();
        self.parts.retain(|(part, _)| !is_input(part));
        let merged = Candidate {
            part: PartId(self.next),
            rows: inputs.iter().map(|part| part.rows).sum(),
            rows_deleted: 0,
            bytes: pick.bytes,
            level: inputs.iter().map(|part| part.level).max().unwrap() + 1,
            inserted: (inputs[0].inserted.0, inputs[inputs.len() - 1].inserted.1),
            age_ms: 0,
            is_busy: false,
            due: Due::Nothing,
        };
        self.next += 1;
        self.bytes_written += pick.bytes;
        self.parts.insert(place, (merged, now_ms));
    }

    fn start_merge(&mut self, now_ms: u64) {
        if self.running.is_some() {
            return;
        }
        let aged = |(part, since_ms): &(Candidate, u64)| Candidate {
            age_ms: now_ms - since_ms,
            ..part.clone()
        };
        let candidates: Vec<Candidate> = self.parts.iter().map(aged).collect();
        let pool = Pool { merges_max: 1, merges_running: 0, bytes_running: 0, bytes_max: u64::MAX };
        if let Some(pick) = pick(&candidates, pool, &PickLimits::default()).pop() {
            let took_ms = 50 + pick.bytes * 1000 / MERGE_BYTES_PER_S;
            self.running = Some((now_ms + took_ms, pick));
        }
    }
}

/// The bucket after the load, the most parts after the first hour, and lines of what happened.
fn run(load: &Load, seed: u64) -> (Bucket, usize, String) {
    let random = SeededRandom::new(seed);
    let mut bucket = Bucket::default();
    let (mut now_ms, mut parts_max, mut report_ms) = (0, 0, 0);
    let mut lines = format!("{}: parts by the hour", load.name);
    while now_ms < load.days * DAY_S * 1000 {
        now_ms += 1 + random.next_u64() % (2 * load.every_ms);
        bucket.finish_merge(now_ms);
        bucket.insert(now_ms, 1 + random.next_u64() % (2 * load.bytes));
        bucket.start_merge(now_ms);
        if now_ms > 3_600_000 {
            parts_max = parts_max.max(bucket.parts.len());
        }
        if now_ms >= report_ms {
            report_ms += load.days * 3_600_000;
            write!(lines, " {}", bucket.parts.len()).unwrap();
        }
    }
    (bucket, parts_max, lines)
}

#[test]
fn parts_and_writes_stay_bounded() {
    let loads = [
        Load {
            name: "a row now and then",
            days: 3,
            every_ms: 60_000,
            bytes: 2 << 10,
            parts_max: 50,
            amplification_max: 8.0,
        },
        Load {
            name: "small and steady",
            days: 1,
            every_ms: 1_000,
            bytes: 20 << 10,
            parts_max: 50,
            amplification_max: 8.0,
        },
        Load {
            name: "blocks",
            days: 2,
            every_ms: 10_000,
            bytes: 8 << 20,
            // While the only thread writes a part of gigabytes, small ones wait.
            parts_max: 60,
            amplification_max: 8.0,
        },
        Load {
            name: "bulk",
            days: 1,
            every_ms: 30_000,
            bytes: 64 << 20,
            parts_max: 60,
            amplification_max: 8.0,
        },
    ];
    let mut failures = Vec::new();
    for (load, seed) in loads.iter().zip(1..) {
        let (bucket, parts_max, lines) = run(load, seed);
        let amplification = bucket.bytes_written as f64 / bucket.bytes_inserted as f64;
        println!(
            "{lines}\n  at most {parts_max} parts, each byte written {amplification:.2} times"
        );
        if parts_max > load.parts_max || amplification > load.amplification_max {
            failures.push(format!("{}: {parts_max} parts, {amplification:.2} times", load.name));
        }
    }
    assert_eq!(failures, Vec::<String>::new());
}

#[test]
fn a_partition_that_is_left_alone_becomes_one_part() {
    let load = Load {
        name: "an hour",
        days: 1,
        every_ms: 40_000,
        bytes: 1 << 20,
        parts_max: 50,
        amplification_max: 8.0,
    };
    let (mut bucket, ..) = run(&load, 7);
    let mut now_ms = load.days * DAY_S * 1000;
    for _ in 0..3 * 24 * 60 {
        now_ms += 60_000;
        bucket.finish_merge(now_ms);
        bucket.start_merge(now_ms);
    }
    assert_eq!(bucket.parts.len(), 1);
}
