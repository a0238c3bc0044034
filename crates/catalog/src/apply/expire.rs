use std::sync::Arc;

use granary_common::{CatalogVersion, Result};

use super::{Draft, damage, table};
use crate::command::Outcome;
use crate::model::InsertToken;
use crate::row::{Row, RowKey};
use crate::snapshot::TableState;

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

pub(super) fn advance_horizon(draft: &mut Draft, horizon: CatalogVersion) -> Result<Outcome> {
    let mut cluster = draft.cluster()?;
    if horizon <= cluster.horizon {
        return Ok(Outcome::Done);
    }
    cluster.horizon = horizon;
    draft.put(Row::Cluster(cluster));
    let parts = draft.next.tables.values().flat_map(|state| state.parts.values());
    let unseen = parts
        .filter(|part| part.removed.is_some_and(|removed| removed <= horizon) && !part.detached);
    let mut keys: Vec<RowKey> = unseen.map(|part| RowKey::Part(part.table, part.id)).collect();
    let dropped = |state: &&TableState| state.table.dropped.is_some_and(|at| at <= horizon);
    keys.extend(draft.next.tables.values().filter(dropped).flat_map(table::rows_of));
    for key in keys {
        draft.delete(key);
    }
    damage::forget_departed(draft);
    Ok(Outcome::Done)
}
