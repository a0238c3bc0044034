//! Opens parts and keeps the recently used ones open.

use std::sync::Arc;

use granary_catalog::PartLocation;
use granary_common::{Error, ErrorKind, PartId, Result};
use moka::future::Cache;

use super::{OpenPart, PartRef};
use crate::volume::Volumes;

/// Bounds of what a store keeps in memory.
#[derive(Clone, Debug)]
pub struct PartStoreOptions {
    /// Bytes of descriptors, indexes and footers of open parts; default 256 MiB.
    pub open_parts_bytes_max: u64,
    /// Open parts, each with a file handle when it is on this machine; default 512.
    pub open_parts_max: u64,
}

impl Default for PartStoreOptions {
    fn default() -> Self {
        Self { open_parts_bytes_max: 256 << 20, open_parts_max: 512 }
    }
}

/// Opens parts on the volumes of a worker and keeps the recently used ones open.
#[derive(Debug)]
pub struct PartStore {
    volumes: Volumes,
    open: Cache<PartId, Arc<OpenPart>>,
}

impl PartStore {
    /// A store over `volumes`.
    pub fn new(volumes: Volumes, options: PartStoreOptions) -> PartStore {
        // A part weighs its bytes, and at least its share of the number of parts.
        let capacity = options.open_parts_bytes_max;
        let share = capacity / options.open_parts_max.max(1);
        let open = Cache::builder()
            .max_capacity(capacity)
            .weigher(move |_, part: &Arc<OpenPart>| {
                u32::try_from(part.memory_bytes().max(share)).unwrap_or(u32::MAX)
            })
            .build();
        PartStore { volumes, open }
    }

    /// The volumes that it reads.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// Whether this worker can read parts at `location` itself.
    pub fn holds(&self, location: &PartLocation) -> bool {
        self.volumes.holding(location).is_some()
    }

    /// Opens a part. Kinds: `Unavailable` when no volume of this worker holds it or the volume does
    /// not answer, `Corruption` when its files are missing, cut or damaged, `Unsupported` when a
    /// newer build wrote it.
    pub async fn open(&self, part: &PartRef) -> Result<Arc<OpenPart>> {
        if let Some(open) = self.open.get(&part.id).await {
            return Ok(open);
        }
        let Some(volume) = self.volumes.holding(&part.location) else {
            return Err(Error::unavailable(format!(
                "part {} is not on a volume of this worker",
                part.id
            )));
        };
        let opening = async { OpenPart::open(Arc::clone(volume), part).await.map(Arc::new) };
        let opened = self.open.try_get_with(part.id, opening).await;
        opened.map_err(|error: Arc<Error>| {
            Error::new(error.kind(), format!("part {}: {}", part.id, error.message()))
        })
    }

    /// Closes a part, so that the files of a deleted part take no space.
    pub async fn forget(&self, part: PartId) {
        self.open.invalidate(&part).await;
    }
}

/// A missing file of a part that the catalog names is damage.
pub(super) fn missing_is_corruption(error: Error, file: &str) -> Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => ErrorKind::Corruption,
        kind => kind,
    };
    Error::new(kind, format!("file {file}: {}", error.message()))
}
