//! Indexes, projections, settings, TTL and the comment.

use granary_catalog::{Column, Projection, SkipIndex, TtlRule};
use granary_common::{Error, Result, did_you_mean};

use super::Draft;
use crate::create_table::indexes::{add_index, bind_index};
use crate::create_table::options::{check_copies, settings};
use crate::create_table::other_keys;
use crate::create_table::projections::{add_projection, rebound};
use crate::statement::{AlterAction, Rebuilt, parse_ttl, ttl_text};
use crate::ttl::{TtlTable, bind_rules};

impl Draft<'_> {
    pub(super) fn change_options(&mut self, action: &AlterAction) -> Result<()> {
        let options = &mut self.next.options;
        match action {
            AlterAction::AddIndex { index, if_not_exists } => {
                let is_there = options.indexes.iter().any(|known| known.name == index.name);
                if !(is_there && *if_not_exists) {
                    let (columns, source) = (self.columns.all(), self.source.table);
                    add_index(options, index, columns, source, &mut self.notices)?;
                }
            }
            AlterAction::AddProjection { projection, if_not_exists } => {
                let is_there =
                    options.projections.iter().any(|known| known.name == projection.name);
                if !(is_there && *if_not_exists) {
                    add_projection(options, projection, self.columns.all(), self.source.table)?;
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
            AlterAction::AddConstraint { check, if_not_exists } => {
                self.add_constraint(check, *if_not_exists)?;
            }
            AlterAction::DropConstraint { name, if_exists } => {
                self.drop_constraint(name, *if_exists)?;
            }
            // They are made, or go, once the command is through.
            AlterAction::Rebuild { what, name, if_exists, .. }
            | AlterAction::Clear { what, name, if_exists, .. } => {
                self.check_named(*what, name, *if_exists)?;
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
                names.iter().try_for_each(|name| self.reset_setting(name))?;
            }
            AlterAction::ModifyComment(text) => {
                self.next.comment = (!text.is_empty()).then(|| text.clone());
            }
            AlterAction::ModifyTtl(rules) => {
                self.next.options.ttl = rules.as_deref().map(ttl_text);
            }
            // The merges that it asks for follow the command.
            AlterAction::MaterializeTtl(_) if self.next.options.rules.is_empty() => {
                return Err(Error::invalid(format!("table '{}' has no TTL", self.next.name)));
            }
            AlterAction::MaterializeTtl(_) => {}
            _ => return Err(Error::internal("an action on columns reached the wrong place")),
        }
        Ok(())
    }

    fn reset_setting(&mut self, name: &str) -> Result<()> {
        match self.next.settings.remove(name) {
            Some(_) => Ok(()),
            None => {
                let hint = did_you_mean(name, self.next.settings.keys().map(String::as_str));
                let table = &self.next.name;
                Err(Error::not_found(format!(
                    "setting '{name}' of table '{table}' is not set{hint}"
                )))
            }
        }
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
        let words = |text: &str| -> Vec<String> {
            let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            words.map(str::to_owned).collect()
        };
        let of_table = self.next.options.ttl.iter();
        let others = self.columns.all().iter().filter(|other| other.id != column.id);
        let mut texts = of_table.chain(others.filter_map(|other| other.ttl.as_ref()));
        match texts.any(|text| words(text).contains(&column.name)) {
            true => Err(Error::invalid(format!(
                "cannot {what} column '{}': the TTL of table '{}' uses it; remove the TTL first",
                column.name, self.next.name
            ))),
            false => Ok(()),
        }
    }

    /// The indexes over `columns`, which may have changed.
    pub(super) fn indexes(&self, columns: &[Column]) -> Result<Vec<SkipIndex>> {
        let bound = |index: &SkipIndex| {
            let bound = bind_index(index, columns, self.source.table)?;
            Ok(SkipIndex { bound, ..index.clone() })
        };
        self.next.options.indexes.iter().map(bound).collect()
    }

    /// The projections over `columns`, which may have changed.
    pub(super) fn projections(&self, columns: &[Column]) -> Result<Vec<Projection>> {
        let bound = |projection| rebound(projection, columns, self.source.table);
        self.next.options.projections.iter().map(bound).collect()
    }

    /// The rules of the TTL over `columns`, which may have changed.
    pub(super) fn rules(&self, columns: &[Column]) -> Result<Vec<TtlRule>> {
        let table = &self.next;
        let clauses = table.options.ttl.as_deref().map(parse_ttl).transpose()?;
        let other_keys = other_keys(&table.unique_key, &table.distribution);
        let of = TtlTable {
            columns,
            order_by: &table.order_by,
            primary_key_len: table.primary_key_len,
            partition_by: &table.partition_by,
            other_keys: &other_keys,
            state: self.source.table.state,
        };
        bind_rules(&clauses.unwrap_or_default(), of)
    }
}
