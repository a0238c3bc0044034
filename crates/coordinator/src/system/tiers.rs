//! Disks and storage policies, as this coordinator's configuration names them.

use granary_catalog::Part;
use granary_storage::volume::tiers::{DEFAULT_DISK, disk_of};

use super::View;
use super::columns::Columns;

pub(super) fn disks(view: &View) -> Columns {
    let tiers = &view.core.config.tiers;
    let disks: Vec<(&str, &str)> =
        std::iter::once((DEFAULT_DISK, "")).chain(tiers.disks()).collect();
    let version = view.snapshot.version;
    let sum = |disk: &str, of: fn(&Part) -> u64| -> u64 {
        let states = view.snapshot.tables.values();
        let parts = states.flat_map(|state| state.visible_parts(version));
        parts.filter(|part| disk_of(part) == disk).map(|part| of(part)).sum()
    };
    let kind = |disk: &str| if tiers.is_shared(disk) { "object_storage" } else { "local" };
    Columns::new()
        .texts("name", disks.iter().map(|(name, _)| name))
        // Of the default disk every worker has its own: its data folder.
        .texts("path", disks.iter().map(|(_, place)| place))
        .texts("type", disks.iter().map(|(name, _)| kind(name)))
        .numbers("parts", disks.iter().map(|(name, _)| sum(name, |_| 1)))
        .numbers("bytes", disks.iter().map(|(name, _)| sum(name, |part| part.bytes)))
}

pub(super) fn storage_policies(view: &View) -> Columns {
    let policies = view.core.config.tiers.policies();
    let rows: Vec<(&str, u64, &str, String)> = policies
        .flat_map(|(policy, volumes)| {
            volumes.iter().zip(1..).map(move |(volume, priority)| {
                (policy, priority, volume.volume.as_str(), volume.disks.join(", "))
            })
        })
        .collect();
    Columns::new()
        .texts("policy_name", rows.iter().map(|(policy, ..)| policy))
        .texts("volume_name", rows.iter().map(|(_, _, volume, _)| volume))
        .numbers("volume_priority", rows.iter().map(|(_, priority, ..)| *priority))
        .texts("disks", rows.iter().map(|(.., disks)| disks))
}
