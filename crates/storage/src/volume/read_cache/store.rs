//! An object store whose reads go through the cache.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result as StoreResult,
};

use super::fetch::Object;
use super::{BLOCK_BYTES, ReadCache};

/// Blocks that one read holds and asks for at a time.
const GROUP_BLOCKS: u64 = 8;

/// `store`, read through `cache`. For files that never change under their name.
#[derive(Clone, Debug)]
pub struct CachedStore {
    store: Arc<dyn ObjectStore>,
    cache: Arc<ReadCache>,
    /// Tells the objects of this store from those of others.
    scope: Arc<str>,
}

impl CachedStore {
    /// `scope` tells the objects of `store` from those of other stores in the same cache.
    pub fn new(store: Arc<dyn ObjectStore>, cache: Arc<ReadCache>, scope: &str) -> CachedStore {
        CachedStore { store, cache, scope: scope.into() }
    }

    /// What the store says of an object; asked once.
    async fn meta(&self, path: &Path) -> StoreResult<ObjectMeta> {
        let name = format!("{}\n{path}", self.scope);
        if let Some(known) = self.cache.objects.get(&name) {
            return Ok(known);
        }
        let found = self.store.head(path).await?;
        self.cache.objects.insert(name, found.clone());
        Ok(found)
    }

    fn object(&self, meta: &ObjectMeta) -> Object {
        let (scope, path, bytes) = (&self.scope, &meta.location, meta.size);
        let version = match &meta.e_tag {
            Some(tag) => tag.clone(),
            None => meta.last_modified.to_rfc3339(),
        };
        let identity = format!("{scope}\n{path}\n{bytes}\n{version}");
        let hash = xxhash_rust::xxh3::xxh3_128(identity.as_bytes());
        Object { store: Arc::clone(&self.store), path: path.clone(), hash, bytes }
    }

    /// The bytes of `range`, a few blocks at a time.
    fn stream(&self, object: Object, range: Range<u64>) -> BoxStream<'static, StoreResult<Bytes>> {
        if range.is_empty() {
            return stream::empty().boxed();
        }
        let blocks = range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES);
        let last = blocks.end;
        let groups = blocks.step_by(GROUP_BLOCKS as usize);
        let (cache, object) = (Arc::clone(&self.cache), Arc::new(object));
        let read = move |first: u64| {
            let (cache, object, range) = (Arc::clone(&cache), Arc::clone(&object), range.clone());
            async move {
                let blocks = first..(first + GROUP_BLOCKS).min(last);
                let found = cache.blocks(&object, blocks).await?;
                let pieces = (first..).zip(found).map(|(block, content)| {
                    let start = block * BLOCK_BYTES;
                    let from = range.start.saturating_sub(start) as usize;
                    let to = (range.end - start).min(content.len() as u64) as usize;
                    Ok(content.slice(from..to))
                });
                let pieces: Vec<StoreResult<Bytes>> = pieces.collect();
                Ok::<_, object_store::Error>(stream::iter(pieces))
            }
        };
        stream::iter(groups).map(read).buffered(2).try_flatten().boxed()
    }
}

impl fmt::Display for CachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CachedStore({})", self.store)
    }
}

/// Whether the object is asked for as it is.
fn is_plain(options: &GetOptions) -> bool {
    options.if_match.is_none()
        && options.if_none_match.is_none()
        && options.if_modified_since.is_none()
        && options.if_unmodified_since.is_none()
        && options.version.is_none()
}

/// Of an object of so many bytes.
fn resolve(range: Option<&GetRange>, bytes: u64) -> StoreResult<Range<u64>> {
    let Some(range) = range else { return Ok(0..bytes) };
    range.as_range(bytes).map_err(|source| object_store::Error::Generic {
        store: "read cache",
        source: Box::new(source),
    })
}

#[async_trait]
impl ObjectStore for CachedStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        if !is_plain(&options) {
            return self.store.get_opts(location, options).await;
        }
        let meta = self.meta(location).await?;
        let range = match options.head {
            true => 0..0,
            false => resolve(options.range.as_ref(), meta.size)?,
        };
        let content = self.stream(self.object(&meta), range.clone());
        let payload = GetResultPayload::Stream(content);
        Ok(GetResult { payload, meta, range, attributes: Default::default() })
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.store.copy_opts(from, to, options).await
    }
}
