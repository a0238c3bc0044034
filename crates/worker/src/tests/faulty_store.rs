//! An object store that fails at a chosen change: without doing it, or after it was done.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UploadPart,
};
use parking_lot::Mutex;

use super::faulty_disk::Fault;

#[derive(Debug)]
struct Plan {
    steps: u64,
    fails_at: u64,
    fault: Fault,
    /// Whether the change that fails is made all the same: only the answer is lost.
    is_done: bool,
}

/// See the module. Clones fail together.
#[derive(Clone, Debug)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<Mutex<Plan>>,
}

impl FaultyStore {
    /// A store that works.
    pub fn new(inner: Arc<dyn ObjectStore>) -> FaultyStore {
        let plan = Plan { steps: 0, fails_at: u64::MAX, fault: Fault::OneStep, is_done: false };
        FaultyStore { inner, plan: Arc::new(Mutex::new(plan)) }
    }

    /// Counts changes from here on; change `at`, from 1, fails.
    pub fn arm(&self, fault: Fault, at: u64, is_done: bool) {
        *self.plan.lock() = Plan { steps: 0, fails_at: at, fault, is_done };
    }

    /// Whether the change that was to fail was reached.
    pub fn has_failed(&self) -> bool {
        let plan = self.plan.lock();
        plan.steps >= plan.fails_at
    }

    async fn step<T>(&self, change: impl Future<Output = Result<T>>) -> Result<T> {
        let (fails, is_done) = {
            let mut plan = self.plan.lock();
            plan.steps += 1;
            let is_first = plan.steps == plan.fails_at;
            let fails = is_first || (plan.fault == Fault::Crash && plan.steps > plan.fails_at);
            (fails, is_first && plan.is_done)
        };
        let failure = || Error::Generic { store: "FaultyStore", source: "no answer".into() };
        match fails {
            false => change.await,
            true if is_done => change.await.and_then(|_| Err(failure())),
            true => Err(failure()),
        }
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.step(self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.step(self.inner.put_multipart_opts(location, options)).await?;
        Ok(Box::new(FaultyUpload { upload, store: self.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let one = futures::stream::once(std::future::ready(Ok(location.clone()))).boxed();
                let mut deleted = store.inner.delete_stream(one);
                let deleting = async { deleted.next().await.unwrap_or(Ok(location)) };
                store.step(deleting).await
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.step(self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.step(self.inner.rename_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    upload: Box<dyn MultipartUpload>,
    store: FaultyStore,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let (part, store) = (self.upload.put_part(payload), self.store.clone());
        Box::pin(async move { store.step(part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let store = self.store.clone();
        store.step(self.upload.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        let store = self.store.clone();
        store.step(self.upload.abort()).await
    }
}
