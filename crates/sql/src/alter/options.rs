//! Indexes, projections, settings, TTL and the comment.

use granary_catalog::Column;
use granary_common::{Error, Result};

use super::Draft;
use crate::Notice;
use crate::create_table::options::{
    INDEX_NOTICE, PROJECTION_NOTICE, TTL_NOTICE, add_index, add_projection, check_copies, settings,
};
use crate::error::did_you_mean;
use crate::statement::{AlterAction, Rebuilt};

impl Draft<'_> {
    pub(super) fn change_options(&mut self, action: &AlterAction) -> Result<()> {
        let options = &mut self.next.options;
        match action {
            AlterAction::AddIndex { index, if_not_exists } => {
                let is_there = options.indexes.iter().any(|known| known.name == index.name);
                if !(is_there && *if_not_exists) {
                    add_index(options, index, &self.columns, self.source.table)?;
                    self.notices.push(Notice::new(INDEX_NOTICE));
                }
            }
            AlterAction::AddProjection { projection, if_not_exists } => {
                let is_there =
                    options.projections.iter().any(|known| known.name == projection.name);
                if !(is_there && *if_not_exists) {
                    add_projection(options, projection)?;
                    self.notices.push(Notice::new(PROJECTION_NOTICE));
                }
            }
            AlterAction::DropIndex { name, if_exists } => {
                self.check_named(Rebuilt::Index, name, *if_exists)?;
                self.next.options.indexes.retain(|index| index.name != *name);
            }
            AlterAction::DropProjection { name, if_exists } => {
                self.check_named(Rebuilt::Projection, name, *if_exists)?;
                self.next.options.projections.retain(|projection| projection.name != *name);
            }
            AlterAction::Rebuild { what, name, if_exists } => {
                self.check_named(*what, name, *if_exists)?;
                self.notices.push(Notice::new(match what {
                    Rebuilt::Index => INDEX_NOTICE,
                    Rebuilt::Projection => PROJECTION_NOTICE,
                }));
            }
            AlterAction::ModifySettings(written) => {
                if written.iter().any(|(written, _)| written == "colocation_group") {
                    return Err(Error::unsupported(
                        "setting colocation_group is decided by CREATE TABLE and does not change",
                    ));
                }
                let changed = settings(written, &mut self.notices)?;
                self.next.settings.extend(changed);
                check_copies(&self.next.settings)?;
            }
            AlterAction::ResetSettings(names) => {
                for name in names {
                    if self.next.settings.remove(name).is_none() {
                        let known = self.next.settings.keys().map(String::as_str);
                        let hint = did_you_mean(name, known);
                        return Err(Error::not_found(format!(
                            "setting '{name}' of table '{}' is not set{hint}",
                            self.next.name
                        )));
                    }
                }
            }
            AlterAction::ModifyComment(text) => {
                self.next.comment = (!text.is_empty()).then(|| text.clone());
            }
            AlterAction::ModifyTtl(rules) => {
                self.next.options.ttl = rules.clone();
                if rules.is_some() {
                    self.notices.push(Notice::new(TTL_NOTICE));
                }
            }
            _ => return Err(Error::internal("an action on columns reached the wrong place")),
        }
        Ok(())
    }

    fn check_named(&self, what: Rebuilt, name: &str, if_exists: bool) -> Result<()> {
        let options = &self.next.options;
        let (kind, names): (_, Vec<&str>) = match what {
            Rebuilt::Index => {
                ("index", options.indexes.iter().map(|index| index.name.as_str()).collect())
            }
            Rebuilt::Projection => {
                ("projection", options.projections.iter().map(|p| p.name.as_str()).collect())
            }
        };
        if if_exists || names.contains(&name) {
            return Ok(());
        }
        let hint = did_you_mean(name, names);
        let table = &self.next.name;
        Err(Error::not_found(format!("unknown {kind} '{name}' in table '{table}'{hint}")))
    }

    /// Refuses to change a column that a rule of the table's TTL names.
    pub(super) fn check_no_ttl(&self, column: &Column, what: &str) -> Result<()> {
        let Some(ttl) = &self.next.options.ttl else { return Ok(()) };
        let mut words = ttl.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        match words.any(|word| word == column.name) {
            true => Err(Error::invalid(format!(
                "cannot {what} column '{}': the TTL of table '{}' uses it; remove the TTL first",
                column.name, self.next.name
            ))),
            false => Ok(()),
        }
    }
}
