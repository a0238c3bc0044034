//! The volumes of a worker.

use std::sync::Arc;

use granary_common::{Error, Result, WorkerId};
use granary_storage::{PartStore, PartStoreOptions, Volume, VolumeKind, Volumes};

use crate::data_folder::DataFolder;
use crate::node::WorkerConfig;

/// The name of the shared volume.
pub const SHARED_VOLUME: &str = "shared";

/// The volume in the worker's data folder.
pub fn open_local(folder: &DataFolder, id: WorkerId) -> Result<Volume> {
    let path = folder.volume();
    let path = path.to_str().ok_or_else(|| {
        Error::invalid(format!("the path {} is not valid Unicode", path.display()))
    })?;
    Volume::open("local", VolumeKind::Local { worker: id }, path)
}

/// The parts on the local volume, and on the shared one when there is one.
pub fn open_store(config: &WorkerConfig, local: &Arc<Volume>) -> Result<PartStore> {
    let mut volumes = vec![Arc::clone(local)];
    if let Some(url) = &config.volume_url {
        let shared = Volume::open(SHARED_VOLUME, VolumeKind::Shared, url.as_str())?;
        volumes.push(Arc::new(shared));
    }
    Ok(PartStore::new(Volumes::new(volumes), PartStoreOptions::default()))
}
