//! Buckets change hands, and parts gain and lose copies.

use std::collections::BTreeSet;
use std::sync::Arc;

use granary_common::{BucketIndex, Epoch, Error, Result, TableId, WorkerId};

use super::{Draft, damage, table};
use crate::command::{BucketPlacement, CopiesChange, CopyChange, KnownPart, NewPart, Outcome};
use crate::model::{Bucket, DeletionContent, Part, PartLocation, StagedInsert};
use crate::protocol::FULL_DISKS;
use crate::replication::{holds, holds_all, min_copies};
use crate::row::Row;

/// Kind `Conflict` when the bucket is not what the command was decided from, or when somebody joins
/// those in sync who does not hold everything.
pub(super) fn place(draft: &mut Draft, placement: &BucketPlacement) -> Result<Outcome> {
    let BucketPlacement { table, bucket: index, leader, replicas, in_sync, .. } = placement;
    let state = table::find(draft, *table)?;
    let now = bucket(draft, *table, *index)?;
    if (now.epoch, now.in_sync_version) != (placement.epoch, placement.in_sync_version) {
        return Err(Error::conflict(format!("bucket {index} has moved on meanwhile")));
    }
    let set = |workers: &[WorkerId]| workers.iter().copied().collect::<BTreeSet<WorkerId>>();
    let all = set(replicas);
    // While no replica takes rows, another worker may lead.
    let may_lead = all.contains(leader)
        || (draft.next.protocol() >= FULL_DISKS && draft.next.workers.contains_key(leader));
    let is_sound = all.len() == replicas.len()
        && may_lead
        && all.iter().all(|worker| draft.next.workers.contains_key(worker))
        && set(in_sync).len() == in_sync.len()
        && set(in_sync).is_subset(&all);
    if !is_sound {
        return Err(Error::internal(format!("an impossible placement of bucket {index}")));
    }
    for joined in in_sync.iter().filter(|worker| !now.in_sync.contains(worker)) {
        if !holds_all(&draft.next, state, *index, *joined) {
            return Err(Error::conflict(format!(
                "worker {joined} does not hold every part of bucket {index}"
            )));
        }
    }
    let is_same = set(&now.in_sync) == set(in_sync) && now.replicas == *replicas;
    let next = Bucket {
        leader: *leader,
        replicas: replicas.clone(),
        in_sync: in_sync.clone(),
        in_sync_version: now.in_sync_version + u64::from(!is_same),
        epoch: Epoch(now.epoch.0 + u64::from(now.leader != *leader)),
        ..(*now).clone()
    };
    if next != *now {
        draft.put(Row::Bucket(next));
    }
    Ok(Outcome::Done)
}

fn bucket(draft: &Draft, table: TableId, index: BucketIndex) -> Result<Arc<Bucket>> {
    let found = table::find(draft, table)?.buckets.get(&index).map(Arc::clone);
    found.ok_or_else(|| {
        Error::conflict(format!("bucket {index} is not one of the table's any more"))
    })
}

pub(super) fn change_copies(draft: &mut Draft, change: &CopiesChange) -> Result<Outcome> {
    let state = table::find(draft, change.table)?;
    if !draft.next.workers.contains_key(&change.worker) {
        return Err(Error::not_found(format!("worker {} is not registered", change.worker)));
    }
    let known: Vec<(&KnownPart, Option<Part>)> = change
        .parts
        .iter()
        .map(|known| (known, state.parts.get(&known.part).map(|part| (**part).clone())))
        .collect();
    let mut staged: Vec<&KnownPart> = Vec::new();
    for (known, part) in known {
        match part {
            Some(part) => {
                if let Some(part) = changed(draft, change, known, part)? {
                    keep_in_sync(draft, &part)?;
                    if change.change == CopyChange::Added {
                        damage::forget(draft, &part, change.worker);
                    }
                    draft.put(Row::Part(part));
                }
            }
            None => staged.push(known),
        }
    }
    change_staged(draft, change, &staged)?;
    Ok(Outcome::Done)
}

/// The same for parts of long inserts that are under way.
fn change_staged(draft: &mut Draft, change: &CopiesChange, known: &[&KnownPart]) -> Result<()> {
    if known.is_empty() {
        return Ok(());
    }
    let find = |part: &Part| known.iter().copied().find(|known| known.part == part.id);
    let of_table = |part: &Part| part.table == change.table && find(part).is_some();
    let touched: Vec<StagedInsert> = draft
        .next
        .staged
        .values()
        .filter(|insert| insert.parts.iter().any(of_table))
        .map(|insert| (**insert).clone())
        .collect();
    for mut insert in touched {
        for part in insert.parts.iter_mut().filter(|part| part.table == change.table) {
            let Some(known) = find(part) else { continue };
            if let Some(next) = changed(draft, change, known, part.clone())? {
                keep_in_sync(draft, &next)?;
                *part = next;
            }
        }
        draft.put(Row::StagedInsert(insert));
    }
    Ok(())
}

/// The part after the change; `None` when the change does not fit it.
fn changed(
    draft: &Draft,
    change: &CopiesChange,
    known: &KnownPart,
    mut part: Part,
) -> Result<Option<Part>> {
    let PartLocation::Local { copies, .. } = &part.location else { return Ok(None) };
    let has = copies.contains(&change.worker);
    let is_elsewhere = draft.next.is_whole_elsewhere(&part, change.worker);
    let is_whole =
        |worker: &WorkerId| copies.contains(worker) && !draft.next.is_damaged(&part, *worker);
    let fits = match change.change {
        CopyChange::Added => {
            // With another vector, a file may be missing.
            let newest = part.deletions.last().map(|vector| vector.since);
            !has && newest == known.deletions
        }
        // Of two damaged copies, each may be the one from which rows can be saved.
        CopyChange::Lost => has && is_elsewhere,
        CopyChange::Spare => {
            let replicas = &bucket(draft, part.table, part.bucket)?.replicas;
            let is_replica = replicas.contains(&change.worker);
            has && !is_replica && replicas.iter().all(is_whole)
        }
    };
    if !fits {
        return Ok(None);
    }
    let PartLocation::Local { copies, .. } = &mut part.location else { return Ok(None) };
    match change.change {
        CopyChange::Added => copies.push(change.worker),
        CopyChange::Lost | CopyChange::Spare => copies.retain(|worker| *worker != change.worker),
    }
    Ok(Some(part))
}

/// Replicas without a copy of `part`, which now belongs to the bucket, are not in sync.
pub(super) fn keep_in_sync(draft: &mut Draft, part: &Part) -> Result<()> {
    let now = bucket(draft, part.table, part.bucket)?;
    if now.in_sync.iter().all(|worker| holds(&part.location, *worker)) {
        return Ok(());
    }
    let mut next = (*now).clone();
    next.in_sync.retain(|worker| holds(&part.location, *worker));
    next.in_sync_version += 1;
    draft.put(Row::Bucket(next));
    Ok(())
}

/// A new part must be on every replica in sync, and on as many workers as the table asks for.
pub(super) fn check_copies(
    draft: &Draft,
    table: TableId,
    index: BucketIndex,
    part: &NewPart,
) -> Result<()> {
    let PartLocation::Local { copies, .. } = &part.location else { return Ok(()) };
    let now = bucket(draft, table, index)?;
    if let Some(missing) = now.in_sync.iter().find(|worker| !copies.contains(worker)) {
        return Err(Error::conflict(format!(
            "worker {missing} is in sync for bucket {index} and has no copy of part {}",
            part.id
        )));
    }
    check_least(draft, table, part)
}

/// A new part must be on as many workers as the table asks for.
pub(super) fn check_least(draft: &Draft, table: TableId, part: &NewPart) -> Result<()> {
    let PartLocation::Local { copies, .. } = &part.location else { return Ok(()) };
    let least = min_copies(&table::find(draft, table)?.table.settings);
    match copies.len() >= least {
        true => Ok(()),
        false => Err(Error::unavailable(format!(
            "part {} has {} copies and the table's min_copies is {least}",
            part.id,
            copies.len()
        ))),
    }
}

/// A deletion vector in a file must be beside every copy of its part.
pub(super) fn check_deletions(
    part: &Part,
    content: &DeletionContent,
    synced: &[WorkerId],
) -> Result<()> {
    let (DeletionContent::File { .. }, PartLocation::Local { copies, .. }) =
        (content, &part.location)
    else {
        return Ok(());
    };
    // One that says nothing was written where the only copy is.
    let is_only = synced.is_empty() && copies.len() == 1;
    match is_only || copies.iter().all(|worker| synced.contains(worker)) {
        true => Ok(()),
        false => {
            Err(Error::conflict(format!("a copy of part {} lacks its newest deletions", part.id)))
        }
    }
}
