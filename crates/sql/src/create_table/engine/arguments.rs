//! The columns that an engine clause names, and what they have to be.

use granary_catalog::{Column, ColumnType};
use granary_common::{ColumnId, Error, Result};
use sqlparser::ast::{Expr, Value};

use crate::bind::plain_arguments;
use crate::create_table::columns::Columns;
use crate::create_table::keys::Keys;

/// The arguments without the path and the replica name that `Replicated...` engines may begin with.
pub(super) fn without_replica(arguments: &[Expr]) -> &[Expr] {
    let texts = arguments.iter().take(2).take_while(|argument| is_text(argument)).count();
    &arguments[texts..]
}

fn is_text(argument: &Expr) -> bool {
    matches!(argument, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

/// The arguments of one engine, taken from the front.
pub(super) struct Arguments<'a> {
    engine: &'a str,
    rest: std::slice::Iter<'a, Expr>,
    columns: &'a Columns,
    keys: &'a Keys,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(
        engine: &'a str,
        arguments: &'a [Expr],
        columns: &'a Columns,
        keys: &'a Keys,
    ) -> Self {
        Self { engine, rest: arguments.iter(), columns, keys }
    }

    /// Refuses arguments that nothing took.
    pub(super) fn finish(self) -> Result<()> {
        let Self { engine, mut rest, .. } = self;
        let takes = match engine {
            "ReplacingMergeTree" => "a version column and an is_deleted column at most",
            "SummingMergeTree" => "the columns to sum, as in SummingMergeTree((a, b))",
            "CoalescingMergeTree" => "columns, as in CoalescingMergeTree((a, b))",
            "CollapsingMergeTree" => "one column, as in CollapsingMergeTree(sign)",
            "VersionedCollapsingMergeTree" => "a sign column and a version column",
            _ => "no arguments",
        };
        match rest.next() {
            None => Ok(()),
            Some(extra) => {
                Err(Error::invalid(format!("engine {engine} takes {takes}; '{extra}' is too much")))
            }
        }
    }

    /// The next argument as a column: integers and times have an order that versions need.
    pub(super) fn version(&mut self) -> Result<Option<ColumnId>> {
        let Some(argument) = self.rest.next() else { return Ok(None) };
        let column = self.column(argument)?;
        let fits = matches!(
            column.column_type,
            ColumnType::Int8
                | ColumnType::Int16
                | ColumnType::Int32
                | ColumnType::Int64
                | ColumnType::UInt8
                | ColumnType::UInt16
                | ColumnType::UInt32
                | ColumnType::UInt64
                | ColumnType::Date
                | ColumnType::DateTime(_)
                | ColumnType::DateTime64(..)
        );
        match fits {
            true => Ok(Some(column.id)),
            false => {
                Err(self.misfit(column, "a version", "an integer, Date, DateTime or DateTime64"))
            }
        }
    }

    /// The next argument as the column that says whether its row is deleted.
    pub(super) fn is_deleted(&mut self) -> Result<Option<ColumnId>> {
        let Some(argument) = self.rest.next() else { return Ok(None) };
        let column = self.column(argument)?;
        match column.column_type {
            ColumnType::UInt8 => Ok(Some(column.id)),
            _ => Err(self.misfit(column, "the is_deleted", "UInt8")),
        }
    }

    /// The next argument as the column of 1 and -1.
    pub(super) fn sign(&mut self) -> Result<ColumnId> {
        let Some(argument) = self.rest.next() else {
            return Err(Error::invalid(format!(
                "engine {} takes a sign column of type Int8",
                self.engine
            )));
        };
        let column = self.column(argument)?;
        match column.column_type {
            ColumnType::Int8 => Ok(column.id),
            _ => Err(self.misfit(column, "a sign", "Int8")),
        }
    }

    /// The columns to sum; none: all that can be.
    pub(super) fn summed(&mut self) -> Result<Vec<ColumnId>> {
        self.values(|engine, column| match is_number(column.column_type.base()) {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "engine {engine}: column '{}' of type {} cannot be summed",
                column.name, column.column_type
            ))),
        })
    }

    /// The columns to fill up; none: all.
    pub(super) fn coalesced(&mut self) -> Result<Vec<ColumnId>> {
        self.values(|_, _| Ok(()))
    }

    /// A column or a tuple of columns, none of which is in a key.
    fn values(&mut self, check: impl Fn(&str, &Column) -> Result<()>) -> Result<Vec<ColumnId>> {
        let Some(argument) = self.rest.next() else { return Ok(Vec::new()) };
        let written = match argument {
            Expr::Tuple(all) => all.clone(),
            Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("tuple") => {
                plain_arguments(call).unwrap_or_default()
            }
            one => vec![one.clone()],
        };
        let mut ids = Vec::with_capacity(written.len());
        for one in &written {
            let column = self.column(one)?;
            check(self.engine, column)?;
            let keys = self.keys.order_by.iter().chain(&self.keys.partition_by);
            if keys.into_iter().any(|key| key.column == column.id) {
                return Err(Error::invalid(format!(
                    "engine {}: column '{}' is in the sorting or the partition key, whose values \
                     stay as they are",
                    self.engine, column.name
                )));
            }
            if ids.contains(&column.id) {
                return Err(Error::invalid(format!(
                    "engine {}: column '{}' appears more than once",
                    self.engine, column.name
                )));
            }
            ids.push(column.id);
        }
        Ok(ids)
    }

    fn column(&self, argument: &Expr) -> Result<&'a Column> {
        match argument {
            Expr::Identifier(name) => self
                .columns
                .find(&name.value)
                .map_err(|error| error.context(format!("engine {}", self.engine))),
            Expr::Nested(inner) => self.column(inner),
            other => Err(Error::invalid(format!(
                "engine {} takes names of columns, not '{other}'",
                self.engine
            ))),
        }
    }

    fn misfit(&self, column: &Column, role: &str, wanted: &str) -> Error {
        Error::invalid(format!(
            "engine {}: column '{}' of type {} cannot be {role} column: it has to be {wanted}",
            self.engine, column.name, column.column_type
        ))
    }
}

fn is_number(column_type: &ColumnType) -> bool {
    matches!(
        column_type,
        ColumnType::Int8
            | ColumnType::Int16
            | ColumnType::Int32
            | ColumnType::Int64
            | ColumnType::UInt8
            | ColumnType::UInt16
            | ColumnType::UInt32
            | ColumnType::UInt64
            | ColumnType::Float32
            | ColumnType::Float64
            | ColumnType::Decimal(..)
    )
}
