//! The commit of a group: what cannot be part of it is answered by itself first.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::record_batch::RecordBatch;
use futures::FutureExt;
use futures::future::BoxFuture;
use granary_catalog::{
    CommandBody, CommitWrite, InsertReceipt, Outcome, Snapshot, TableWrite, TokenEntry, WriteOrigin,
};
use granary_common::{Error, ErrorKind, Result};

use super::member::{Member, receipt_of};
use crate::core::Coordinator;

/// A group that is ready to be written.
struct Group {
    members: Vec<Member>,
    /// The same inserts again, which get the answer of the member at this place.
    again: Vec<(usize, Member)>,
    /// The rows of all members in the table's columns.
    rows: Vec<RecordBatch>,
}

/// Commits the inserts together and answers each.
pub(super) fn commit_group(core: &Arc<Coordinator>, members: Vec<Member>) -> BoxFuture<'_, ()> {
    async move {
        let mut backoff = core.backoff();
        let mut open = members;
        let known = open.iter().map(|member| Arc::clone(&member.target.snapshot));
        let newest = known.max_by_key(|snapshot| snapshot.version);
        let mut snapshot = newest.unwrap_or_else(|| core.with.catalog.snapshot());
        let mut is_again = false;
        loop {
            let group = prepare(core, open, &snapshot, is_again).await;
            if group.members.is_empty() {
                return;
            }
            let error = match attempt(core, &group).await {
                Ok(receipts) => return answer(group, &receipts),
                Err(error) => error,
            };
            let Group { members, again, .. } = group;
            open = members;
            open.extend(again.into_iter().map(|(_, member)| member));
            let is_unknown = error.kind() == ErrorKind::DeadlineExceeded;
            if !(is_unknown || error.kind().is_retryable()) {
                return one_by_one(core, open, error).await;
            }
            // Repeated as a new write: what was committed after all is found by its token.
            let latest = match backoff.wait().await {
                true => core.with.catalog.read_latest().await.map_err(|_| error),
                false => Err(error),
            };
            match latest {
                Ok(latest) => (snapshot, is_again) = (latest, true),
                Err(error) => return fail_all(open, &error),
            }
        }
    }
    .boxed()
}

/// A group that was refused is committed insert by insert, so that a bad one fails alone.
async fn one_by_one(core: &Arc<Coordinator>, open: Vec<Member>, error: Error) {
    match open.len() {
        1 => fail_all(open, &error),
        _ => {
            for member in open {
                commit_group(core, vec![member]).await;
            }
        }
    }
}

fn fail_all(open: Vec<Member>, error: &Error) {
    for member in open {
        let hint = format!("ask again with the insert token '{}'", member.token);
        let error = error.clone();
        member.failed(match error.kind() {
            ErrorKind::DeadlineExceeded => error.context(hint),
            _ => error,
        });
    }
}

fn answer(group: Group, receipts: &[InsertReceipt]) {
    let digests: Vec<String> = group.members.iter().map(|member| member.digest.clone()).collect();
    for (place, member) in group.again {
        match (digests.get(place), receipts.get(place)) {
            (Some(digest), Some(receipt)) => member.answer_from(digest, receipt),
            _ => member.failed(Error::internal("an answer of a group is missing")),
        }
    }
    for (at, member) in group.members.into_iter().enumerate() {
        match receipts.get(at) {
            Some(receipt) => member.done(receipt),
            None => member.failed(Error::internal("an answer of a group is missing")),
        }
    }
}

/// Answers what is committed already or cannot be; the rest is one block at `snapshot`.
async fn prepare(
    core: &Arc<Coordinator>,
    open: Vec<Member>,
    snapshot: &Arc<Snapshot>,
    is_again: bool,
) -> Group {
    let mut group = Group { members: Vec::new(), again: Vec::new(), rows: Vec::new() };
    let mut places: HashMap<String, usize> = HashMap::new();
    for mut member in open.into_iter().filter(|member| !member.reply.is_closed()) {
        let table = member.target.table.id;
        let earlier = snapshot.tables.get(&table).and_then(|state| state.tokens.get(&member.token));
        if let Some(earlier) = earlier {
            member.answer_from(&earlier.digest, &receipt_of(earlier));
            continue;
        }
        if let Some(place) = places.get(&member.token) {
            group.again.push((*place, member));
            continue;
        }
        match rows_of(core, &mut member, snapshot, is_again).await {
            Ok(rows) => {
                places.insert(member.token.clone(), group.members.len());
                group.rows.extend(rows);
                group.members.push(member);
            }
            Err(error) => member.failed(error),
        }
    }
    group
}

/// The rows of an insert in the columns that the table has at `snapshot`.
async fn rows_of(
    core: &Arc<Coordinator>,
    member: &mut Member,
    snapshot: &Arc<Snapshot>,
    is_again: bool,
) -> Result<Vec<RecordBatch>> {
    if is_again || !member.target.is_current(snapshot) {
        let Member { request, schema, target, .. } = &*member;
        member.target = target.at(core, request, schema, Arc::clone(snapshot))?;
    }
    let (target, block) = (Arc::clone(&member.target), Arc::clone(&member.block));
    let projecting = core.with.tasks.spawn_blocking(move || target.project(&block));
    let failed = |error| Error::internal(format!("reading a block failed: {error}"));
    projecting.await.map_err(failed)?
}

async fn attempt(core: &Arc<Coordinator>, group: &Group) -> Result<Vec<InsertReceipt>> {
    let Some((first, others)) = group.members.split_first() else {
        return Err(Error::internal("an empty group"));
    };
    let turn = core.rotation.fetch_add(1, Ordering::Relaxed);
    let tables: Vec<TableWrite> = match others.is_empty() {
        true => first.target.write(core, &first.block, turn).await?,
        // Each insert goes through the views by itself.
        false if first.target.has_views() => {
            return Err(Error::unsupported("a table with views takes inserts one by one"));
        }
        false => vec![first.target.write_rows(core, group.rows.clone(), turn).await?],
    };
    // The rows of a client that gave up meanwhile are left out.
    if group.members.iter().any(|member| member.reply.is_closed()) {
        return Err(Error::conflict("a client gave up before its insert was committed"));
    }
    let entry = |member: &Member| TokenEntry {
        token: member.token.clone(),
        digest: member.digest.clone(),
        rows: member.block.rows,
    };
    let commit = CommitWrite {
        tables,
        staged: None,
        token: first.token.clone(),
        digest: first.digest.clone(),
        rows: first.block.rows,
        others: others.iter().map(entry).collect(),
        origin: WriteOrigin::Insert,
    };
    match core.with.catalog.execute(CommandBody::CommitWrite(commit)).await?.1 {
        Outcome::Inserted(receipt) => Ok(vec![receipt]),
        Outcome::InsertedAll(receipts) => Ok(receipts),
        _ => Err(Error::internal("a commit was answered with something else")),
    }
}
