//! The volumes of a worker.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use granary_common::{Error, Result, WorkerId};
use granary_storage::{PartStore, PartStoreOptions, Reserve, Volume, VolumeKind, Volumes};

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
        let reserve = self.of.get(volume.disk_name()).copied().unwrap_or(self.each);
        volume.keeping(reserve)
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
    let mut volumes = vec![kept(open_local("local", id, &folder.volume())?)];
    if let Some(url) = &config.volume_url
        && !config.merges.tiers.is_shared(SHARED_VOLUME)
    {
        volumes.push(Volume::open(SHARED_VOLUME, VolumeKind::Shared, url.as_str())?);
    }
    let tiers = &config.merges.tiers;
    for (name, place) in tiers.disks() {
        let volume = match tiers.is_shared(name) {
            true => Volume::open(name, VolumeKind::Shared, place)?,
            false => {
                let place = place.strip_prefix("file://").unwrap_or(place);
                let path = Path::new(place).join(format!("worker-{id}"));
                kept(open_local(name, id, &path)?.as_disk())
            }
        };
        volumes.push(volume);
    }
    let volumes = Volumes::new(volumes.into_iter().map(Arc::new));
    Ok(PartStore::new(volumes, PartStoreOptions::default()))
}
