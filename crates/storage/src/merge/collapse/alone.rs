//! Only rows that have their key to themselves stay: what an engine that makes rows of several shows
//! as it is.

use granary_common::Result;

use super::sum::is_zero;
use super::{Collapsed, Grouped, Rule, Stage};

/// Columns by their places in the batch.
#[derive(Debug)]
pub struct Alone {
    /// A row in which all of these are zero or NULL goes, too.
    pub sums: Vec<usize>,
}

impl Rule for Alone {
    fn collapse(&mut self, grouped: Grouped<'_>, stage: Stage) -> Result<Collapsed> {
        let rows = grouped.rows;
        if stage == Stage::Open {
            // Two rows tell as much as all of them.
            return Collapsed::taken(rows, (0..rows.num_rows().min(2) as u32).collect());
        }
        let mut zero = vec![!self.sums.is_empty(); rows.num_rows()];
        for place in &self.sums {
            is_zero(rows.column(*place), &mut zero)?;
        }
        let alone = grouped.groups.iter().filter(|group| group.len() == 1 && !zero[group.start]);
        Collapsed::taken(rows, alone.map(|group| group.start as u32).collect())
    }
}
