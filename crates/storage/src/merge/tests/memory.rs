//! What merges of wide tables take of memory, measured in processes of their own.

use std::path::Path;
use std::process::Command;

use arrow::array::{ArrayRef, Int64Array};
use granary_catalog::{NewPart, PartitionValue};
use granary_common::random::SeededRandom;
use granary_common::{PartId, Random};

use super::parts::run;
use super::*;
use crate::read::PartRef;
use crate::schema::PartSchema;
use crate::test_support::{Counter, folder, part_ref, plain_merge, store, table};
use crate::write::{PartIds, WriteOptions, write_block};

const COLUMNS: usize = 200;
const PARTS: u64 = 4;
const PART_ROWS: u64 = 40_000;
/// Of values that no encoding makes smaller.
const BYTES: u64 = PARTS * PART_ROWS * COLUMNS as u64 * 8;

/// Where the parts are and what memory the merge is to get along with, for the other process.
const FOLDER: &str = "GRANARY_TEST_MERGE_FOLDER";
const MEMORY: &str = "GRANARY_TEST_MERGE_MEMORY";

fn wide() -> PartSchema {
    table(&["Int64"; COLUMNS], &[0], &[], 8192)
}

/// Rows whose keys interleave with those of other parts.
fn rows_of_part(part: u64) -> RecordBatch {
    let random = SeededRandom::new(part);
    let column = |place: usize| -> ArrayRef {
        let value = |row| match place {
            0 => (row * PARTS + part) as i64,
            _ => random.next_u64() as i64,
        };
        Arc::new(Int64Array::from_iter_values((0..PART_ROWS).map(value)))
    };
    RecordBatch::try_new(wide().arrow_schema(), (0..COLUMNS).map(column).collect()).unwrap()
}

/// A figure of this process in bytes, such as `VmHWM`.
fn process_bytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Merges what lies in the folder, and says how far memory rose.
async fn merge(at: &Path, memory_bytes: u64) {
    let (volume, schema, ids) = (folder(at), wide(), Counter::default());
    for _ in 0..PARTS {
        ids.next().await.unwrap();
    }
    let input = |part: u64| -> PartRef {
        let part = NewPart {
            id: PartId(part + 1),
            partition: PartitionValue::default(),
            rows: PART_ROWS,
            bytes: BYTES / PARTS,
            key_range: None,
            location: volume.part_location(),
            projections: Vec::new(),
        };
        part_ref(&schema, &part)
    };
    let spec = MergeSpec {
        rule: CollapseRule::Replacing { version: None, is_deleted: None },
        memory_bytes,
        ..plain_merge(&schema, &volume, (0..PARTS).map(input).collect())
    };
    let (store, progress) = (store(&volume), Arc::<MergeProgress>::default());
    let before = process_bytes("VmRSS");
    let merged = merge_parts(&store, &volume, &ids, spec, Arc::new(NoStates), progress).await;
    assert_eq!(merged.unwrap().rows.rows(), PARTS * PART_ROWS);
    println!("rose by {} bytes", process_bytes("VmHWM").saturating_sub(before));
}

/// How far the memory of another process rises that merges with `memory_bytes`.
fn measured(at: &Path, memory_bytes: u64) -> u64 {
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "merge::tests::memory::wide_tables_are_merged_in_bounded_memory"])
        .arg("--nocapture")
        .envs([(FOLDER, at.as_os_str()), (MEMORY, memory_bytes.to_string().as_ref())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let (_, figure) = said.split_once("rose by ").unwrap();
    figure.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn wide_tables_are_merged_in_bounded_memory() {
    if let Some(at) = std::env::var_os(FOLDER) {
        let memory_bytes = std::env::var(MEMORY).unwrap().parse().unwrap();
        return run(merge(Path::new(&at), memory_bytes));
    }
    let temporary = tempfile::tempdir().unwrap();
    run(async {
        let (volume, schema, ids) = (folder(temporary.path()), wide(), Counter::default());
        for part in 0..PARTS {
            let (options, location) = (WriteOptions::default(), volume.part_location());
            let rows = rows_of_part(part);
            write_block(&volume, location, &schema, &ids, rows, &options).await.unwrap();
        }
    });
    let (at_once, in_groups) = (u64::MAX, 64 << 20);
    let (at_once, in_groups) =
        (measured(temporary.path(), at_once), measured(temporary.path(), in_groups));
    println!(
        "{COLUMNS} columns, {} MiB of values: {} MiB at once, {} MiB in groups for 64 MiB",
        BYTES >> 20,
        at_once >> 20,
        in_groups >> 20
    );
    // The allocator, threads and what is read of the program take something as well.
    assert!(in_groups < 208 << 20, "{in_groups} bytes in groups");
    assert!(at_once > 2 * in_groups, "{at_once} bytes at once, {in_groups} in groups");
}
