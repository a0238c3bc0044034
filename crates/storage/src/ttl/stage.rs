//! The step of a merge that treats rows whose time has come.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{filter_record_batch, not};
use arrow::record_batch::RecordBatch;
use granary_catalog::{TtlAction, TtlRule};
use granary_common::{Error, Result};

use super::MergeTtl;
use super::evaluate::{RowComputation, expiries, holds, row_schema};
use super::marks::{MarkBuilder, TtlMark};
use super::roll_up::RollUpStage;
use crate::merge::{RowMapBuilder, Sourced};
use crate::read::repeated;
use crate::schema::{PartColumn, PartSchema};

/// When rows are due, and which.
#[derive(Clone, Debug)]
pub(super) struct When {
    expiry: Arc<dyn RowComputation>,
    condition: Option<Arc<dyn RowComputation>>,
}

impl When {
    /// The rows that are due at `now_s`; `None` when there are none.
    pub fn due(&self, rows: &RecordBatch, now_s: i64) -> Result<Option<BooleanArray>> {
        let expiries = expiries(&*self.expiry, rows)?;
        let due = |expiry: Option<i64>| Some(expiry.is_some_and(|expiry| expiry <= now_s));
        let mut due: BooleanArray = expiries.iter().map(due).collect();
        if due.true_count() > 0
            && let Some(condition) = &self.condition
        {
            let applies = holds(&**condition, rows)?;
            due = arrow::compute::and(&due, &applies).map_err(failed)?;
        }
        Ok((due.true_count() > 0).then_some(due))
    }

    fn looked_at(&self, rows: &RecordBatch) -> Result<(Int64Array, Option<BooleanArray>)> {
        let applies = self.condition.as_ref().map(|one| holds(&**one, rows)).transpose()?;
        Ok((expiries(&*self.expiry, rows)?, applies))
    }
}

/// What a rule does to rows that pass.
#[derive(Debug)]
enum Treatment {
    Delete,
    Reset {
        place: usize,
        column: PartColumn,
        default: Option<Arc<dyn RowComputation>>,
    },
    RollUp(Box<RollUpStage>),
    /// Is about whole parts.
    Nothing,
}

/// A rule at work.
#[derive(Debug)]
struct Rule {
    when: When,
    treatment: Treatment,
    mark: MarkBuilder,
}

/// Treats sorted rows of a merge as the table's rules say: first those that go, then columns that
/// are reset, then roll-ups.
#[derive(Debug)]
pub(crate) struct TtlStage {
    now_s: i64,
    rules: Vec<Rule>,
}

impl TtlStage {
    /// For batches in the order of `schema.columns`.
    pub fn new(ttl: &MergeTtl, schema: &PartSchema) -> Result<TtlStage> {
        let mut rules =
            ttl.rules.iter().map(|rule| at_work(rule, ttl, schema)).collect::<Result<Vec<_>>>()?;
        rules.sort_by_key(|rule| match rule.treatment {
            Treatment::Delete => 0,
            Treatment::Reset { .. } => 1,
            _ => 2,
        });
        Ok(TtlStage { now_s: ttl.now_s, rules })
    }

    /// The rows of the next batch that stay, as they are from now on.
    pub fn pass(&mut self, batch: Sourced, map: &mut RowMapBuilder) -> Result<Sourced> {
        self.pass_from(0, batch, map)
    }

    /// What was kept back, after the last batch.
    pub fn finish(&mut self, map: &mut RowMapBuilder) -> Result<Option<Sourced>> {
        let mut all: Option<Sourced> = None;
        for at in 0..self.rules.len() {
            let Treatment::RollUp(stage) = &mut self.rules[at].treatment else { continue };
            let Some(last) = stage.finish()? else { continue };
            let last = self.pass_from(at + 1, last, map)?;
            all = Some(match all {
                Some(all) => all.followed_by(last)?,
                None => last,
            });
        }
        Ok(all)
    }

    fn pass_from(
        &mut self,
        first: usize,
        mut batch: Sourced,
        map: &mut RowMapBuilder,
    ) -> Result<Sourced> {
        let now_s = self.now_s;
        for rule in &mut self.rules[first..] {
            if let Treatment::RollUp(stage) = &mut rule.treatment {
                let due = match batch.rows.num_rows() {
                    0 => None,
                    _ => rule.when.due(&batch.rows, now_s)?,
                };
                batch = stage.pass(batch, due, map)?;
                continue;
            }
            if matches!(rule.treatment, Treatment::Nothing) || batch.rows.num_rows() == 0 {
                continue;
            }
            let Some(due) = rule.when.due(&batch.rows, now_s)? else { continue };
            match &rule.treatment {
                Treatment::Delete => batch = without(batch, &due, map)?,
                Treatment::Reset { place, column, default } => {
                    batch.rows = reset(&batch.rows, &due, *place, column, default.as_deref())?;
                }
                Treatment::RollUp(_) | Treatment::Nothing => {}
            }
        }
        Ok(batch)
    }

    /// Looks at rows that are written.
    pub fn observe(&mut self, rows: &RecordBatch) -> Result<()> {
        for rule in &mut self.rules {
            let (expiries, applies) = rule.when.looked_at(rows)?;
            rule.mark.push(&expiries, applies.as_ref());
        }
        Ok(())
    }

    /// The marks of the part that was written.
    pub fn marks(&self) -> Vec<TtlMark> {
        self.rules.iter().map(|rule| rule.mark.finish()).collect()
    }
}

fn at_work(rule: &TtlRule, ttl: &MergeTtl, schema: &PartSchema) -> Result<Rule> {
    let fields = row_schema(&schema.columns);
    let compile = |expression| ttl.evaluator.compile(expression, &fields);
    let when = When {
        expiry: compile(&rule.expiry)?,
        condition: rule.condition.as_ref().map(compile).transpose()?,
    };
    // A row that goes is due as long as it is there; what was reset or rolled up is done.
    let (treatment, treated_s) = match &rule.action {
        TtlAction::Delete => (Treatment::Delete, None),
        TtlAction::Reset { column, default } => {
            let reset = Treatment::Reset {
                place: schema.position(*column)?,
                column: schema.column(*column)?.clone(),
                default: default.as_ref().map(compile).transpose()?,
            };
            (reset, Some(ttl.now_s))
        }
        TtlAction::GroupBy(roll_up) => {
            let stage = RollUpStage::new(roll_up, &*ttl.evaluator, schema)?;
            (Treatment::RollUp(Box::new(stage)), Some(ttl.now_s))
        }
        // A rule whose time comes later is still to do.
        TtlAction::Recompress | TtlAction::RecompressWith(_) => {
            (Treatment::Nothing, ttl.recompresses.then_some(ttl.now_s))
        }
        TtlAction::Move(_) => (Treatment::Nothing, None),
    };
    Ok(Rule { when, treatment, mark: MarkBuilder::new(rule, treated_s)? })
}

fn without(batch: Sourced, due: &BooleanArray, map: &mut RowMapBuilder) -> Result<Sourced> {
    let stays = not(due).map_err(failed)?;
    let rows = filter_record_batch(&batch.rows, &stays).map_err(failed)?;
    let mut sources = Vec::with_capacity(rows.num_rows());
    for (row, source) in batch.sources.into_iter().enumerate() {
        match (due.value(row), source) {
            (true, Some(source)) => map.gone(source),
            (true, None) => {}
            (false, source) => sources.push(source),
        }
    }
    Ok(Sourced { rows, sources })
}

fn reset(
    rows: &RecordBatch,
    due: &BooleanArray,
    place: usize,
    column: &PartColumn,
    default: Option<&dyn RowComputation>,
) -> Result<RecordBatch> {
    let schema = rows.schema();
    let data_type = schema.field(place).data_type();
    let values = match default {
        Some(default) => default.evaluate(rows)?,
        None => {
            let plain = PartColumn { added: None, ..column.clone() };
            repeated(&plain, data_type, rows.num_rows())?
        }
    };
    let values = arrow::compute::cast(&values, data_type).map_err(failed)?;
    let mixed = zip(due, &values, rows.column(place)).map_err(failed)?;
    if !schema.field(place).is_nullable() && mixed.null_count() > 0 {
        return Err(Error::invalid(format!(
            "column '{}': its TTL gives NULL, which it cannot hold",
            column.name
        )));
    }
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns[place] = mixed;
    RecordBatch::try_new(schema, columns).map_err(failed)
}

pub(super) fn failed(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("cannot apply a TTL: {error}"))
}
