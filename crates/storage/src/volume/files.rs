//! How a local store writes: every change of the disk is a step, in an order after which a crash
//! leaves the old state or the new one.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use object_store::PutPayload;
use object_store::path::Path;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::disk::{DiskStep, DiskWatch};
use super::local::{StoreResult, store_error};

/// Files that are not finished are kept here, below the folder.
pub const TEMPORARY_FOLDER: &str = ".tmp";

/// The writing half.
#[derive(Debug)]
pub struct Files {
    /// An absolute path.
    pub folder: PathBuf,
    next_temporary: AtomicU64,
    durable: Mutex<HashSet<PathBuf>>,
    watch: Option<Arc<dyn DiskWatch>>,
    watched_turn: tokio::sync::Mutex<()>,
}

impl Files {
    /// The files below `folder`.
    pub fn new(folder: PathBuf) -> Files {
        Files {
            folder,
            next_temporary: AtomicU64::new(0),
            durable: Mutex::default(),
            watch: None,
            watched_turn: tokio::sync::Mutex::default(),
        }
    }

    /// Tells `watch` of each step.
    pub fn watched(self, watch: Arc<dyn DiskWatch>) -> Files {
        Files { watch: Some(watch), ..self }
    }

    /// Does `work`, which is `step`.
    pub async fn step<T>(
        &self,
        step: DiskStep<'_>,
        work: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let Some(watch) = &self.watch else { return work.await };
        // It sees steps in the order in which they are done.
        let _turn = self.watched_turn.lock().await;
        watch.before(&step)?;
        let done = work.await?;
        watch.after(&step);
        Ok(done)
    }

    /// Where `location` is.
    pub fn path(&self, location: &Path) -> PathBuf {
        self.folder.join(location.as_ref())
    }

    /// A new temporary file, which no other process has.
    pub async fn temporary(&self) -> io::Result<(PathBuf, File)> {
        loop {
            let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(TEMPORARY_FOLDER).join(number.to_string());
            let creating =
                async { OpenOptions::new().write(true).create_new(true).open(&path).await };
            match self.step(DiskStep::CreateFile(&path), creating).await {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => return opened.map(|file| (path, file)),
            }
        }
    }

    /// Writes and syncs a new temporary file.
    pub async fn write_temporary(&self, payload: &PutPayload) -> io::Result<PathBuf> {
        let (path, mut file) = self.temporary().await?;
        let writing = async {
            for bytes in payload {
                file.write_all(bytes).await?;
            }
            file.flush().await
        };
        let written = match self.step(DiskStep::Write(&path), writing).await {
            Ok(()) => self.step(DiskStep::SyncFile(&path), file.sync_all()).await,
            failed => failed,
        };
        match written {
            Ok(()) => Ok(path),
            Err(error) => {
                // What could not be written is worth nothing; its owner cleans up too.
                let _ = self.remove_file(&path).await;
                Err(error)
            }
        }
    }

    /// Moves a synced temporary file to `location`, durably, or deletes it.
    pub async fn publish(
        &self,
        temporary: &FilePath,
        location: &Path,
        create: bool,
    ) -> StoreResult<()> {
        let moved = self.move_file(temporary, location, create).await;
        if moved.is_err() {
            let _ = self.remove_file(temporary).await;
        }
        moved
    }

    /// Moves a synced file to `location`, durably; it stays where it is when that fails.
    pub async fn move_file(
        &self,
        source: &FilePath,
        location: &Path,
        create: bool,
    ) -> StoreResult<()> {
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
            let step = DiskStep::Link { from: source, to: target };
            self.step(step, fs::hard_link(source, target)).await?;
            self.remove_file(source).await?;
        } else {
            let step = DiskStep::Rename { from: source, to: target };
            self.step(step, fs::rename(source, target)).await?;
        }
        self.sync_folder(parent).await
    }

    /// Makes `folder` and what is missing above it, each synced into its parent.
    async fn make_folders(&self, folder: &FilePath) -> io::Result<()> {
        // Who made it waits with us: the files of one part are committed together.
        if fs::try_exists(folder).await? {
            return Ok(());
        }
        let leaf = folder;
        let mut wanted = vec![leaf];
        let above = leaf.ancestors().skip(1).take_while(|above| *above != self.folder);
        // One that is there may have been made by a write that has not synced it yet, and that may
        // fail.
        wanted.extend(above.take_while(|above| !self.is_durable(above)));
        for folder in wanted.into_iter().rev() {
            match self.step(DiskStep::MakeFolder(folder), fs::create_dir(folder)).await {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.sync_folder(folder.parent().unwrap_or(&self.folder)).await?,
            }
            if folder != leaf {
                self.durable().insert(folder.to_owned());
            }
        }
        Ok(())
    }

    /// Folders that hold folders and are known to outlast a crash: as many as there are tables.
    fn durable(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_durable(&self, folder: &FilePath) -> bool {
        self.durable().contains(folder)
    }

    /// Deletes a file, and the folders above it that this leaves empty.
    pub async fn delete(&self, location: &Path) -> StoreResult<()> {
        let path = self.path(location);
        let deleted = async {
            self.remove_file(&path).await?;
            self.remove_empty_folders(&path).await
        };
        deleted.await.map_err(|error| store_error(error, location))
    }

    /// Removes the folders above `path` that are empty, durably.
    pub async fn remove_empty_folders(&self, path: &FilePath) -> io::Result<()> {
        let mut folder = path.parent();
        while let Some(empty) = folder.filter(|folder| *folder != self.folder) {
            // Fails when it is not empty, which ends the walk.
            let step = DiskStep::RemoveFolder(empty);
            if self.step(step, fs::remove_dir(empty)).await.is_err() {
                return self.sync_folder(empty).await;
            }
            self.durable().remove(empty);
            folder = empty.parent();
        }
        self.sync_folder(&self.folder).await
    }

    /// Copies a file.
    pub async fn copy(&self, from: &Path, to: &Path, create: bool) -> StoreResult<()> {
        let (temporary, _) = self.temporary().await.map_err(|error| store_error(error, to))?;
        let source = self.path(from);
        let copying = self.step(DiskStep::Write(&temporary), fs::copy(&source, &temporary));
        let copied = match copying.await {
            Ok(_) => {
                let syncing = async { File::open(&temporary).await?.sync_all().await };
                self.step(DiskStep::SyncFile(&temporary), syncing).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = copied {
            let _ = self.remove_file(&temporary).await;
            return Err(store_error(error, from));
        }
        self.publish(&temporary, to, create).await
    }

    /// Removes a file.
    pub async fn remove_file(&self, path: &FilePath) -> io::Result<()> {
        self.step(DiskStep::RemoveFile(path), fs::remove_file(path)).await
    }

    async fn sync_folder(&self, folder: &FilePath) -> io::Result<()> {
        let syncing = async {
            match File::open(folder).await {
                Ok(folder) => folder.sync_all().await,
                // Deleted by somebody else, and with it what was to be synced.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.step(DiskStep::SyncFolder(folder), syncing).await
    }
}
