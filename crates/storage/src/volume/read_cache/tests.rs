use std::ops::Range;

use futures::future::join_all;
use granary_common::Random;
use granary_common::random::SeededRandom;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::TempDir;

use super::*;
use crate::counted_store::Counted;

struct Bench {
    folder: TempDir,
    counted: Arc<Counted>,
    cache: Arc<ReadCache>,
}

const OBJECT: &str = "tables/1/parts/2/data";

impl Bench {
    fn new(bytes_max: u64) -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = ReadCache::open(folder.path(), bytes_max, Reserve::Bytes(0)).expect("opens");
        Bench { folder, counted: Arc::default(), cache }
    }

    fn reading(&self) -> CachedStore {
        let store: Arc<dyn ObjectStore> = self.counted.clone();
        CachedStore::new(store, Arc::clone(&self.cache), "s3://bucket")
    }

    async fn put(&self, path: &str, bytes: usize, seed: u64) -> Bytes {
        let random = SeededRandom::new(seed);
        let content: Vec<u8> =
            (0..bytes.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes()).collect();
        let content = Bytes::from(content).slice(..bytes);
        let path = StorePath::from(path);
        self.counted.put(&path, content.clone().into()).await.expect("written");
        content
    }

    fn requests(&self) -> usize {
        self.counted.taken().0
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path()).expect("a folder");
        entries.map(|entry| entry.expect("a file").path()).collect()
    }
}

async fn read(store: &CachedStore, range: Range<u64>) -> Bytes {
    store.get_range(&StorePath::from(OBJECT), range).await.expect("reads")
}

#[tokio::test]
async fn ranges_come_from_the_store_once() {
    let bench = Bench::new(100 * MIB);
    let bytes = 20 * MIB + 77;
    let content = bench.put(OBJECT, bytes as usize, 1).await;
    let store = bench.reading();
    // The range, and how many requests it takes: one for each run of blocks that are not there, in
    // groups of eight.
    for (range, requests) in [
        (MIB - 1..MIB + 1, 1),
        (0..2 * MIB, 0),
        (bytes - 3..bytes, 1),
        (4 * MIB..5 * MIB, 1),
        (2 * MIB..7 * MIB + 5, 2),
        (0..bytes, 2),
        (0..bytes, 0),
        (17..bytes - 17, 0),
    ] {
        let found = read(&store, range.clone()).await;
        assert_eq!(found, content.slice(range.start as usize..range.end as usize), "{range:?}");
        assert_eq!(bench.requests(), requests, "{range:?}");
    }
    let whole = store.get(&StorePath::from(OBJECT)).await.expect("reads");
    assert_eq!(whole.meta.size, bytes);
    assert_eq!(whole.bytes().await.expect("reads"), content);
    assert_eq!(bench.requests(), 0);
    assert_eq!(bench.cache.figures().fetched_bytes, bytes);
    let missing = store.get(&StorePath::from("nowhere")).await.expect_err("not there");
    assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing}");
    let beyond = store.get_range(&StorePath::from(OBJECT), bytes + 1..bytes + 2).await;
    beyond.expect_err("beyond its end");
}

#[tokio::test]
async fn another_process_finds_the_blocks_again() {
    let mut bench = Bench::new(100 * MIB);
    let content = bench.put(OBJECT, 3 << 20, 2).await;
    read(&bench.reading(), 0..3 * MIB).await;
    bench.requests();
    // Half a block that nobody finished, and a file of somebody else.
    fs::write(bench.folder.path().join("7.new"), b"half").expect("written");
    fs::write(bench.folder.path().join("0-1"), b"no block").expect("written");
    bench.cache =
        ReadCache::open(bench.folder.path(), 100 * MIB, Reserve::Bytes(0)).expect("opens");
    assert_eq!(bench.files().len(), 3);
    assert_eq!(read(&bench.reading(), 0..3 * MIB).await, content);
    assert_eq!(bench.requests(), 0);
    // With a lower bound it keeps less of them.
    bench.cache = ReadCache::open(bench.folder.path(), 2 * MIB, Reserve::Bytes(0)).expect("opens");
    assert_eq!(bench.files().len(), 1);
}

#[tokio::test]
async fn damaged_and_lost_blocks_are_fetched_again() {
    let bench = Bench::new(100 * MIB);
    let content = bench.put(OBJECT, 2 << 20, 3).await;
    let store = bench.reading();
    read(&store, 0..2 * MIB).await;
    bench.requests();
    for damage in 0..4 {
        for file in bench.files() {
            let mut bytes = fs::read(&file).expect("a block");
            match damage {
                0 => bytes[77] ^= 1,
                1 => bytes.truncate(1000),
                2 => bytes.clear(),
                _ => {
                    fs::remove_file(&file).expect("removed");
                    continue;
                }
            }
            fs::write(&file, bytes).expect("written");
        }
        assert_eq!(read(&store, 0..2 * MIB).await, content, "{damage}");
        assert_eq!(bench.requests(), 1, "{damage}");
        assert_eq!(bench.files().len(), 2, "{damage}");
    }
}

#[tokio::test]
async fn it_stays_within_its_bound_and_gives_way() {
    let bench = Bench::new(5 * MIB);
    let content = bench.put(OBJECT, 40 << 20, 4).await;
    let store = bench.reading();
    assert_eq!(read(&store, 0..40 * MIB).await, content);
    bench.cache.blocks.run_pending_tasks();
    let on_disk =
        || bench.files().iter().map(|file| fs::metadata(file).map_or(0, |m| m.len())).sum();
    let held: u64 = on_disk();
    assert!((1..=5 * MIB).contains(&held), "{held}");
    assert!(bench.cache.figures().bytes <= 5 * MIB);
    bench.cache.give_way(u64::MAX);
    assert!(bench.files().is_empty());
    // A disk without room: everything is still answered, and nothing is kept.
    let full = ReadCache::open(bench.folder.path(), 5 * MIB, Reserve::Bytes(u64::MAX));
    let store: Arc<dyn ObjectStore> = bench.counted.clone();
    let store = CachedStore::new(store, full.expect("opens"), "s3://bucket");
    assert_eq!(read(&store, 0..2 * MIB).await, content.slice(..2 << 20));
    assert!(bench.files().is_empty());
}

#[tokio::test]
async fn an_object_of_another_content_is_another_object() {
    let bench = Bench::new(100 * MIB);
    let first = bench.put(OBJECT, 1000, 5).await;
    assert_eq!(read(&bench.reading(), 0..1000).await, first);
    let second = bench.put(OBJECT, 1000, 6).await;
    // By a process that has not asked for its size yet.
    let cache = ReadCache::open(bench.folder.path(), 100 * MIB, Reserve::Bytes(0)).expect("opens");
    let store: Arc<dyn ObjectStore> = bench.counted.clone();
    let store = CachedStore::new(store, cache, "s3://bucket");
    assert_eq!(read(&store, 0..1000).await, second);
}

#[tokio::test]
async fn many_readers_share_one_request() {
    let bench = Bench::new(100 * MIB);
    let content = bench.put(OBJECT, 3 << 20, 7).await;
    bench.counted.hold();
    let store = bench.reading();
    let readers = join_all((0..20).map(|_| read(&store, 0..3 * MIB)));
    let let_one_pass = async {
        while bench.counted.requests() == 0 {
            tokio::task::yield_now().await;
        }
        bench.counted.answer_one();
    };
    let (found, ()) = tokio::join!(readers, let_one_pass);
    assert!(found.iter().all(|found| *found == content));
    assert_eq!(bench.requests(), 1);
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_the_others_their_bytes() {
    let bench = Bench::new(100 * MIB);
    let content = bench.put(OBJECT, 1 << 20, 8).await;
    bench.counted.hold();
    let store = bench.reading();
    let mut first = Box::pin(read(&store, 0..MIB));
    while bench.counted.requests() == 0 {
        assert!(futures::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }
    let mut second = Box::pin(read(&store, 0..MIB));
    for _ in 0..100 {
        assert!(futures::poll!(&mut second).is_pending());
        tokio::task::yield_now().await;
    }
    drop(first);
    bench.counted.answer_one();
    assert_eq!(second.await, content);
    assert_eq!(bench.requests(), 2);
    assert!(bench.cache.fetching.lock().is_empty());
}
