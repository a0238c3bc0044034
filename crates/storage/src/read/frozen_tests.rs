//! Parts that earlier builds wrote are read.

use std::path::{Path, PathBuf};

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
        write_frozen(&current).await;
    }
    for (version, has_blocks) in [("part_v1", false), (CURRENT, true)] {
        check_frozen(version, has_blocks).await;
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

async fn check_frozen(version: &str, has_blocks: bool) {
    let fixture = fixtures().join(version);
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
        projection: None,
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

/// Writes the fixture of the current format.
async fn write_frozen(fixture: &Path) {
    let temporary = tempfile::tempdir().unwrap();
    let schema = frozen_schema();
    let volume = folder(temporary.path());
    write(&volume, &schema, block(&schema, &frozen_rows())).await.unwrap();
    std::fs::create_dir_all(fixture).unwrap();
    for file in [DESCRIPTOR_FILE, INDEX_FILE, DATA_FILE] {
        let path = temporary.path().join(file_path(schema.table, PartId(1), file));
        std::fs::copy(path, fixture.join(file)).unwrap();
    }
}
