//! Deleted rows are left out, whatever else a scan asks for.

use granary_catalog::{DeletionContent, Scalar};
use granary_common::{ColumnId, ErrorKind, PartId};
use object_store::ObjectStoreExt;

use super::PartScan;
use crate::deletions::{Deletions, INLINE_BYTES_MAX, write_deletions};
use crate::filter::{CompareOp, Filter};
use crate::part::file_path;
use crate::test_support::*;

const ROWS: u32 = 300_000;

fn pseudo_random(row: u32) -> bool {
    (u64::from(row).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) % 3 == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_leave_deleted_rows_out() {
    let schema = table(&["Int64"], &[0], &[], 100);
    let volume = memory();
    let data: Vec<_> = (0..1_000).map(|row| vec![Scalar::Int(row)]).collect();
    let parts = write(&volume, &schema, block(&schema, &data)).await.unwrap();
    let mut reference = part_ref(&schema, &parts[0]);
    let deleted: Deletions = (0..1_000).filter(|row| pseudo_random(*row)).collect();
    reference.deletions = Some(deleted.to_inline());
    reference.rows_deleted = deleted.len();
    let part = store(&volume).open(&reference).await.unwrap();
    assert_eq!(part.rows() - deleted.len(), reference.rows_visible());
    let below = |value| Filter::Compare {
        column: ColumnId(0),
        op: CompareOp::Lt,
        value: Scalar::Int(value),
    };
    for ordered in [false, true] {
        for (filter, rows_wanted, limit) in [
            (None, None, None),
            (Some(below(555)), None, None),
            (None, Some(std::iter::once(10..20).collect()), None),
            (None, Some(vec![10..20, 150..870, 990..1_000]), None),
            (Some(below(555)), Some(vec![10..20, 150..870]), Some(7)),
            (Some(below(555)), None, Some(250)),
            (None, Some(vec![]), None),
        ] {
            let scan = PartScan {
                filter: filter.clone(),
                rows: rows_wanted.clone(),
                limit,
                ordered,
                ..whole(&schema)
            };
            let mut found = rows(&scanned(&part, &schema, scan).await.unwrap());
            found.sort();
            let wanted = |row: &u32| {
                rows_wanted.as_ref().is_none_or(|ranges| {
                    ranges.iter().any(|range| range.contains(&u64::from(*row)))
                }) && (filter.is_none() || *row < 555)
                    && !deleted.contains(*row)
            };
            let most = limit.unwrap_or(u64::MAX) as usize;
            let expected: Vec<_> = (0..1_000)
                .filter(wanted)
                .take(most)
                .map(|row| vec![Scalar::Int(i64::from(row))])
                .collect();
            assert_eq!(found, expected, "{filter:?} {rows_wanted:?} {limit:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_vectors_are_files() {
    let schema = table(&["Int64"], &[0], &[], 8192);
    let volume = memory();
    let data: Vec<_> = (0..i64::from(ROWS)).map(|row| vec![Scalar::Int(row)]).collect();
    let parts = write(&volume, &schema, block(&schema, &data)).await.unwrap();
    let mut reference = part_ref(&schema, &parts[0]);
    let ids = Counter::default();
    let few: Deletions = [3, 5].into_iter().collect();
    let content = write_deletions(&volume, &reference, &ids, &few).await.unwrap();
    assert_eq!(content, few.to_inline());
    assert_eq!(Deletions::from_content(&content).unwrap(), few);

    let many: Deletions = (0..ROWS).filter(|row| pseudo_random(*row)).collect();
    assert!(many.encode().len() > INLINE_BYTES_MAX);
    let content = write_deletions(&volume, &reference, &ids, &many).await.unwrap();
    let DeletionContent::File { name, .. } = &content else { panic!("{content:?}") };
    reference.deletions = Some(content.clone());
    reference.rows_deleted = many.len();
    let parts = store(&volume);
    assert_eq!(parts.deletions(&reference).await.unwrap().as_deref(), Some(&many));
    let part = parts.open(&reference).await.unwrap();
    let found = rows(&scanned(&part, &schema, whole(&schema)).await.unwrap());
    assert_eq!(found.len() as u64, reference.rows_visible());

    let path = volume.path(&file_path(schema.table, reference.id, name));
    volume.store.put(&path, "damaged".into()).await.unwrap();
    let damaged = store(&volume).open(&reference).await.unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Corruption, "{damaged}");
    volume.store.delete(&path).await.unwrap();
    let missing = store(&volume).open(&reference).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Corruption, "{missing}");

    let beyond: Deletions = [ROWS].into_iter().collect();
    let refused = write_deletions(&volume, &reference, &ids, &beyond).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_shows_the_files_of_another() {
    let schema = table(&["Int64"], &[0], &[], 100);
    let volume = memory();
    let data: Vec<_> = (0..10).map(|row| vec![Scalar::Int(row)]).collect();
    let parts = write(&volume, &schema, block(&schema, &data)).await.unwrap();
    let own = part_ref(&schema, &parts[0]);
    let mut copy = own.clone();
    copy.id = PartId(77);
    copy.deletions = Some([0, 1, 2].into_iter().collect::<Deletions>().to_inline());
    let parts = store(&volume);
    for (reference, expected) in [(&own, 10), (&copy, 7), (&own, 10)] {
        let part = parts.open(reference).await.unwrap();
        let found = rows(&scanned(&part, &schema, whole(&schema)).await.unwrap());
        assert_eq!(found.len(), expected);
    }
}
