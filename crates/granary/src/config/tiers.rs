//! Disks and storage policies in the settings: tables of a file, or the same as one text.

use std::collections::BTreeMap;
use std::str::FromStr;

use granary_storage::{Reserve, TierVolume};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Folders and URLs by the name of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Disks(pub BTreeMap<String, String>);

/// The volumes of each policy, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Policies(pub BTreeMap<String, Vec<TierVolume>>);

/// What is kept free of disks, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiskReserves(pub BTreeMap<String, Reserve>);

impl FromStr for DiskReserves {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        inline(text)
    }
}

impl FromStr for Disks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        inline(text)
    }
}

impl FromStr for Policies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        inline(text)
    }
}

/// A value as TOML writes it within a line.
fn inline<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Line<T> {
        value: T,
    }
    let line: Line<T> =
        toml::from_str(&format!("value = {text}")).map_err(|error| error.message().to_owned())?;
    Ok(line.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_inline_tables() {
        let disks: Disks = r#"{ hdd = "/mnt/hdd" }"#.parse().expect("disks");
        assert_eq!(disks.0["hdd"], "/mnt/hdd");
        let text = r#"{ tiered = [{ volume = "hot", disks = ["default"] }] }"#;
        let policies: Policies = text.parse().expect("policies");
        assert_eq!(policies.0["tiered"][0].disks, ["default"]);
        assert!("{ tiered = [{ volum = \"hot\" }] }".parse::<Policies>().is_err());
        assert!("hdd".parse::<Disks>().is_err());
        let reserves: DiskReserves = r#"{ default = "5%", hdd = "1 GiB" }"#.parse().expect("sizes");
        assert_eq!(reserves.0["hdd"], Reserve::Bytes(1 << 30));
        assert!(r#"{ default = "much" }"#.parse::<DiskReserves>().is_err());
    }
}
