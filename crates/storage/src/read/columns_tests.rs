//! What a scan of some columns costs.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use granary_common::random::SeededRandom;
use granary_common::{Random, WorkerId};
use object_store::ObjectStore;

use super::*;
use crate::counted_store::Counted;
use crate::test_support::*;
use crate::volume::{Volume, VolumeKind};

const COLUMNS: usize = 100;
const ROWS: usize = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn two_of_a_hundred_columns_cost_the_bytes_of_two() {
    let schema = table(&[&["Int64"][..]; COLUMNS].concat(), &[0], &[], 8192);
    let random = SeededRandom::new(1);
    // Nothing of it can be packed.
    let column = |_| -> ArrayRef {
        Arc::new((0..ROWS).map(|_| random.next_u64() as i64).collect::<Int64Array>())
    };
    let rows = RecordBatch::try_new(schema.arrow_schema(), (0..COLUMNS).map(column).collect());
    let counted = Arc::new(Counted::default());
    let object_store: Arc<dyn ObjectStore> = counted.clone();
    let volume = Volume::over("test", VolumeKind::Local { worker: WorkerId(1) }, object_store);
    let volume = Arc::new(volume);
    let parts = write(&volume, &schema, rows.expect("a block")).await.expect("written");
    let part = part_ref(&schema, &parts[0]);
    let opened = async || store(&volume).open(&part).await.expect("opens");
    let two = |places: [usize; 2]| PartScan {
        columns: places.map(|place| schema.columns[place].id).to_vec(),
        ..whole(&schema)
    };
    let everything = opened().await;
    counted.taken();
    let all = scanned(&everything, &schema, whole(&schema)).await.expect("scans");
    let (_, bytes_of_all) = counted.taken();
    assert!(bytes_of_all as usize > COLUMNS * ROWS * 8, "{bytes_of_all}");
    // Files are read in blocks of 64 KiB, at both ends of a column.
    let of_column = (ROWS * 8) as u64..(ROWS * 8 + (2 << 16)) as u64;
    for places in [[3, 96], [50, 51], [0, 99]] {
        // Nothing of it was read before.
        let part = opened().await;
        counted.taken();
        let found = scanned(&part, &schema, two(places)).await.expect("scans");
        let (requests, bytes) = counted.taken();
        assert_eq!(found[0].num_columns(), 2);
        assert_eq!(found[0].column(1), all[0].column(places[1]));
        assert!((2 * of_column.start..2 * of_column.end).contains(&bytes), "{places:?}: {bytes}");
        assert!(requests <= 8, "{places:?}: {requests}");
    }
}
