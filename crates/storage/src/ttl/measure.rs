//! The marks of a part.

use std::sync::Arc;

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use granary_catalog::TtlRule;
use granary_common::{ColumnId, Error, Result};

use super::evaluate::{RowEvaluator, expiries, holds, row_schema};
use super::marks::{MarkBuilder, TtlMark, fingerprint};
use crate::read::{OpenPart, PartRef, PartScan, PartStore};
use crate::scalar::to_arrow_scalar;
use crate::schema::{PartColumn, PartSchema};

/// Rows of a batch that is looked at.
const READ_ROWS: usize = 8192;

/// The marks of `part` for `rules`: those that its merge wrote down; of other rules from the
/// statistics of their column where the rule only moves it, else from a scan of the columns that
/// the rule reads.
///
/// Must run on a tokio runtime. Kinds: those of [`PartStore::open`] and of the evaluator.
pub async fn marks_of(
    store: &PartStore,
    schema: &Arc<PartSchema>,
    part: &PartRef,
    rules: &[TtlRule],
    evaluator: &dyn RowEvaluator,
) -> Result<Vec<TtlMark>> {
    let open = store.open(part).await?;
    let mut marks = Vec::with_capacity(rules.len());
    for rule in rules {
        let id = fingerprint(rule)?;
        let written = open.descriptor().ttl.iter().find(|mark| mark.rule == id);
        let mark = match written {
            Some(mark) => *mark,
            None => match of_statistics(&open, schema, rule, evaluator)? {
                Some(mark) => mark,
                None => of_rows(&open, schema, rule, evaluator).await?,
            },
        };
        marks.push(mark);
    }
    Ok(marks)
}

/// The mark from the least and the greatest value of the one column that the rule reads.
fn of_statistics(
    open: &OpenPart,
    schema: &PartSchema,
    rule: &TtlRule,
    evaluator: &dyn RowEvaluator,
) -> Result<Option<TtlMark>> {
    let (None, [column]) = (&rule.condition, rule.expiry.columns.as_slice()) else {
        return Ok(None);
    };
    let known = open.statistics().iter().find(|known| known.column == *column);
    let Some(known) = known.filter(|known| known.exact && known.null_count == 0) else {
        return Ok(None);
    };
    let (Some(min), Some(max)) = (&known.min, &known.max) else { return Ok(None) };
    let fields = row_schema([schema.column(*column)?]);
    if !evaluator.is_monotone(&rule.expiry, &fields) {
        return Ok(None);
    }
    let data_type = fields.field(0).data_type();
    let (min, max) = (to_arrow_scalar(min, data_type)?, to_arrow_scalar(max, data_type)?);
    let (min, max) = (min.into_inner(), max.into_inner());
    let values = arrow::compute::concat(&[&*min, &*max]).map_err(misfit)?;
    let rows = RecordBatch::try_new(Arc::new(fields.clone()), vec![values]).map_err(misfit)?;
    let computation = evaluator.compile(&rule.expiry, &fields)?;
    let mut mark = MarkBuilder::new(rule, None)?;
    let expiries = expiries(&*computation, &rows)?;
    // A row between the two might be never due.
    let spans_never = (0..2).any(|row| !expiries.is_valid(row))
        || (expiries.value(0) < 0) != (expiries.value(1) < 0);
    if spans_never {
        return Ok(None);
    }
    mark.push(&expiries, None);
    Ok(Some(mark.finish()))
}

fn misfit(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("the rows of a TTL do not fit: {error}"))
}

async fn of_rows(
    open: &OpenPart,
    schema: &Arc<PartSchema>,
    rule: &TtlRule,
    evaluator: &dyn RowEvaluator,
) -> Result<TtlMark> {
    let mut columns: Vec<ColumnId> = rule.expiry.columns.clone();
    let condition = rule.condition.iter().flat_map(|condition| &condition.columns);
    columns.extend(condition.filter(|column| !rule.expiry.columns.contains(column)));
    let read: Vec<&PartColumn> =
        columns.iter().map(|column| schema.column(*column)).collect::<Result<_>>()?;
    let fields = row_schema(read);
    let expiry = evaluator.compile(&rule.expiry, &fields)?;
    let condition =
        rule.condition.as_ref().map(|one| evaluator.compile(one, &fields)).transpose()?;
    let scan = PartScan {
        columns,
        filter: None,
        ordered: false,
        rows: None,
        batch_rows: READ_ROWS,
        limit: None,
        hints: Vec::new(),
    };
    let mut mark = MarkBuilder::new(rule, None)?;
    let mut batches = open.scan(Arc::clone(schema), scan);
    while let Some(rows) = batches.try_next().await? {
        let applies = condition.as_ref().map(|one| holds(&**one, &rows)).transpose()?;
        mark.push(&expiries(&*expiry, &rows)?, applies.as_ref());
        tokio::task::yield_now().await;
    }
    Ok(mark.finish())
}
