//! The volumes of a worker.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use granary_common::{Error, Result, WorkerId, unusable_folder};
use granary_storage::volume::DEFAULT_DISK;
use granary_storage::{
    PartStore, PartStoreOptions, ReadCache, Reserve, Volume, VolumeKind, Volumes,
};

use crate::data_folder::DataFolder;
use crate::node::WorkerConfig;

/// What is kept free of the disks of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserves {
    /// Of each that is not named.
    pub each: Reserve,
    /// By the name of the disk.
    pub of: BTreeMap<String, Reserve>,
}

impl Reserves {
    fn kept_by(&self, volume: Volume) -> Volume {
        let reserve = self.of_disk(volume.disk_name());
        volume.keeping(reserve)
    }

    fn of_disk(&self, name: &str) -> Reserve {
        self.of.get(name).copied().unwrap_or(self.each)
    }
}

/// The name of the shared volume.
pub const SHARED_VOLUME: &str = "shared";

fn open_local(name: &str, id: WorkerId, path: &Path) -> Result<Volume> {
    let path = path.to_str().ok_or_else(|| {
        Error::invalid(format!("the path {} is not valid Unicode", path.display()))
    })?;
    Volume::open(name, VolumeKind::Local { worker: id }, path)
}

/// Opens the data folder and every disk that is configured. Workers of one machine may share a
/// configuration, so each has a folder of its own on a disk.
pub fn open_store(config: &WorkerConfig, folder: &DataFolder, id: WorkerId) -> Result<PartStore> {
    let kept = |volume| config.reserves.kept_by(volume);
    let cache = read_cache(config, folder)?;
    let local = kept(open_local("local", id, &folder.volume())?);
    let mut volumes = vec![match &cache {
        Some(cache) => local.beside(cache),
        None => local,
    }];
    for (name, url) in object_stores(config) {
        let volume = Volume::open(name, VolumeKind::Shared, url)?;
        volumes.push(match &cache {
            Some(cache) => volume.read_through(cache, url),
            None => volume,
        });
    }
    let tiers = &config.merges.tiers;
    for (name, place) in tiers.disks().filter(|(name, _)| !tiers.is_shared(name)) {
        let place = place.strip_prefix("file://").unwrap_or(place);
        let path = Path::new(place).join(format!("worker-{id}"));
        volumes.push(kept(open_local(name, id, &path)?.as_disk()));
    }
    let volumes = Volumes::new(volumes.into_iter().map(Arc::new));
    Ok(PartStore::new(volumes, PartStoreOptions::default()))
}

/// The object stores that are configured, by the names of their volumes.
fn object_stores(config: &WorkerConfig) -> Vec<(&str, &str)> {
    let tiers = &config.merges.tiers;
    let mut stores: Vec<(&str, &str)> =
        tiers.disks().filter(|(name, _)| tiers.is_shared(name)).collect();
    if let Some(url) = &config.volume_url
        && !tiers.is_shared(SHARED_VOLUME)
    {
        stores.push((SHARED_VOLUME, url.as_str()));
    }
    stores
}

/// Opened where there is something to keep in it; what it held goes otherwise.
fn read_cache(config: &WorkerConfig, folder: &DataFolder) -> Result<Option<Arc<ReadCache>>> {
    let path = folder.read_cache();
    if config.read_cache_bytes_max == 0 || object_stores(config).is_empty() {
        return match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(unusable_folder(&path, &error))
            }
            _ => Ok(None),
        };
    }
    let reserve = config.reserves.of_disk(DEFAULT_DISK);
    ReadCache::open(&path, config.read_cache_bytes_max, reserve).map(Some)
}
