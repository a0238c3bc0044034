//! How full the disk behind a local volume may get: writes are refused while there is still room for
//! what must go on, and go on by themselves when there is more again.

use std::str::FromStr;

use granary_common::units::{GIB, KIB, MIB, display_bytes};
use granary_common::{Error, Result};
use serde::{Deserialize, Serialize};

use super::tiers::DEFAULT_DISK;
use super::{Volume, VolumeKind};

const TIB: u64 = 1024 * GIB;
/// What is kept free when nobody says: so many of a thousand bytes, and so many bytes at most.
const DEFAULT_PER_MILLE: u64 = 20;
const DEFAULT_BYTES_MAX: u64 = 4 * GIB;

/// What is kept free of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reserve {
    /// A fiftieth, and 4 GiB at most.
    #[default]
    Little,
    Bytes(u64),
    Percent(u64),
}

impl Reserve {
    /// In bytes, of a disk of `total` bytes.
    pub fn bytes_of(self, total: u64) -> u64 {
        match self {
            Reserve::Little => (total / 1000 * DEFAULT_PER_MILLE).min(DEFAULT_BYTES_MAX),
            Reserve::Bytes(bytes) => bytes.min(total),
            Reserve::Percent(percent) => total / 100 * percent,
        }
    }
}

impl FromStr for Reserve {
    type Err = String;

    /// `5 %`, `20 GiB`, `512MiB` or a number of bytes.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim();
        let wrong =
            || format!("\"{text}\" is neither a share such as 5% nor a size such as 20 GiB");
        let number: u64 = number.parse().map_err(|_| wrong())?;
        if unit == "%" {
            return match number {
                0..=90 => Ok(Reserve::Percent(number)),
                _ => Err(format!("\"{text}\": at most 90% can be kept free")),
            };
        }
        let factor = match unit {
            "" | "B" => 1,
            "KiB" => KIB,
            "MiB" => MIB,
            "GiB" => GIB,
            "TiB" => TIB,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(Reserve::Bytes).ok_or_else(wrong)
    }
}

impl std::fmt::Display for Reserve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reserve::Little => f.write_str("2% and at most 4 GiB"),
            Reserve::Bytes(bytes) => write!(f, "{bytes}"),
            Reserve::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Reserve {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reserve {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A disk at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub total_bytes: u64,
    /// That this process could still write.
    pub available_bytes: u64,
    /// That may be used.
    pub budget_bytes: u64,
}

impl Room {
    /// A disk of which `reserve` is kept free.
    pub fn new(total_bytes: u64, available_bytes: u64, reserve: Reserve) -> Room {
        let budget_bytes = total_bytes - reserve.bytes_of(total_bytes);
        Room { total_bytes, available_bytes, budget_bytes }
    }

    /// By whomever.
    pub fn used_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.available_bytes)
    }

    /// Whether `more` bytes fit the budget.
    pub fn fits(&self, more: u64) -> bool {
        self.used_bytes().saturating_add(more) <= self.budget_bytes
    }
}

impl Volume {
    /// The same volume with `reserve` of its disk kept free. Only folders of one worker have a disk
    /// that can be looked at.
    pub fn keeping(self, reserve: Reserve) -> Volume {
        Volume { reserve: Some(reserve), ..self }
    }

    /// The disk that it is, by the name of the configuration.
    pub fn disk_name(&self) -> &str {
        match self.kind {
            VolumeKind::Local { .. } => self.disk.as_deref().unwrap_or(DEFAULT_DISK),
            VolumeKind::Shared => &self.name,
        }
    }

    /// The disk as it is now; `None` without a budget, and where the system does not tell.
    pub fn room(&self) -> Option<Room> {
        let (folder, reserve) = (self.folder.as_ref()?, self.reserve?);
        let stats = fs4::statvfs(folder).ok()?;
        Some(Room::new(stats.total_space(), stats.available_space(), reserve))
    }

    /// Before about `more` bytes are written. Kind `ResourceExhausted` when they would not fit the
    /// budget. What others write at the same time is what the reserve is for.
    pub fn check_room(&self, more: u64) -> Result<()> {
        let lacking = || self.room().filter(|room| !room.fits(more));
        if let (Some(room), Some(cache)) = (lacking(), &self.cache) {
            let wanted = room.used_bytes().saturating_add(more);
            cache.give_way(wanted.saturating_sub(room.budget_bytes));
        }
        let Some(room) = lacking() else { return Ok(()) };
        let worker = match &self.kind {
            VolumeKind::Local { worker } => format!(" of worker {worker}"),
            VolumeKind::Shared => String::new(),
        };
        Err(Error::exhausted(format!(
            "disk {}{worker} is nearly full, with too little space: {} of its {} are used, {} are \
             its budget (keep_free), and this needs up to {}; make room there, and run it again",
            self.disk_name(),
            display_bytes(room.used_bytes()),
            display_bytes(room.total_bytes),
            display_bytes(room.budget_bytes),
            display_bytes(more)
        )))
    }
}

#[cfg(test)]
mod tests {
    use granary_common::{ErrorKind, WorkerId};

    use super::*;

    #[test]
    fn reserves_are_shares_or_sizes() {
        for (text, expected) in [
            ("0", Some(Reserve::Bytes(0))),
            ("5%", Some(Reserve::Percent(5))),
            (" 12 % ", Some(Reserve::Percent(12))),
            ("20 GiB", Some(Reserve::Bytes(20 * GIB))),
            ("512MiB", Some(Reserve::Bytes(512 * MIB))),
            ("1048576", Some(Reserve::Bytes(MIB))),
            ("1 TiB", Some(Reserve::Bytes(TIB))),
            ("91%", None),
            ("5 GB", None),
            ("", None),
            ("half", None),
            ("-1", None),
            ("99999999999 TiB", None),
        ] {
            let parsed = text.parse::<Reserve>();
            assert_eq!(parsed.clone().ok(), expected, "{text}: {parsed:?}");
            if let Ok(reserve) = parsed {
                assert_eq!(reserve.to_string().parse(), Ok(reserve), "{text}");
            }
        }
    }

    #[test]
    fn a_write_must_fit_the_budget() {
        let (little, bytes, percent) = (Reserve::Little, Reserve::Bytes(300), Reserve::Percent(10));
        // Of a disk of 1000 bytes: what is free, what is kept free, what is written, whether it fits.
        for (available, reserve, more, fits) in [
            (1000, little, 980, true),
            (1000, little, 981, false),
            (300, bytes, 0, true),
            (299, bytes, 0, false),
            (400, bytes, 100, true),
            (400, bytes, 101, false),
            (100, percent, 0, true),
            (99, percent, 0, false),
            (0, Reserve::Bytes(0), 0, true),
            (0, Reserve::Bytes(0), 1, false),
            // A reserve beyond the disk leaves nothing.
            (1000, Reserve::Bytes(5000), 1, false),
            (1000, little, u64::MAX, false),
        ] {
            let room = Room::new(1000, available, reserve);
            assert_eq!(room.fits(more), fits, "{available} {reserve:?} {more}");
        }
        let large = Room::new(1000 * GIB, 1000 * GIB, little);
        assert_eq!(large.budget_bytes, 996 * GIB);
    }

    #[test]
    fn a_volume_without_room_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let kind = VolumeKind::Local { worker: WorkerId(3) };
        let path = folder.path().to_str().expect("text");
        let volume = Volume::open("local", kind, path).expect("opens");
        assert_eq!(volume.room(), None, "nobody said what to keep free");
        volume.check_room(u64::MAX).expect("no budget");
        let volume = volume.keeping(Reserve::Bytes(0));
        volume.check_room(1).expect("the disk that tests run on has room");
        let volume = volume.keeping(Reserve::Bytes(u64::MAX));
        let error = volume.check_room(1).expect_err("nothing may be written");
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert!(error.message().contains("disk default of worker 3"), "{error}");
    }
}
