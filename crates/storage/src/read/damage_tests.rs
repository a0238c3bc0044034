//! Damage is seen, told and never read as other rows.

use std::path::Path;

use granary_catalog::Scalar;
use granary_common::{Error, ErrorKind, PartId};

use super::tests::numbers;
use super::*;
use crate::merge::Unthrottled;
use crate::part::{DATA_FILE, DESCRIPTOR_FILE, INDEX_FILE, file_path};
use crate::test_support::*;

/// Cuts and damages each file, and checks what opening, scanning and verifying say.
#[tokio::test(flavor = "multi_thread")]
async fn damage_is_seen() {
    let schema = table(&["Int64", "String"], &[0], &[], 100);
    for file in [DESCRIPTOR_FILE, INDEX_FILE, DATA_FILE] {
        for damage in ["cut", "missing", "flipped"] {
            let temporary = tempfile::tempdir().unwrap();
            let volume = folder(temporary.path());
            let parts = write(&volume, &schema, block(&schema, &numbers(1_000))).await.unwrap();
            let reference = part_ref(&schema, &parts[0]);
            apply(damage, &temporary.path().join(file_path(schema.table, reference.id, file)));
            let found = async {
                let part = store(&volume).open(&reference).await?;
                scanned(&part, &schema, whole(&schema)).await
            };
            let error = found.await.expect_err(&format!("{file} {damage}"));
            assert_eq!(error.kind(), ErrorKind::Corruption, "{file} {damage}: {error}");
            assert!(error.message().starts_with("part 1: "), "{error}");
            assert!(error.message().contains(file), "{error}");
            let checked = store(&volume).check(&reference, &Unthrottled).await.unwrap_err();
            assert_eq!(checked.kind(), ErrorKind::Corruption, "{file} {damage}: {checked}");
            assert!(checked.message().contains(file), "{checked}");
        }
    }
}

fn apply(damage: &str, path: &Path) {
    let mut content = std::fs::read(path).unwrap();
    let middle = content.len() / 2;
    match damage {
        "cut" => std::fs::write(path, &content[..middle]).unwrap(),
        "missing" => std::fs::remove_file(path).unwrap(),
        _ => {
            content[middle] ^= 1;
            std::fs::write(path, content).unwrap();
        }
    }
}

/// Numbers and texts that do not compress, so that a file has several blocks of checksums.
fn noise(count: i64) -> Vec<Vec<Scalar>> {
    let mixed = |row: i64| (row + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64);
    let row = |row: i64| {
        let noise = mixed(row);
        vec![Scalar::Int(noise), Scalar::Text(format!("{:x}{:x}", mixed(noise), noise))]
    };
    (0..count).map(row).collect()
}

/// Whatever byte of the data file is another one, a scan fails and never gives other rows or
/// panics.
#[tokio::test(flavor = "multi_thread")]
async fn no_damage_gives_other_rows() {
    let schema = table(&["Int64", "String"], &[0], &[], 1_000);
    let temporary = tempfile::tempdir().unwrap();
    let volume = folder(temporary.path());
    let parts = write(&volume, &schema, block(&schema, &noise(10_000))).await.unwrap();
    let reference = part_ref(&schema, &parts[0]);
    let path = temporary.path().join(file_path(schema.table, reference.id, DATA_FILE));
    let content = std::fs::read(&path).unwrap();
    let blocks = crate::part::blocks::BLOCK_BYTES as usize;
    assert!(content.len() > 3 * blocks, "{} bytes are too few", content.len());
    let rows_read = async || {
        let part = store(&volume).open(&reference).await?;
        Ok::<_, Error>(rows(&scanned(&part, &schema, whole(&schema)).await?))
    };
    let expected = rows_read().await.unwrap();
    let mut seen = 0;
    for place in (0..content.len()).step_by(content.len() / 60) {
        let mut damaged = content.clone();
        damaged[place] ^= 0x40;
        std::fs::write(&path, damaged).unwrap();
        match rows_read().await {
            // A byte that no scan reads.
            Ok(found) => assert_eq!(found, expected, "byte {place}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corruption, "byte {place}: {error}");
                seen += 1;
            }
        }
        let checked = store(&volume).check(&reference, &Unthrottled).await.unwrap_err();
        let at = format!("bytes {} to ", place / blocks * blocks);
        assert!(checked.message().contains(&at), "byte {place}: {checked}");
    }
    assert!(seen > 55, "{seen}");
}

/// What reads and checks tell the one who watches.
#[derive(Debug, Default)]
struct Watch(std::sync::Mutex<Vec<MetPart>>, std::sync::atomic::AtomicBool);

impl DamageWatch for Watch {
    fn damaged(&self, part: &MetPart, error: Error) -> Error {
        self.0.lock().unwrap().push(*part);
        error.context("told")
    }

    fn is_read_elsewhere(&self, _: &MetPart) -> bool {
        self.1.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_is_told_of_damage_and_decides_what_is_read() {
    let schema = table(&["Int64", "String"], &[0], &[], 100);
    let temporary = tempfile::tempdir().unwrap();
    let volume = folder(temporary.path());
    let parts = write(&volume, &schema, block(&schema, &numbers(1_000))).await.unwrap();
    let reference = PartRef { id: PartId(9), ..part_ref(&schema, &parts[0]) };
    let watch = std::sync::Arc::new(Watch::default());
    let parts = store(&volume).with_damage_watch(watch.clone());
    let path = temporary.path().join(file_path(schema.table, PartId(1), DATA_FILE));
    let before = std::fs::read(&path).unwrap();
    apply("flipped", &path);
    let error = parts.open(&reference).await.unwrap_err();
    assert!(error.message().starts_with("told: file data.vortex: "), "{error}");
    let met = MetPart {
        table: schema.table,
        part: PartId(9),
        files: (schema.table, PartId(1)),
        is_shared: false,
        deletions: None,
    };
    assert_eq!(*watch.0.lock().unwrap(), [met]);
    assert!(parts.may_read(&reference));
    watch.1.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(!parts.may_read(&reference));
    // Nothing of the failure stays.
    std::fs::write(&path, before).unwrap();
    parts.reopen(PartId(1)).await;
    parts.check(&reference, &Unthrottled).await.unwrap();
    parts.open(&reference).await.unwrap();
}
