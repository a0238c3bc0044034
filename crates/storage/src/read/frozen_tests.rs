//! Parts that earlier builds wrote are read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::IntervalMonthDayNano;
use granary_catalog::Scalar;
use granary_common::{ColumnId, PartId};

use super::tests::stored;
use super::*;
use crate::filter::CompareOp;
use crate::part::{DATA_FILE, DESCRIPTOR_FILE, INDEX_FILE, file_path};
use crate::schema::PartSchema;
use crate::test_support::*;

/// The fixture of the format that parts are written in now.
const CURRENT: &str = "part_v2";

/// Each fixture was written by the first build that had its format, and is never overwritten; every
/// build must read them. `GRANARY_WRITE_FIXTURES=1` writes that of a new format.
#[tokio::test(flavor = "multi_thread")]
async fn the_frozen_parts_are_read() {
    let current = fixtures().join(CURRENT);
    if std::env::var_os("GRANARY_WRITE_FIXTURES").is_some() && !current.exists() {
        let schema = frozen_schema();
        let rows = block(&schema, &frozen_rows());
        write_frozen(&current, &schema, rows).await;
    }
    for (version, has_blocks) in [("part_v1", false), (CURRENT, true)] {
        check_frozen(version, has_blocks).await;
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

async fn check_frozen(version: &str, has_blocks: bool) {
    let temporary = tempfile::tempdir().unwrap();
    let schema = frozen_schema();
    let part = frozen_part(version, &schema, 300, temporary.path()).await;
    let data = part.descriptor().file(DATA_FILE).unwrap();
    assert_eq!(data.blocks.is_some(), has_blocks, "{version}");
    assert_eq!(part.descriptor().schema, schema);
    let found = rows(&scanned(&part, &schema, whole(&schema)).await.unwrap());
    assert_eq!(found, stored(&schema, frozen_rows()));
    assert_eq!(part.prune(&frozen_filter()).ranges.as_slice(), std::slice::from_ref(&(0..100)));
}

/// A fixture's copy in `folder_path`, checked.
async fn frozen_part(
    version: &str,
    schema: &PartSchema,
    rows: u64,
    folder_path: &Path,
) -> Arc<OpenPart> {
    let fixture = fixtures().join(version);
    let target = folder_path.join(file_path(schema.table, PartId(1), ""));
    std::fs::create_dir_all(&target).unwrap();
    for file in [DESCRIPTOR_FILE, INDEX_FILE, DATA_FILE] {
        std::fs::copy(fixture.join(file), target.join(file)).unwrap();
    }
    let volume = folder(folder_path);
    let reference = PartRef {
        id: PartId(1),
        table: schema.table,
        files: (schema.table, PartId(1)),
        location: volume.part_location(),
        rows,
        rows_deleted: 0,
        deletions: None,
        bytes: 0,
        schema_version: 1,
        projection: None,
    };
    let part = store(&volume).open(&reference).await.unwrap();
    part.verify().await.unwrap();
    part
}

/// Times, intervals and bytes came later than the format.
#[tokio::test(flavor = "multi_thread")]
async fn frozen_times_intervals_and_bytes_are_read() {
    const FIXTURE: &str = "part_types_v1";
    let schema =
        table(&["Int64", "Time(6)", "Nullable(Interval)", "Binary", "Time(9)"], &[0], &[], 100);
    let expected = frozen_types(&schema);
    let fixture = fixtures().join(FIXTURE);
    if std::env::var_os("GRANARY_WRITE_FIXTURES").is_some() && !fixture.exists() {
        write_frozen(&fixture, &schema, expected.clone()).await;
    }
    let temporary = tempfile::tempdir().unwrap();
    let part = frozen_part(FIXTURE, &schema, 150, temporary.path()).await;
    let batches = scanned(&part, &schema, whole(&schema)).await.unwrap();
    let found = arrow::compute::concat_batches(&schema.arrow_schema(), &batches).unwrap();
    assert_eq!(found, expected);
}

fn frozen_types(schema: &PartSchema) -> RecordBatch {
    let interval =
        |row: i64| (row % 3 > 0).then(|| IntervalMonthDayNano::new(row as i32, -1, row << 33));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..150)),
        Arc::new(Time64MicrosecondArray::from_iter_values((0..150).map(|row| row * 500_009))),
        Arc::new(IntervalMonthDayNanoArray::from_iter((0..150).map(interval))),
        Arc::new(BinaryArray::from_iter_values(
            (0..150_u8).map(|row| vec![row; row as usize % 20]),
        )),
        Arc::new(Time64NanosecondArray::from_iter_values((0..150).map(|row| row * 7_000_000_001))),
    ];
    RecordBatch::try_new(schema.arrow_schema(), columns).unwrap()
}

fn frozen_schema() -> PartSchema {
    table(&["Int64", "Nullable(String)", "Decimal(15, 2)", "Nullable(Float64)"], &[0], &[], 100)
}

fn frozen_rows() -> Vec<Vec<Scalar>> {
    let null = |row: i64, value: Scalar| if row % 5 == 0 { Scalar::Null } else { value };
    (0..300)
        .map(|row| {
            vec![
                Scalar::Int((row * 7) % 300),
                null(row, Scalar::Text(format!("text {}", row % 11))),
                Scalar::Wide(i128::from(row) * 101),
                null(row + 1, Scalar::Float(row as f64 / 4.0)),
            ]
        })
        .collect()
}

fn frozen_filter() -> Filter {
    Filter::Compare { column: ColumnId(0), op: CompareOp::Lt, value: Scalar::Int(50) }
}

/// Writes the fixture of the current format.
async fn write_frozen(fixture: &Path, schema: &PartSchema, rows: RecordBatch) {
    let temporary = tempfile::tempdir().unwrap();
    let volume = folder(temporary.path());
    write(&volume, schema, rows).await.unwrap();
    std::fs::create_dir_all(fixture).unwrap();
    for file in [DESCRIPTOR_FILE, INDEX_FILE, DATA_FILE] {
        let path = temporary.path().join(file_path(schema.table, PartId(1), file));
        std::fs::copy(path, fixture.join(file)).unwrap();
    }
}
