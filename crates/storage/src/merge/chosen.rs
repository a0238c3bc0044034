//! Which rows of sorted inputs are shown as they are, from their keys alone: no row is put together.
//!
//! Only for rules that show a row that has its key to itself, as nearly all have in practice; what
//! becomes of a group of several is decided by one column at most.

use std::cmp::Ordering;

use arrow::compute::SortOptions;
use granary_common::{ColumnId, Error, Result};

use super::collapse::is_zero;
use super::k_way::{Cursor, KWayMerge, Taken};
use super::keys::Keys;
use super::rule::CollapseRule;

/// Without a value a version is below all others.
const VERSION_ORDER: SortOptions = SortOptions { descending: false, nulls_first: true };

/// How rows are chosen, with columns by their places in the batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Of rows with equal keys the last one of the highest version.
    Last { version: Option<usize> },
    /// Rows that have their key to themselves, but for those in which all of these columns, if there
    /// are any, are zero or NULL.
    Alone { sums: Vec<usize> },
}

impl Choice {
    /// How `rule` chooses, in batches of `columns`; `None` where a row that has its key to itself may
    /// not be shown for other reasons. Kind `Internal` for a column that is not there.
    pub fn of(rule: &CollapseRule, columns: &[ColumnId]) -> Result<Option<Choice>> {
        let place = |id: &ColumnId| {
            let place = columns.iter().position(|column| column == id);
            place.ok_or_else(|| Error::internal(format!("column {id} is not read")))
        };
        Ok(match rule {
            CollapseRule::Replacing { version, is_deleted: None } => {
                Some(Choice::Last { version: version.as_ref().map(place).transpose()? })
            }
            CollapseRule::Summing { columns, states } if states.is_empty() => {
                Some(Choice::Alone { sums: columns.iter().map(place).collect::<Result<_>>()? })
            }
            CollapseRule::Summing { .. }
            | CollapseRule::Aggregating { .. }
            | CollapseRule::Coalescing { .. } => Some(Choice::Alone { sums: Vec::new() }),
            CollapseRule::None
            | CollapseRule::Replacing { .. }
            | CollapseRule::Collapsing { .. }
            | CollapseRule::VersionedCollapsing { .. } => None,
        })
    }
}

/// A row among those that its input gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChosenRow {
    pub input: usize,
    pub row: u64,
}

/// What is looked at of the batch of an input beside its keys.
#[derive(Default)]
struct Beside {
    /// Of the batch before which so many rows came; `None` before the first.
    of: Option<u64>,
    versions: Option<Keys>,
    /// Rows that are not shown even alone.
    zero: Vec<bool>,
}

/// The rows with one key so far.
struct Group {
    head: u128,
    tail: Tail,
    rows: u64,
    /// The row that is shown if no other comes.
    best: ChosenRow,
    best_is_zero: bool,
    version: Version,
}

/// What the head does not tell of a key.
enum Tail {
    /// In the batch of an input.
    Of(Taken),
    /// The batch is given up.
    Kept(Box<[u8]>),
}

#[derive(Default)]
struct Version {
    head: u128,
    tail: Vec<u8>,
}

/// Gives the rows that are shown, key by key.
pub(super) struct Chooser {
    merge: KWayMerge,
    choice: Choice,
    beside: Vec<Beside>,
    group: Option<Group>,
}

impl Chooser {
    pub fn new(merge: KWayMerge, inputs: usize, choice: Choice) -> Chooser {
        let beside = (0..inputs).map(|_| Beside::default()).collect();
        Chooser { merge, choice, beside, group: None }
    }

    /// Appends rows that are shown to `chosen`; whether there may be more.
    pub async fn next(&mut self, chosen: &mut Vec<ChosenRow>) -> Result<bool> {
        let Some(taken) = self.merge.next_run().await? else {
            self.end_group(chosen);
            return Ok(false);
        };
        let cursor = self.merge.cursor(taken.cursor);
        look_beside(&self.choice, cursor, &mut self.beside[taken.cursor])?;
        for row in taken.rows.clone() {
            let one = Taken { cursor: taken.cursor, rows: row..row + 1 };
            match self.belongs(&one) {
                true => self.join(&one),
                false => {
                    self.end_group(chosen);
                    self.group = Some(self.begin(one));
                }
            }
        }
        self.keep_tail(&taken);
        Ok(true)
    }

    /// The key of a row: its head, and what that does not tell.
    fn key(&self, one: &Taken) -> (u128, &[u8]) {
        match &self.merge.cursor(one.cursor).keys {
            Some(keys) => (keys.heads[one.rows.start], keys.tail(one.rows.start)),
            None => (0, &[]),
        }
    }

    /// Whether a row has the key of the group.
    fn belongs(&self, one: &Taken) -> bool {
        let Some(group) = &self.group else { return false };
        let (head, tail) = self.key(one);
        head == group.head
            && match &group.tail {
                Tail::Of(first) => tail == self.key(first).1,
                Tail::Kept(kept) => tail == &**kept,
            }
    }

    fn chosen(&self, one: &Taken) -> ChosenRow {
        let row = self.merge.cursor(one.cursor).rows_before + one.rows.start as u64;
        ChosenRow { input: one.cursor, row }
    }

    fn begin(&self, one: Taken) -> Group {
        let beside = &self.beside[one.cursor];
        let row = one.rows.start;
        let mut version = Version::default();
        if let Some(versions) = &beside.versions {
            version.head = versions.heads[row];
            version.tail.extend_from_slice(versions.tail(row));
        }
        Group {
            head: self.key(&one).0,
            rows: 1,
            best: self.chosen(&one),
            best_is_zero: beside.zero.get(row).copied().unwrap_or(false),
            version,
            tail: Tail::Of(one),
        }
    }

    /// A further row of the group, later than its others.
    fn join(&mut self, one: &Taken) {
        let (row, chosen) = (one.rows.start, self.chosen(one));
        let Some(group) = &mut self.group else { return };
        group.rows += 1;
        let Choice::Last { .. } = self.choice else { return };
        if let Some(versions) = &self.beside[one.cursor].versions {
            let (head, tail) = (versions.heads[row], versions.tail(row));
            let order = head.cmp(&group.version.head);
            if order.then_with(|| tail.cmp(&group.version.tail)) == Ordering::Less {
                return;
            }
            group.version.head = head;
            group.version.tail.clear();
            group.version.tail.extend_from_slice(tail);
        }
        group.best = chosen;
    }

    fn end_group(&mut self, chosen: &mut Vec<ChosenRow>) {
        let Some(group) = self.group.take() else { return };
        let is_shown = match &self.choice {
            Choice::Last { .. } => true,
            Choice::Alone { .. } => group.rows == 1 && !group.best_is_zero,
        };
        if is_shown {
            chosen.push(group.best);
        }
    }

    /// Keeps the key of the group when the batch that it is in has no further row.
    fn keep_tail(&mut self, taken: &Taken) {
        let rows = self.merge.cursor(taken.cursor).batch.as_ref().map_or(0, |it| it.num_rows());
        if taken.rows.end < rows {
            return;
        }
        let kept = match &self.group {
            Some(Group { tail: Tail::Of(first), .. }) if first.cursor == taken.cursor => {
                Tail::Kept(self.key(first).1.into())
            }
            _ => return,
        };
        if let Some(group) = &mut self.group {
            group.tail = kept;
        }
    }
}

/// Looks at the other columns of a new batch.
fn look_beside(choice: &Choice, cursor: &Cursor, beside: &mut Beside) -> Result<()> {
    let Some(batch) = cursor.batch.as_ref().filter(|_| beside.of != Some(cursor.rows_before))
    else {
        return Ok(());
    };
    beside.of = Some(cursor.rows_before);
    match choice {
        Choice::Last { version: Some(place) } => {
            let column = std::slice::from_ref(batch.column(*place));
            beside.versions = Some(Keys::of(column, VERSION_ORDER)?);
        }
        Choice::Last { version: None } => {}
        Choice::Alone { sums } => {
            beside.zero.clear();
            beside.zero.resize(batch.num_rows(), !sums.is_empty());
            for place in sums {
                is_zero(batch.column(*place), &mut beside.zero)?;
            }
        }
    }
    Ok(())
}
