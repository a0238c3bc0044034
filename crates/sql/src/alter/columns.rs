//! Columns that come, go, or become others.

use granary_catalog::{Column, ColumnRole, ColumnType, EarlierColumn, Scalar};
use granary_common::{ColumnId, Error, Result, did_you_mean};
use sqlparser::ast::{ColumnDef, ColumnOption, ColumnOptionDef, Expr, Ident};

use super::Draft;
use super::computed::{computed, repeated};
use super::usage::with_column;
use super::widening::is_widening;
use crate::Notice;
use crate::bind::bind_expression;
use crate::create_table::columns::Columns;
use crate::insert::{conform_value, one_value, zero_value};
use crate::show::identifier;
use crate::statement::{ColumnPlace, ModifyColumn, RemovedOption, parse_expression};

impl Draft<'_> {
    /// The visible column of this name; `None` when it may be missing.
    fn find(&self, name: &str, if_exists: bool) -> Result<Option<Column>> {
        match self.columns.find(name) {
            Ok(column) => Ok(Some(column.clone())),
            Err(_) if if_exists => Ok(None),
            Err(_) => {
                let visible = self.columns.all().iter().filter(|column| column.is_visible());
                let hint = did_you_mean(name, visible.map(|column| column.name.as_str()));
                let table = &self.next.name;
                Err(Error::not_found(format!("unknown column '{name}' in table '{table}'{hint}")))
            }
        }
    }

    fn check_new_name(&self, name: &str) -> Result<()> {
        match self.columns.all().iter().any(|column| column.name == name) {
            true => Err(Error::already_exists(format!(
                "column '{name}' already exists in table '{}'",
                self.next.name
            ))),
            false => Ok(()),
        }
    }

    pub(super) fn add_column(
        &mut self,
        definition: &ColumnDef,
        place: Option<&ColumnPlace>,
        if_not_exists: bool,
    ) -> Result<()> {
        let name = &definition.name.value;
        if let Err(error) = self.check_new_name(name) {
            return if if_not_exists { Ok(()) } else { Err(error) };
        }
        let is_key =
            |option: &ColumnOptionDef| matches!(option.option, ColumnOption::PrimaryKey(_));
        if definition.options.iter().any(is_key) {
            return Err(Error::invalid(format!(
                "column '{name}': a PRIMARY KEY is part of CREATE TABLE and does not change"
            )));
        }
        let source = self.source.table;
        let mut column = self.columns.definition(definition, source, &mut self.notices)?;
        if let Some(default) = column.default.clone() {
            let expression = parse_expression(default.text())?;
            column = match self.columns.check_default(name, &expression, source)? {
                true => self.with_constant(column, &expression)?,
                false => self.with_default(column, &expression)?,
            };
        }
        self.added.push(column.id);
        self.put(column, place)?;
        self.add_constraints_of(definition)
    }

    /// The column with the value that its default has now, in every row that is there. What depends on
    /// the time or on who asks is settled with that.
    fn with_constant(&mut self, mut column: Column, default: &Expr) -> Result<Column> {
        let state = self.source.table.state;
        let value = conform_value(&one_value(&column, default, state)?, &column)?;
        if let Ok(kept) = (self.source.to_scalar)(&value, 0) {
            column.added = Some(kept);
            return Ok(column);
        }
        if self.source.has_parts {
            let since = self.table.schema_version + 1;
            column.computed = repeated(&value, state, since).map(Box::new);
            if column.computed.is_some() {
                return Ok(column);
            }
        }
        self.with_values(column, &default.to_string())
    }

    /// The column with what its default gives in every row that is there: computed as rows are read
    /// where that is always the same, else written.
    fn with_default(&mut self, mut column: Column, default: &Expr) -> Result<Column> {
        if self.source.has_parts {
            let since = self.table.schema_version + 1;
            let of = (self.columns.all(), self.source.table.state);
            column.computed = computed(&column, default, of, since)?.map(Box::new);
            if column.computed.is_some() {
                return Ok(column);
            }
            self.notices.push(Notice::new(format!(
                "column '{}': every row that is there has been written again, since each of them keeps \
                 what the default {default} gave it once",
                column.name
            )));
        }
        self.with_values(column, &default.to_string())
    }

    /// The column with a value of its own in every row that is there, which `text` gives.
    fn with_values(&mut self, column: Column, text: &str) -> Result<Column> {
        if !self.source.has_parts {
            self.requires_no_parts = true;
            return Ok(column);
        }
        let role = ColumnRole::KeyExpression(text.to_owned());
        let prepared = self.source.prepared;
        let is_it = |hidden: &Column| {
            prepared.contains(&hidden.id)
                && hidden.role == role
                && hidden.column_type == column.column_type
        };
        if let Some(at) = self.columns.all().iter().position(is_it) {
            let hidden = self.columns.as_mut().remove(at);
            return Ok(Column { id: hidden.id, ..column });
        }
        let before = Columns::to_alter(self.table).schema()?;
        let bound = bind_expression(self.source.table.state, &parse_expression(text)?, &before);
        bound.map_err(|error| {
            error.context(format!(
                "column '{}': its values are computed from the table as it is before the statement",
                column.name
            ))
        })?;
        let name = format!("{} (in preparation)", column.name);
        let hidden = Column { role, ..Column::new(column.id, name, column.column_type.clone()) };
        self.pending.push(hidden);
        Ok(column)
    }

    /// Puts a column at its place: by default after the last visible one.
    fn put(&mut self, column: Column, place: Option<&ColumnPlace>) -> Result<()> {
        let at = match place {
            Some(ColumnPlace::First) => 0,
            Some(ColumnPlace::After(name)) => {
                let Some(before) = self.find(name, false)? else { return Ok(()) };
                let found = self.columns.all().iter().position(|other| other.id == before.id);
                found.map_or(0, |at| at + 1)
            }
            None => self.columns.all().iter().filter(|other| other.is_visible()).count(),
        };
        self.columns.as_mut().insert(at, column);
        Ok(())
    }

    pub(super) fn drop_column(&mut self, name: &str, if_exists: bool) -> Result<()> {
        let Some(column) = self.find(name, if_exists)? else { return Ok(()) };
        self.check_no_key(&column, "drop")?;
        self.check_unused(&column)?;
        self.check_no_view(&column, "drop")?;
        let rest = |other: &&Column| other.is_insertable() && other.id != column.id;
        if self.columns.all().iter().filter(rest).count() == 0 {
            return Err(Error::invalid(format!(
                "cannot drop column '{}': a table needs at least one column",
                column.name
            )));
        }
        self.columns.as_mut().retain(|other| other.id != column.id);
        Ok(())
    }

    pub(super) fn rename_column(&mut self, from: &str, to: &str, if_exists: bool) -> Result<()> {
        let Some(column) = self.find(from, if_exists)? else { return Ok(()) };
        self.check_new_name(to)?;
        self.check_no_view(&column, "rename")?;
        self.rename_in_texts(&column.name, to)?;
        self.change(column.id, |found| found.name = to.to_owned());
        Ok(())
    }

    pub(super) fn change(&mut self, column: ColumnId, change: impl FnOnce(&mut Column)) {
        if let Some(found) = self.columns.as_mut().iter_mut().find(|other| other.id == column) {
            change(found);
        }
    }

    pub(super) fn modify_column(&mut self, modify: &ModifyColumn) -> Result<()> {
        let Some(old) = self.find(&modify.name, modify.if_exists)? else { return Ok(()) };
        let mut new = old.clone();
        match modify.removed {
            Some(RemovedOption::Default) => new.default = None,
            Some(RemovedOption::Comment) => new.comment = None,
            Some(RemovedOption::Codec) => new.codec = None,
            Some(RemovedOption::Ttl) => new.ttl = None,
            None => {}
        }
        let is_default = |option: &ColumnOption| {
            matches!(
                option,
                ColumnOption::Default(_) | ColumnOption::Materialized(_) | ColumnOption::Alias(_)
            )
        };
        if modify.options.iter().any(is_default) {
            new.default = None;
        }
        for option in &modify.options {
            self.columns.option(&mut new, option, &mut self.notices)?;
        }
        let wanted = self.wanted_type(&old, modify)?;
        if wanted != old.column_type {
            new.column_type = wanted;
            new = self.retyped(&old, new)?;
        }
        self.change(old.id, |found| *found = new.clone());
        if let Some(place) = &modify.place {
            self.columns.as_mut().retain(|other| other.id != new.id);
            self.put(new, Some(place))?;
        }
        Ok(())
    }

    fn wanted_type(&mut self, old: &Column, modify: &ModifyColumn) -> Result<ColumnType> {
        let says = |option: &ColumnOption| modify.options.contains(option);
        let Some(data_type) = &modify.data_type else {
            return Ok(match (says(&ColumnOption::Null), says(&ColumnOption::NotNull)) {
                (true, _) => old.column_type.clone().into_nullable(),
                (_, true) => without_null(&old.column_type),
                _ => old.column_type.clone(),
            });
        };
        let nullness = [ColumnOption::Null, ColumnOption::NotNull].into_iter();
        let options = nullness
            .filter(|option| modify.options.contains(option))
            .map(|option| ColumnOptionDef { name: None, option })
            .collect();
        let definition =
            ColumnDef { name: Ident::new(&old.name), data_type: data_type.clone(), options };
        let declared =
            self.columns.definition(&definition, self.source.table, &mut self.notices)?;
        Ok(declared.column_type)
    }

    /// `new` has another type than `old`, so it gets an id of its own unless both are stored alike.
    fn retyped(&mut self, old: &Column, mut new: Column) -> Result<Column> {
        self.check_no_key(old, "change the type of")?;
        self.check_no_view(old, "change the type of")?;
        let (from, to) = (&old.column_type, &new.column_type);
        if from.base() == to.base() && from.is_nullable() == to.is_nullable() {
            return Ok(new);
        }
        new.id = self.columns.next_id();
        if is_widening(from, to) {
            let now = EarlierColumn {
                id: old.id,
                column_type: from.clone(),
                until: self.table.schema_version + 1,
            };
            new.earlier.insert(0, now);
            // Values that are computed are cast like those that are stored.
            if old.computed.is_none() {
                let held = match &old.added {
                    Some(value) => (self.source.to_array)(value, &from.arrow())?,
                    None => zero_value(from),
                };
                let held = conform_value(&held, &new)?;
                new.added = Some((self.source.to_scalar)(&held, 0)?);
            }
        } else {
            let text = format!("CAST({} AS {to})", identifier(&old.name));
            let plain = Column { earlier: Vec::new(), added: None, computed: None, ..new.clone() };
            // Whether only NULLs are no values of the new type.
            let only_nulls = is_widening(from, &to.clone().into_nullable());
            let wanted = plain.id;
            new = self.with_values(plain, &text)?;
            // Its name before the statement.
            let before = self.table.column(old.id).map(|column| column.name.clone());
            if let Some(before) = before.filter(|_| only_nulls && self.source.has_parts) {
                match new.id == wanted {
                    true => {
                        let condition = format!("{} IS NULL", identifier(&before));
                        self.unwritten.push((before, condition));
                        // What is merged meanwhile keeps its values.
                        if let Some(hidden) = self.pending.pop() {
                            let hidden = self.without_nulls(old, hidden)?;
                            self.pending.push(hidden);
                        }
                    }
                    // Rows that are there hold none, as was found out, and new ones are checked.
                    false => new = self.without_nulls(old, new)?,
                }
            }
        }
        self.next.engine.kind = with_column(&self.next.engine.kind, old.id, new.id);
        Ok(new)
    }

    /// The column under the id of `new`, of which older parts have the values under that of `old`.
    fn without_nulls(&mut self, old: &Column, mut new: Column) -> Result<Column> {
        let now = EarlierColumn {
            id: old.id,
            column_type: old.column_type.clone(),
            // Parts that were written since the preparation have the new column, and it is told so first.
            until: self.table.schema_version + 1,
        };
        new.earlier = old.earlier.clone();
        new.earlier.insert(0, now);
        new.computed.clone_from(&old.computed);
        if let Some(value) = old.added.as_ref().filter(|value| !matches!(value, Scalar::Null)) {
            let held = (self.source.to_array)(value, &old.column_type.arrow())?;
            let held = conform_value(&held, &new)?;
            new.added = Some((self.source.to_scalar)(&held, 0)?);
        }
        Ok(new)
    }

    /// Checks every default against the columns as they are now.
    pub(super) fn check_defaults(&self) -> Result<()> {
        for column in self.columns.all().iter().filter(|column| column.is_visible()) {
            if let Some(default) = &column.default {
                let expression = parse_expression(default.text())?;
                self.columns.check_default(&column.name, &expression, self.source.table)?;
            }
        }
        Ok(())
    }
}

fn without_null(column_type: &ColumnType) -> ColumnType {
    match column_type {
        ColumnType::Nullable(inner) => without_null(inner),
        ColumnType::LowCardinality(inner) => {
            ColumnType::LowCardinality(Box::new(without_null(inner)))
        }
        ColumnType::SimpleAggregateFunction(function, inner) => {
            let inner = Box::new(without_null(inner));
            ColumnType::SimpleAggregateFunction(function.clone(), inner)
        }
        other => other.clone(),
    }
}
