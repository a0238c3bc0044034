//! Room on the disk of a member. A member that cannot write its log has to stop, so the leader
//! refuses changes that add to the catalog while its disk is nearly full: callers get a clear error,
//! what makes room still passes, and all goes on when there is room again.

use std::path::{Path, PathBuf};

use granary_catalog::{CommandBody, FunctionChange, PartitionChange};
use granary_common::{Error, Result};
use parking_lot::Mutex;

/// Bytes that are kept free, at most: for elections, leases of workers, compactions, and changes
/// that make room.
const RESERVE_BYTES_MAX: u64 = 128 << 20;
/// The part of a small disk that is kept free.
const RESERVE_SHARE: u64 = 8;
/// How long a look at the disk holds.
const LOOK_MS: u64 = 500;

/// The disk behind a data folder.
#[derive(Debug)]
pub(crate) struct Space {
    folder: PathBuf,
    /// When it was looked at, and what is lacking.
    last: Mutex<Option<(u64, Option<Error>)>>,
}

impl Space {
    /// The disk that holds `folder`.
    pub fn of(folder: &Path) -> Space {
        Space { folder: folder.to_owned(), last: Mutex::new(None) }
    }

    /// Whether `command` may be added to the log at `now_ms` of the monotonic clock. Kind
    /// `ResourceExhausted`.
    pub fn check(&self, command: &CommandBody, now_ms: u64) -> Result<()> {
        if !adds(command) {
            return Ok(());
        }
        let mut last = self.last.lock();
        let is_fresh = |at: u64| now_ms.saturating_sub(at) < LOOK_MS;
        let lacking = match &*last {
            Some((at, lacking)) if is_fresh(*at) => lacking.clone(),
            _ => {
                let lacking = self.look();
                *last = Some((now_ms, lacking.clone()));
                lacking
            }
        };
        lacking.map_or(Ok(()), Err)
    }

    fn look(&self) -> Option<Error> {
        // Where the system does not tell, writing will.
        let stats = fs4::statvfs(&self.folder).ok()?;
        let (free, reserve) = (stats.available_space(), reserve(stats.total_space()));
        if free >= reserve {
            return None;
        }
        let mib = |bytes: u64| bytes >> 20;
        tracing::error!(folder = %self.folder.display(), free_mib = mib(free), "the disk is nearly full");
        Some(Error::exhausted(format!(
            "the disk of the metadata leader is nearly full: {} has {} MiB left and {} are kept for \
             what must go on; make room there, and run it again",
            self.folder.display(),
            mib(free),
            mib(reserve)
        )))
    }
}

fn reserve(total: u64) -> u64 {
    (total / RESERVE_SHARE).min(RESERVE_BYTES_MAX)
}

/// Whether a command adds to what is there. Others are few and small, or take something away.
fn adds(command: &CommandBody) -> bool {
    match command {
        CommandBody::InitCluster { .. }
        | CommandBody::RegisterWorker { .. }
        | CommandBody::SetWorkerState { .. }
        | CommandBody::ReleasePartIds { .. }
        | CommandBody::DropDatabase { .. }
        | CommandBody::DropTable { .. }
        | CommandBody::DropView { .. }
        | CommandBody::TruncateTable { .. }
        | CommandBody::SetMerges { .. }
        | CommandBody::MarkDamage { .. }
        | CommandBody::PlaceBucket(_)
        | CommandBody::ChangeCopies(_)
        | CommandBody::AbortStaged { .. }
        | CommandBody::Cluster(_)
        | CommandBody::Expire { .. }
        | CommandBody::AdvanceHorizon { .. } => false,
        CommandBody::Function(change) => !matches!(change, FunctionChange::Drop { .. }),
        CommandBody::User(change) => !change.set.is_empty(),
        CommandBody::ChangePartitions { change, .. } => {
            !matches!(change, PartitionChange::Drop(_) | PartitionChange::DropDetached(_))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use granary_catalog::Partitions;
    use granary_common::{CatalogVersion, TableId};

    use super::*;

    #[test]
    fn the_reserve_fits_the_disk() {
        for (total_mib, reserve_mib) in [(0, 0), (64, 8), (1024, 128), (1 << 20, 128)] {
            assert_eq!(reserve(total_mib << 20), reserve_mib << 20, "{total_mib} MiB");
        }
    }

    #[test]
    fn what_makes_room_passes() {
        let table = TableId(1);
        let partitions = |change| CommandBody::ChangePartitions { table, change };
        for (command, expected) in [
            (CommandBody::CreateDatabase { name: "d".into(), if_not_exists: true }, true),
            (CommandBody::DropTable { table }, false),
            (CommandBody::TruncateTable { table }, false),
            (partitions(PartitionChange::Drop(Partitions::All)), false),
            (partitions(PartitionChange::Detach(Partitions::All)), true),
            (CommandBody::AdvanceHorizon { horizon: CatalogVersion(1) }, false),
        ] {
            assert_eq!(adds(&command), expected, "{command:?}");
        }
    }

    #[test]
    fn a_look_holds_for_a_while() {
        let temporary = tempfile::tempdir().unwrap();
        let space = Space::of(temporary.path());
        let command = CommandBody::CreateDatabase { name: "d".into(), if_not_exists: true };
        *space.last.lock() = Some((1_000, Some(Error::exhausted("full"))));
        assert!(space.check(&command, 1_400).is_err());
        assert!(space.check(&CommandBody::DropTable { table: TableId(1) }, 1_400).is_ok());
        // The disk that tests run on has room.
        assert!(space.check(&command, 1_600).is_ok());
    }
}
