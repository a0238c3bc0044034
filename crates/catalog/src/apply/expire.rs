use std::sync::Arc;

use granary_common::{CatalogVersion, Result, TableId};

use super::{Draft, buckets, damage, table};
use crate::command::Outcome;
use crate::history::HistoryStep;
use crate::model::{InsertToken, TableHistory};
use crate::row::{Row, RowKey};

pub(super) fn expire(
    draft: &mut Draft,
    staged_before_ms: u64,
    tokens_before_ms: u64,
    tokens_per_table: u64,
) -> Result<Outcome> {
    let staged = draft.next.staged.values().filter(|insert| insert.touched_ms < staged_before_ms);
    let mut keys: Vec<RowKey> =
        staged.map(|insert| RowKey::StagedInsert(insert.transaction.clone())).collect();
    for state in draft.next.tables.values() {
        let mut tokens: Vec<&Arc<InsertToken>> = state.tokens.values().collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.version));
        let kept = |place: usize, token: &InsertToken| {
            (place as u64) < tokens_per_table && token.committed_ms >= tokens_before_ms
        };
        let expired = tokens.iter().enumerate().filter(|(place, token)| !kept(*place, token));
        keys.extend(expired.map(|(_, t)| RowKey::InsertToken(t.table, t.token.clone())));
    }
    for key in keys {
        draft.delete(key);
    }
    Ok(Outcome::Done)
}

/// `pinned`: the lowest version that anybody may read. See [`crate::history`].
pub(super) fn advance_horizon(draft: &mut Draft, pinned: CatalogVersion) -> Result<Outcome> {
    let mut cluster = draft.cluster()?;
    let now_ms = draft.time_ms;
    let mut steps = Vec::new();
    let mut keys: Vec<RowKey> = Vec::new();
    for state in draft.next.tables.values() {
        let Some(step) = draft.next.history_step(state, pinned, now_ms) else { continue };
        let goes = |at: CatalogVersion| at <= step.forget;
        if state.table.dropped.is_some_and(goes) {
            keys.extend(table::rows_of(state));
            continue;
        }
        let parts = state.parts.values();
        let unseen = parts.filter(|part| part.removed.is_some_and(goes) && !part.detached);
        keys.extend(unseen.map(|part| RowKey::Part(part.table, part.id)));
        let table = state.table.id;
        let changed = state.earlier.keys().filter(|until| goes(**until));
        keys.extend(changed.map(|until| RowKey::EarlierTable(table, *until)));
        let HistoryStep { readable_from, forget } = step;
        let settled = readable_from;
        steps.push(TableHistory { table, readable_from, settled, forgotten: forget });
    }
    keys.extend(draft.next.excess_moments(now_ms).into_iter().map(RowKey::Moment));
    for history in steps {
        draft.put(Row::TableHistory(history));
    }
    for key in keys {
        draft.delete(key);
    }
    let splitting = |state: &&crate::snapshot::TableState| {
        !state.table.options.layout.earlier.is_empty() && state.table.dropped.is_none()
    };
    let tables: Vec<TableId> =
        draft.next.tables.values().filter(splitting).map(|state| state.table.id).collect();
    for table in tables {
        buckets::forget_unused(draft, table)?;
    }
    if pinned > cluster.horizon {
        cluster.horizon = pinned;
        draft.put(Row::Cluster(cluster));
    }
    damage::forget_departed(draft);
    Ok(Outcome::Done)
}
