//! Disks, volumes and storage policies that statements name.

use std::sync::Arc;

use granary_catalog::{Partitions, Table, TableOptions, TtlAction, TtlPlace};
use granary_common::{Error, PartId, Result};
use granary_execution::{OptimizeSpec, Relocation};
use granary_sql::{Notice, did_you_mean};
use granary_storage::volume::tiers::policy_of;
use granary_storage::{Tiers, volume::DEFAULT_DISK};

use super::merges::merged_by_leaders;
use crate::core::Coordinator;

/// Refuses a storage policy that is not configured.
pub(super) fn check_policy(tiers: &Tiers, policy: Option<&String>) -> Result<()> {
    let Some(policy) = policy else { return Ok(()) };
    match tiers.policy(policy) {
        Some(_) => Ok(()),
        None => {
            let hint = did_you_mean(policy, tiers.policies().map(|(name, _)| name));
            Err(Error::invalid(format!("unknown storage policy '{policy}'{hint}")))
        }
    }
}

/// What to tell of places that a TTL names and that are not configured.
pub(super) fn unknown_places(tiers: &Tiers, policy: &str, options: &TableOptions) -> Vec<Notice> {
    let places = options.rules.iter().filter_map(|rule| match &rule.action {
        TtlAction::Move(place) => Some(place),
        _ => None,
    });
    let unknown = places.filter(|place| match place {
        TtlPlace::Disk(name) => {
            name != DEFAULT_DISK && tiers.disks().all(|(known, _)| known != name)
        }
        TtlPlace::Volume(name) => {
            let volumes = tiers.policy(policy).unwrap_or_default();
            volumes.iter().all(|volume| volume.volume != *name)
        }
    });
    unknown
        .map(|place| Notice::new(format!("{}: parts stay where they are", unknown_text(place))))
        .collect()
}

fn unknown_text(place: &TtlPlace) -> String {
    match place {
        TtlPlace::Disk(name) => format!("disk '{name}' is not configured"),
        TtlPlace::Volume(name) => {
            format!("the table's storage policy has no volume '{name}'")
        }
    }
}

/// MOVE PARTITION and MOVE PART: returns when the parts are there.
pub(super) async fn relocate(
    core: &Arc<Coordinator>,
    table: &Table,
    partitions: Partitions,
    part: Option<u64>,
    place: &TtlPlace,
) -> Result<()> {
    if core.config.tiers.disks_of(table, place).is_empty() {
        return Err(Error::invalid(format!(
            "{} (storage policy '{}'); system.disks and system.storage_policies show what there is",
            unknown_text(place),
            policy_of(table)
        )));
    }
    let snapshot = core.with.catalog.read_latest().await?;
    if let Some(id) = part {
        let state = snapshot.tables.get(&table.id);
        let found = state.and_then(|state| state.parts.get(&PartId(id)));
        if found.is_none_or(|part| !part.visible_at(snapshot.version)) {
            return Err(Error::not_found(format!(
                "table '{}' has no part {id}; it may have been merged into another one",
                table.name
            )));
        }
    }
    let relocation = Some(Relocation { place: place.clone(), part: part.map(PartId) });
    let spec = OptimizeSpec { relocation, ..OptimizeSpec::of(table.id, partitions) };
    merged_by_leaders(core, spec).await.map(drop)
}
