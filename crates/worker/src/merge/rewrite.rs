//! Parts that are written again, each by itself, for what is beside their rows: projections and skip
//! indexes.

use std::sync::Arc;

use granary_catalog::{Part, Projection, Table, TableState};
use granary_common::{CatalogVersion, Result};
use granary_execution::Cleared;
use granary_storage::projection::fingerprint;

use super::optimize::Step;

/// The next part of those at `upto` that lacks the projection, also where it has it and deleted rows
/// keep queries from it; it is written again by itself.
pub(super) fn projection_step(
    state: &TableState,
    name: &str,
    parts: Vec<Arc<Part>>,
    upto: CatalogVersion,
) -> Result<Step> {
    let Some(fingerprint) = fingerprint_of(&state.table.options.projections, name)? else {
        return Ok(Step::Done);
    };
    let lacks = |part: &Part| !(has_it(part, fingerprint) && part.deletions.is_empty());
    Ok(next(parts, upto, lacks))
}

/// The next part of those at `upto` that has what is cleared; of an index, any: which copies have its
/// file is known to none of them.
pub(super) fn clear_step(
    state: &TableState,
    cleared: &Cleared,
    parts: Vec<Arc<Part>>,
    upto: CatalogVersion,
) -> Result<Step> {
    let options = &state.table.options;
    Ok(match cleared {
        Cleared::Projection(name) => match fingerprint_of(&options.projections, name)? {
            Some(fingerprint) => next(parts, upto, |part| has_it(part, fingerprint)),
            None => Step::Done,
        },
        Cleared::Index(name) => {
            match options.indexes.iter().any(|index| index.name == *name && index.bound.is_some()) {
                true => next(parts, upto, |_| true),
                false => Step::Done,
            }
        }
    })
}

/// The table as it is for parts that do not get what is cleared.
pub(super) fn without(table: &Table, cleared: &Cleared) -> Table {
    let mut table = table.clone();
    let options = &mut table.options;
    match cleared {
        Cleared::Index(name) => options.indexes.retain(|index| index.name != *name),
        Cleared::Projection(name) => options.projections.retain(|known| known.name != *name),
    }
    table
}

fn fingerprint_of(projections: &[Projection], name: &str) -> Result<Option<u64>> {
    let found = projections.iter().find(|projection| projection.name == name);
    found.and_then(|projection| projection.bound.as_ref()).map(fingerprint).transpose()
}

fn has_it(part: &Part, fingerprint: u64) -> bool {
    part.projections().iter().any(|found| found.fingerprint == fingerprint)
}

fn next(parts: Vec<Arc<Part>>, upto: CatalogVersion, is_meant: impl Fn(&Part) -> bool) -> Step {
    match parts.into_iter().find(|part| part.added <= upto && is_meant(part)) {
        Some(part) => Step::Merge { inputs: vec![part], is_last: false },
        None => Step::Done,
    }
}
