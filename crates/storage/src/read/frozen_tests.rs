//! Parts that earlier builds wrote are read.

use std::collections::BTreeMap;
use std::path::Path;

use granary_catalog::Scalar;
use granary_common::{ColumnId, PartId};

use super::tests::stored;
use super::*;
use crate::filter::CompareOp;
use crate::part::{DATA_FILE, DESCRIPTOR_FILE, INDEX_FILE, file_path};
use crate::schema::PartSchema;
use crate::test_support::*;

/// Each fixture was written by the first build that had its format; every build must read them.
#[tokio::test(flavor = "multi_thread")]
async fn the_frozen_parts_are_read() {
    for (version, has_blocks) in [("part_v1", false), ("part_v2", true)] {
        check_frozen(version, has_blocks).await;
    }
}

async fn check_frozen(version: &str, has_blocks: bool) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version);
    let temporary = tempfile::tempdir().unwrap();
    let schema = frozen_schema();
    let target = temporary.path().join(file_path(schema.table, PartId(1), ""));
    std::fs::create_dir_all(&target).unwrap();
    for file in [DESCRIPTOR_FILE, INDEX_FILE, DATA_FILE] {
        std::fs::copy(fixture.join(file), target.join(file)).unwrap();
    }
    let volume = folder(temporary.path());
    let reference = PartRef {
        id: PartId(1),
        table: schema.table,
        files: (schema.table, PartId(1)),
        location: volume.part_location(),
        rows: 300,
        rows_deleted: 0,
        deletions: None,
        bytes: 0,
        schema_version: 1,
    };
    let part = store(&volume).open(&reference).await.unwrap();
    part.verify().await.unwrap();
    let data = part.descriptor().file(DATA_FILE).unwrap();
    assert_eq!(data.blocks.is_some(), has_blocks, "{version}");
    assert_eq!(part.descriptor().schema, schema);
    let found = rows(&scanned(&part, &schema, whole(&schema)).await.unwrap());
    assert_eq!(found, stored(&schema, frozen_rows()));
    assert_eq!(part.prune(&frozen_filter()).ranges.as_slice(), std::slice::from_ref(&(0..100)));
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

/// Writes the fixture of the current format; run by hand when the format gets a new version, into a
/// new folder.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes the fixture"]
async fn make_the_frozen_part() {
    let temporary = tempfile::tempdir().unwrap();
    let schema = frozen_schema();
    let volume = folder(temporary.path());
    write(&volume, &schema, block(&schema, &frozen_rows())).await.unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/part_v2");
    std::fs::create_dir_all(&fixture).unwrap();
    let written: BTreeMap<_, _> = [DESCRIPTOR_FILE, INDEX_FILE, DATA_FILE]
        .map(|file| (file, temporary.path().join(file_path(schema.table, PartId(1), file))))
        .into();
    for (file, path) in written {
        std::fs::copy(path, fixture.join(file)).unwrap();
    }
}
