//! What is known of the targets of materialized views: whether they stand for every row of the
//! source. In doubt it is forgotten, and only a view that is made anew is known again.

use granary_common::{PartId, TableId};

use super::Draft;
use crate::command::{AlterTable, CommandBody, CommitWrite, MergeParts, TableWrite};
use crate::model::{EngineKind, Filled, Table, View, ViewKind, WriteOrigin};
use crate::row::Row;
use crate::snapshot::{Snapshot, TableState};

/// The protocol version that it came with.
const PROTOCOL: u32 = 3;

/// After a command that turned `before` into what the draft is.
pub(super) fn note(draft: &mut Draft, before: &Snapshot, body: &CommandBody) {
    if draft.next.protocol() < PROTOCOL {
        return;
    }
    match body {
        CommandBody::CreateView { .. } => begin(draft),
        CommandBody::CommitWrite(commit) => written(draft, commit),
        CommandBody::MergeParts(merge) if !keeps_rows(before, merge) => {
            changed(draft, merge.table);
        }
        CommandBody::AlterTable(alter) => altered(draft, before, alter),
        CommandBody::CopyPartitions(copy) => {
            if copy.remove {
                changed(draft, copy.from);
            }
            changed(draft, copy.to);
        }
        CommandBody::ExchangeTables { first, second } => {
            changed(draft, *first);
            changed(draft, *second);
        }
        CommandBody::TruncateTable { table }
        | CommandBody::ChangePartitions { table, .. }
        | CommandBody::RestoreTable { table, .. }
        | CommandBody::UndropTable { table } => changed(draft, *table),
        _ => {}
    }
}

/// Of the view that was made now.
fn begin(draft: &mut Draft) {
    let made = draft.next.views.values().find(|view| view.created == draft.version());
    let Some(made) = made.map(|view| View::clone(view)) else { return };
    let ViewKind::Materialized { source, target, .. } = made.kind else {
        // A refreshable view puts other rows beside those of the view that has the table already.
        if let ViewKind::Refreshable { target, .. } = made.kind {
            changed(draft, target);
        }
        return;
    };
    let shares = |view: &View| {
        view.id != made.id
            && view.kind.target() == Some(target)
            && !matches!(view.kind, ViewKind::Alias { .. })
    };
    if draft.next.views.values().any(|view| shares(view)) {
        return changed(draft, target);
    }
    let is_empty = |table: TableId| {
        let state = draft.next.tables.get(&table);
        state.is_some_and(|state| state.parts.values().all(|part| part.removed.is_some()))
    };
    let filled = match (is_empty(source), is_empty(target)) {
        (true, true) => Some(Filled::Whole),
        (false, true) => Some(Filled::Partly),
        (_, false) => None,
    };
    draft.put(Row::View(View { filled, ..made }));
}

/// Rows of the table went or became others, or came in a way that views do not see.
fn changed(draft: &mut Draft, table: TableId) {
    forget(draft, |view| match view.kind {
        ViewKind::Materialized { source, target, .. } => table == source || table == target,
        _ => false,
    });
}

fn forget(draft: &mut Draft, is_one: impl Fn(&View) -> bool) {
    let known = draft.next.views.values().filter(|view| view.filled.is_some() && is_one(view));
    let known: Vec<View> = known.map(|view| View::clone(view)).collect();
    for view in known {
        draft.put(Row::View(View { filled: None, ..view }));
    }
}

fn written(draft: &mut Draft, commit: &CommitWrite) {
    for write in commit.tables.iter().filter(|write| takes_away(write)) {
        changed(draft, write.table);
    }
    let Some(own) = commit.tables.first().map(|write| write.table) else { return };
    let populated = match commit.origin {
        WriteOrigin::Populate { view } => Some(view),
        _ => None,
    };
    // What a statement puts into a view's table itself, the view's source knows nothing of.
    forget(draft, |view| populated != Some(view.id) && fills(view, own));
    let view = populated.and_then(|view| draft.next.views.get(&view)).map(|view| View::clone(view));
    if let Some(view) = view
        && view.filled == Some(Filled::Partly)
        && fills(&view, own)
    {
        draft.put(Row::View(View { filled: Some(Filled::Whole), ..view }));
    }
}

fn fills(view: &View, table: TableId) -> bool {
    matches!(view.kind, ViewKind::Materialized { target, .. } if target == table)
}

fn takes_away(write: &TableWrite) -> bool {
    let mut buckets = write.buckets.iter();
    write.overwrite.is_some()
        || buckets.any(|bucket| !bucket.deletions.is_empty() || !bucket.removed.is_empty())
}

/// Whether there are as many rows after the merge, where its engine makes none of several.
fn keeps_rows(before: &Snapshot, merge: &MergeParts) -> bool {
    let Some(state) = before.tables.get(&merge.table) else { return false };
    if merge.is_move || state.table.engine.kind != EngineKind::MergeTree {
        return true;
    }
    let taken = merge.inputs.iter().map(|known| rows_of(state, known.part));
    let given = merge.outputs.iter().map(|output| {
        let deleted = output.deletions.as_ref().map_or(0, |(rows, _)| *rows);
        output.part.rows.checked_sub(deleted)
    });
    taken.sum::<Option<u64>>() == given.sum::<Option<u64>>()
}

fn rows_of(state: &TableState, part: PartId) -> Option<u64> {
    let part = state.parts.get(&part)?;
    part.rows.checked_sub(part.deletions.last().map_or(0, |vector| vector.rows))
}

/// Rules of a TTL take rows away; columns of a target are what its view fills.
fn altered(draft: &mut Draft, before: &Snapshot, alter: &AlterTable) {
    let Some(was) = before.tables.get(&alter.table).map(|state| &state.table) else { return };
    let has_rules = !was.options.rules.is_empty() || !alter.options.rules.is_empty();
    if has_rules || was.engine != alter.engine {
        changed(draft, alter.table);
    } else if !keeps_columns(was, alter) {
        forget(draft, |view| fills(view, alter.table));
    }
}

fn keeps_columns(was: &Table, alter: &AlterTable) -> bool {
    was.columns == alter.columns && was.order_by == alter.order_by
}
