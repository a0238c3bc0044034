//! How a local store writes: every change of the disk is a step, in an order after which a crash
//! leaves the old state or the new one.

use std::future::Future;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::PutPayload;
use object_store::path::Path;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::disk::{DiskStep, DiskWatch};

type StoreResult<T> = object_store::Result<T>;

/// Files that are not finished are kept here, below the folder.
pub(super) const TEMPORARY_FOLDER: &str = ".tmp";

/// The writing half.
#[derive(Debug)]
pub(super) struct Files {
    /// An absolute path.
    pub folder: PathBuf,
    next_temporary: AtomicU64,
    watch: Option<Arc<dyn DiskWatch>>,
    watched_turn: tokio::sync::Mutex<()>,
}

impl Files {
    /// The files below `folder`.
    pub fn new(folder: PathBuf) -> Files {
        Files {
            folder,
            next_temporary: AtomicU64::new(0),
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
        self.sync_up(parent).await
    }

    /// Makes `folder` and what is missing above it; [`Files::sync_up`] makes them outlast a crash.
    async fn make_folders(&self, folder: &FilePath) -> io::Result<()> {
        if fs::try_exists(folder).await? {
            return Ok(());
        }
        let above = folder.ancestors().take_while(|above| *above != self.folder);
        let wanted: Vec<&FilePath> = above.collect();
        for folder in wanted.into_iter().rev() {
            let making = self.step(DiskStep::MakeFolder(folder), fs::create_dir(folder));
            match making.await {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Syncs `folder` and all above it, down from the store's own.
    async fn sync_up(&self, folder: &FilePath) -> io::Result<()> {
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.folder)) {
            self.sync_folder(folder).await?;
        }
        Ok(())
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

/// Makes `folder` and what is missing above it, each synced into its parent.
pub(super) fn make_durably(folder: &FilePath) -> io::Result<()> {
    let missing: Vec<&FilePath> =
        folder.ancestors().take_while(|folder| !folder.exists()).skip(1).collect();
    std::fs::create_dir_all(folder)?;
    for made in std::iter::once(folder).chain(missing) {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
        match std::fs::File::open(parent.unwrap_or(FilePath::new("."))) {
            Ok(parent) => parent.sync_all()?,
            // A folder that may not even be read is an administrator's, and so is what stands in it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) fn store_error(error: io::Error, location: &Path) -> object_store::Error {
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use object_store::ObjectStoreExt;

    use super::super::LocalStore;
    use super::*;

    /// Sees what is synced, and makes it fail.
    #[derive(Debug, Default)]
    struct Probe {
        synced: Mutex<Vec<PathBuf>>,
        failing: Mutex<Option<PathBuf>>,
    }

    impl DiskWatch for Probe {
        fn before(&self, step: &DiskStep<'_>) -> io::Result<()> {
            match step {
                DiskStep::SyncFolder(folder)
                    if self.failing.lock().unwrap().as_deref() == Some(*folder) =>
                {
                    Err(io::Error::other("the disk is gone"))
                }
                _ => Ok(()),
            }
        }

        fn after(&self, step: &DiskStep<'_>) {
            if let DiskStep::SyncFolder(folder) = step {
                self.synced.lock().unwrap().push(folder.to_path_buf());
            }
        }
    }

    fn probed(folder: &FilePath) -> (LocalStore, Arc<Probe>) {
        let probe = Arc::<Probe>::default();
        let watch = Arc::clone(&probe) as Arc<dyn DiskWatch>;
        (LocalStore::open(folder).unwrap().watched(watch), probe)
    }

    /// The folders that a write syncs, below the store's.
    async fn synced(store: &LocalStore, probe: &Probe, location: &str) -> Vec<String> {
        probe.synced.lock().unwrap().clear();
        store.put(&Path::from(location), "x".into()).await.unwrap();
        let relative = |folder: &PathBuf| {
            folder.strip_prefix(store.folder()).unwrap().to_str().unwrap().to_owned()
        };
        probe.synced.lock().unwrap().iter().map(relative).collect()
    }

    #[tokio::test]
    async fn folders_that_another_write_made_are_synced_before_a_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (store, probe) = probed(folder.path());
        // As another write leaves it that is killed before, or has not come to, its sync.
        std::fs::create_dir_all(folder.path().join("parts/7")).unwrap();
        assert_eq!(
            synced(&store, &probe, "parts/7/71/index").await,
            ["parts/7/71", "parts/7", "parts", ""]
        );

        // Where the sync of a folder fails, the next write does it again.
        *probe.failing.lock().unwrap() = Some(store.folder().join("parts"));
        let location = Path::from("parts/8/80/index");
        store.put(&location, "x".into()).await.unwrap_err();
        *probe.failing.lock().unwrap() = None;
        assert_eq!(
            synced(&store, &probe, "parts/8/80/index").await,
            ["parts/8/80", "parts/8", "parts", ""]
        );
    }

    #[test]
    fn a_store_makes_its_own_folder_durably() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        LocalStore::open(&deep).unwrap();
        LocalStore::open(&deep).unwrap();
        assert!(deep.join(TEMPORARY_FOLDER).is_dir());
        std::fs::write(folder.path().join("file"), "x").unwrap();
        assert!(LocalStore::open(&folder.path().join("file")).is_err());
    }
}
