//! A folder as an object store whose writes are durable when they return.
//!
//! `object_store`'s own local file system never syncs, so it serves only reads here. A write goes
//! to a temporary file, which is synced, renamed into place, and its folder synced; folders made on
//! the way are synced into their parents. After a crash a path holds its old or its new content,
//! and whatever a caller was told is written is there.

use std::fmt;
use std::io::{self, SeekFrom};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

type StoreResult<T> = object_store::Result<T>;

/// Files that are not finished are kept here, below the folder.
const TEMPORARY_FOLDER: &str = ".tmp";

/// A folder on this machine.
#[derive(Debug)]
pub struct LocalStore {
    files: Arc<Files>,
    reads: LocalFileSystem,
}

impl LocalStore {
    /// Opens `folder`, making it when it is not there. Several processes may have it open. Kinds
    /// `InvalidInput` when it cannot be a folder, `PermissionDenied`, `ResourceExhausted`.
    pub fn open(folder: &FilePath) -> Result<LocalStore> {
        let failed = |error: io::Error| super::io_error(&error).context(folder.display());
        std::fs::create_dir_all(folder.join(TEMPORARY_FOLDER)).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        std::fs::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        let reads = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| Error::invalid(error.to_string()))?;
        let files = Files { folder, next_temporary: AtomicU64::new(0) };
        Ok(LocalStore { files: Arc::new(files), reads })
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
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.files.folder.display())
    }
}

/// The writing half.
#[derive(Debug)]
struct Files {
    folder: PathBuf,
    next_temporary: AtomicU64,
}

impl Files {
    fn path(&self, location: &Path) -> PathBuf {
        self.folder.join(location.as_ref())
    }

    /// A new temporary file, which no other process has.
    async fn temporary(&self) -> io::Result<(PathBuf, File)> {
        loop {
            let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(TEMPORARY_FOLDER).join(number.to_string());
            match OpenOptions::new().write(true).create_new(true).open(&path).await {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => return opened.map(|file| (path, file)),
            }
        }
    }

    /// Writes and syncs a new temporary file.
    async fn write_temporary(&self, payload: &PutPayload) -> io::Result<PathBuf> {
        let (path, mut file) = self.temporary().await?;
        let written = async {
            for bytes in payload {
                file.write_all(bytes).await?;
            }
            file.flush().await?;
            file.sync_all().await
        };
        match written.await {
            Ok(()) => Ok(path),
            Err(error) => {
                // What could not be written is worth nothing; its owner cleans up too.
                let _ = fs::remove_file(&path).await;
                Err(error)
            }
        }
    }

    /// Moves a synced temporary file to `location`, durably, or deletes it.
    async fn publish(
        &self,
        temporary: &FilePath,
        location: &Path,
        create: bool,
    ) -> StoreResult<()> {
        let moved = self.move_file(temporary, location, create).await;
        if moved.is_err() {
            let _ = fs::remove_file(temporary).await;
        }
        moved
    }

    /// Moves a synced file to `location`, durably; it stays where it is when that fails.
    async fn move_file(&self, source: &FilePath, location: &Path, create: bool) -> StoreResult<()> {
        let target = self.path(location);
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.move_into(source, &target, create).await {
                // A deletion may have taken the folder away between its making and the move.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < 4 => {}
                moved => return moved.map_err(|error| store_error(error, location)),
            }
        }
    }

    async fn move_into(
        &self,
        source: &FilePath,
        target: &FilePath,
        create: bool,
    ) -> io::Result<()> {
        let parent = target.parent().unwrap_or(&self.folder);
        self.make_folders(parent).await?;
        if create {
            fs::hard_link(source, target).await?;
            fs::remove_file(source).await?;
        } else {
            fs::rename(source, target).await?;
        }
        sync_folder(parent).await
    }

    /// Makes `folder` and what is missing above it, each synced into its parent.
    async fn make_folders(&self, folder: &FilePath) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut next = folder;
        while !fs::try_exists(next).await? {
            missing.push(next);
            match next.parent() {
                Some(parent) => next = parent,
                None => break,
            }
        }
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder).await {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                // When another write made it first, it may not have synced it yet.
                _ => sync_folder(folder.parent().unwrap_or(&self.folder)).await?,
            }
        }
        Ok(())
    }

    /// Deletes a file, and the folders above it that this leaves empty.
    async fn delete(&self, location: &Path) -> StoreResult<()> {
        let path = self.path(location);
        let deleted = async {
            fs::remove_file(&path).await?;
            self.remove_empty_folders(&path).await
        };
        deleted.await.map_err(|error| store_error(error, location))
    }

    /// Removes the folders above `path` that are empty, durably.
    async fn remove_empty_folders(&self, path: &FilePath) -> io::Result<()> {
        let mut folder = path.parent();
        while let Some(empty) = folder.filter(|folder| *folder != self.folder) {
            // Fails when it is not empty, which ends the walk.
            if fs::remove_dir(empty).await.is_err() {
                return sync_folder(empty).await;
            }
            folder = empty.parent();
        }
        sync_folder(&self.folder).await
    }

    async fn copy(&self, from: &Path, to: &Path, create: bool) -> StoreResult<()> {
        let (temporary, _) = self.temporary().await.map_err(|error| store_error(error, to))?;
        let copied = async {
            fs::copy(self.path(from), &temporary).await?;
            File::open(&temporary).await?.sync_all().await
        };
        if let Err(error) = copied.await {
            let _ = fs::remove_file(&temporary).await;
            return Err(store_error(error, from));
        }
        self.publish(&temporary, to, create).await
    }
}

async fn sync_folder(folder: &FilePath) -> io::Result<()> {
    match File::open(folder).await {
        Ok(folder) => folder.sync_all().await,
        // Deleted by somebody else, and with it what was to be synced.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn store_error(error: io::Error, location: &Path) -> object_store::Error {
    let path = location.to_string();
    match error.kind() {
        io::ErrorKind::NotFound => object_store::Error::NotFound { path, source: Box::new(error) },
        io::ErrorKind::AlreadyExists => {
            object_store::Error::AlreadyExists { path, source: Box::new(error) }
        }
        io::ErrorKind::PermissionDenied => {
            object_store::Error::PermissionDenied { path, source: Box::new(error) }
        }
        _ => object_store::Error::Generic { store: "LocalStore", source: Box::new(error) },
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
        Box::pin(async move {
            // A handle of its own, since pieces may be written at the same time.
            let written = async {
                let mut file = OpenOptions::new().write(true).open(&temporary).await?;
                file.seek(SeekFrom::Start(offset)).await?;
                for bytes in &payload {
                    file.write_all(bytes).await?;
                }
                file.flush().await
            };
            written.await.map_err(|error| store_error(error, &location))
        })
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let synced = async { File::open(&self.temporary).await?.sync_all().await };
        synced.await.map_err(|error| store_error(error, &self.location))?;
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
