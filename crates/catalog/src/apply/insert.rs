//! The commit of a write, and the check of everything that it was prepared under.

use granary_common::{BucketIndex, CatalogVersion, Epoch, Error, Result, TableId, WorkerId};

use super::{Draft, partitions, table};
use crate::command::{
    BucketWrite, CommitWrite, InsertReceipt, KnownPart, NewDeletions, NewPart, Outcome, TableWrite,
};
use crate::model::{DeletionVector, InsertToken, Part, PartLocation, StagedInsert};
use crate::row::{Row, RowKey};

pub(super) fn commit(draft: &mut Draft, commit: &CommitWrite) -> Result<Outcome> {
    let Some(target) = commit.tables.first().map(|write| write.table) else {
        return Err(Error::internal("a commit names no table"));
    };
    if let Some(receipt) = earlier_answer(draft, target, commit)? {
        // The parts of this attempt stay unreferenced and are swept.
        return Ok(Outcome::Inserted(receipt));
    }
    let mut parts = Vec::new();
    for write in &commit.tables {
        check_versions(draft, write)?;
        for bucket in &write.buckets {
            check_bucket(draft, write.table, bucket)?;
            check_upserts(draft, write.table, bucket)?;
            parts.extend(parts_of(draft, write, bucket));
        }
    }
    for write in &commit.tables {
        take_away(draft, write)?;
    }
    if let Some(transaction) = &commit.staged {
        let staged = take_staged(draft, transaction, target)?;
        parts.splice(0..0, staged.parts);
    }
    let version = draft.version();
    let receipt =
        InsertReceipt { rows: commit.rows, parts: parts.len() as u64, version, duplicate: false };
    publish(draft, parts, version);
    draft.put(Row::InsertToken(InsertToken {
        table: target,
        token: commit.token.clone(),
        digest: commit.digest.clone(),
        rows: receipt.rows,
        parts: receipt.parts,
        version,
        committed_ms: draft.time_ms,
    }));
    Ok(Outcome::Inserted(receipt))
}

/// Hides the rows and parts that the write takes away.
fn take_away(draft: &mut Draft, write: &TableWrite) -> Result<()> {
    if let Some(overwritten) = &write.overwrite {
        partitions::remove(draft, write.table, overwritten, false)?;
    }
    for bucket in &write.buckets {
        for new in &bucket.deletions {
            delete_rows(draft, write.table, bucket.bucket, new)?;
        }
        for known in &bucket.removed {
            let mut part = known_part(draft, write.table, bucket.bucket, known)?;
            part.removed = Some(draft.version());
            draft.put(Row::Part(part));
        }
        let touched =
            !(bucket.parts.is_empty() && bucket.deletions.is_empty() && bucket.removed.is_empty());
        let state = table::find(draft, write.table)?;
        if let Some(row) = state.buckets.get(&bucket.bucket)
            && touched
            && !state.table.unique_key.is_empty()
        {
            let mut row = (**row).clone();
            row.upsert_version += 1;
            draft.put(Row::Bucket(row));
        }
    }
    Ok(())
}

fn delete_rows(
    draft: &mut Draft,
    table: TableId,
    bucket: BucketIndex,
    new: &NewDeletions,
) -> Result<()> {
    let mut part = known_part(draft, table, bucket, &new.known)?;
    if new.rows > part.rows {
        return Err(Error::internal(format!("part {} has fewer rows than deleted ones", part.id)));
    }
    let since = draft.version();
    if new.rows == part.rows {
        part.removed = Some(since);
    }
    let horizon = draft.cluster()?.horizon;
    part.forget_deletions_below(horizon);
    part.deletions.push(DeletionVector { since, rows: new.rows, content: new.content.clone() });
    draft.put(Row::Part(part));
    Ok(())
}

/// The part, if it is what the writer knew.
pub(super) fn known_part(
    draft: &Draft,
    table: TableId,
    bucket: BucketIndex,
    known: &KnownPart,
) -> Result<Part> {
    let part = table::find(draft, table)?.parts.get(&known.part);
    let part = part.filter(|part| part.bucket == bucket && part.removed.is_none());
    let moved = || Error::conflict(format!("part {} was replaced or changed since", known.part));
    let part = part.ok_or_else(moved)?;
    let newest = part.deletions.last().map(|vector| vector.since);
    match newest == known.deletions {
        true => Ok((**part).clone()),
        false => Err(moved()),
    }
}

/// Keys were checked against a state of the bucket; it must still be that one.
fn check_upserts(draft: &Draft, table: TableId, write: &BucketWrite) -> Result<()> {
    let state = table::find(draft, table)?;
    if state.table.unique_key.is_empty() {
        return Ok(());
    }
    let now = state.buckets.get(&write.bucket).map(|bucket| bucket.upsert_version);
    match write.upsert_version == now {
        true => Ok(()),
        false => Err(Error::conflict(format!(
            "keys of bucket {} were written by somebody else since",
            write.bucket
        ))),
    }
}

fn publish(draft: &mut Draft, parts: Vec<Part>, version: CatalogVersion) {
    for (ordinal, mut part) in parts.into_iter().enumerate() {
        let order = (version, ordinal as u32);
        part.added = version;
        part.inserted = (order, order);
        draft.put(Row::Part(part));
    }
}

fn earlier_answer(
    draft: &Draft,
    target: TableId,
    commit: &CommitWrite,
) -> Result<Option<InsertReceipt>> {
    let Some(earlier) = table::find(draft, target)?.tokens.get(&commit.token) else {
        return Ok(None);
    };
    if earlier.digest != commit.digest {
        return Err(Error::invalid(format!(
            "insert token '{}' was used before with other content; use a new token for new rows",
            commit.token
        )));
    }
    Ok(Some(InsertReceipt {
        rows: earlier.rows,
        parts: earlier.parts,
        version: earlier.version,
        duplicate: true,
    }))
}

fn check_versions(draft: &Draft, write: &TableWrite) -> Result<()> {
    let table = &table::find(draft, write.table)?.table;
    let now = (table.schema_version, table.view_set_version, table.data_version);
    let then = (write.schema_version, write.view_set_version, write.data_version);
    if now == then {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "table '{}' changed while rows were inserted (schema, views, data: {then:?}, now {now:?})",
        table.name
    )))
}

fn check_bucket(draft: &Draft, table: TableId, write: &BucketWrite) -> Result<()> {
    let BucketWrite { bucket, epoch, in_sync_version, synced, .. } = write;
    check_leadership(draft, table, *bucket, (*epoch, *in_sync_version), synced)?;
    write.parts.iter().try_for_each(|part| check_part(draft, part))
}

/// Refuses what was prepared under another leader or other replicas than the bucket's.
pub(super) fn check_leadership(
    draft: &Draft,
    table: TableId,
    index: BucketIndex,
    under: (Epoch, u64),
    synced: &[WorkerId],
) -> Result<()> {
    let state = table::find(draft, table)?;
    let bucket = state.buckets.get(&index).ok_or_else(|| {
        Error::conflict(format!("bucket {index} is not one of the table's any more"))
    })?;
    if (bucket.epoch, bucket.in_sync_version) != under {
        return Err(Error::conflict(format!(
            "bucket {index} has another leader or other replicas since (epoch {}, not {})",
            bucket.epoch, under.0
        )));
    }
    match bucket.in_sync.iter().find(|worker| !synced.contains(worker)) {
        None => Ok(()),
        Some(missing) => Err(Error::conflict(format!(
            "worker {missing} is in sync for bucket {index} but does not hold the new parts"
        ))),
    }
}

pub(super) fn check_part(draft: &Draft, part: &NewPart) -> Result<()> {
    let range = draft.next.part_id_ranges.range(..=part.id.0).next_back();
    let leased = range.is_some_and(|(_, range)| range.contains(part.id.0));
    if !leased {
        return Err(Error::conflict(format!(
            "part {} was written under a lease of ids that has expired",
            part.id
        )));
    }
    if matches!(&part.location, PartLocation::Local { copies } if copies.is_empty()) {
        return Err(Error::internal(format!("part {} has no copy", part.id)));
    }
    Ok(())
}

fn parts_of(draft: &Draft, write: &TableWrite, bucket: &BucketWrite) -> Vec<Part> {
    let of = (write.table, bucket.bucket, write.schema_version);
    bucket.parts.iter().map(|part| new_part(draft, of, part)).collect()
}

/// The catalog's row of a part that becomes visible now.
pub(super) fn new_part(
    draft: &Draft,
    (table, bucket, schema_version): (TableId, BucketIndex, u64),
    part: &NewPart,
) -> Part {
    let now = (draft.version(), 0);
    Part {
        id: part.id,
        table,
        bucket,
        partition: part.partition.clone(),
        rows: part.rows,
        bytes: part.bytes,
        key_range: part.key_range.clone(),
        schema_version,
        level: 0,
        location: part.location.clone(),
        inserted: (now, now),
        added: draft.version(),
        removed: None,
        deletions: Vec::new(),
        files: None,
        detached: false,
    }
}

pub(super) fn stage(draft: &mut Draft, transaction: &str, write: &TableWrite) -> Result<Outcome> {
    check_versions(draft, write)?;
    let mut parts = Vec::new();
    for bucket in &write.buckets {
        let adds_only = bucket.deletions.is_empty() && bucket.removed.is_empty();
        if !adds_only || write.overwrite.is_some() {
            return Err(Error::internal("a staged write only adds parts"));
        }
        check_bucket(draft, write.table, bucket)?;
        parts.extend(parts_of(draft, write, bucket));
    }
    let mut staged = match draft.next.staged.get(transaction) {
        Some(staged) => (**staged).clone(),
        None => StagedInsert {
            transaction: transaction.to_owned(),
            table: write.table,
            schema_version: write.schema_version,
            view_set_version: write.view_set_version,
            data_version: write.data_version,
            parts: Vec::new(),
            touched_ms: 0,
        },
    };
    let known = |part: &Part| staged.parts.iter().any(|other| other.id == part.id);
    let new: Vec<Part> = parts.into_iter().filter(|part| !known(part)).collect();
    staged.parts.extend(new);
    staged.touched_ms = draft.time_ms;
    draft.put(Row::StagedInsert(staged));
    Ok(Outcome::Done)
}

pub(super) fn abort(draft: &mut Draft, transaction: &str) -> Result<Outcome> {
    if draft.next.staged.contains_key(transaction) {
        draft.delete(RowKey::StagedInsert(transaction.to_owned()));
    }
    Ok(Outcome::Done)
}

fn take_staged(draft: &mut Draft, transaction: &str, table: TableId) -> Result<StagedInsert> {
    let staged = draft.next.staged.get(transaction).filter(|staged| staged.table == table);
    let staged = staged.ok_or_else(|| {
        Error::conflict(format!("the staged insert '{transaction}' has expired; send it again"))
    })?;
    let staged = (**staged).clone();
    let now = &table::find(draft, table)?.table;
    let versions = (now.schema_version, now.view_set_version, now.data_version);
    if versions != (staged.schema_version, staged.view_set_version, staged.data_version) {
        return Err(Error::conflict(format!(
            "table '{}' changed while rows were inserted; send them again",
            now.name
        )));
    }
    draft.delete(RowKey::StagedInsert(transaction.to_owned()));
    Ok(staged)
}
