//! A folder as an object store whose writes are durable when they return.
//!
//! `object_store`'s own local file system never syncs, so it serves only reads here. A write goes
//! to a temporary file, which is synced, renamed into place, and its folder synced with every folder
//! above it: another write may have made one of them and not have come to its sync, or have been
//! killed before it. After a crash a path holds its old or its new content, and whatever a caller
//! was told is written is there.

use std::fmt;
use std::io::{self, SeekFrom};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use granary_common::{Error, Result};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    RenameTargetMode, UploadPart,
};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::disk::{DiskStep, DiskWatch};
use super::files::{Files, TEMPORARY_FOLDER, make_durably, store_error};

type StoreResult<T> = object_store::Result<T>;

/// A folder on this machine.
#[derive(Debug)]
pub struct LocalStore {
    pub(super) files: Arc<Files>,
    reads: LocalFileSystem,
}

impl LocalStore {
    /// Opens `folder`, making it when it is not there. Several processes may have it open. Kinds
    /// `InvalidInput` when it cannot be a folder, `PermissionDenied`, `ResourceExhausted`.
    pub fn open(folder: &FilePath) -> Result<LocalStore> {
        let failed = |error: io::Error| super::io_error(&error).context(folder.display());
        make_durably(folder).map_err(failed)?;
        make_durably(&folder.join(TEMPORARY_FOLDER)).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        let reads = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| Error::invalid(error.to_string()))?;
        Ok(LocalStore { files: Arc::new(Files::new(folder)), reads })
    }

    /// Opens `folder` as its only owner, and deletes unfinished files of earlier runs.
    pub fn open_owned(folder: &FilePath) -> Result<LocalStore> {
        let store = Self::open(folder)?;
        let temporary = store.files.folder.join(TEMPORARY_FOLDER);
        let emptied =
            std::fs::remove_dir_all(&temporary).and_then(|()| std::fs::create_dir(&temporary));
        emptied.map_err(|error| super::io_error(&error).context(temporary.display()))?;
        Ok(store)
    }

    /// The folder, as an absolute path.
    pub fn folder(&self) -> &FilePath {
        &self.files.folder
    }

    /// The same folder with `watch` told of each step from now on, for tests that inject faults.
    pub fn watched(self, watch: Arc<dyn DiskWatch>) -> LocalStore {
        let files = Files::new(self.files.folder.clone()).watched(watch);
        LocalStore { files: Arc::new(files), ..self }
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.files.folder.display())
    }
}

fn not_offered(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: "LocalStore".to_owned(),
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        let create = match options.mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            PutMode::Update(_) => return Err(not_offered("put with an expected version")),
        };
        let temporary = self.files.write_temporary(&payload).await;
        let temporary = temporary.map_err(|error| store_error(error, location))?;
        self.files.publish(&temporary, location, create).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let made = self.files.temporary().await;
        let (temporary, _) = made.map_err(|error| store_error(error, location))?;
        Ok(Box::new(LocalUpload {
            files: Arc::clone(&self.files),
            temporary,
            location: location.clone(),
            offset: 0,
            finished: false,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.reads.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        let files = Arc::clone(&self.files);
        let delete = move |location: StoreResult<Path>| {
            let files = Arc::clone(&files);
            async move {
                let location = location?;
                files.delete(&location).await?;
                Ok(location)
            }
        };
        locations.map(delete).buffered(8).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.reads.list(prefix).filter(|object| std::future::ready(is_finished(object))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let mut listed = self.reads.list_with_delimiter(prefix).await?;
        listed.common_prefixes.retain(|path| path.as_ref() != TEMPORARY_FOLDER);
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.files.copy(from, to, options.mode == CopyMode::Create).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> StoreResult<()> {
        let create = options.target_mode == RenameTargetMode::Create;
        let source = self.files.path(from);
        self.files.move_file(&source, to, create).await?;
        let cleaned = self.files.remove_empty_folders(&source).await;
        cleaned.map_err(|error| store_error(error, from))
    }
}

fn is_finished(object: &StoreResult<ObjectMeta>) -> bool {
    object.as_ref().map_or(true, |object| {
        object.location.parts().next().is_none_or(|part| part.as_ref() != TEMPORARY_FOLDER)
    })
}

/// A file that is written in pieces and appears when it is complete.
#[derive(Debug)]
struct LocalUpload {
    files: Arc<Files>,
    temporary: PathBuf,
    location: Path,
    offset: u64,
    finished: bool,
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        if !self.finished {
            // What is not finished is worth nothing; its owner cleans up too.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let offset = self.offset;
        self.offset += payload.content_length() as u64;
        let (temporary, location) = (self.temporary.clone(), self.location.clone());
        let files = Arc::clone(&self.files);
        Box::pin(async move {
            // A handle of its own, since pieces may be written at the same time.
            let writing = async {
                let mut file = OpenOptions::new().write(true).open(&temporary).await?;
                file.seek(SeekFrom::Start(offset)).await?;
                for bytes in &payload {
                    file.write_all(bytes).await?;
                }
                file.flush().await
            };
            let written = files.step(DiskStep::Write(&temporary), writing).await;
            written.map_err(|error| store_error(error, &location))
        })
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let syncing = async { File::open(&self.temporary).await?.sync_all().await };
        let synced = self.files.step(DiskStep::SyncFile(&self.temporary), syncing).await;
        synced.map_err(|error| store_error(error, &self.location))?;
        self.files.publish(&self.temporary, &self.location, false).await?;
        self.finished = true;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.finished = true;
        let removed = fs::remove_file(&self.temporary).await;
        removed.map_err(|error| store_error(error, &self.location))
    }
}
