//! CHECK constraints that come and go.

use datafusion::execution::SessionState;
use granary_catalog::Column;
use granary_common::{Error, Result, did_you_mean};
use sqlparser::ast::{CheckConstraint, ColumnDef};

use super::Draft;
use crate::Notice;
use crate::constraints::Constrained;

impl Draft<'_> {
    pub(super) fn add_constraint(
        &mut self,
        check: &CheckConstraint,
        if_not_exists: bool,
    ) -> Result<()> {
        let known = &self.next.options.constraints;
        let is_named = |name: &str| known.iter().any(|constraint| constraint.name == name);
        if if_not_exists && check.name.as_ref().is_some_and(|name| is_named(&name.value)) {
            return Ok(());
        }
        let before = known.len();
        let of = constrained(&self.table.name, self.columns.all(), self.source.table.state);
        of.add(&mut self.next.options, check, None, &mut self.notices)?;
        self.note_unchecked(before);
        Ok(())
    }

    /// Adds what stands beside a column that is new, once the column is there.
    pub(super) fn add_constraints_of(&mut self, column: &ColumnDef) -> Result<()> {
        let before = self.next.options.constraints.len();
        let of = constrained(&self.table.name, self.columns.all(), self.source.table.state);
        of.add_of_column(&mut self.next.options, column, &mut self.notices)?;
        self.note_unchecked(before);
        Ok(())
    }

    fn note_unchecked(&mut self, before: usize) {
        let added = self.next.options.constraints.iter().skip(before);
        let notice = |name: &str| {
            Notice::new(format!(
                "constraint '{name}' is checked for rows that are written from now on; those that \
                 are there are not looked at"
            ))
        };
        if self.source.has_parts {
            self.notices.extend(added.map(|constraint| notice(&constraint.name)));
        }
    }

    pub(super) fn drop_constraint(&mut self, name: &str, if_exists: bool) -> Result<()> {
        let constraints = &mut self.next.options.constraints;
        let before = constraints.len();
        constraints.retain(|constraint| constraint.name != name);
        if constraints.len() < before || if_exists {
            return Ok(());
        }
        let hint = did_you_mean(name, constraints.iter().map(|known| known.name.as_str()));
        let table = &self.next.name;
        Err(Error::not_found(format!("unknown constraint '{name}' in table '{table}'{hint}")))
    }

    /// Checks the constraints over `columns`, which may have changed.
    pub(super) fn check_constraints(&self, columns: &[Column]) -> Result<()> {
        let of = constrained(&self.table.name, columns, self.source.table.state);
        self.next.options.constraints.iter().try_for_each(|constraint| of.check(constraint))
    }
}

fn constrained<'a>(
    table: &'a str,
    columns: &'a [Column],
    state: &'a SessionState,
) -> Constrained<'a> {
    Constrained { table, columns, state }
}
