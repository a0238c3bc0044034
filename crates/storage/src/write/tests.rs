use granary_catalog::{PartitionValue, Scalar};
use granary_common::ErrorKind;

use crate::test_support::*;

fn int(value: i64) -> Scalar {
    Scalar::Int(value)
}

fn text(value: &str) -> Scalar {
    Scalar::Text(value.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_sorted_and_split() {
    let schema = table(&["Int32", "String", "Float64"], &[1, 2], &[0], 2);
    let data: Vec<Vec<Scalar>> = vec![
        vec![int(2), text("b"), Scalar::Float(1.0)],
        vec![int(1), text("b"), Scalar::Float(-0.0)],
        vec![int(2), text("a"), Scalar::Float(f64::NAN)],
        vec![int(2), text("a"), Scalar::Float(3.0)],
    ];
    let volume = memory();
    let mut parts = write(&volume, &schema, block(&schema, &data)).await.unwrap();
    parts.sort_by(|a, b| a.partition.cmp(&b.partition));
    let found: Vec<_> = parts.iter().map(|part| (part.partition.clone(), part.rows)).collect();
    assert_eq!(found, [(PartitionValue(vec![int(1)]), 1), (PartitionValue(vec![int(2)]), 3)]);
    let range = parts[1].key_range.clone().unwrap();
    assert_eq!(range.min, [text("a"), Scalar::Float(3.0)]);
    assert_eq!(range.max, Some(vec![text("b"), Scalar::Float(1.0)]));

    let open = store(&volume).open(&part_ref(&schema, &parts[1])).await.unwrap();
    let sorted = rows(&scanned(&open, &schema, whole(&schema)).await.unwrap());
    assert_eq!(sorted, [data[3].clone(), data[2].clone(), data[0].clone()]);
    open.verify().await.unwrap();
    assert_eq!(open.descriptor().partition, parts[1].partition);

    let open = store(&volume).open(&part_ref(&schema, &parts[0])).await.unwrap();
    let batches = scanned(&open, &schema, whole(&schema)).await.unwrap();
    let floats: &arrow::array::Float64Array =
        arrow::array::AsArray::as_primitive(batches[0].column(2));
    assert_eq!(floats.value(0).to_bits(), 0, "-0 is stored as 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_partitions_are_refused() {
    let schema = table(&["Int32"], &[0], &[0], 8192);
    let data: Vec<_> = (0..101).map(|value| vec![int(value)]).collect();
    let error = write(&memory(), &schema, block(&schema, &data)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("more than 100 partitions"), "{error}");
    let parts = write(&memory(), &schema, block(&schema, &data[..100])).await.unwrap();
    assert_eq!(parts.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_do_not_fit_are_refused() {
    let schema = table(&["Int32", "Nullable(String)"], &[0], &[], 8192);
    let narrow = block(&table(&["Int32"], &[], &[], 1), &[vec![int(1)]]);
    let other =
        block(&table(&["Int64", "Nullable(String)"], &[], &[], 1), &[vec![int(1), Scalar::Null]]);
    for wrong in [narrow, other] {
        let error = write(&memory(), &schema, wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    let empty = write(&memory(), &schema, block(&schema, &[])).await.unwrap();
    assert_eq!(empty, []);
}

/// A file must hold only its own rows' texts, not those of the block that they were cut from.
#[tokio::test(flavor = "multi_thread")]
async fn parts_do_not_carry_the_texts_of_others() {
    let schema = table(&["Int32", "String"], &[0], &[0], 8192);
    let data: Vec<_> = (0..20_000_i64)
        .map(|row| vec![int(row % 10), text(&format!("{:064x}", row * 7_919))])
        .collect();
    let parts = write(&memory(), &schema, block(&schema, &data)).await.unwrap();
    let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
    assert!(bytes < 2 * 20_000 * (64 + 4), "{bytes} bytes");
}
