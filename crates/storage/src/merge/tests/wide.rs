//! Merges a column at a time are merges of all columns at once.

use arrow::compute::concat_batches;
use granary_common::Random;
use granary_common::random::SeededRandom;

use super::model::{DELETED, SIGN, VERSION};
use super::parts::{Bench, Made, run};
use super::*;
use crate::deletions::Deletions;
use crate::merge::columns::groups;
use crate::test_support::{memory, part_ref, scanned, table, whole};

impl Bench {
    /// Merges both ways, and compares all that is known of the results.
    async fn check_both_ways(&self, spec: MergeSpec) {
        let what = format!("{:?} {:?} by {:?}", spec.rule, spec.mode, spec.deduplicate_by);
        let spec = MergeSpec { memory_bytes: 0, ..spec };
        let mut parts = Vec::new();
        for part in &spec.inputs {
            parts.push(self.store.open(part).await.unwrap());
        }
        let groups = groups(&spec, &parts, None).unwrap();
        assert!(groups.len() > 1, "no groups for {what}");
        let columns = self.schema.columns.len();
        assert_eq!(groups.iter().map(|group| group.len()).sum::<usize>(), columns, "{groups:?}");
        let at_once = self.run(MergeSpec { memory_bytes: u64::MAX, ..spec.clone() }).await.unwrap();
        let in_groups = self.run(spec).await.unwrap();
        assert_eq!(at_once.rows, in_groups.rows, "the row map of {what}");
        let (Some(expected), Some(found)) = (at_once.part, in_groups.part) else {
            return assert_eq!(at_once.rows.rows(), 0, "a part is missing of {what}");
        };
        assert_eq!(found.rows, expected.rows, "{what}");
        assert_eq!(found.key_range, expected.key_range, "{what}");
        let mut read = Vec::new();
        for part in [expected, found] {
            let open = self.store.open(&part_ref(&self.schema, &part)).await.unwrap();
            open.verify().await.unwrap();
            let batches = scanned(&open, &self.schema, whole(&self.schema)).await.unwrap();
            read.push((concat_batches(&self.schema.arrow_schema(), &batches).unwrap(), open));
        }
        assert_eq!(read[0].0, read[1].0, "rows of {what}");
        assert_eq!(read[0].1.index(), read[1].1.index(), "the index of {what}");
        assert_eq!(read[0].1.statistics(), read[1].1.statistics(), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn groups_change_nothing(
        inserts in any::<bool>().prop_flat_map(batches),
        deleted in prop::collection::vec((0..6_usize, 0..9_usize), 0..4),
        deduplicate in any::<bool>(),
        granularity in 1..9_usize,
    ) {
        run(async {
            let bench = Bench::new(memory(), schema(granularity));
            let mut parts = Vec::new();
            for rows in &inserts {
                parts.push(bench.insert(rows).await);
            }
            for rule in rules() {
                for mode in MODES {
                    let mut spec = bench.spec(&parts, &rule, mode);
                    spec.deduplicate_by = deduplicate.then(|| vec![ColumnId(KEY as u32)]);
                    for (input, row) in &deleted {
                        let part = &mut spec.inputs[input % inserts.len()];
                        let mut rows = Deletions::new();
                        rows.insert((*row as u64 % part.rows) as u32);
                        (part.rows_deleted, part.deletions) = (1, Some(rows.to_inline()));
                    }
                    bench.check_both_ways(spec).await;
                }
            }
        });
    }
}

/// Inputs of many batches that interleave, where most rows go, some far behind others.
#[test]
fn many_batches_are_followed() {
    run(async {
        let types = ["Int64", "Int8", "UInt32", "UInt8", "String", "Nullable(Float64)"];
        let bench = Bench::new(memory(), table(&types, &[0], &[], 1024));
        let random = SeededRandom::new(11);
        let mut parts: Vec<Made> = Vec::new();
        for part in 0..3_u64 {
            let rows = (0..20_000_u64).map(|row| {
                // The last part has few keys, each of thousands of rows.
                let key = if part == 2 {
                    random.next_u64() % 5 * 1_000
                } else {
                    random.next_u64() % 6_000
                };
                vec![
                    Scalar::Int(key as i64),
                    Scalar::Int((random.next_u64() % 2) as i64 * 2 - 1),
                    Scalar::UInt(random.next_u64() % 50),
                    Scalar::UInt(random.next_u64() % 2),
                    Scalar::Text(format!("{row} of part {part}")),
                    if row % 3 == 0 { Scalar::Null } else { Scalar::Float(row as f64) },
                ]
            });
            parts.push(bench.insert(&rows.collect::<Vec<Row>>()).await);
        }
        let id = |place: usize| ColumnId(place as u32);
        let rules = [
            CollapseRule::None,
            CollapseRule::Replacing { version: Some(id(VERSION)), is_deleted: Some(id(DELETED)) },
            CollapseRule::Collapsing { sign: id(SIGN) },
            CollapseRule::VersionedCollapsing { sign: id(SIGN), version: id(VERSION) },
        ];
        for rule in rules {
            bench.check_both_ways(bench.spec(&parts, &rule, CollapseMode::Final)).await;
        }
    });
}

/// A column that one input lacks, and a table without a sort key.
#[test]
fn columns_that_parts_lack_and_no_key() {
    run(async {
        let mut bench = Bench::new(memory(), table(&["Int64", "String"], &[], &[], 4));
        let row = |number: i64| vec![Scalar::Int(number), Scalar::Text(format!("row {number}"))];
        let mut parts = vec![bench.insert(&[row(3), row(1), row(2)]).await];
        bench.schema = table(&["Int64", "String", "Nullable(Int32)", "UInt8"], &[], &[], 4);
        bench.schema.columns[3].added = Some(Scalar::UInt(7));
        let row = |number: i64| [row(number), vec![Scalar::Int(number), Scalar::UInt(1)]].concat();
        parts.push(bench.insert(&[row(9), row(8)]).await);
        bench.check_both_ways(bench.spec(&parts, &CollapseRule::None, CollapseMode::Merge)).await;
    });
}
