//! BACKUP and RESTORE: tables and views at one version, in a place of their own.
//!
//! ```text
//!   BACKUP   parts that the place lacks ─ files, checksums compared ─► place ─► what it consists of
//!   RESTORE  a backup ─ rows, checksums compared ─► tables under other names ─► their own names
//! ```
//!
//! Files go as they are and are not looked into; rows come back as inserts, so that the cluster that
//! they come to may have other workers and other disks.

mod choice;
mod restore;
mod save;
mod undo;

use std::sync::Arc;

use granary_catalog::{Backup, BackupPlace};
use granary_common::units::{display_bytes, display_time_ms};
use granary_common::{Error, Result};
use granary_sql::{BackupStatement, Notice, did_you_mean};
use granary_storage::backup::{backup, backups};
use granary_storage::{Volume, VolumeKind};

use crate::core::Coordinator;
use crate::ddl::Done;
use crate::query::{QueryHandle, StatementRequest};

/// The volume that the place of a statement is here.
const OWN: &str = "backup";

/// Runs the statement; its rows are those that are in the backup, or came from it.
pub(crate) async fn run(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: BackupStatement,
    handle: &QueryHandle,
) -> Result<Done> {
    let mut notices = statement.notices.clone();
    let within = |error: Error| error.context(format!("backups at {}", statement.place));
    let place = match statement.is_restore {
        true => Place::open_existing(core, &statement.place, OWN).await,
        false => Place::open(core, &statement.place, OWN),
    };
    let place = place.map_err(within)?;
    let (rows, said) = match statement.is_restore {
        true => {
            let restored = restore::restore(core, request, &statement, &place, &mut notices).await;
            let done = restored.map_err(within)?;
            let said = format!(
                "restored {}, {} and {} of backup {}, taken at {} (version {})",
                counted(done.tables, "table"),
                counted(done.views, "view"),
                counted(done.rows, "row"),
                done.name,
                display_time_ms(done.begun_ms),
                done.version
            );
            (done.rows, said)
        }
        false => {
            let saved = save::save(core, request, &statement, &place, handle).await;
            let done = saved.map_err(within)?;
            let said = format!(
                "backup {} has {}, {} and {} of version {}; copied: {}, {}",
                done.name,
                counted(done.tables, "table"),
                counted(done.parts, "part"),
                counted(done.rows, "row"),
                done.version,
                counted(done.copied_parts, "part"),
                display_bytes(done.copied_bytes)
            );
            (done.rows, said)
        }
    };
    notices.push(Notice::new(said));
    handle.add_rows(rows);
    Ok(Done { rows, notices, ..Done::default() })
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Where backups are, opened.
struct Place {
    volume: Arc<Volume>,
    /// The names of its backups, in ascending order: the newest is the last.
    known: Vec<String>,
}

impl Place {
    fn open(core: &Coordinator, place: &BackupPlace, name: &str) -> Result<Opening> {
        Ok(Opening(Arc::new(Volume::open(name, VolumeKind::Shared, &url_of(core, place)?)?)))
    }

    /// The same for who only reads: a folder that is not there is not made.
    async fn open_existing(core: &Coordinator, place: &BackupPlace, name: &str) -> Result<Opening> {
        let url = url_of(core, place)?;
        let folder = url.strip_prefix("file://").unwrap_or(&url);
        if folder.starts_with('/') && !tokio::fs::try_exists(folder).await.unwrap_or(true) {
            return Err(Error::not_found(format!("there is no folder {folder} on this machine")));
        }
        Place::open(core, place, name)
    }

    /// The newest backup, or the newest that was given this name.
    async fn find(&self, name: Option<&str>) -> Result<(&str, Backup)> {
        let is_it = |known: &&String| name.is_none_or(|name| given_name(known) == Some(name));
        match self.known.iter().rfind(is_it) {
            Some(found) => Ok((found, backup(&self.volume, found).await?)),
            None if self.known.is_empty() => Err(Error::not_found("there is no backup")),
            None => {
                let name = name.unwrap_or_default();
                let hint = did_you_mean(name, self.known.iter().filter_map(|k| given_name(k)));
                Err(Error::not_found(format!("there is no backup '{name}'{hint}")))
            }
        }
    }
}

/// A place before its backups were listed.
struct Opening(Arc<Volume>);

impl Opening {
    async fn list(&self) -> Result<Place> {
        Ok(Place { volume: Arc::clone(&self.0), known: backups(&self.0).await? })
    }
}

fn url_of(core: &Coordinator, place: &BackupPlace) -> Result<String> {
    let tiers = &core.config.tiers;
    match place {
        BackupPlace::Url(url) => {
            if let Some((disk, _)) = tiers.disks().find(|(_, own)| is_same(own, url)) {
                // The parts of tables are there, and what they do not name is swept.
                return Err(Error::invalid(format!(
                    "this is disk '{disk}' itself; name a folder on it: Disk('{disk}', 'folder')"
                )));
            }
            match url.contains("://") || url.starts_with('/') {
                true if !url.starts_with("memory:") => Ok(url.clone()),
                _ => Err(Error::invalid("a place is a URL or an absolute path")),
            }
        }
        BackupPlace::Disk { disk, folder } => {
            let found = tiers.disks().find(|(name, _)| name == disk).map(|(_, place)| place);
            let base = found.ok_or_else(|| {
                let hint = did_you_mean(disk, tiers.disks().map(|(name, _)| name));
                Error::invalid(format!("disk '{disk}' is not configured{hint}"))
            })?;
            check_folder(folder)?;
            Ok(format!("{}/{folder}", base.trim_end_matches('/')))
        }
    }
}

fn is_same(one: &str, other: &str) -> bool {
    let plain = |url: &str| url.trim_start_matches("file://").trim_end_matches('/').to_owned();
    plain(one) == plain(other)
}

/// Refuses what leads out of the disk, and the folders that parts of tables are in.
fn check_folder(folder: &str) -> Result<()> {
    let names: Vec<&str> = folder.split('/').collect();
    let is_plain = |name: &&str| !name.is_empty() && !name.starts_with('.');
    match names.iter().all(is_plain)
        && names.first().is_some_and(|first| *first != "parts" && !first.starts_with("worker-"))
    {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "'{folder}' cannot be a folder of backups: write a path below the disk, such as \
             'backups/2', that does not begin with parts or worker-"
        ))),
    }
}

/// Names ascend with time; what the statement calls the backup stands at the end.
fn given_name(name: &str) -> Option<&str> {
    let (_, version) = name.split_once("-v")?;
    version.split_once('-').map(|(_, own)| own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_given_is_told_apart_from_the_rest() {
        assert_eq!(given_name("2001-02-03T04-05-06.000-v7-my-night"), Some("my-night"));
        assert_eq!(given_name("2001-02-03T04-05-06.000-v7"), None);
    }

    #[test]
    fn folders_stay_on_their_disk_and_out_of_the_parts() {
        for right in ["1", "backups/2.zip", "a/parts"] {
            assert!(check_folder(right).is_ok(), "{right}");
        }
        for wrong in ["", "/", "/a", "a/", "a//b", "../a", "a/..", "parts", "parts/1", "worker-1"] {
            assert!(check_folder(wrong).is_err(), "{wrong}");
        }
        assert!(is_same("file:///mnt/hdd/", "/mnt/hdd"));
        assert!(!is_same("s3://a/b", "s3://a/b/c"));
    }
}
