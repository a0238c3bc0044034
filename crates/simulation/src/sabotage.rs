//! Ways to break the code on purpose: a simulation that does not find them is worth nothing.

use granary_catalog::{
    BucketWrite, Command, CommandBody, CommitWrite, PartLocation, Snapshot, TableState,
};
use granary_common::CatalogVersion;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Workers say that a part is synced when it is not.
    UnsyncedParts,
    /// Members of the metadata group say that entries of the log are synced when they are not.
    UnsyncedLog,
    /// A commit under an old epoch is taken, as if those in sync now had its parts.
    OldEpochs,
    /// The tokens of inserts are not kept.
    LostTokens,
    /// Deletions that were computed from others than those of now are taken.
    StaleDeletions,
    /// Keys that were looked up before others wrote some are taken.
    StaleKeys,
    /// Sweeps delete files of deletions that may yet be committed.
    SweptLeases,
}

impl Sabotage {
    /// Every way.
    pub const ALL: [Sabotage; 7] = [
        Sabotage::UnsyncedParts,
        Sabotage::UnsyncedLog,
        Sabotage::OldEpochs,
        Sabotage::LostTokens,
        Sabotage::StaleDeletions,
        Sabotage::StaleKeys,
        Sabotage::SweptLeases,
    ];

    /// Makes of a command what a catalog without the check would make of it.
    pub(crate) fn spoil(self, command: &mut Command, version: CatalogVersion, state: &Snapshot) {
        let CommandBody::CommitWrite(commit) = &mut command.body else { return };
        match self {
            Sabotage::UnsyncedParts | Sabotage::UnsyncedLog | Sabotage::SweptLeases => {}
            Sabotage::LostTokens => commit.token = format!("{} at {version}", commit.token),
            Sabotage::OldEpochs => each_bucket(commit, state, believe),
            Sabotage::StaleDeletions => each_bucket(commit, state, forget_others),
            Sabotage::StaleKeys => each_bucket(commit, state, |bucket, table| {
                let now = table.buckets.get(&bucket.bucket);
                if let (Some(_), Some(now)) = (bucket.upsert_version, now) {
                    bucket.upsert_version = Some(now.upsert_version);
                }
            }),
        }
    }
}

fn each_bucket(
    commit: &mut CommitWrite,
    state: &Snapshot,
    spoil: fn(&mut BucketWrite, &TableState),
) {
    for write in &mut commit.tables {
        let Some(table) = state.tables.get(&write.table) else { continue };
        write.buckets.iter_mut().for_each(|bucket| spoil(bucket, table));
    }
}

/// Makes a write look as if it knew the deletions of now.
fn forget_others(write: &mut BucketWrite, table: &TableState) {
    let deletions = write.deletions.iter_mut().map(|new| &mut new.known);
    for known in deletions.chain(&mut write.removed) {
        if let Some(now) = table.parts.get(&known.part) {
            *known = crate::upkeep::known(now);
        }
    }
}

/// Makes a write look as if the bucket's leader of now had done it.
fn believe(write: &mut BucketWrite, table: &TableState) {
    let Some(now) = table.buckets.get(&write.bucket) else { return };
    (write.epoch, write.in_sync_version) = (now.epoch, now.in_sync_version);
    write.synced.clone_from(&now.in_sync);
    for part in &mut write.parts {
        if let PartLocation::Local { copies, .. } = &mut part.location {
            let others = now.in_sync.iter().copied();
            let missing: Vec<_> = others.filter(|worker| !copies.contains(worker)).collect();
            copies.extend(missing);
        }
    }
}
