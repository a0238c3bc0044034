//! Views, and what they hold on to.

use std::collections::BTreeSet;

use granary_common::{DatabaseId, Error, Result, TableId};

use super::{Draft, refresh, table};
use crate::command::{ExistingView, NewTable, NewView, Outcome};
use crate::model::{View, ViewKind};
use crate::row::{Row, RowKey};

pub(super) fn create(draft: &mut Draft, new: &NewView, existing: ExistingView) -> Result<Outcome> {
    if !draft.next.databases.contains_key(&new.database) {
        return Err(Error::conflict("the database was dropped while the view was created"));
    }
    if table::named(draft, new.database, &new.name).is_some() {
        return Err(Error::already_exists(format!("a table named '{}' already exists", new.name)));
    }
    if let Some(earlier) = named(draft, new.database, &new.name) {
        match existing {
            ExistingView::IfNotExists => return Ok(Outcome::ViewCreated(earlier)),
            ExistingView::OrReplace => drop(draft, earlier).map(|_| ())?,
            ExistingView::Refuse => {
                let text = format!("view '{}' already exists", new.name);
                return Err(Error::already_exists(text));
            }
        }
    }
    let kind = match &new.inner {
        Some(inner) => with_inner(draft, &new.kind, inner)?,
        None => new.kind.clone(),
    };
    for needed in [kind.target(), source(&kind)].into_iter().flatten() {
        table::find(draft, needed)?;
    }
    check_no_cycle(draft, &kind)?;
    let mut cluster = draft.cluster()?;
    let id = TableId(cluster.next_table_id);
    cluster.next_table_id += 1;
    draft.put(Row::Cluster(cluster));
    draft.put(Row::View(View {
        id,
        database: new.database,
        name: new.name.clone(),
        query: new.query.clone(),
        query_database: new.query_database.clone(),
        columns: new.columns.clone(),
        kind: kind.clone(),
        comment: new.comment.clone(),
        created: draft.version(),
        filled: None,
    }));
    refresh::created(draft, id, &kind);
    view_set_moved(draft, &kind)?;
    Ok(Outcome::ViewCreated(id))
}

/// Makes the view's own table, and the kind that has it as its target.
fn with_inner(draft: &mut Draft, kind: &ViewKind, inner: &NewTable) -> Result<ViewKind> {
    let Outcome::TableCreated(made) = table::create(draft, inner, false)? else {
        return Err(Error::internal("a table was created and is not there"));
    };
    Ok(match kind.clone() {
        ViewKind::Materialized { source, .. } => {
            ViewKind::Materialized { source, target: made, owns_target: true }
        }
        ViewKind::Refreshable { schedule, append, .. } => {
            ViewKind::Refreshable { target: made, owns_target: true, schedule, append }
        }
        ViewKind::Plain | ViewKind::Alias { .. } => {
            return Err(Error::internal("only a materialized view has a table of its own"));
        }
    })
}

/// Refuses a view whose target's rows would come back to its source.
fn check_no_cycle(draft: &Draft, kind: &ViewKind) -> Result<()> {
    let ViewKind::Materialized { source, target, .. } = kind else { return Ok(()) };
    let mut open = vec![*target];
    let mut seen = BTreeSet::new();
    while let Some(table) = open.pop() {
        if table == *source {
            return Err(Error::invalid(
                "the view would be fed by itself: its target leads back to its source",
            ));
        }
        if seen.insert(table) {
            let views = draft.next.materialized_views_of(table);
            open.extend(views.filter_map(|view| view.kind.target()));
        }
    }
    Ok(())
}

pub(super) fn drop(draft: &mut Draft, view: TableId) -> Result<Outcome> {
    let row = find(draft, view)?;
    if let Some(target) = row.kind.owned() {
        let reader = draft.next.views.values().find(|other| {
            other.id != view
                && (other.kind.target() == Some(target) || source(&other.kind) == Some(target))
        });
        if let Some(reader) = reader {
            return Err(in_use(&row.name, &reader.name));
        }
    }
    forget(draft, view)
}

/// Drops the view with what it owns, whoever reads it.
pub(super) fn forget(draft: &mut Draft, view: TableId) -> Result<Outcome> {
    let kind = find(draft, view)?.kind;
    draft.delete(RowKey::View(view));
    refresh::forget(draft, view);
    view_set_moved(draft, &kind)?;
    if let Some(target) = kind.owned()
        && table::find(draft, target).is_ok()
    {
        table::remove(draft, target)?;
    }
    Ok(Outcome::Done)
}

pub(super) fn rename(
    draft: &mut Draft,
    view: TableId,
    database: DatabaseId,
    name: &str,
) -> Result<Outcome> {
    let mut row = find(draft, view)?;
    if !draft.next.databases.contains_key(&database) {
        return Err(Error::conflict("the database was dropped while the view was renamed"));
    }
    let taken = table::named(draft, database, name).is_some()
        || named(draft, database, name).is_some_and(|other| other != view);
    if taken {
        return Err(Error::already_exists(format!("'{name}' already exists")));
    }
    row.database = database;
    row.name = name.to_owned();
    draft.put(Row::View(row));
    Ok(Outcome::Done)
}

/// The view of exactly this name.
pub(super) fn named(draft: &Draft, database: DatabaseId, name: &str) -> Option<TableId> {
    draft.next.views_of(database).find(|view| view.name == name).map(|view| view.id)
}

/// Refuses to drop a table that a view fills or is filled from. An alias may outlive its table.
pub(super) fn check_unused(draft: &Draft, table: TableId) -> Result<()> {
    let reader = draft.next.views.values().find(|view| {
        let alias = matches!(view.kind, ViewKind::Alias { .. });
        !alias && (view.kind.target() == Some(table) || source(&view.kind) == Some(table))
    });
    match reader {
        Some(view) => Err(in_use(&table::find(draft, table)?.table.name, &view.name)),
        None => Ok(()),
    }
}

/// Refuses to drop a database whose tables a view of another database needs.
pub(super) fn check_readers_elsewhere(draft: &Draft, database: DatabaseId) -> Result<()> {
    for view in draft.next.views.values().filter(|view| view.database != database) {
        for needed in [view.kind.target(), source(&view.kind)].into_iter().flatten() {
            if let Ok(state) = table::find(draft, needed)
                && state.table.database == database
            {
                return Err(in_use(&state.table.name, &view.name));
            }
        }
    }
    Ok(())
}

fn in_use(name: &str, view: &str) -> Error {
    Error::invalid(format!("view '{view}' uses '{name}'; drop the view first"))
}

fn find(draft: &Draft, view: TableId) -> Result<View> {
    let row = draft.next.views.get(&view);
    row.map(|view| (**view).clone())
        .ok_or_else(|| Error::not_found("the view does not exist any more; it was dropped"))
}

fn source(kind: &ViewKind) -> Option<TableId> {
    match kind {
        ViewKind::Materialized { source, .. } => Some(*source),
        _ => None,
    }
}

/// An insert in flight into the view's source is wholly before or after this change.
fn view_set_moved(draft: &mut Draft, kind: &ViewKind) -> Result<()> {
    let Some(source) = source(kind) else { return Ok(()) };
    let Ok(state) = table::find(draft, source) else { return Ok(()) };
    let mut row = (*state.table).clone();
    row.view_set_version += 1;
    draft.put(Row::Table(row));
    Ok(())
}
