//! The volumes of a worker.

use std::path::Path;
use std::sync::Arc;

use granary_common::{Error, Result, WorkerId};
use granary_storage::{PartStore, PartStoreOptions, Volume, VolumeKind, Volumes};

use crate::data_folder::DataFolder;
use crate::node::WorkerConfig;

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
    let mut volumes = vec![open_local("local", id, &folder.volume())?];
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
                open_local(name, id, &path)?.as_disk()
            }
        };
        volumes.push(volume);
    }
    let volumes = Volumes::new(volumes.into_iter().map(Arc::new));
    Ok(PartStore::new(volumes, PartStoreOptions::default()))
}
