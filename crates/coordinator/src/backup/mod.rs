//! BACKUP and RESTORE: tables and views at one version, on a volume of their own.
//!
//! ```text
//!   BACKUP   parts that the volume lacks ─ files, checksums compared ─► volume ─► what it consists of
//!   RESTORE  newest backup ─► tables under other names ─ rows, checksums compared ─► their own names
//! ```
//!
//! Files go as they are and are not looked into; rows come back as inserts of one commit a table, so
//! that the cluster that they come to may have other workers and other disks.

mod restore;
mod save;

use std::sync::Arc;

use granary_common::units::{display_bytes, display_time_ms};
use granary_common::{Error, Result};
use granary_sql::{BackupPlace, BackupStatement, Notice, did_you_mean};
use granary_storage::{Volume, VolumeKind};

use crate::core::Coordinator;
use crate::query::StatementRequest;

/// Runs the statement; gives the rows that are in the backup, or came from it.
pub(crate) async fn run(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: &BackupStatement,
    notices: &mut Vec<Notice>,
) -> Result<u64> {
    let volume = Arc::new(open(core, &statement.place)?);
    match statement.is_restore {
        true => {
            let done = restore::restore(core, request, statement, &volume, notices).await?;
            notices.push(Notice::new(format!(
                "restored {} tables and {} views with {} rows of backup {}, taken at {} (version {})",
                done.tables,
                done.views,
                done.rows,
                done.name,
                display_time_ms(done.begun_ms),
                done.version
            )));
            Ok(done.rows)
        }
        false => {
            let done = save::save(core, request, statement, &volume).await?;
            notices.push(Notice::new(format!(
                "backup {} has {} tables, {} parts and {} rows of version {}; {} were copied",
                done.name,
                done.tables,
                done.parts,
                done.rows,
                done.version,
                display_bytes(done.copied_bytes)
            )));
            Ok(done.rows)
        }
    }
}

fn open(core: &Coordinator, place: &BackupPlace) -> Result<Volume> {
    let url = match place {
        BackupPlace::Url(url) => url.clone(),
        BackupPlace::Disk { disk, folder } => {
            let tiers = &core.config.tiers;
            let found = tiers.disks().find(|(name, _)| name == disk).map(|(_, place)| place);
            let base = found.ok_or_else(|| {
                let hint = did_you_mean(disk, tiers.disks().map(|(name, _)| name));
                Error::invalid(format!("disk '{disk}' is not configured{hint}"))
            })?;
            match folder.is_empty() {
                true => base.to_owned(),
                false => format!("{}/{folder}", base.trim_end_matches('/')),
            }
        }
    };
    if url.starts_with("memory:") || url.is_empty() {
        return Err(Error::invalid("backups belong to a folder or an object store"));
    }
    Volume::open("backup", VolumeKind::Shared, &url)
}
