//! Blocks that are not there: each is fetched once, however many wait for it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, Result as StoreResult};
use tokio::sync::watch;

use super::{BLOCK_BYTES, BlockKey, ReadCache};

/// An object that is read.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub store: Arc<dyn ObjectStore>,
    pub path: Path,
    pub hash: u128,
    pub bytes: u64,
}

impl Object {
    fn key(&self, block: u64) -> BlockKey {
        BlockKey { object: self.hash, block }
    }

    /// The bytes of these blocks.
    fn range(&self, blocks: Range<u64>) -> Range<u64> {
        blocks.start * BLOCK_BYTES..(blocks.end * BLOCK_BYTES).min(self.bytes)
    }

    async fn fetch(&self, blocks: Range<u64>) -> StoreResult<Bytes> {
        let range = self.range(blocks);
        let wanted = range.end - range.start;
        let content = self.store.get_range(&self.path, range).await?;
        match content.len() as u64 == wanted {
            true => Ok(content),
            false => Err(object_store::Error::Generic {
                store: "read cache",
                source: format!("{} gave {} bytes instead of {wanted}", self.path, content.len())
                    .into(),
            }),
        }
    }
}

/// A block that this reader fetches for all. Whoever waits fetches it alone when this goes unanswered.
struct Claim<'c> {
    cache: &'c ReadCache,
    key: BlockKey,
    answer: watch::Sender<Option<Bytes>>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.cache.fetching.lock().remove(&self.key);
    }
}

/// A block that is not on the disk.
enum Missing<'c> {
    Claimed(Claim<'c>),
    Awaited(watch::Receiver<Option<Bytes>>),
}

impl ReadCache {
    /// Blocks of an object, few enough to hold all of them in memory.
    pub(super) async fn blocks(
        &self,
        object: &Object,
        blocks: Range<u64>,
    ) -> StoreResult<Vec<Bytes>> {
        let kept = blocks.clone().map(|block| async move {
            let range = object.range(block..block + 1);
            self.get(&object.key(block), range.end - range.start).await
        });
        let mut found = join_all(kept).await;
        let first = blocks.start;
        let missing = blocks.filter(|block| found[(block - first) as usize].is_none());
        let (claims, awaited) = self.claim(object, missing);
        let fetched = runs(claims).into_iter().map(|run| self.fetch_run(object, run));
        for (block, content) in try_join_all(fetched).await?.into_iter().flatten() {
            found[(block - first) as usize] = Some(content);
        }
        for (block, answer) in awaited {
            found[(block - first) as usize] = Some(self.wait(object, block, answer).await?);
        }
        Ok(found.into_iter().flatten().collect())
    }

    #[allow(clippy::type_complexity)] // Two lists of pairs.
    fn claim(
        &self,
        object: &Object,
        missing: impl Iterator<Item = u64>,
    ) -> (Vec<(u64, Claim<'_>)>, Vec<(u64, watch::Receiver<Option<Bytes>>)>) {
        let (mut claims, mut awaited) = (Vec::new(), Vec::new());
        for block in missing {
            match self.missing(object.key(block)) {
                Missing::Claimed(claim) => claims.push((block, claim)),
                Missing::Awaited(answer) => awaited.push((block, answer)),
            }
        }
        (claims, awaited)
    }

    fn missing(&self, key: BlockKey) -> Missing<'_> {
        let mut fetching = self.fetching.lock();
        if let Some(answer) = fetching.get(&key) {
            return Missing::Awaited(answer.clone());
        }
        let (answer, waiting) = watch::channel(None);
        fetching.insert(key, waiting);
        Missing::Claimed(Claim { cache: self, key, answer })
    }

    /// Fetches neighbours with one request.
    async fn fetch_run(
        &self,
        object: &Object,
        run: Vec<(u64, Claim<'_>)>,
    ) -> StoreResult<Vec<(u64, Bytes)>> {
        let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else {
            return Ok(Vec::new());
        };
        let (first, content) = (*first, object.fetch(*first..*last + 1).await?);
        let mut fetched = Vec::with_capacity(run.len());
        for (block, claim) in run {
            let start = ((block - first) * BLOCK_BYTES) as usize;
            let end = (start + BLOCK_BYTES as usize).min(content.len());
            let piece = content.slice(start..end);
            claim.answer.send_replace(Some(piece.clone()));
            self.put(claim.key, &piece).await;
            fetched.push((block, piece));
        }
        Ok(fetched)
    }

    async fn wait(
        &self,
        object: &Object,
        block: u64,
        mut answer: watch::Receiver<Option<Bytes>>,
    ) -> StoreResult<Bytes> {
        let answered = answer.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        match answered {
            Some(content) => {
                let bytes = content.len() as u64;
                self.hit_bytes.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
                Ok(content)
            }
            // It failed for the other reader, or nobody wanted it there any more.
            None => object.fetch(block..block + 1).await,
        }
    }
}

/// Claims of neighbours together.
fn runs(claims: Vec<(u64, Claim<'_>)>) -> Vec<Vec<(u64, Claim<'_>)>> {
    let mut runs: Vec<Vec<(u64, Claim<'_>)>> = Vec::new();
    for (block, claim) in claims {
        match runs.last_mut().filter(|run| run.last().is_some_and(|last| last.0 + 1 == block)) {
            Some(run) => run.push((block, claim)),
            None => runs.push(vec![(block, claim)]),
        }
    }
    runs
}
