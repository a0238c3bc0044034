//! The past is noted, bounded, and brought back.

use std::collections::BTreeSet;

use granary_common::{CatalogVersion, Error, PartId, Result, TableId};

use super::{Draft, partitions, table};
use crate::command::{CloneTable, CommandBody, Outcome};
use crate::history::{Past, excess_definitions};
use crate::model::{
    Bucket, DeletionContent, DeletionVector, EarlierTable, Moment, Part, Table, TableHistory,
    TableOptions, ViewKind,
};
use crate::row::{Row, RowKey};
use crate::snapshot::TableState;

/// Deletion vectors of a part that are kept, and their bytes within the catalog.
const VECTORS_MAX: usize = 32;
const VECTOR_BYTES_MAX: usize = 64 << 10;

/// Notes when the version took effect, if queries can see a difference.
pub(super) fn note_moment(draft: &mut Draft, body: &CommandBody) {
    let is_unseen = matches!(
        body,
        CommandBody::AdvanceHorizon { .. }
            | CommandBody::ChangeCopies(_)
            | CommandBody::PlaceBucket(_)
            | CommandBody::StageParts { .. }
            | CommandBody::SetMerges { .. }
    );
    let is_seen = |row: &Row| matches!(row, Row::Part(_) | Row::Table(_) | Row::View(_));
    let differs = draft.changes.iter().any(|change| match change {
        crate::Change::Put(row) => is_seen(row),
        crate::Change::Delete(key) => matches!(key, RowKey::View(_) | RowKey::Database(_)),
    });
    if is_unseen || !differs {
        return;
    }
    let last_ms = draft.next.moments.get_max().map_or(0, |(_, at)| *at);
    let moment = Moment { version: draft.version(), time_ms: draft.time_ms.max(last_ms) };
    draft.put(Row::Moment(moment));
}

/// A new table has no past.
pub(super) fn begin(draft: &mut Draft, table: TableId) {
    let version = draft.version();
    draft.put(Row::TableHistory(TableHistory {
        table,
        readable_from: version,
        settled: version,
        forgotten: version,
    }));
}

/// Puts the next definition of a table and keeps the one that it had.
pub(super) fn define(draft: &mut Draft, next: Table) -> Result<()> {
    let until = draft.version();
    let state = table::find(draft, next.id)?;
    let definition = Table::clone(&state.table);
    let excess = excess_definitions(state);
    for earlier in &excess {
        draft.delete(RowKey::EarlierTable(next.id, earlier.until));
    }
    if let Some(last) = excess.last() {
        shorten(draft, next.id, last.until)?;
    }
    draft.put(Row::EarlierTable(EarlierTable { until, definition }));
    draft.put(Row::Table(next));
    Ok(())
}

/// Refuses readers of a table below `from` from now on. What they need goes later, as always.
fn shorten(draft: &mut Draft, table: TableId, from: CatalogVersion) -> Result<()> {
    if let Some(history) = &table::find(draft, table)?.history
        && history.readable_from < from
    {
        let history = TableHistory { readable_from: from, ..**history };
        draft.put(Row::TableHistory(history));
    }
    Ok(())
}

/// Drops vectors of the part that no query needs, and the oldest ones when there are too many.
pub(super) fn trim_deletions(draft: &mut Draft, part: &mut Part) -> Result<()> {
    let forgotten = draft.next.forgotten(table::find(draft, part.table)?);
    part.forget_deletions_below(forgotten);
    let inline = |vector: &DeletionVector| match &vector.content {
        DeletionContent::Inline(bytes) => Some(bytes.len()),
        DeletionContent::File { .. } => None,
    };
    let bytes = |vectors: &[DeletionVector]| vectors.iter().filter_map(inline).sum::<usize>();
    let mut cut = 0;
    // The newest two stay: the one that is new, and the one that queries read which run.
    while part.deletions.len() - cut > VECTORS_MAX
        || (part.deletions.len() - cut > 2 && bytes(&part.deletions[cut..]) > VECTOR_BYTES_MAX)
    {
        cut += 1;
    }
    let Some(oldest) = part.deletions.get(cut).filter(|_| cut > 0).map(|vector| vector.since)
    else {
        return Ok(());
    };
    // A query that runs has what is in the catalog at hand, but not what is in files: those stay
    // named until the history has passed them.
    part.deletions.retain(|vector| vector.since >= oldest || inline(vector).is_none());
    shorten(draft, part.table, oldest)
}

/// Brings a dropped table back as it was when it was dropped.
pub(super) fn undrop(draft: &mut Draft, id: TableId) -> Result<Outcome> {
    let state = draft.next.tables.get(&id).filter(|state| state.table.dropped.is_some());
    let state = state
        .ok_or_else(|| Error::not_found("the dropped table is not kept any more, or is back"))?;
    let mut row = Table::clone(&state.table);
    if !draft.next.databases.contains_key(&row.database) {
        return Err(Error::not_found(format!("the database of table '{}' was dropped", row.name)));
    }
    check_free(draft, &row)?;
    row.dropped = None;
    // Whatever was in flight when it was dropped is over.
    row.data_version += 1;
    draft.put(Row::Table(row));
    let shown = table::find(draft, id)?.visible_parts(draft.version());
    let parts: Vec<Part> = shown.map(|part| (**part).clone()).collect();
    for part in parts {
        // Its replicas may have changed while nobody looked after it.
        super::replicas::keep_in_sync(draft, &part)?;
    }
    Ok(Outcome::Done)
}

fn check_free(draft: &Draft, table: &Table) -> Result<()> {
    if table::named(draft, table.database, &table.name).is_some() {
        return Err(Error::already_exists(format!(
            "table '{}' already exists; rename it first",
            table.name
        )));
    }
    table::check_no_view(draft, table.database, &table.name)
}

/// What a table held at `version`, each part with the deletions that it had then.
fn parts_at(state: &TableState, version: CatalogVersion) -> Vec<Part> {
    let as_it_was = |part: &std::sync::Arc<Part>| {
        let deletions = part.deletions_at(version).cloned();
        Part { deletions: deletions.into_iter().collect(), ..(**part).clone() }
    };
    let mut parts: Vec<Part> = state.visible_parts(version).map(as_it_was).collect();
    parts.sort_by_key(|part| (part.inserted, part.id));
    parts
}

pub(super) fn restore(draft: &mut Draft, id: TableId, version: CatalogVersion) -> Result<Outcome> {
    let state = table::find(draft, id)?.clone();
    let past = draft.next.past(&state, Past::Version(version))?.table;
    let next = restored(draft, &state.table, &past)?;
    let now = draft.version();
    let then = parts_at(&state, version);
    let is_same = |part: &Part| {
        let of = state.parts.get(&part.id).filter(|current| current.visible_at(now));
        of.is_some_and(|current| current.deletions_at(now) == part.deletions.first())
    };
    let (kept, lost): (Vec<Part>, Vec<Part>) = then.into_iter().partition(is_same);
    let kept_ids: BTreeSet<PartId> = kept.iter().map(|part| part.id).collect();
    let gone: Vec<Part> = state
        .visible_parts(now)
        .filter(|part| !kept_ids.contains(&part.id))
        .map(|part| (**part).clone())
        .collect();
    define(draft, next)?;
    for part in gone {
        draft.put(Row::Part(Part { removed: Some(now), ..part }));
    }
    for part in lost {
        let files = Some(part.shown_files());
        partitions::show_as(draft, id, Part { files, ..part })?;
    }
    partitions::data_moved(draft, id)?;
    // Keys that were looked up are looked up again.
    let buckets = table::find(draft, id)?.buckets.values();
    let buckets: Vec<Bucket> = buckets.map(|bucket| (**bucket).clone()).collect();
    for bucket in buckets {
        let upsert_version = bucket.upsert_version + 1;
        draft.put(Row::Bucket(Bucket { upsert_version, ..bucket }));
    }
    Ok(Outcome::Done)
}

/// The table's next definition: what it was, under the name, the settings and the place that it has.
/// Ids of columns are never used again, and versions only grow.
fn restored(draft: &Draft, now: &Table, then: &Table) -> Result<Table> {
    let is_same = (&now.columns, &now.options.rules) == (&then.columns, &then.options.rules);
    let feeds = draft.next.views.values().find(|view| match view.kind {
        ViewKind::Materialized { source, target, .. } => source == now.id || target == now.id,
        _ => view.kind.target() == Some(now.id),
    });
    if let (false, Some(view)) = (is_same, feeds) {
        return Err(Error::invalid(format!(
            "table '{}' had other columns or another TTL then, and view '{}' uses it; drop the view \
             first",
            now.name, view.name
        )));
    }
    let layout = now.options.layout.clone();
    let mut options = TableOptions { layout, ..then.options.clone() };
    options.ttl_version = now.options.ttl_version + u64::from(!is_same);
    Ok(Table {
        columns: then.columns.clone(),
        engine: then.engine.clone(),
        order_by: then.order_by.clone(),
        primary_key_len: then.primary_key_len,
        partition_by: then.partition_by.clone(),
        comment: then.comment.clone(),
        options,
        schema_version: now.schema_version + 1,
        ..now.clone()
    })
}

pub(super) fn clone_table(draft: &mut Draft, clone: &CloneTable) -> Result<Outcome> {
    let state = table::find(draft, clone.from)?.clone();
    if !draft.next.databases.contains_key(&clone.database) {
        return Err(Error::conflict("the database was dropped while the table was cloned"));
    }
    if let Some(existing) = table::named(draft, clone.database, &clone.name)
        && clone.if_not_exists
    {
        return Ok(Outcome::TableCreated(existing));
    }
    let version = clone.version.unwrap_or(draft.version());
    let past = draft.next.past(&state, Past::Version(version))?.table;
    let mut cluster = draft.cluster()?;
    let id = TableId(cluster.next_table_id);
    let next = Table {
        id,
        database: clone.database,
        name: clone.name.clone(),
        settings: state.table.settings.clone(),
        next_column_id: state.table.next_column_id,
        view_set_version: 1,
        data_version: 1,
        created: draft.version(),
        dropped: None,
        merges_stopped: false,
        ..Table::clone(&past)
    };
    check_free(draft, &next)?;
    cluster.next_table_id += 1;
    draft.put(Row::Cluster(cluster));
    draft.put(Row::Table(next));
    for bucket in state.buckets.values() {
        draft.put(Row::Bucket(Bucket { table: id, upsert_version: 0, ..(**bucket).clone() }));
    }
    begin(draft, id);
    for part in parts_at(&state, version) {
        let files = Some(part.shown_files());
        partitions::show_as(draft, id, Part { files, ..part })?;
    }
    Ok(Outcome::TableCreated(id))
}
