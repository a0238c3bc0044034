//! Which columns of a merge go through memory together.
//!
//! Merged all at once, every column costs blocks of it of every input and of the output. A table with
//! many columns, or wide ones, is merged in groups: first what decides which rows stay and where, then
//! the others, as many at a time as memory allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::DataType;
use granary_catalog::{RowExpression, TtlAction, TtlRule};
use granary_common::{ColumnId, Result};

use super::rule::CollapseRule;
use super::run::MergeSpec;
use crate::documents::Chosen;
use crate::read::OpenPart;
use crate::schema::{PartColumn, PartSchema};

/// Bytes of values that scans and writers work on together, at least, where there are so many.
const BLOCK_BYTES: u64 = 1 << 20;
/// Blocks of a column that a scan has in memory: those decoded ahead, and the one that is merged.
const READ_BLOCKS: u64 = 5;
/// Blocks of a column that a writer has in memory: rows that wait, rows that are joined and encoded.
const WRITE_BLOCKS: u64 = 3;
/// Encoded bytes of a column that a writer keeps together.
const WRITE_BYTES: u64 = 4 << 20;
/// Bytes of the file that are on their way to the volume, whatever the columns.
const FILE_BYTES: u64 = 32 << 20;
/// How many times larger values in memory are than in a file, about.
const DECODED_FACTOR: u64 = 4;
/// Bytes of a value in memory whose type has no size, at least.
const VALUE_BYTES_MIN: u64 = 16;

/// The columns of a merge in the groups that go through memory together: the first decides on the
/// rows. One group when `memory_bytes` are enough for all.
pub(super) fn groups(
    spec: &MergeSpec,
    inputs: &[Arc<OpenPart>],
    documents: Option<&Chosen>,
) -> Result<Vec<BTreeSet<ColumnId>>> {
    let columns = || spec.schema.columns.iter().map(|column| column.id);
    let costs = costs(&spec.schema, inputs, documents)?;
    let room = spec.memory_bytes.saturating_sub(FILE_BYTES);
    let Some(first) = deciding(spec).filter(|_| room < costs.values().sum()) else {
        return Ok(vec![columns().collect()]);
    };
    let others: Vec<ColumnId> = columns().filter(|id| !first.contains(id)).collect();
    let mut groups = vec![first];
    let (mut open, mut open_cost) = (BTreeSet::new(), 0);
    for id in others {
        let cost = costs.get(&id).copied().unwrap_or(0);
        if !open.is_empty() && open_cost + cost > room {
            groups.push(std::mem::take(&mut open));
            open_cost = 0;
        }
        open.insert(id);
        open_cost += cost;
    }
    groups.extend((!open.is_empty()).then_some(open));
    Ok(groups)
}

/// The columns that must be there together for the rows to be merged; `None` where rows are made of
/// others by a TTL.
fn deciding(spec: &MergeSpec) -> Option<BTreeSet<ColumnId>> {
    let schema = &spec.schema;
    let mut deciding: BTreeSet<ColumnId> = schema.sort_key.iter().copied().collect();
    deciding.extend(spec.rule.required_columns());
    match &spec.rule {
        CollapseRule::None
        | CollapseRule::Replacing { .. }
        | CollapseRule::Collapsing { .. }
        | CollapseRule::VersionedCollapsing { .. } => {}
        CollapseRule::Summing { columns, states }
        | CollapseRule::Coalescing { columns, states } => {
            deciding.extend(columns);
            deciding.extend(states.iter().map(|state| state.column));
        }
        CollapseRule::Aggregating { states } => {
            deciding.extend(states.iter().map(|state| state.column));
        }
    }
    deciding.extend(spec.deduplicate_by.iter().flatten());
    for rule in spec.ttl.iter().flat_map(|ttl| &ttl.rules) {
        deciding.extend(columns_of_rule(rule)?);
    }
    let indexes = spec.skip.iter().flat_map(|skip| &skip.indexes);
    let of_indexes = indexes.map(|index| &index.expression.columns);
    // An index of one column is made along with it.
    deciding.extend(of_indexes.filter(|columns| columns.len() != 1).flatten());
    for projection in spec.projections.iter().flat_map(|made| &made.projections) {
        deciding.extend(projection.keys.iter().flat_map(|key| &key.expression.columns));
        deciding.extend(projection.values.iter().flat_map(|value| &value.aggregate.columns));
    }
    if deciding.is_empty() {
        deciding.extend(schema.columns.first().map(|column| column.id));
    }
    Some(deciding)
}

/// What a rule of a TTL reads and sets; `None` for one that makes rows of several.
fn columns_of_rule(rule: &TtlRule) -> Option<Vec<ColumnId>> {
    let of = |expression: &RowExpression| expression.columns.clone();
    let mut columns = of(&rule.expiry);
    columns.extend(rule.condition.iter().flat_map(of));
    match &rule.action {
        TtlAction::Reset { column, default } => {
            columns.push(*column);
            columns.extend(default.iter().flat_map(of));
        }
        TtlAction::GroupBy(_) => return None,
        TtlAction::Delete
        | TtlAction::Recompress
        | TtlAction::RecompressWith(_)
        | TtlAction::Move(_) => {}
    }
    Some(columns)
}

/// Bytes in memory that each column costs while it is merged, about, with the columns that are written
/// beside it of its documents.
fn costs(
    schema: &PartSchema,
    inputs: &[Arc<OpenPart>],
    documents: Option<&Chosen>,
) -> Result<BTreeMap<ColumnId, u64>> {
    let mut encoded = Vec::with_capacity(inputs.len());
    for input in inputs {
        encoded.push(input.encoded_bytes()?);
    }
    let cost = |column: &PartColumn| {
        let fixed = value_bytes(&column.column_type.arrow());
        let (mut cost, mut total, mut widest) = (0, 0, 0);
        for (input, encoded) in inputs.iter().zip(&encoded) {
            let rows = input.rows().max(1);
            let decoded = encoded.get(&column.id).copied().unwrap_or(0) * DECODED_FACTOR;
            let value = fixed.unwrap_or_else(|| (decoded / rows).max(VALUE_BYTES_MIN));
            widest = widest.max(value);
            let bytes = rows.saturating_mul(value);
            cost += bytes.min(READ_BLOCKS * block_bytes(schema, value));
            total += bytes;
        }
        let written = WRITE_BLOCKS * block_bytes(schema, widest) + WRITE_BYTES;
        let added = documents.map_or(0, |documents| documents.added_for(column.id)) as u64;
        let of_documents = added * (WRITE_BLOCKS * BLOCK_BYTES + WRITE_BYTES);
        (column.id, cost + written.min(total) + of_documents.min(total))
    };
    Ok(schema.columns.iter().map(cost).collect())
}

/// Bytes of a block of values of so many bytes: whole granules.
fn block_bytes(schema: &PartSchema, value_bytes: u64) -> u64 {
    BLOCK_BYTES.max(value_bytes.saturating_mul(schema.granularity as u64))
}

/// Bytes of a value in memory; `None` where that depends on the value.
fn value_bytes(data_type: &DataType) -> Option<u64> {
    match data_type {
        DataType::Null => Some(0),
        DataType::Boolean => Some(1),
        other => other.primitive_width().map(|width| width as u64),
    }
}
