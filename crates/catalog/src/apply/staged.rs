//! Long inserts: parts that wait for the commit that shows all of them.

use granary_common::{Error, ErrorKind, Result, TableId};

use super::{Draft, insert, table};
use crate::command::{Outcome, TableWrite};
use crate::model::{Part, StagedInsert, StagedTarget};
use crate::protocol::STAGED_AGAIN;
use crate::row::{Row, RowKey};

/// Refuses what continues an insert whose earlier blocks have expired: the commit would show the later
/// ones alone.
pub(super) fn check(draft: &Draft, transaction: &str, continues: bool) -> Result<()> {
    match continues && !draft.next.staged.contains_key(transaction) {
        true => Err(expired(transaction)),
        false => Ok(()),
    }
}

fn expired(transaction: &str) -> Error {
    Error::conflict(format!("the staged insert '{transaction}' has expired; send it again"))
}

pub(super) fn stage(
    draft: &mut Draft,
    transaction: &str,
    write: &TableWrite,
    views: &[TableWrite],
) -> Result<Outcome> {
    let parts = match staged_parts(draft, write, views) {
        // An earlier attempt, of which the writer has not heard, took it while it was right. Refused,
        // the block would be written again, and its rows would be there twice.
        Err(error)
            if error.kind() == ErrorKind::Conflict && draft.next.protocol() >= STAGED_AGAIN =>
        {
            return match is_staged(draft, transaction, write, views) {
                true => Ok(Outcome::Done),
                false => Err(error),
            };
        }
        parts => parts?,
    };
    let mut staged = match draft.next.staged.get(transaction) {
        Some(staged) => (**staged).clone(),
        None => StagedInsert {
            transaction: transaction.to_owned(),
            table: write.table,
            schema_version: write.schema_version,
            view_set_version: write.view_set_version,
            data_version: write.data_version,
            parts: Vec::new(),
            views: Vec::new(),
            touched_ms: 0,
        },
    };
    for view in views {
        if !staged.views.iter().any(|target| target.table == view.table) {
            staged.views.push(StagedTarget {
                table: view.table,
                schema_version: view.schema_version,
                view_set_version: view.view_set_version,
                data_version: view.data_version,
            });
        }
    }
    let known = |part: &Part| staged.parts.iter().any(|other| other.id == part.id);
    let new: Vec<Part> = parts.into_iter().filter(|part| !known(part)).collect();
    staged.parts.extend(new);
    staged.touched_ms = draft.time_ms;
    draft.put(Row::StagedInsert(staged));
    Ok(Outcome::Done)
}

/// The parts of a staged write, which must fit the tables and buckets of now.
fn staged_parts(draft: &Draft, write: &TableWrite, views: &[TableWrite]) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for write in std::iter::once(write).chain(views) {
        insert::check_versions(draft, write)?;
        for bucket in &write.buckets {
            let adds_only = bucket.deletions.is_empty() && bucket.removed.is_empty();
            if !adds_only || write.overwrite.is_some() {
                return Err(Error::internal("a staged write only adds parts"));
            }
            insert::check_bucket(draft, write.table, bucket)?;
            parts.extend(insert::parts_of(draft, write, bucket));
        }
    }
    Ok(parts)
}

/// Whether all of it is staged.
fn is_staged(draft: &Draft, transaction: &str, write: &TableWrite, views: &[TableWrite]) -> bool {
    let Some(staged) = draft.next.staged.get(transaction) else { return false };
    let buckets = std::iter::once(write).chain(views).flat_map(|write| &write.buckets);
    let mut parts = buckets.flat_map(|bucket| &bucket.parts);
    parts.all(|part| staged.parts.iter().any(|known| known.id == part.id))
}

pub(super) fn abort(draft: &mut Draft, transaction: &str) -> Result<Outcome> {
    if draft.next.staged.contains_key(transaction) {
        draft.delete(RowKey::StagedInsert(transaction.to_owned()));
    }
    Ok(Outcome::Done)
}

pub(super) fn take(draft: &mut Draft, transaction: &str, table: TableId) -> Result<StagedInsert> {
    let staged = draft.next.staged.get(transaction).filter(|staged| staged.table == table);
    let staged = staged.ok_or_else(|| expired(transaction))?;
    let staged = (**staged).clone();
    let own = StagedTarget {
        table,
        schema_version: staged.schema_version,
        view_set_version: staged.view_set_version,
        data_version: staged.data_version,
    };
    for then in std::iter::once(&own).chain(&staged.views) {
        let now = &table::find(draft, then.table)?.table;
        let versions = (now.schema_version, now.view_set_version, now.data_version);
        if versions != (then.schema_version, then.view_set_version, then.data_version) {
            return Err(Error::conflict(format!(
                "table '{}' changed while rows were inserted; send them again",
                now.name
            )));
        }
    }
    draft.delete(RowKey::StagedInsert(transaction.to_owned()));
    Ok(staged)
}
