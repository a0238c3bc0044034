//! Scans say where rows are.

use granary_catalog::Scalar;
use granary_common::{ColumnId, PartId};

use super::PartScan;
use crate::deletions::Deletions;
use crate::filter::{CompareOp, Filter};
use crate::schema::{PART_COLUMN, PART_OFFSET_COLUMN};
use crate::test_support::*;

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_those_of_the_file() {
    let schema = table(&["Int64", "String"], &[0], &[], 100);
    let volume = memory();
    let data: Vec<_> = (0..20_000)
        .map(|row| vec![Scalar::Int(row), Scalar::Text(format!("x{}", row % 7))])
        .collect();
    let parts = write(&volume, &schema, block(&schema, &data)).await.unwrap();
    let mut reference = part_ref(&schema, &parts[0]);
    let deleted: Deletions = (0..20_000).filter(|row| row % 3 == 0).collect();
    let parts = store(&volume);
    for deletions in [None, Some(&deleted)] {
        reference.id = PartId(42);
        reference.deletions = deletions.map(Deletions::to_inline);
        let part = parts.open(&reference).await.unwrap();
        let below =
            Filter::Compare { column: ColumnId(0), op: CompareOp::Lt, value: Scalar::Int(12_000) };
        let seven = Filter::Compare {
            column: ColumnId(1),
            op: CompareOp::Eq,
            value: Scalar::Text("x3".to_owned()),
        };
        let here = |id| Filter::Compare {
            column: PART_COLUMN,
            op: CompareOp::Eq,
            value: Scalar::UInt(id),
        };
        for (filter, below, text, ranges, limit) in [
            (None, 20_000, false, None, None),
            (Some(below.clone()), 12_000, false, None, None),
            (Some(seven.clone()), 20_000, true, None, None),
            (Some(seven.clone()), 20_000, true, Some(vec![50..9_000, 9_500..9_999]), None),
            (Some(Filter::And(vec![below, seven, here(42)])), 12_000, true, None, Some(500)),
            (Some(here(41)), 0, false, None, None),
        ] {
            for columns in [
                vec![PART_COLUMN, PART_OFFSET_COLUMN],
                vec![PART_OFFSET_COLUMN],
                vec![ColumnId(0), PART_OFFSET_COLUMN, ColumnId(1), PART_COLUMN],
                vec![PART_COLUMN],
            ] {
                let scan = PartScan {
                    columns: columns.clone(),
                    filter: filter.clone(),
                    rows: ranges.clone(),
                    limit,
                    ..whole(&schema)
                };
                let found = rows(&scanned(&part, &schema, scan).await.unwrap());
                let passing = |row: &u32| {
                    i64::from(*row) < below
                        && (!text || row % 7 == 3)
                        && !deletions.is_some_and(|deletions| deletions.contains(*row))
                        && ranges.as_ref().is_none_or(|ranges| {
                            ranges.iter().any(|range| range.contains(&u64::from(*row)))
                        })
                };
                let value = |row: u32, id: &ColumnId| match *id {
                    PART_COLUMN => Scalar::UInt(42),
                    PART_OFFSET_COLUMN => Scalar::UInt(row.into()),
                    ColumnId(0) => Scalar::Int(row.into()),
                    _ => Scalar::Text(format!("x{}", row % 7)),
                };
                let expected: Vec<Vec<Scalar>> = (0..20_000)
                    .filter(passing)
                    .take(limit.unwrap_or(u64::MAX) as usize)
                    .map(|row| columns.iter().map(|id| value(row, id)).collect())
                    .collect();
                assert_eq!(found, expected, "{filter:?} {ranges:?} {columns:?}");
            }
        }
    }
}
