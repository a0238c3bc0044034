//! An object store for tests that look at what is read.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use tokio::sync::Semaphore;

/// Requests that are answered while nobody holds them.
const FREE: usize = 1 << 20;

/// A store in memory that counts requests for bytes, and can hold the answers.
#[derive(Debug)]
pub struct Counted {
    inner: InMemory,
    requests: AtomicUsize,
    bytes: AtomicU64,
    allowed: Semaphore,
}

impl Default for Counted {
    fn default() -> Self {
        Counted {
            inner: InMemory::new(),
            requests: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            allowed: Semaphore::new(FREE),
        }
    }
}

impl Counted {
    /// Requests since the last look.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Requests since the last call, and the bytes that they were answered with.
    pub fn taken(&self) -> (usize, u64) {
        (self.requests.swap(0, Ordering::SeqCst), self.bytes.swap(0, Ordering::SeqCst))
    }

    /// Answers nothing from now on.
    pub fn hold(&self) {
        self.allowed.forget_permits(FREE);
    }

    /// Answers one request that is held, or the next one.
    pub fn answer_one(&self) {
        self.allowed.add_permits(1);
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        if options.head {
            return self.inner.get_opts(location, options).await;
        }
        {
            self.requests.fetch_add(1, Ordering::SeqCst);
            let allowed = self.allowed.acquire().await;
            allowed
                .map_err(|closed| object_store::Error::Generic {
                    store: "counted",
                    source: Box::new(closed),
                })?
                .forget();
        }
        let found = self.inner.get_opts(location, options).await?;
        self.bytes.fetch_add(found.range.end - found.range.start, Ordering::SeqCst);
        Ok(found)
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
