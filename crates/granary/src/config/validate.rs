//! What a value must be beyond its type.

use std::ops::RangeInclusive;

use granary_common::{Error, Result};
use granary_storage::volume::DEFAULT_DISK;
use granary_storage::volume::tiers::DEFAULT_POLICY;
use granary_storage::{TierVolume, Tiers};
use granary_worker::SHARED_VOLUME;

use super::{Layer, Role, Settings};

/// Refuses flags that the role has no use for: somebody typed them and expects something of them.
pub(super) fn flags_of_role(role: Role, flags: &Layer) -> Result<()> {
    match flags.named().into_iter().find(|name| !role.uses(name)) {
        None => Ok(()),
        Some(name) => Err(Error::invalid(format!(
            "granary {} has no use for --{}",
            role.name(),
            name.replace('_', "-")
        ))),
    }
}

/// Remarks on settings that the role has no use for; files and environments are often shared.
pub(super) fn unused(role: Role, layer: &Layer, who: &str) -> Vec<String> {
    let unused = layer.named().into_iter().filter(|name| !role.uses(name));
    unused
        .map(|name| format!("{who} {name}, which granary {} has no use for", role.name()))
        .collect()
}

/// Refuses values outside their bounds.
pub(super) fn bounds(role: Role, settings: &Settings) -> Result<()> {
    within("memory_mib", settings.memory_mib, 64..=1_048_576)?;
    within("threads", settings.threads.map(|threads| threads as u64), 1..=1024)?;
    within("merge_threads", settings.merge_threads.map(|threads| threads as u64), 0..=256)?;
    within("merge_memory_mib", Some(settings.merge_memory_mib), 128..=1_048_576)?;
    within("merge_mib_max", Some(settings.merge_mib_max), 1..=1_048_576)?;
    within("sweep_interval_s", Some(settings.sweep_interval_s), 1..=86_400)?;
    within("merge_mib_s", Some(settings.merge_mib_s), 0..=1_048_576)?;
    within("read_cache_mib", Some(settings.read_cache_mib), 0..=1 << 30)?;
    within("copy_mib_s", Some(settings.copy_mib_s), 1..=1_048_576)?;
    within("worker_lease_s", Some(settings.worker_lease_s), 2..=3600)?;
    within("replace_after_s", Some(settings.replace_after_s), 0..=604_800)?;
    within("forget_worker_after_s", Some(settings.forget_worker_after_s), 0..=31_536_000)?;
    within("drain_limit_s", Some(settings.drain_limit_s), 0..=3600)?;
    within("scrub_mib_s", Some(settings.scrub_mib_s), 0..=1_048_576)?;
    within("scrub_period_s", Some(settings.scrub_period_s), 1..=31_536_000)?;
    reserves(settings, &tiers(settings)?)?;
    if role.uses("metadata") && settings.metadata.0.is_empty() {
        return Err(Error::invalid("metadata names no address"));
    }
    if role == Role::Metadata {
        within("node_id", Some(settings.node_id), 1..=settings.metadata.0.len() as u64)
            .map_err(|error| error.context("the place in the metadata list"))?;
    }
    Ok(())
}

/// The disks and policies, with the object store of `volume` as a disk of its own, to which new rows go
/// where no policy says otherwise.
pub(crate) fn tiers(settings: &Settings) -> Result<Tiers> {
    let mut disks = settings.disks.clone().unwrap_or_default().0;
    let mut policies = settings.policies.clone().unwrap_or_default().0;
    if let Some(volume) = &settings.volume {
        disks.insert(SHARED_VOLUME.to_owned(), volume.0.to_string());
        let alone =
            |disk: &str| TierVolume { volume: disk.to_owned(), disks: vec![disk.to_owned()] };
        let volumes = [SHARED_VOLUME, DEFAULT_DISK].map(alone).to_vec();
        policies.entry(DEFAULT_POLICY.to_owned()).or_insert(volumes);
    }
    Tiers::new(disks, policies)
}

/// Refuses reserves of disks that are not there, or that no worker has for itself.
fn reserves(settings: &Settings, tiers: &Tiers) -> Result<()> {
    let names = settings.keep_free_of.iter().flat_map(|reserves| reserves.0.keys());
    for name in names {
        let is_there = name == DEFAULT_DISK || tiers.disks().any(|(disk, _)| disk == name);
        if !is_there || tiers.is_shared(name) {
            return Err(Error::invalid(format!(
                "keep_free_of names '{name}', which is no folder among the disks"
            )));
        }
    }
    Ok(())
}

fn within(name: &str, value: Option<u64>, bounds: RangeInclusive<u64>) -> Result<()> {
    match value {
        Some(value) if !bounds.contains(&value) => Err(Error::invalid(format!(
            "{name} is {value}, but must be from {} to {}",
            bounds.start(),
            bounds.end()
        ))),
        _ => Ok(()),
    }
}
