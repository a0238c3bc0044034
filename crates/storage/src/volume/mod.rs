//! Where part files live: a worker's folder, or an object store that all workers reach.

mod disk;
mod files;
mod local;
mod owner;
mod read_cache;
mod room;
#[cfg(test)]
mod tests;
pub mod tiers;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use granary_catalog::PartLocation;
use granary_common::{Error, ErrorKind, Result, WorkerId};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;

pub use disk::{DiskStep, DiskWatch};
pub use local::LocalStore;
pub use owner::Owner;
pub use read_cache::{CachedStore, ReadCache, ReadCacheFigures};
pub use room::{Reserve, Room};
pub use tiers::{DEFAULT_DISK, TierVolume, Tiers};

/// Who reaches a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// Only this worker.
    Local { worker: WorkerId },
    /// Every worker.
    Shared,
}

/// A place for part files.
#[derive(Clone)]
pub struct Volume {
    /// Unique among the volumes of a worker.
    pub name: String,
    pub kind: VolumeKind,
    pub store: Arc<dyn ObjectStore>,
    /// Of every path in the store.
    pub prefix: Path,
    /// The folder behind `store`, when it is one on this machine; scans then read its files
    /// without going through the store.
    folder: Option<PathBuf>,
    /// The disk that it is, when it is not the data folder.
    disk: Option<String>,
    /// What is kept free of the disk behind it.
    reserve: Option<Reserve>,
    /// What files of parts are read through, when that is not `store`.
    reads: Option<Arc<dyn ObjectStore>>,
    /// On the same disk; it makes room when there is too little.
    cache: Option<Arc<ReadCache>>,
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Volume { name, kind, prefix, folder, .. } = self;
        write!(f, "Volume {{ {name}, {kind:?}, prefix: {prefix:?}, folder: {folder:?} }}")
    }
}

impl Volume {
    /// Opens the volume at `location`: a folder's path, `file://`, `s3://`, `gs://`, `az://`,
    /// `http(s)://` or `memory://`. A folder is made when it is not there. Credentials of object
    /// stores come from the process's environment, in the names that those stores' own tools use.
    /// Kinds `InvalidInput` and `Unavailable`.
    pub fn open(name: &str, kind: VolumeKind, location: &str) -> Result<Volume> {
        let (store, prefix, folder) = open_store(location, &kind)
            .map_err(|error| error.context(format!("volume {name} at {location}")))?;
        Ok(Volume { folder, prefix, ..Volume::over(name, kind, store) })
    }

    /// A volume over any store, for tests and fault injection.
    pub fn over(name: &str, kind: VolumeKind, store: Arc<dyn ObjectStore>) -> Volume {
        Volume {
            name: name.to_owned(),
            kind,
            store,
            prefix: Path::default(),
            folder: None,
            disk: None,
            reserve: None,
            reads: None,
            cache: None,
        }
    }

    /// The same volume, whose files of parts are read through `cache` from now on; `scope` tells its
    /// store from others.
    pub fn read_through(self, cache: &Arc<ReadCache>, scope: &str) -> Volume {
        let reads = CachedStore::new(Arc::clone(&self.store), Arc::clone(cache), scope);
        Volume { reads: Some(Arc::new(reads)), ..self }
    }

    /// The same volume with `cache` on its disk, which makes room where there is too little.
    pub fn beside(self, cache: &Arc<ReadCache>) -> Volume {
        Volume { cache: Some(Arc::clone(cache)), ..self }
    }

    /// The cache on its disk, if there is one.
    pub fn read_cache(&self) -> Option<&Arc<ReadCache>> {
        self.cache.as_ref()
    }

    /// What files of parts are read through: the store, or the cache before it. Whoever checks what
    /// the store holds asks `store` itself.
    pub fn reads(&self) -> &Arc<dyn ObjectStore> {
        self.reads.as_ref().unwrap_or(&self.store)
    }

    /// The same volume as the disk of its name, beside the data folder.
    pub fn as_disk(self) -> Volume {
        Volume { disk: Some(self.name.clone()), ..self }
    }

    /// A volume over an opened folder, for tests and fault injection.
    pub fn over_local(name: &str, kind: VolumeKind, store: LocalStore) -> Volume {
        let folder = Some(store.folder().to_owned());
        Volume { folder, ..Volume::over(name, kind, Arc::new(store)) }
    }

    /// The location of new parts on this volume.
    pub fn part_location(&self) -> PartLocation {
        match &self.kind {
            VolumeKind::Local { worker } => {
                PartLocation::Local { copies: vec![*worker], disk: self.disk.clone() }
            }
            VolumeKind::Shared => PartLocation::Shared { volume: self.name.clone() },
        }
    }

    /// `path` below the volume's prefix, as the store names it.
    pub fn path(&self, relative: &str) -> Path {
        match self.prefix.as_ref() {
            "" => Path::from(relative),
            prefix => Path::from(format!("{prefix}/{relative}")),
        }
    }

    /// The file of `path` (as [`Volume::path`] gives it) on this machine, if there is one.
    pub fn local_file(&self, path: &Path) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(path.as_ref()))
    }
}

/// A failed file operation.
pub(crate) fn io_error(error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::ResourceExhausted,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ErrorKind::PermissionDenied
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => ErrorKind::InvalidInput,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, error.to_string())
}

/// A failed operation of a store. A full disk is `ResourceExhausted`, a missing object `NotFound`,
/// refused credentials `PermissionDenied`, anything else `Unavailable`.
pub(crate) fn store_error(error: &object_store::Error) -> Error {
    use object_store::Error as Store;
    let kind = match error {
        Store::NotFound { .. } => ErrorKind::NotFound,
        Store::AlreadyExists { .. } => ErrorKind::AlreadyExists,
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
            ErrorKind::PermissionDenied
        }
        Store::NotSupported { .. } | Store::NotImplemented { .. } => ErrorKind::Unsupported,
        _ => ErrorKind::Unavailable,
    };
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<io::Error>()
            && io_error(io).kind() == ErrorKind::ResourceExhausted
        {
            return Error::exhausted(format!("the volume is full: {error}"));
        }
        source = current.source();
    }
    Error::new(kind, error.to_string())
}

type OpenedStore = (Arc<dyn ObjectStore>, Path, Option<PathBuf>);

fn open_store(location: &str, kind: &VolumeKind) -> Result<OpenedStore> {
    let invalid = |error: &dyn fmt::Display| Error::invalid(format!("not a volume: {error}"));
    let folder = if location.contains("://") {
        let url = Url::parse(location).map_err(|error| invalid(&error))?;
        match url.scheme() {
            "memory" => return Ok((Arc::new(InMemory::new()), Path::default(), None)),
            "file" => url.to_file_path().map_err(|()| invalid(&"the URL names no local path"))?,
            _ => {
                let variables = std::env::vars_os().filter_map(|(key, value)| {
                    Some((key.into_string().ok()?, value.into_string().ok()?))
                });
                let (store, prefix) = remote_store(&url, variables)?;
                return Ok((store, prefix, None));
            }
        }
    } else {
        PathBuf::from(location)
    };
    let store = match kind {
        VolumeKind::Local { .. } => LocalStore::open_owned(&folder)?,
        VolumeKind::Shared => LocalStore::open(&folder)?,
    };
    let folder = store.folder().to_owned();
    Ok((Arc::new(store), Path::default(), Some(folder)))
}

/// The object store of a URL and the path in it, with credentials and addresses from `variables`. Nobody
/// is asked yet.
fn remote_store(
    url: &Url,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<(Arc<dyn ObjectStore>, Path)> {
    let options = variables.map(|(name, value)| (name.to_lowercase(), value));
    let (store, prefix) = object_store::parse_url_opts(url, options)
        .map_err(|error| Error::invalid(format!("not a volume: {error}")))?;
    Ok((Arc::from(store), prefix))
}

/// The volumes that a worker reaches.
#[derive(Clone, Debug, Default)]
pub struct Volumes {
    local: Option<(WorkerId, Arc<Volume>)>,
    /// Local ones beside it, by their names.
    disks: BTreeMap<String, (WorkerId, Arc<Volume>)>,
    shared: BTreeMap<String, Arc<Volume>>,
}

impl Volumes {
    /// These volumes, at most one of them local that is no disk beside the data folder.
    pub fn new(volumes: impl IntoIterator<Item = Arc<Volume>>) -> Volumes {
        let mut known = Volumes::default();
        for volume in volumes {
            match volume.kind {
                VolumeKind::Local { worker } => match &volume.disk {
                    None => known.local = Some((worker, volume)),
                    Some(disk) => drop(known.disks.insert(disk.clone(), (worker, volume))),
                },
                VolumeKind::Shared => {
                    known.shared.insert(volume.name.clone(), volume);
                }
            }
        }
        known
    }

    /// The volume that holds parts at `location` and that this worker reaches, if any.
    pub fn holding(&self, location: &PartLocation) -> Option<&Arc<Volume>> {
        match location {
            PartLocation::Local { copies, disk } => match disk {
                None => self.local.as_ref(),
                Some(disk) => self.disks.get(disk),
            }
            .filter(|(worker, _)| copies.contains(worker))
            .map(|(_, volume)| volume),
            PartLocation::Shared { volume } => self.shared.get(volume),
        }
    }

    /// The local volume, or the disk of this name beside it.
    pub fn own_disk(&self, disk: Option<&str>) -> Option<&Arc<Volume>> {
        let found = match disk {
            None => self.local.as_ref(),
            Some(disk) => self.disks.get(disk),
        };
        found.map(|(_, volume)| volume)
    }

    /// Every volume, the local one first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Volume>> {
        self.own().chain(self.shared())
    }

    /// Those that every worker reaches.
    pub fn shared(&self) -> impl Iterator<Item = &Arc<Volume>> {
        self.shared.values()
    }

    /// Those that only this worker reaches.
    pub fn own(&self) -> impl Iterator<Item = &Arc<Volume>> {
        self.local.iter().chain(self.disks.values()).map(|(_, volume)| volume)
    }
}
