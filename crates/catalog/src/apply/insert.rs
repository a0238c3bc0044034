//! The commit of a write, and the check of everything that it was prepared under.

use granary_common::{BucketIndex, CatalogVersion, Epoch, Error, Result, TableId, WorkerId};

use super::{Draft, history, leased, origin, partitions, replicas, staged, table};
use crate::command::{
    BucketWrite, CommitWrite, InsertReceipt, KnownPart, NewDeletions, NewPart, Outcome, TableWrite,
};
use crate::model::{DeletionVector, InsertToken, Part, PartFiles, PartLocation};
use crate::row::Row;

pub(super) fn commit(draft: &mut Draft, commit: &CommitWrite) -> Result<Outcome> {
    let Some(target) = commit.tables.first().map(|write| write.table) else {
        return Err(Error::internal("a commit names no table"));
    };
    if let Some(outcome) = earlier_answers(draft, target, commit)? {
        // The parts of this attempt stay unreferenced and are swept.
        return Ok(outcome);
    }
    origin::check(draft, commit)?;
    let mut parts = Vec::new();
    for write in &commit.tables {
        check_versions(draft, write)?;
        for bucket in &write.buckets {
            check_bucket(draft, write.table, bucket)?;
            check_upserts(draft, write.table, bucket)?;
            parts.extend(parts_of(draft, write, bucket));
        }
    }
    // Before anything is taken away, which moves the table's data version.
    if let Some(transaction) = &commit.staged {
        let staged = staged::take(draft, transaction, target)?;
        for part in &staged.parts {
            replicas::keep_in_sync(draft, part)?;
        }
        parts.splice(0..0, staged.parts);
    }
    for write in &commit.tables {
        take_away(draft, write)?;
    }
    let version = draft.version();
    let part_count = parts.len() as u64;
    publish(draft, parts, version);
    origin::note(draft, target, commit)?;
    let mut receipts = Vec::with_capacity(1 + commit.others.len());
    for (token, digest, rows) in tokens_of(commit) {
        draft.put(Row::InsertToken(InsertToken {
            table: target,
            token: token.to_owned(),
            digest: digest.to_owned(),
            rows,
            parts: part_count,
            version,
            committed_ms: draft.time_ms,
        }));
        receipts.push(InsertReceipt { rows, parts: part_count, version, duplicate: false });
    }
    answer(receipts)
}

/// Every insert that the commit carries: token, digest and rows.
fn tokens_of(commit: &CommitWrite) -> impl Iterator<Item = (&str, &str, u64)> {
    let others = commit.others.iter();
    let others = others.map(|other| (other.token.as_str(), other.digest.as_str(), other.rows));
    std::iter::once((commit.token.as_str(), commit.digest.as_str(), commit.rows)).chain(others)
}

fn answer(mut receipts: Vec<InsertReceipt>) -> Result<Outcome> {
    match (receipts.len(), receipts.pop()) {
        (1, Some(only)) => Ok(Outcome::Inserted(only)),
        (_, Some(last)) => {
            receipts.push(last);
            Ok(Outcome::InsertedAll(receipts))
        }
        (_, None) => Err(Error::internal("a commit carries no token")),
    }
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
    replicas::check_deletions(&part, &new.content, &new.synced)?;
    leased::check_deletions(draft, &new.content)?;
    if new.rows > part.rows {
        return Err(Error::internal(format!("part {} has fewer rows than deleted ones", part.id)));
    }
    let since = draft.version();
    if new.rows == part.rows {
        part.removed = Some(since);
    }
    part.deletions.push(DeletionVector { since, rows: new.rows, content: new.content.clone() });
    history::trim_deletions(draft, &mut part)?;
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

/// The first answer, when every token was committed before. A group of which only some were cannot
/// be committed: its parts hold rows that are there already.
fn earlier_answers(
    draft: &Draft,
    target: TableId,
    commit: &CommitWrite,
) -> Result<Option<Outcome>> {
    let known = &table::find(draft, target)?.tokens;
    let mut receipts = Vec::new();
    for (token, digest, _) in tokens_of(commit) {
        let Some(earlier) = known.get(token) else { continue };
        // A group takes the insert out by itself, so that it alone fails.
        if earlier.digest != digest && commit.others.is_empty() {
            return Err(Error::invalid(format!(
                "insert token '{token}' was used before with other content; use a new token for \
                 new rows"
            )));
        }
        let other_content = earlier.digest != digest;
        receipts.push((other_content, earlier));
    }
    if receipts.is_empty() {
        return Ok(None);
    }
    if receipts.len() <= commit.others.len() || receipts.iter().any(|(other, _)| *other) {
        return Err(Error::conflict("an insert of the group was committed before by itself"));
    }
    let receipt = |(_, earlier): (bool, &std::sync::Arc<InsertToken>)| InsertReceipt {
        rows: earlier.rows,
        parts: earlier.parts,
        version: earlier.version,
        duplicate: true,
    };
    answer(receipts.into_iter().map(receipt).collect()).map(Some)
}

pub(super) fn check_versions(draft: &Draft, write: &TableWrite) -> Result<()> {
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

pub(super) fn check_bucket(draft: &Draft, table: TableId, write: &BucketWrite) -> Result<()> {
    let BucketWrite { bucket, epoch, in_sync_version, synced, .. } = write;
    check_leadership(draft, table, *bucket, (*epoch, *in_sync_version), synced)?;
    write.parts.iter().try_for_each(|part| {
        check_part(draft, part)?;
        replicas::check_copies(draft, table, *bucket, part)
    })
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
    if !leased::is_leased(draft, part.id) {
        return Err(Error::conflict(format!(
            "part {} was written under a lease of ids that has expired",
            part.id
        )));
    }
    if matches!(&part.location, PartLocation::Local { copies, .. } if copies.is_empty()) {
        return Err(Error::internal(format!("part {} has no copy", part.id)));
    }
    Ok(())
}

pub(super) fn parts_of(draft: &Draft, write: &TableWrite, bucket: &BucketWrite) -> Vec<Part> {
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
    let projections = part.projections.clone();
    let files = PartFiles { table, part: part.id, projections };
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
        files: (!part.projections.is_empty()).then_some(files),
        detached: false,
    }
}
