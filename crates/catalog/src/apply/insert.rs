//! The commit of an insert, and the check of everything that it was prepared under.

use granary_common::{CatalogVersion, Error, Result, TableId};

use super::{Draft, table};
use crate::command::{BucketWrite, CommitInsert, InsertReceipt, NewPart, Outcome, TableWrite};
use crate::model::{InsertToken, Part, PartLocation, StagedInsert};
use crate::row::{Row, RowKey};

pub(super) fn commit(draft: &mut Draft, commit: &CommitInsert) -> Result<Outcome> {
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
            parts.extend(parts_of(draft, write, bucket));
        }
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
    commit: &CommitInsert,
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
    let state = table::find(draft, table)?;
    let bucket = state.buckets.get(&write.bucket).ok_or_else(|| {
        Error::conflict(format!("bucket {} is not one of the table's any more", write.bucket))
    })?;
    if (bucket.epoch, bucket.in_sync_version) != (write.epoch, write.in_sync_version) {
        return Err(Error::conflict(format!(
            "bucket {} has another leader or other replicas since (epoch {}, not {})",
            write.bucket, bucket.epoch, write.epoch
        )));
    }
    if let Some(missing) = bucket.in_sync.iter().find(|worker| !write.synced.contains(worker)) {
        return Err(Error::conflict(format!(
            "worker {missing} is in sync for bucket {} but does not hold the new parts",
            write.bucket
        )));
    }
    write.parts.iter().try_for_each(|part| check_part(draft, part))
}

fn check_part(draft: &Draft, part: &NewPart) -> Result<()> {
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
    let not_yet = (draft.version(), 0);
    let parts = bucket.parts.iter().map(|part| Part {
        id: part.id,
        table: write.table,
        bucket: bucket.bucket,
        partition: part.partition.clone(),
        rows: part.rows,
        bytes: part.bytes,
        key_range: part.key_range.clone(),
        schema_version: write.schema_version,
        level: 0,
        location: part.location.clone(),
        inserted: (not_yet, not_yet),
        added: draft.version(),
        removed: None,
    });
    parts.collect()
}

pub(super) fn stage(draft: &mut Draft, transaction: &str, write: &TableWrite) -> Result<Outcome> {
    check_versions(draft, write)?;
    let mut parts = Vec::new();
    for bucket in &write.buckets {
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
