use std::sync::Mutex;

use granary_catalog::Scalar;

use super::*;
use crate::merge::Unthrottled;
use crate::part::{DATA_FILE, INDEX_FILE};
use crate::schema::PartSchema;
use crate::test_support::{
    block, folder, memory, part_ref, rows, scanned, store, table, whole, write,
};

/// Another volume whose transfers break off, or arrive damaged.
struct Faulty {
    from: Arc<Volume>,
    files: (TableId, PartId),
    /// Bytes of a file after which each transfer breaks off.
    breaks_after: usize,
    /// The file of which a bit is turned.
    damages: Option<&'static str>,
    reads: Mutex<Vec<(String, u64)>>,
}

impl Faulty {
    fn new(from: &Arc<Volume>, files: (TableId, PartId)) -> Faulty {
        let from = Arc::clone(from);
        Faulty { from, files, breaks_after: usize::MAX, damages: None, reads: Mutex::default() }
    }

    fn reads_of(&self, file: &str) -> Vec<u64> {
        let reads = self.reads.lock().unwrap();
        reads.iter().filter(|(name, _)| name == file).map(|(_, offset)| *offset).collect()
    }
}

#[async_trait]
impl FileSource for Faulty {
    async fn read(&self, file: &str, offset: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.reads.lock().unwrap().push((file.to_owned(), offset));
        let pieces: Vec<Bytes> =
            file_bytes(&self.from, self.files, file, offset).await?.try_collect().await?;
        let mut bytes = pieces.concat();
        if self.damages == Some(file) {
            bytes[0] ^= 1;
        }
        let is_broken = file != DESCRIPTOR_FILE && bytes.len() > self.breaks_after;
        bytes.truncate(if is_broken { self.breaks_after } else { bytes.len() });
        let mut sent = vec![Ok(Bytes::from(bytes))];
        if is_broken {
            sent.push(Err(Error::unavailable("the connection broke")));
        }
        Ok(stream::iter(sent).boxed())
    }
}

async fn source() -> (Arc<Volume>, PartSchema, granary_catalog::NewPart) {
    let schema = table(&["Int64", "String"], &[0], &[], 100);
    let volume = memory();
    let text = |row: i64| Scalar::Text(format!("{:x}", row.wrapping_mul(0x9e37_79b9)));
    let data: Vec<_> = (0..5_000).map(|row| vec![Scalar::Int(row), text(row)]).collect();
    let mut parts = write(&volume, &schema, block(&schema, &data)).await.unwrap();
    (volume, schema, parts.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_reads_like_its_original_however_often_its_transfer_breaks() {
    let (from, schema, part) = source().await;
    let temporary = tempfile::tempdir().unwrap();
    let to = folder(temporary.path());
    let wanted = PartCopy::of_new(schema.table, &part);
    let faulty = Faulty { breaks_after: 1_000, ..Faulty::new(&from, wanted.files) };
    copy_part(&to, &wanted, &faulty, &Unthrottled).await.unwrap();
    let offsets = faulty.reads_of(DATA_FILE);
    assert!(offsets.len() > 3, "{offsets:?}");
    assert!(offsets.iter().zip(0..).all(|(offset, turn)| *offset == turn * 1_000), "{offsets:?}");
    let reference = part_ref(&schema, &part);
    let mut found = Vec::new();
    for volume in [&from, &to] {
        let open = store(volume).open(&reference).await.unwrap();
        open.verify().await.unwrap();
        found.push(rows(&scanned(&open, &schema, whole(&schema)).await.unwrap()));
    }
    assert_eq!(found[0].len(), 5_000);
    assert_eq!(found[0], found[1]);
    // What is there is not fetched again.
    let again = Faulty::new(&from, wanted.files);
    copy_part(&to, &wanted, &again, &Unthrottled).await.unwrap();
    assert!(again.reads.lock().unwrap().is_empty());
    // Unless its bytes are not what was written: the whole file comes anew, and no other.
    let data = temporary.path().join(format!("parts/{}/{}/{DATA_FILE}", schema.table, part.id));
    let mut bytes = std::fs::read(&data).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&data, bytes).unwrap();
    assert!(store(&to).check(&reference, &Unthrottled).await.is_err());
    let mending = Faulty::new(&from, wanted.files);
    copy_part(&to, &wanted, &mending, &Unthrottled).await.unwrap();
    assert_eq!(mending.reads.lock().unwrap().as_slice(), [(DATA_FILE.to_owned(), 0)]);
    store(&to).check(&reference, &Unthrottled).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_leaves_nothing_that_looks_like_a_part() {
    let (from, schema, part) = source().await;
    for file in [DATA_FILE, INDEX_FILE, DESCRIPTOR_FILE] {
        let to = memory();
        let wanted = PartCopy::of_new(schema.table, &part);
        let faulty = Faulty { damages: Some(file), ..Faulty::new(&from, wanted.files) };
        let error = copy_part(&to, &wanted, &faulty, &Unthrottled).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{file}: {error}");
        let missing = read_file(&to, schema.table, part.id, DESCRIPTOR_FILE).await;
        assert!(missing.is_err(), "{file}");
    }
    // A source that never gets on is given up.
    let to = memory();
    let wanted = PartCopy::of_new(schema.table, &part);
    let stuck = Faulty { breaks_after: 0, ..Faulty::new(&from, wanted.files) };
    let error = copy_part(&to, &wanted, &stuck, &Unthrottled).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn only_files_of_parts_are_read() {
    let volume = memory();
    for name in ["", "..", "../identity", "a/b", ".tmp"] {
        let refused = file_bytes(&volume, (TableId(1), PartId(1)), name, 0).await;
        assert_eq!(
            refused.err().map(|error| error.kind()),
            Some(ErrorKind::InvalidInput),
            "{name}"
        );
    }
    let missing = file_bytes(&volume, (TableId(1), PartId(1)), DATA_FILE, 0).await;
    assert_eq!(missing.err().map(|error| error.kind()), Some(ErrorKind::NotFound));
}
