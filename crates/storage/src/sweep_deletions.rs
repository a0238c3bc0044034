//! Files of deletions that no version refers to any more, beside parts that stay.

use std::collections::{BTreeMap, HashSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use granary_catalog::{DeletionContent, Snapshot};
use granary_common::{PartId, Result};
use object_store::path::Path;

use crate::part::{PARTS_FOLDER, owner_of};
use crate::volume::{Volume, store_error};

/// Deletes deletion vectors in files of `volume` that were replaced or never committed, and returns
/// how many. Their ids are leased like those of parts, so `snapshot` must have been read as for
/// [`crate::sweep_orphans`]. Files may also come in from another worker, under ids of a lease that is
/// newer than the snapshot: `claim` gives none of the parts for which that may be so, and what it
/// gives is held while files of the part are deleted. Kind `Unavailable`; what was deleted until then
/// stays deleted.
pub async fn sweep_deletions<G>(
    volume: &Volume,
    snapshot: &Snapshot,
    mut claim: impl FnMut(PartId) -> Option<G>,
) -> Result<u64> {
    let root = volume.path(PARTS_FOLDER);
    let needed = needed(snapshot);
    let mut orphans: BTreeMap<PartId, Vec<Path>> = BTreeMap::new();
    let mut listing = volume.store.list(Some(&root));
    while let Some(object) = listing.next().await {
        let object = object.map_err(|error| store_error(&error))?;
        let below = object.location.as_ref().strip_prefix(root.as_ref()).unwrap_or_default();
        let Some((_, part)) = owner_of(below.trim_start_matches('/')) else { continue };
        let Some(name) = object.location.filename() else { continue };
        let Some(id) = DeletionContent::id_of_file(name) else { continue };
        if !snapshot.may_reference_part(id) && !needed.contains(&(part, name)) {
            orphans.entry(part).or_default().push(object.location);
        }
    }
    let mut deleted = 0;
    for (part, files) in orphans {
        let Some(_claimed) = claim(part) else { continue };
        deleted += files.len() as u64;
        let files = stream::iter(files.into_iter().map(Ok)).boxed();
        match volume.store.delete_stream(files).try_for_each(|_| async { Ok(()) }).await {
            // Somebody else sweeps too.
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => {
                return Err(store_error(&error).context(format!("deletions of part {part}")));
            }
        }
    }
    Ok(deleted)
}

/// The files of deletions that some version has, by the part whose files they are beside.
fn needed(snapshot: &Snapshot) -> HashSet<(PartId, &str)> {
    let parts = snapshot.tables.values().flat_map(|state| state.parts.values());
    let vectors = parts.flat_map(|part| {
        let owner = part.file_owner().1;
        part.deletions.iter().map(move |vector| (owner, &vector.content))
    });
    let files = vectors.filter_map(|(owner, content)| match content {
        DeletionContent::File { name, .. } => Some((owner, name.as_str())),
        DeletionContent::Inline(_) => None,
    });
    files.collect()
}
