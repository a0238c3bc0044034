//! Sorted batches in, collapsed batches out.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat_batches, partition};
use arrow::datatypes::SchemaRef;
use granary_common::{ColumnId, Error, Result};

use super::collapsing::Collapsing;
use super::compact::compact;
use super::folding::{Fold, Folding};
use super::replacing::Replacing;
use super::versioned::VersionedCollapsing;
use super::{CollapseMode, Collapsed, Grouped, Rule, Stage, failed};
use crate::merge::row_map::{RowMapBuilder, RowSource};
use crate::merge::rule::{CollapseRule, StateColumn};
use crate::merge::states::StateMerger;

/// Collapses rows that come sorted by (sort key, insert order). Memory: a batch, and what the rule
/// keeps of the last key, which is a row or two but for unpaired rows of VersionedCollapsing.
pub struct Collapser {
    key: Vec<usize>,
    /// `None` when every row stays.
    rule: Option<Box<dyn Rule>>,
    mode: CollapseMode,
    /// What is kept of the last key.
    open: Option<Sourced>,
}

/// Rows and where each comes from: `None` for one that stands for several. Without sources when
/// nobody asks.
#[derive(Debug)]
pub(crate) struct Sourced {
    pub rows: RecordBatch,
    pub sources: Vec<Option<RowSource>>,
}

impl fmt::Debug for Collapser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Collapser { rule, mode, key, .. } = self;
        write!(f, "Collapser {{ rule: {rule:?}, mode: {mode:?}, key: {key:?} }}")
    }
}

impl Collapser {
    /// Collapses batches of `schema`, whose columns have the ids `columns`. They must hold
    /// `sort_key` and [`CollapseRule::required_columns`]: kind `Internal` otherwise. Floats must be
    /// canonical, as parts store them.
    pub fn new(
        schema: SchemaRef,
        columns: Vec<ColumnId>,
        sort_key: Vec<ColumnId>,
        rule: CollapseRule,
        states: Arc<dyn StateMerger>,
        mode: CollapseMode,
    ) -> Result<Self> {
        if schema.fields().len() != columns.len() {
            return Err(Error::internal("the columns to collapse and their ids do not fit"));
        }
        let place = |id: &ColumnId| {
            columns.iter().position(|column| column == id).ok_or_else(|| missing(*id))
        };
        for id in rule.required_columns() {
            place(&id)?;
        }
        let key = sort_key.iter().map(place).collect::<Result<_>>()?;
        let folding = |sums: &[ColumnId], lasts: &[ColumnId], merged: &[StateColumn]| Folding {
            folds: folds(&columns, sums, lasts, merged),
            drops_zero: !sums.is_empty() && merged.is_empty(),
            states: Arc::clone(&states),
        };
        let rule: Option<Box<dyn Rule>> = match &rule {
            CollapseRule::None => None,
            CollapseRule::Replacing { version, is_deleted } => Some(Box::new(Replacing {
                version: version.as_ref().map(place).transpose()?,
                is_deleted: is_deleted.as_ref().map(place).transpose()?,
            })),
            CollapseRule::Summing { columns, states } => {
                Some(Box::new(folding(columns, &[], states)))
            }
            CollapseRule::Aggregating { states } => Some(Box::new(folding(&[], &[], states))),
            CollapseRule::Coalescing { columns, states } => {
                Some(Box::new(folding(&[], columns, states)))
            }
            CollapseRule::Collapsing { sign } => Some(Box::new(Collapsing::new(place(sign)?))),
            CollapseRule::VersionedCollapsing { sign, version } => {
                Some(Box::new(VersionedCollapsing { sign: place(sign)?, version: place(version)? }))
            }
        };
        Ok(Collapser { key, rule, mode, open: None })
    }

    /// Takes the next batch and gives back rows that are final, if there are any. Its last key is
    /// kept back, since it may go on.
    pub fn push(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>> {
        let batch = Sourced { rows: batch, sources: Vec::new() };
        Ok(self.advance(batch, None)?.map(|finished| finished.rows))
    }

    /// The last key, after the last batch.
    pub fn finish(self) -> Result<Option<RecordBatch>> {
        Ok(self.complete(None)?.map(|finished| finished.rows))
    }

    /// [`Collapser::push`], telling `map` of rows that do not stay as they were.
    pub(crate) fn advance(
        &mut self,
        batch: Sourced,
        mut map: Option<&mut RowMapBuilder>,
    ) -> Result<Option<Sourced>> {
        if batch.rows.num_rows() == 0 {
            return Ok(None);
        }
        let Some(rule) = &mut self.rule else { return Ok(Some(batch)) };
        let mut resumed = self.open.is_some();
        let Sourced { rows, mut sources } = match self.open.take() {
            Some(open) => open.followed_by(batch)?,
            None => batch,
        };
        let mut groups = groups(&self.key, &rows)?;
        // There is one, since there are rows.
        let last = groups.pop().unwrap_or(0..rows.num_rows());
        let mut finished = None;
        if !groups.is_empty() {
            let open_sources = sources.split_off(last.start.min(sources.len()));
            let complete = Sourced { rows: rows.slice(0, last.start), sources };
            let stage = Stage::Complete(self.mode);
            let done =
                collapse(&mut **rule, complete, &groups, resumed, stage, map.as_deref_mut())?;
            finished = Some(done).filter(|done| done.rows.num_rows() > 0);
            (sources, resumed) = (open_sources, false);
        }
        let open = Sourced { rows: rows.slice(last.start, last.len()), sources };
        let group = 0..last.len();
        let groups = std::slice::from_ref(&group);
        let mut open = collapse(&mut **rule, open, groups, resumed, Stage::Open, map)?;
        if open.rows.num_rows() > 0 {
            open.rows = compact(&open.rows)?;
            self.open = Some(open);
        }
        Ok(finished)
    }

    /// [`Collapser::finish`], telling `map` of rows that do not stay as they were.
    pub(crate) fn complete(self, map: Option<&mut RowMapBuilder>) -> Result<Option<Sourced>> {
        let (Some(mut rule), Some(open)) = (self.rule, self.open) else { return Ok(None) };
        let group = 0..open.rows.num_rows();
        let groups = std::slice::from_ref(&group);
        let done = collapse(&mut *rule, open, groups, true, Stage::Complete(self.mode), map)?;
        Ok(Some(done).filter(|done| done.rows.num_rows() > 0))
    }
}

fn missing(column: ColumnId) -> Error {
    Error::internal(format!("column {column}, which is needed to collapse rows, is not read"))
}

impl Sourced {
    /// These rows, then those of `next`.
    pub(crate) fn followed_by(mut self, mut next: Sourced) -> Result<Sourced> {
        let schema = next.rows.schema();
        self.rows = concat_batches(&schema, [&self.rows, &next.rows]).map_err(failed)?;
        self.sources.append(&mut next.sources);
        Ok(self)
    }
}

/// Applies the rule to whole groups.
fn collapse(
    rule: &mut dyn Rule,
    batch: Sourced,
    groups: &[Range<usize>],
    resumed: bool,
    stage: Stage,
    map: Option<&mut RowMapBuilder>,
) -> Result<Sourced> {
    let collapsed = rule.collapse(Grouped { rows: &batch.rows, groups, resumed }, stage)?;
    let sources = match map {
        Some(map) => settle(rule, groups, &collapsed, &batch.sources, map),
        None => Vec::new(),
    };
    Ok(Sourced { rows: collapsed.rows, sources })
}

/// What becomes of each of `columns`.
fn folds(
    columns: &[ColumnId],
    sums: &[ColumnId],
    lasts: &[ColumnId],
    merged: &[StateColumn],
) -> Vec<Fold> {
    let fold = |id: &ColumnId| match merged.iter().find(|state| state.column == *id) {
        Some(state) => Fold::State(state.column_type.clone()),
        None if sums.contains(id) => Fold::Sum,
        None if lasts.contains(id) => Fold::Last,
        None => Fold::First,
    };
    columns.iter().map(fold).collect()
}

/// Ranges of rows with equal keys.
fn groups(key: &[usize], rows: &RecordBatch) -> Result<Vec<Range<usize>>> {
    if key.is_empty() {
        return Ok(std::iter::once(0..rows.num_rows()).collect());
    }
    let columns: Vec<ArrayRef> = key.iter().map(|place| Arc::clone(rows.column(*place))).collect();
    Ok(partition(&columns).map_err(failed)?.ranges())
}

/// Tells what became of the rows of groups, but for those that are as they were: for each row of
/// `collapsed` gives back where it came from, `None` for one of a group of several.
fn settle(
    rule: &dyn Rule,
    groups: &[Range<usize>],
    collapsed: &Collapsed,
    sources: &[Option<RowSource>],
    map: &mut RowMapBuilder,
) -> Vec<Option<RowSource>> {
    let mut settled = Vec::with_capacity(collapsed.rows.num_rows());
    // Group by group, though within one not always ascending.
    let mut kept = collapsed.kept.iter().flatten().map(|row| *row as usize).peekable();
    for group in groups {
        let alone = group.len() == 1;
        let mut winner = None;
        match &collapsed.kept {
            None => winner = Some(group.start),
            Some(_) => {
                while let Some(row) = kept.next_if(|row| group.contains(row)) {
                    winner = Some(row);
                    settled.push(sources[row].filter(|_| alone));
                }
            }
        }
        if collapsed.kept.is_none() {
            settled.extend(group.clone().map(|row| sources[row].filter(|_| alone)));
        }
        // Without a winner any row of several may have been what made the others go.
        let traceless = rule.losers_leave_no_trace() && winner.is_some();
        for row in group.clone() {
            let Some(source) = sources[row] else { continue };
            let lost = winner != Some(row);
            match (alone, lost) {
                (true, false) => {}
                (true, true) => map.gone(source),
                (false, true) if traceless => map.gone(source),
                (false, _) => map.collapsed(source),
            }
        }
    }
    settled
}
