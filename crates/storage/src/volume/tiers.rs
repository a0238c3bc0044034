//! Disks and storage policies, as the configuration of every process names them.
//!
//! A disk is a folder of each worker, or an object store that all of them reach. A policy is a list
//! of volumes, and a volume a list of disks; new rows go to the first volume.

use std::collections::BTreeMap;

use granary_catalog::{Part, PartLocation, Table, TtlPlace};
use granary_common::{Error, Result, WorkerId};
use serde::{Deserialize, Serialize};

/// The disk that is always there: the worker's data folder.
pub const DEFAULT_DISK: &str = "default";
/// The policy that is always there: one volume with the default disk.
pub const DEFAULT_POLICY: &str = "default";

/// A volume of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierVolume {
    pub volume: String,
    /// Parts take turns on them.
    pub disks: Vec<String>,
}

/// What there is beside the data folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiers {
    /// Folders and URLs by the name of the disk.
    disks: BTreeMap<String, String>,
    policies: BTreeMap<String, Vec<TierVolume>>,
}

impl Default for Tiers {
    fn default() -> Self {
        let volume =
            TierVolume { volume: DEFAULT_DISK.to_owned(), disks: vec![DEFAULT_DISK.to_owned()] };
        let policies = BTreeMap::from([(DEFAULT_POLICY.to_owned(), vec![volume])]);
        Tiers { disks: BTreeMap::new(), policies }
    }
}

impl Tiers {
    /// These disks (a folder or URL by name) and policies, beside those that are always there.
    ///
    /// # Errors
    /// InvalidInput for a name that is taken, a policy without volumes, a volume without disks, and
    /// a disk that is not there.
    pub fn new(
        disks: BTreeMap<String, String>,
        policies: BTreeMap<String, Vec<TierVolume>>,
    ) -> Result<Tiers> {
        if disks.contains_key(DEFAULT_DISK) || disks.contains_key("local") {
            return Err(Error::invalid("a disk cannot be called default or local"));
        }
        for (name, volumes) in &policies {
            let within = |error: Error| error.context(format!("storage policy '{name}'"));
            check_policy(volumes, &disks).map_err(within)?;
        }
        let mut tiers = Tiers { disks, ..Tiers::default() };
        tiers.policies.extend(policies);
        Ok(tiers)
    }

    /// Disks beside the data folder, with their folders or URLs.
    pub fn disks(&self) -> impl Iterator<Item = (&str, &str)> {
        self.disks.iter().map(|(name, place)| (name.as_str(), place.as_str()))
    }

    /// Every policy with its volumes.
    pub fn policies(&self) -> impl Iterator<Item = (&str, &[TierVolume])> {
        self.policies.iter().map(|(name, volumes)| (name.as_str(), volumes.as_slice()))
    }

    /// The volumes of a policy.
    pub fn policy(&self, name: &str) -> Option<&[TierVolume]> {
        self.policies.get(name).map(Vec::as_slice)
    }

    /// Whether all workers reach the disk.
    pub fn is_shared(&self, disk: &str) -> bool {
        self.disks.get(disk).is_some_and(|place| is_object_store(place))
    }

    /// The disks of a place, for parts of `table`; none when it is not configured.
    pub fn disks_of(&self, table: &Table, place: &TtlPlace) -> Vec<&str> {
        match place {
            TtlPlace::Disk(name) if name == DEFAULT_DISK => vec![DEFAULT_DISK],
            TtlPlace::Disk(name) => {
                self.disks.get_key_value(name).map(|(name, _)| name.as_str()).into_iter().collect()
            }
            TtlPlace::Volume(name) => {
                let policy = self.policy(policy_of(table)).unwrap_or_default();
                let volume = policy.iter().find(|volume| volume.volume == *name);
                volume.into_iter().flat_map(|volume| &volume.disks).map(String::as_str).collect()
            }
        }
    }

    /// The disk that `part` has to move to so that it is at `place`. `None` when it is there, and
    /// when the place is not configured.
    pub fn destination(&self, table: &Table, place: &TtlPlace, part: &Part) -> Option<&str> {
        let disks = self.disks_of(table, place);
        if disks.contains(&disk_of(part)) {
            return None;
        }
        let turn = (part.id.0 as usize).checked_rem(disks.len())?;
        Some(disks[turn])
    }

    /// The disk that new rows of `table` go to; `turn` chooses among several. The data folder when
    /// the policy is not known here.
    pub fn first_disk(&self, table: &Table, turn: u64) -> &str {
        let volumes = self.policy(policy_of(table)).unwrap_or_default();
        let disks = volumes.first().map_or(&[][..], |volume| &volume.disks);
        match (turn as usize).checked_rem(disks.len()) {
            Some(turn) => &disks[turn],
            None => DEFAULT_DISK,
        }
    }

    /// Where `worker` puts parts on `disk`.
    pub fn location(&self, disk: &str, worker: WorkerId) -> PartLocation {
        match disk {
            DEFAULT_DISK => PartLocation::Local { copies: vec![worker], disk: None },
            disk if self.is_shared(disk) => PartLocation::Shared { volume: disk.to_owned() },
            disk => PartLocation::Local { copies: vec![worker], disk: Some(disk.to_owned()) },
        }
    }
}

/// The policy that a table asks for.
pub fn policy_of(table: &Table) -> &str {
    table.settings.get("storage_policy").map_or(DEFAULT_POLICY, String::as_str)
}

/// The disk that a part is on.
pub fn disk_of(part: &Part) -> &str {
    match &part.location {
        PartLocation::Local { disk, .. } => disk.as_deref().unwrap_or(DEFAULT_DISK),
        PartLocation::Shared { volume } => volume,
    }
}

fn is_object_store(place: &str) -> bool {
    place.contains("://") && !place.starts_with("file://")
}

fn check_policy(volumes: &[TierVolume], disks: &BTreeMap<String, String>) -> Result<()> {
    if volumes.is_empty() {
        return Err(Error::invalid("it has no volume"));
    }
    for (at, TierVolume { volume, disks: named }) in volumes.iter().enumerate() {
        if volumes[..at].iter().any(|other| other.volume == *volume) {
            return Err(Error::invalid(format!("two of its volumes are called '{volume}'")));
        }
        if named.is_empty() {
            return Err(Error::invalid(format!("its volume '{volume}' has no disk")));
        }
        let unknown = named.iter().find(|disk| *disk != DEFAULT_DISK && !disks.contains_key(*disk));
        if let Some(disk) = unknown {
            return Err(Error::invalid(format!(
                "its volume '{volume}' has an unknown disk '{disk}'"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str, disks: &[&str]) -> TierVolume {
        let disks = disks.iter().map(|disk| (*disk).to_owned()).collect();
        TierVolume { volume: name.to_owned(), disks }
    }

    fn tiers(policy: Vec<TierVolume>) -> Result<Tiers> {
        let disks = [("hdd", "/mnt/hdd"), ("far", "s3://bucket/x"), ("near", "file:///mnt/near")];
        let disks = disks.map(|(name, place)| (name.to_owned(), place.to_owned()));
        Tiers::new(BTreeMap::from(disks), BTreeMap::from([("tiered".to_owned(), policy)]))
    }

    #[test]
    fn policies_are_checked() {
        for (policy, expected) in [
            (vec![], "it has no volume"),
            (vec![volume("a", &[])], "has no disk"),
            (vec![volume("a", &["nope"])], "unknown disk 'nope'"),
            (vec![volume("a", &["hdd"]), volume("a", &["far"])], "two of its volumes"),
        ] {
            let error = tiers(policy).expect_err(expected);
            assert!(error.message().contains(expected), "{error}");
            assert!(error.message().contains("storage policy 'tiered'"), "{error}");
        }
        let taken = BTreeMap::from([("default".to_owned(), "/x".to_owned())]);
        assert!(Tiers::new(taken, BTreeMap::new()).is_err());
    }

    #[test]
    fn disks_have_locations() {
        let tiers = tiers(vec![volume("hot", &["default", "hdd"])]).expect("tiers");
        let worker = WorkerId(3);
        let local = |disk: Option<&str>| PartLocation::Local {
            copies: vec![worker],
            disk: disk.map(str::to_owned),
        };
        assert_eq!(tiers.location("default", worker), local(None));
        assert_eq!(tiers.location("hdd", worker), local(Some("hdd")));
        assert_eq!(tiers.location("near", worker), local(Some("near")));
        let shared = PartLocation::Shared { volume: "far".to_owned() };
        assert_eq!(tiers.location("far", worker), shared);
    }
}
