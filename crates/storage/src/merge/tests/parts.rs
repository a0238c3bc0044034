//! Whole merges of parts.

use std::sync::atomic::Ordering;

use futures::FutureExt;
use granary_catalog::NewPart;

use super::model::{DECIMAL, NUMBER, SIGN, TEXT, VERSION};
use super::*;
use crate::deletions::Deletions;
use crate::read::{PartRef, PartStore};
use crate::schema::PartSchema;
use crate::test_support::{Counter, folder, memory, part_ref, plain_merge, scanned, store, whole};
use crate::volume::Volume;
use crate::write::{WriteOptions, write_block};

pub(super) struct Bench {
    pub volume: Arc<Volume>,
    pub store: PartStore,
    pub schema: PartSchema,
    ids: Counter,
}

/// A part and the rows that it was made of, in insert order.
#[derive(Clone)]
pub(super) struct Made {
    part: Option<NewPart>,
}

impl Bench {
    pub fn new(volume: Arc<Volume>, schema: PartSchema) -> Bench {
        Bench { store: store(&volume), volume, schema, ids: Counter::default() }
    }

    pub async fn insert(&self, rows: &[Row]) -> Made {
        let block = block(&self.schema, rows);
        let location = self.volume.part_location();
        let options = WriteOptions::default();
        let written =
            write_block(&self.volume, location, &self.schema, &self.ids, block, &options).await;
        Made { part: written.unwrap().pop() }
    }

    pub fn spec(&self, inputs: &[Made], rule: &CollapseRule, mode: CollapseMode) -> MergeSpec {
        let parts = inputs.iter().filter_map(|made| made.part.as_ref());
        let inputs = parts.map(|part| part_ref(&self.schema, part)).collect();
        MergeSpec { rule: rule.clone(), mode, ..plain_merge(&self.schema, &self.volume, inputs) }
    }

    pub async fn run(&self, spec: MergeSpec) -> granary_common::Result<Merged> {
        let progress = Arc::new(MergeProgress::default());
        let merged = merge_parts(
            &self.store,
            &self.volume,
            &self.ids,
            spec,
            Arc::new(Joiner),
            Arc::clone(&progress),
        );
        let merged = merged.await?;
        let total = progress.rows_total.load(Ordering::Relaxed);
        assert_eq!(progress.rows_read.load(Ordering::Relaxed), total);
        let rows = merged.part.as_ref().map_or(0, |part| part.rows);
        assert_eq!(progress.rows_written.load(Ordering::Relaxed), rows);
        assert_eq!(merged.rows.rows(), rows);
        Ok(merged)
    }

    async fn merge(&self, inputs: &[Made], rule: &CollapseRule, mode: CollapseMode) -> Merged {
        self.run(self.spec(inputs, rule, mode)).await.unwrap()
    }

    /// What FINAL leaves out, found out in so many ranges of keys at most.
    async fn hidden(
        &self,
        schema: &Arc<PartSchema>,
        rule: &CollapseRule,
        parts: &[PartRef],
        ranges_max: usize,
    ) -> granary_common::Result<HiddenRows> {
        let cutting = Cutting { ranges_max, rows_min: 1 };
        let mut shown = Vec::new();
        for rows in key_ranges(&self.store, schema, parts, None, cutting).await? {
            shown.push(shown_rows(&self.store, schema, rule, parts, &rows).await?);
        }
        Ok(HiddenRows::others(parts.len(), &shown))
    }

    /// The same where what the first of `parts` leave out is `known`; `None` where the rule does not
    /// allow for it.
    async fn with_later(
        &self,
        schema: &Arc<PartSchema>,
        rule: &CollapseRule,
        parts: &[PartRef],
        first: usize,
        known: &HiddenRows,
    ) -> Option<HiddenRows> {
        let (earlier, later) = parts.split_at(first);
        let rows = LaterRows::read(&self.store, schema, rule, later).await.unwrap()?;
        let mut met = Vec::new();
        for (place, part) in earlier.iter().enumerate() {
            let (mut of_part, known) = (Vec::new(), known.of(place).unwrap());
            for near in rows.near(&self.store, schema, part, 3).await.unwrap() {
                of_part.push(rows.meet(&self.store, schema, part, near, known).await.unwrap());
            }
            met.push(of_part);
        }
        Some(rows.hidden(known, &met, later.iter().map(|part| part.rows)))
    }

    async fn rows(&self, part: &Option<NewPart>) -> Vec<Row> {
        let Some(part) = part else { return Vec::new() };
        let open = self.store.open(&part_ref(&self.schema, part)).await.unwrap();
        open.verify().await.unwrap();
        rows(&scanned(&open, &self.schema, whole(&self.schema)).await.unwrap())
    }
}

pub(super) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// The columns on which the order of merges makes no difference.
fn comparable(rule: &CollapseRule, rows: Vec<Row>) -> Vec<Row> {
    let places: &[usize] = match rule {
        // A key whose sums were zero for a while has no first values.
        CollapseRule::Summing { states, .. } if states.is_empty() => &[KEY, NUMBER, DECIMAL],
        CollapseRule::Summing { .. } => &[KEY, NUMBER, DECIMAL, TEXT],
        // Rows of one version are all alike.
        CollapseRule::VersionedCollapsing { .. } => &[KEY, VERSION, SIGN],
        _ => return rows,
    };
    let project = |row: Row| places.iter().map(|place| row[*place].clone()).collect();
    rows.into_iter().map(project).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever was merged before, FINAL is what it was.
    #[test]
    fn merges_do_not_change_final(
        inserts in batches(true),
        picks in prop::collection::vec((0..6_usize, 2..4_usize), 1..4),
        granularity in 1..9_usize,
    ) {
        run(async {
            for rule in rules() {
                let bench = Bench::new(memory(), schema(granularity));
                let mut parts = Vec::new();
                for rows in &inserts {
                    parts.push(bench.insert(rows).await);
                }
                for (first, count) in &picks {
                    let first = first % parts.len();
                    let end = parts.len().min(first + count);
                    let merged = bench.merge(&parts[first..end], &rule, CollapseMode::Merge).await;
                    parts.splice(first..end, [Made { part: merged.part }]);
                }
                let last = bench.merge(&parts, &rule, CollapseMode::Final).await;
                let found = comparable(&rule, bench.rows(&last.part).await);
                let expected = collapsed(&rule, &inserts.concat(), CollapseMode::Final);
                assert_eq!(found, comparable(&rule, expected), "{rule:?}");
            }
        });
    }

    /// What FINAL does not show as it is of parts of which rows are deleted: for engines that only choose
    /// the others are all, else what is made of the hidden ones comes beside them.
    #[test]
    fn hidden_rows_follow_the_model(
        inserts in batches(true),
        deleted in prop::collection::vec((0..6_usize, 0..9_usize), 0..4),
        ranges_max in 1..5_usize,
    ) {
        run(async {
            for rule in rules() {
                let bench = Bench::new(memory(), schema(2));
                let mut vectors = vec![Deletions::new(); inserts.len()];
                for (input, row) in &deleted {
                    let input = input % inserts.len();
                    vectors[input].insert((row % inserts[input].len()) as u32);
                }
                let (mut parts, mut left) = (Vec::new(), Vec::new());
                for (rows, vector) in inserts.iter().zip(&vectors) {
                    let made = bench.insert(rows).await.part.unwrap();
                    let mut part = part_ref(&bench.schema, &made);
                    part.rows_deleted = vector.len();
                    part.deletions = (!vector.is_empty()).then(|| vector.to_inline());
                    parts.push(part);
                    let mut row = 0..;
                    let mut rows = sorted(rows);
                    rows.retain(|_| !row.next().is_some_and(|row| vector.contains(row)));
                    left.extend(rows);
                }
                let schema = Arc::new(bench.schema.clone());
                assert!(bench.store.known_hidden(&schema, &parts).await.is_none());
                let finding = bench.hidden(&schema, &rule, &parts, ranges_max);
                let hidden = bench.store.hidden(&schema, &parts, finding).await.unwrap();
                let mut found = Vec::new();
                for (place, part) in parts.iter().enumerate() {
                    let without = Arc::clone(hidden.of(place).unwrap());
                    let open = bench.store.open_without(part, without).await.unwrap();
                    found.extend(rows(&scanned(&open, &schema, whole(&schema)).await.unwrap()));
                }
                if !rule.only_chooses() {
                    let mut met = Vec::new();
                    for (place, part) in parts.iter().enumerate() {
                        let mut apart = Deletions::all_but(part.rows, hidden.of(place).unwrap());
                        apart.union(&vectors[place]);
                        let open = bench.store.open_without(part, Arc::new(apart)).await.unwrap();
                        met.extend(rows(&scanned(&open, &schema, whole(&schema)).await.unwrap()));
                    }
                    found.extend(collapsed(&rule, &met, CollapseMode::Final));
                }
                let expected = collapsed(&rule, &left, CollapseMode::Final);
                assert_eq!(in_some_order(found), in_some_order(expected), "{rule:?}");
                assert!(bench.store.known_hidden(&schema, &parts).await.is_some());
                for first in 1..parts.len() {
                    let known = bench.hidden(&schema, &rule, &parts[..first], 1).await.unwrap();
                    let Some(found) = bench.with_later(&schema, &rule, &parts, first, &known).await
                    else {
                        continue;
                    };
                    for place in 0..parts.len() {
                        let (found, expected) = (found.of(place), hidden.of(place));
                        assert_eq!(found, expected, "{rule:?}, {first} known, part {place}");
                    }
                }
            }
        });
    }

    /// Deleting rows while they are merged is the same as deleting them before.
    #[test]
    fn deletions_pass_through_the_row_map(
        inserts in batches(false),
        deleted in prop::collection::vec((0..6_usize, 0..9_usize), 0..4),
        deduplicate in any::<bool>(),
    ) {
        run(async {
            for rule in rules() {
                let bench = Bench::new(memory(), schema(4));
                let mut parts = Vec::new();
                for rows in &inserts {
                    parts.push(bench.insert(rows).await);
                }
                let mut spec = bench.spec(&parts, &rule, CollapseMode::Merge);
                let key_only = || vec![ColumnId(KEY as u32)];
                spec.deduplicate_by = deduplicate.then(key_only);
                let merged = bench.run(spec).await.unwrap();
                let mut vectors = vec![Deletions::new(); inserts.len()];
                let mut left: Vec<Vec<Row>> = inserts.iter().map(|rows| sorted(rows)).collect();
                for (input, row) in &deleted {
                    let input = input % inserts.len();
                    vectors[input].insert((row % inserts[input].len()) as u32);
                }
                for (rows, vector) in left.iter_mut().zip(&vectors) {
                    let mut row = 0..;
                    rows.retain(|_| !row.next().is_some_and(|row| vector.contains(row)));
                }
                let vectors: Vec<_> = vectors.iter().enumerate().collect();
                let mut expected = collapsed(&rule, &left.concat(), CollapseMode::Merge);
                if deduplicate {
                    expected.dedup_by(|a, b| a[KEY] == b[KEY]);
                }
                match merged.rows.translate(&vectors) {
                    Some(translated) => {
                        let mut row = 0..;
                        let mut found = bench.rows(&merged.part).await;
                        found.retain(|_| !row.next().is_some_and(|row| translated.contains(row)));
                        assert_eq!(found, expected, "{rule:?}");
                    }
                    None => assert!(
                        (rule.collapses() || deduplicate) && !deleted.is_empty(),
                        "nothing was collapsed"
                    ),
                }
            }
        });
    }
}

/// Rows to be compared as sets.
fn in_some_order(mut rows: Vec<Row>) -> Vec<String> {
    let mut texts: Vec<String> = rows.drain(..).map(|row| format!("{row:?}")).collect();
    texts.sort();
    texts
}

/// Parts that are larger than what a merge holds of them, on a folder, in pieces.
#[test]
fn large_parts_are_written_in_pieces() {
    run(async {
        let temporary = tempfile::tempdir().unwrap();
        let bench =
            Bench::new(folder(temporary.path()), table(&["Int64", "String"], &[0], &[], 512));
        let text = |row: i64| {
            let mut random = row as u64 ^ 0x9e37_79b9_7f4a_7c15;
            let mut digits = String::new();
            while digits.len() < 256 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                digits.push_str(&format!("{:x}", random >> 11));
            }
            Scalar::Text(digits)
        };
        let mut parts = Vec::new();
        for part in 0..3 {
            let rows: Vec<Row> = (0..40_000)
                .map(|row| vec![Scalar::Int(row * 3 + part), text(row * 3 + part)])
                .collect();
            parts.push(bench.insert(&rows).await);
        }
        let merged = bench.merge(&parts, &CollapseRule::None, CollapseMode::Merge).await;
        let part = merged.part.clone().unwrap();
        assert!(part.bytes > 16 << 20, "{}", part.bytes);
        let found = bench.rows(&merged.part).await;
        assert_eq!(found.len(), 120_000);
        for (row, values) in found.iter().enumerate() {
            assert_eq!(values, &vec![Scalar::Int(row as i64), text(row as i64)]);
        }
        let range = part.key_range.unwrap();
        assert_eq!(range.min, [Scalar::Int(0)]);
        assert_eq!(range.max, Some(vec![Scalar::Int(119_999)]));
        let mut deleted = Deletions::new();
        deleted.insert(5);
        let translated = merged.rows.translate(&[(1, &deleted)]).unwrap();
        assert_eq!(translated.iter().collect::<Vec<_>>(), [16]);
        let unfinished = std::fs::read_dir(temporary.path().join(".tmp")).unwrap();
        assert_eq!(unfinished.count(), 0);
    });
}

/// Waits for ever once it has let so many batches pass.
#[derive(Debug)]
struct Stopping {
    passed: std::sync::atomic::AtomicU64,
    max: u64,
    reached: tokio::sync::Notify,
}

#[async_trait::async_trait]
impl Throttle for Stopping {
    async fn admit(&self, _: u64) {
        if self.passed.fetch_add(1, Ordering::SeqCst) >= self.max {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[test]
fn dropped_merges_leave_nothing_visible() {
    run(async {
        let temporary = tempfile::tempdir().unwrap();
        let bench = Bench::new(
            folder(temporary.path()),
            table(&["Int64", "String", "String"], &[0], &[], 512),
        );
        let text = |row: i64| Scalar::Text(format!("{:x}", (row as u128 + 7).pow(5)).repeat(20));
        let rows: Vec<Row> =
            (0..100_000).map(|row| vec![Scalar::Int(row), text(row), text(row)]).collect();
        let parts = [bench.insert(&rows).await, bench.insert(&rows).await];
        // All columns at once; and while the texts follow the keys, of which there are 26 batches.
        for (memory_bytes, max) in [(u64::MAX, 12), (0, 35)] {
            let (passed, reached) = Default::default();
            let stopping = Arc::new(Stopping { passed, max, reached });
            let progress = Arc::new(MergeProgress::new(Arc::clone(&stopping) as Arc<dyn Throttle>));
            let spec = bench.spec(&parts, &CollapseRule::None, CollapseMode::Merge);
            let merge = merge_parts(
                &bench.store,
                &bench.volume,
                &bench.ids,
                MergeSpec { memory_bytes, ..spec },
                Arc::new(NoStates),
                Arc::clone(&progress),
            );
            tokio::select! {
                merged = merge.boxed() => panic!("it did not wait: {merged:?}"),
                () = stopping.reached.notified() => {}
            }
            assert!(progress.fraction() > 0.0 && progress.fraction() < 1.0);
            let written = progress.rows_written.load(Ordering::Relaxed);
            assert_eq!(written == 200_000, memory_bytes == 0, "{written} rows");
            let folders = std::fs::read_dir(temporary.path().join("parts/7")).unwrap();
            assert_eq!(folders.count(), 2, "only the inputs");
            let unfinished = std::fs::read_dir(temporary.path().join(".tmp")).unwrap();
            assert_eq!(unfinished.count(), 0);
        }
    });
}

/// A merge whose rows all go makes no part and no file.
#[test]
fn nothing_left_is_no_part() {
    run(async {
        let temporary = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder(temporary.path()), table(&["Int32", "Int64"], &[0], &[], 8));
        let row = |value| vec![vec![Scalar::Int(1), Scalar::Int(value)]];
        let parts = [bench.insert(&row(3)).await, bench.insert(&row(-3)).await];
        let rule = CollapseRule::Summing { columns: vec![ColumnId(1)], states: Vec::new() };
        let merged = bench.merge(&parts, &rule, CollapseMode::Merge).await;
        assert_eq!(merged.part, None);
        let folders = std::fs::read_dir(temporary.path().join("parts/7")).unwrap();
        assert_eq!(folders.count(), 2, "only the inputs");
    });
}

#[test]
fn equal_rows_are_deduplicated() {
    run(async {
        let bench = Bench::new(memory(), table(&["Int32", "String", "Int64"], &[0], &[], 8));
        let row = |key, text: &str, other| {
            vec![Scalar::Int(key), Scalar::Text(text.to_owned()), Scalar::Int(other)]
        };
        let first = [row(1, "a", 1), row(1, "b", 2), row(1, "a", 3), row(2, "a", 4)];
        let parts = [bench.insert(&first).await, bench.insert(&[row(1, "b", 5)]).await];
        let mut spec = bench.spec(&parts, &CollapseRule::None, CollapseMode::Merge);
        spec.deduplicate_by = Some(vec![ColumnId(0), ColumnId(1)]);
        let merged = bench.run(spec).await.unwrap();
        let found = bench.rows(&merged.part).await;
        assert_eq!(found, [row(1, "a", 1), row(1, "b", 2), row(2, "a", 4)]);
        let deleted = |row| {
            let mut deleted = Deletions::new();
            deleted.insert(row);
            merged.rows.translate(&[(0, &deleted)]).map(|rows| rows.iter().collect::<Vec<_>>())
        };
        assert_eq!(deleted(0), None, "another row would have stayed");
        assert_eq!(deleted(2), Some(Vec::new()));
        assert_eq!(deleted(3), Some(vec![2]));
    });
}
