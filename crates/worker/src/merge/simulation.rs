//! Days of inserts into the buckets of a table, partitioned by day, merged by the threads of one worker.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use granary_catalog::{PartitionValue, Scalar};
use granary_common::random::SeededRandom;
use granary_common::{BucketIndex, CatalogVersion, PartId, Random, TableId};
use granary_storage::merge_pick::{Candidate, Due, PickLimits, Pool};

use super::book::Lane;
use super::choose::{LaneParts, Start, choose};

/// What all merges together read and write on a small machine, bytes a second.
const MERGE_BYTES_PER_S: u64 = 40 << 20;
const MERGES_MAX: usize = 2;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Between two looks of the worker, beside those after a merge has ended.
const ROUND_MS: u64 = 10_000;
/// A lane in which nothing was found and nothing has changed is looked at again so much later: only
/// the ages of its parts have changed.
const UNCHANGED_MS: u64 = 600_000;

/// How rows come.
struct Pattern {
    name: &'static str,
    buckets: u32,
    days: u64,
    /// The time until the next insert in milliseconds, from the time and a random number.
    every_ms: fn(u64, u64) -> u64,
    /// The bytes of an insert into one bucket, from the time and a random number.
    bytes: fn(u64, u64) -> u64,
    /// Whether an insert has rows for every bucket, or for the next one in turn.
    is_spread: bool,
    /// One of so many inserts is of an earlier day; 0: none.
    late_every: u64,
    /// Bounds on the parts of one bucket and partition, of all, and on how often a byte is written.
    lane_parts_max: usize,
    parts_max: usize,
    amplification_max: f64,
}

/// A number up to twice `mean`.
fn around(mean: u64, random: u64) -> u64 {
    1 + random % (2 * mean)
}

/// From 1 KiB to 64 MiB, each doubling as often as the others.
fn of_any_size(random: u64) -> u64 {
    let doublings = random % 16;
    (1024 << doublings) + (random >> 8) % (1024 << doublings)
}

fn patterns() -> Vec<Pattern> {
    let steady = Pattern {
        name: "small and steady, in turn",
        buckets: 8,
        days: 3,
        every_ms: |_, random| around(4_000, random),
        bytes: |_, random| around(64 << 10, random),
        is_spread: false,
        late_every: 0,
        lane_parts_max: 60,
        parts_max: 600,
        amplification_max: 8.0,
    };
    vec![
        Pattern {
            name: "blocks of any size, some of earlier days",
            every_ms: |_, random| around(20_000, random),
            bytes: |_, random| of_any_size(random),
            late_every: 5,
            ..steady
        },
        Pattern {
            name: "an hourly load beside a trickle",
            buckets: 4,
            // For five minutes of every hour much comes at once.
            every_ms: |now_ms, random| {
                around(if now_ms % HOUR_MS < 300_000 { 5_000 } else { 60_000 }, random)
            },
            bytes: |now_ms, random| {
                around(if now_ms % HOUR_MS < 300_000 { 4 << 20 } else { 8 << 10 }, random)
            },
            is_spread: true,
            ..steady
        },
        Pattern {
            name: "busy days and quiet nights, all buckets",
            every_ms: |now_ms, random| {
                around(if now_ms % DAY_MS < DAY_MS / 2 { 10_000 } else { 120_000 }, random)
            },
            bytes: |_, random| around(512 << 10, random),
            is_spread: true,
            late_every: 20,
            ..steady
        },
        Pattern {
            name: "a few large inserts among many small ones",
            buckets: 16,
            every_ms: |_, random| around(15_000, random),
            bytes: |_, random| match random % 16 {
                0 => around(32 << 20, random >> 4),
                _ => around(16 << 10, random >> 4),
            },
            ..steady
        },
        steady,
    ]
}

/// A bucket and partition with its parts and since when each is there.
struct Place {
    lane: Lane,
    parts: Vec<(Candidate, u64)>,
    /// When nothing was found in it, if it has not changed since.
    unchanged_ms: Option<u64>,
}

struct Worker {
    places: BTreeMap<(u64, u32), Place>,
    /// Until when, in which place, and what.
    running: Vec<(u64, (u64, u32), Start)>,
    next: u64,
    bytes_inserted: u64,
    bytes_written: u64,
}

fn part(id: u64, bytes: u64) -> Candidate {
    let order = (CatalogVersion(id), 0);
    Candidate {
        part: PartId(id),
        rows: bytes / 100 + 1,
        rows_deleted: 0,
        bytes,
        level: 0,
        inserted: (order, order),
        age_ms: 0,
        is_busy: false,
        due: Due::Nothing,
    }
}

impl Worker {
    fn new() -> Worker {
        let (places, running) = (BTreeMap::new(), Vec::new());
        Worker { places, running, next: 0, bytes_inserted: 0, bytes_written: 0 }
    }

    fn insert(&mut self, now_ms: u64, (day, bucket): (u64, u32), bytes: u64) {
        let place = self.places.entry((day, bucket)).or_insert_with(|| Place {
            lane: Lane {
                table: TableId(1),
                bucket: BucketIndex(bucket),
                partition: PartitionValue(vec![Scalar::Int(day as i64)]),
            },
            parts: Vec::new(),
            unchanged_ms: None,
        });
        place.parts.push((part(self.next, bytes), now_ms));
        place.unchanged_ms = None;
        self.next += 1;
        self.bytes_inserted += bytes;
        self.bytes_written += bytes;
    }

    /// Ends the merges that are done by `now_ms`; whether there were any.
    fn finish(&mut self, now_ms: u64) -> bool {
        let ended = self.running.extract_if(.., |(until_ms, ..)| *until_ms <= now_ms);
        let ended: Vec<_> = ended.collect();
        for (until_ms, at, start) in &ended {
            let Some(place) = self.places.get_mut(at) else { continue };
            let is_input = |(part, _): &(Candidate, u64)| start.parts.contains(&part.part);
            let first = place.parts.iter().position(is_input).unwrap();
            let inputs: Vec<Candidate> =
                place.parts.extract_if(.., |part| is_input(part)).map(|(part, _)| part).collect();
            assert_eq!(inputs.len(), start.parts.len(), "a part was in two merges");
            let merged = Candidate {
                inserted: (inputs[0].inserted.0, inputs[inputs.len() - 1].inserted.1),
                level: inputs.iter().map(|part| part.level).max().unwrap() + 1,
                ..part(self.next, start.bytes)
            };
            place.parts.insert(first, (merged, *until_ms));
            place.unchanged_ms = None;
            self.next += 1;
            self.bytes_written += start.bytes;
        }
        !ended.is_empty()
    }

    /// What the worker's loop does.
    fn start(&mut self, now_ms: u64) {
        let bytes_running: u64 = self.running.iter().map(|(_, _, start)| start.bytes).sum();
        let limits = PickLimits::default();
        let pool = Pool {
            merges_max: MERGES_MAX,
            merges_running: self.running.len(),
            bytes_running,
            bytes_max: limits.merge_bytes_max * 2,
        };
        if pool.merges_running == MERGES_MAX {
            return;
        }
        let is_busy =
            |id: &PartId| self.running.iter().any(|(_, _, start)| start.parts.contains(id));
        let (mut lanes, mut looked) = (Vec::new(), Vec::new());
        for (at, place) in &self.places {
            let is_seen = place.unchanged_ms.is_some_and(|since| now_ms < since + UNCHANGED_MS);
            if place.parts.len() < 2 || is_seen {
                continue;
            }
            let aged = |(part, since_ms): &(Candidate, u64)| Candidate {
                age_ms: now_ms.saturating_sub(*since_ms),
                is_busy: is_busy(&part.part),
                ..part.clone()
            };
            let parts = place.parts.iter().map(aged).collect();
            lanes.push(LaneParts { lane: place.lane.clone(), parts, limits: limits.clone() });
            looked.push(*at);
        }
        let starts = choose(lanes, pool);
        let is_idle = self.running.is_empty() && starts.is_empty();
        for start in starts {
            let at = *looked.iter().find(|at| self.places[*at].lane == start.lane).unwrap();
            let took_ms = 50 + start.bytes * 1000 / (MERGE_BYTES_PER_S / MERGES_MAX as u64);
            self.running.push((now_ms + took_ms, at, start));
        }
        // Else something may have been left because there was no room for it.
        for at in looked.into_iter().filter(|_| is_idle) {
            self.places.get_mut(&at).unwrap().unchanged_ms = Some(now_ms);
        }
    }

    fn parts(&self) -> usize {
        self.places.values().map(|place| place.parts.len()).sum()
    }

    fn lane_parts_max(&self) -> usize {
        self.places.values().map(|place| place.parts.len()).max().unwrap_or(0)
    }
}

/// What became of a pattern.
struct Outcome {
    worker: Worker,
    lane_parts_max: usize,
    parts_max: usize,
    lines: String,
}

fn run(pattern: &Pattern, seed: u64) -> Outcome {
    let random = SeededRandom::new(seed);
    let mut worker = Worker::new();
    let (mut lane_parts_max, mut parts_max, mut turn) = (0, 0, 0);
    let (mut now_ms, mut insert_ms, mut round_ms, mut report_ms) = (0, 0, 0, 0);
    let mut lines = format!("{}: parts of all buckets, every 3 hours", pattern.name);
    while now_ms < pattern.days * DAY_MS {
        let ends_ms = worker.running.iter().map(|(until_ms, ..)| *until_ms).min();
        now_ms = ends_ms.unwrap_or(u64::MAX).min(insert_ms).min(round_ms).max(now_ms);
        let has_ended = worker.finish(now_ms);
        if insert_ms <= now_ms {
            insert_ms = now_ms + (pattern.every_ms)(now_ms, random.next_u64()).max(1);
            let today = now_ms / DAY_MS;
            let is_late =
                pattern.late_every > 0 && random.next_u64().is_multiple_of(pattern.late_every);
            let day = if is_late { random.next_u64() % (today + 1) } else { today };
            turn = (turn + 1) % pattern.buckets;
            let all = if pattern.is_spread { 0..pattern.buckets } else { turn..turn + 1 };
            for bucket in all {
                worker.insert(now_ms, (day, bucket), (pattern.bytes)(now_ms, random.next_u64()));
            }
        }
        if has_ended || round_ms <= now_ms {
            worker.start(now_ms);
            round_ms = now_ms + ROUND_MS;
        }
        if now_ms > HOUR_MS {
            lane_parts_max = lane_parts_max.max(worker.lane_parts_max());
            parts_max = parts_max.max(worker.parts());
        }
        if now_ms >= report_ms {
            report_ms += 3 * HOUR_MS;
            write!(lines, " {}", worker.parts()).unwrap();
        }
    }
    Outcome { worker, lane_parts_max, parts_max, lines }
}

#[test]
fn many_buckets_and_days_stay_bounded() {
    let mut failures = Vec::new();
    for (pattern, seed) in patterns().iter().zip(1..) {
        let Outcome { worker, lane_parts_max, parts_max, lines } = run(pattern, seed);
        let amplification = worker.bytes_written as f64 / worker.bytes_inserted as f64;
        let first_day = || worker.places.iter().filter(|((day, _), _)| *day == 0);
        let left = first_day().map(|(_, place)| place.parts.len()).max().unwrap();
        let figures = format!(
            "{} MiB inserted, at most {lane_parts_max} parts of a bucket and day and {parts_max} of \
             all, {left} left of a first day, each byte written {amplification:.2} times",
            worker.bytes_inserted >> 20
        );
        println!("{lines}\n  {figures}");
        if lane_parts_max > pattern.lane_parts_max
            || parts_max > pattern.parts_max
            || amplification > pattern.amplification_max
            // Rows that come late make parts of days that are long past.
            || (pattern.late_every == 0 && left > 3)
        {
            failures.push(format!("{}: {figures}", pattern.name));
        }
        let ids: BTreeSet<PartId> = worker
            .places
            .values()
            .flat_map(|place| place.parts.iter().map(|(part, _)| part.part))
            .collect();
        assert_eq!(ids.len(), worker.parts(), "a part is there twice");
        let bytes: u64 = worker
            .places
            .values()
            .flat_map(|place| place.parts.iter().map(|(part, _)| part.bytes))
            .sum();
        assert_eq!(bytes, worker.bytes_inserted, "bytes were lost");
    }
    assert_eq!(failures, Vec::<String>::new());
}
