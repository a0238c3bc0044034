//! INSERT ... VALUES: cells become arrays of the target's types column by column, so that
//! thousands of rows cost little and an error names its row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, MapArray, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::DFSchema;
use granary_catalog::{Column, ColumnDefault, ColumnType, Table};
use granary_common::{Error, Result};
use sqlparser::ast::{
    DictionaryField, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SetExpr,
    UnaryOperator, Value, ValueWithSpan,
};

use super::plain::{needs_planning, plain_rows};
use super::{conform, physical, planning, targets, wrong_number, zero};
use crate::Insert;
use crate::bind::{bind_expression, expand_functions};
use crate::session::SessionSource;

/// The rows of `INSERT ... VALUES` with the named columns, or the visible ones; give them to
/// [`super::RowProjection::apply`]. `None` when the rows come from a query or have placeholders:
/// bind those with [`crate::bind_insert_source`].
///
/// # Errors
/// InvalidInput that names the row and the column of the first value that does not fit.
pub fn insert_values(
    insert: &Insert,
    table: &Table,
    session: &dyn SessionSource,
) -> Result<Option<RecordBatch>> {
    let Some(rows) = plain_rows(insert) else { return Ok(None) };
    let targets = targets(table, insert.columns.as_deref())?;
    for (at, row) in rows.iter().enumerate() {
        if row.content.len() != targets.len() {
            let error = wrong_number(targets.len(), row.content.len());
            return Err(error.context(format!("row {}", at + 1)));
        }
    }
    let mut fields = Vec::with_capacity(targets.len());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(targets.len());
    for (position, target) in targets.iter().enumerate() {
        let column = &table.columns[*target];
        let default = match rows.iter().any(|row| is_default(&row.content[position])) {
            true => Some(default_of(column)?),
            false => None,
        };
        let cell = |cell| match &default {
            Some(default) if is_default(cell) => default,
            _ => cell,
        };
        let written: Vec<&Expr> = rows.iter().map(|row| cell(&row.content[position])).collect();
        let maps = maps_of(&written, column)?;
        let cells: Vec<&Expr> = match &maps {
            Some(maps) => maps.iter().collect(),
            None => written,
        };
        let array = Cells { column, session }.column(&cells)?;
        fields.push(Field::new(&column.name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let schema = Arc::new(Schema::new(fields));
    RecordBatch::try_new_with_options(schema, arrays, &options)
        .map(Some)
        .map_err(|error| Error::internal(format!("rows of an insert: {error}")))
}

/// The cells of a map where some are written as `{'a': 1}`, which elsewhere is a tuple.
fn maps_of(cells: &[&Expr], column: &Column) -> Result<Option<Vec<Expr>>> {
    let is_record = |cell: &&Expr| matches!(cell, Expr::Dictionary(fields) if !fields.is_empty());
    let is_map = matches!(column.column_type.base(), ColumnType::Map(..));
    if !is_map || !cells.iter().any(is_record) {
        return Ok(None);
    }
    let map = crate::bind::parsed_expression("map()")?;
    let text = |name: &str| Expr::Value(Value::SingleQuotedString(name.to_owned()).into());
    let written = |cell: &&Expr| match cell {
        Expr::Dictionary(fields) => {
            let pair = |field: &DictionaryField| [text(&field.key.value), (*field.value).clone()];
            crate::bind::with_arguments(map.clone(), fields.iter().flat_map(pair).collect())
        }
        other => (*other).clone(),
    };
    Ok(Some(cells.iter().map(written).collect()))
}

/// Whether the cell is the word DEFAULT.
pub(crate) fn is_default(cell: &Expr) -> bool {
    matches!(cell, Expr::Identifier(ident)
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("DEFAULT"))
}

/// Puts NULL for DEFAULT where only the types of the columns are asked for: rows of VALUES without
/// placeholders are made by [`insert_values`].
pub(crate) fn defaults_as_null(query: &mut Query) {
    let SetExpr::Values(values) = query.body.as_mut() else { return };
    // Those of DEFAULT VALUES have no column, which the engine does not know.
    for row in values.rows.iter_mut().filter(|row| row.content.is_empty()) {
        row.content.push(Expr::Value(Value::Null.into()));
    }
    let mut cells = values.rows.iter().flat_map(|row| &row.content);
    if cells.any(needs_planning) {
        return;
    }
    let cells = values.rows.iter_mut().flat_map(|row| &mut row.content);
    // Records may be maps there, which the columns of the table decide.
    for cell in cells.filter(|cell| is_default(cell) || matches!(cell, Expr::Dictionary(_))) {
        *cell = Expr::Value(Value::Null.into());
    }
}

/// What DEFAULT stands for among the values of a column.
///
/// # Errors
/// InvalidInput for a column of a type without such a value.
pub(crate) fn default_of(column: &Column) -> Result<Expr> {
    let text = match &column.default {
        Some(ColumnDefault::Expression(text)) => text.as_str(),
        _ if column.column_type.is_nullable() => "NULL",
        _ => match column.column_type.base() {
            ColumnType::String | ColumnType::FixedString(_) | ColumnType::Binary => "''",
            ColumnType::Uuid => "'00000000-0000-0000-0000-000000000000'",
            ColumnType::Ipv6 => "'::'",
            ColumnType::Date => "'1970-01-01'",
            ColumnType::DateTime(_) | ColumnType::DateTime64(..) => "'1970-01-01 00:00:00'",
            ColumnType::Array(_) => "[]",
            ColumnType::Map(..) => "map()",
            ColumnType::Enum8(names) | ColumnType::Enum16(names) => {
                let name = names.first().map_or_else(String::new, |(name, _)| name.clone());
                return Ok(Expr::Value(Value::SingleQuotedString(name).into()));
            }
            ColumnType::Bool => "false",
            base if base.arrow().is_numeric() => "0",
            _ => {
                let name = &column.name;
                let message = format!("column '{name}' has no DEFAULT: leave it out of the INSERT");
                return Err(Error::invalid(message));
            }
        },
    };
    crate::bind::parsed_expression(text)
}

/// The value of an expression without columns, as one of `column`, in an array of one row.
///
/// # Errors
/// InvalidInput when it is none of the column's type.
pub(crate) fn one_value(
    column: &Column,
    cell: &Expr,
    session: &dyn SessionSource,
) -> Result<ArrayRef> {
    if needs_planning(cell) {
        return Err(Error::invalid(format!("'{cell}' is not a constant")));
    }
    Cells { column, session }.column(&[cell])
}

/// The cells of one column.
struct Cells<'a> {
    column: &'a Column,
    session: &'a dyn SessionSource,
}

impl Cells<'_> {
    fn column(&self, cells: &[&Expr]) -> Result<ArrayRef> {
        let column_type = &self.column.column_type;
        // NULL is refused later if it must be, by the one who knows all columns.
        let nullable = match column_type.base() {
            ColumnType::Array(_) | ColumnType::Map(..) | ColumnType::Tuple(_) => {
                column_type.clone()
            }
            _ => column_type.clone().into_nullable(),
        };
        if let Some(array) = self.structured(cells, &nullable)? {
            return Ok(array);
        }
        self.evaluated(cells, &nullable)
    }

    /// Literals, and arrays, maps and tuples of them; `None` when there is anything else.
    fn structured(&self, cells: &[&Expr], column_type: &ColumnType) -> Result<Option<ArrayRef>> {
        let data_type = column_type.arrow();
        match (column_type.base(), &data_type) {
            (ColumnType::Array(inner), DataType::List(item)) => {
                let Some((elements, lengths)) = gather(cells, array_elements) else {
                    return Ok(None);
                };
                let Some(values) = self.inner(&elements, inner)? else { return Ok(None) };
                let offsets = OffsetBuffer::from_lengths(lengths);
                Ok(ListArray::try_new(Arc::clone(item), offsets, values, None).ok().map(erased))
            }
            (ColumnType::Map(key, value), DataType::Map(entries, ordered)) => {
                let Some((pairs, lengths)) = gather(cells, map_pairs) else { return Ok(None) };
                let keys: Vec<&Expr> = pairs.iter().step_by(2).copied().collect();
                let values: Vec<&Expr> = pairs.iter().skip(1).step_by(2).copied().collect();
                let (Some(keys), Some(values)) =
                    (self.inner(&keys, key)?, self.inner(&values, value)?)
                else {
                    return Ok(None);
                };
                let DataType::Struct(fields) = entries.data_type() else { return Ok(None) };
                let Ok(inner) = StructArray::try_new(fields.clone(), vec![keys, values], None)
                else {
                    return Ok(None);
                };
                let offsets = OffsetBuffer::from_lengths(lengths.into_iter().map(|n| n / 2));
                let entries = Arc::clone(entries);
                Ok(MapArray::try_new(entries, offsets, inner, None, *ordered).ok().map(erased))
            }
            (ColumnType::Tuple(elements), DataType::Struct(fields)) => {
                let Some((parts, lengths)) = gather(cells, tuple_elements) else {
                    return Ok(None);
                };
                if lengths.iter().any(|length| *length != elements.len()) {
                    return Ok(None);
                }
                let mut columns = Vec::with_capacity(elements.len());
                for (at, (_, element)) in elements.iter().enumerate() {
                    let cells: Vec<&Expr> =
                        parts.iter().skip(at).step_by(elements.len()).copied().collect();
                    let Some(column) = self.inner(&cells, element)? else { return Ok(None) };
                    columns.push(column);
                }
                Ok(StructArray::try_new(fields.clone(), columns, None).ok().map(erased))
            }
            (base, _) => {
                let texts: Option<Vec<Option<String>>> =
                    cells.iter().map(|cell| literal_text(cell, base)).collect();
                texts
                    .map(|texts| self.conform(Arc::new(StringArray::from(texts)), column_type, 1))
                    .transpose()
            }
        }
    }

    /// Values inside a container; the row of a misfit is not known there.
    fn inner(&self, cells: &[&Expr], column_type: &ColumnType) -> Result<Option<ArrayRef>> {
        if cells.is_empty() {
            return Ok(Some(zero::zero_array(column_type, 0)));
        }
        if let Some(array) = self.structured(cells, column_type)? {
            return Ok(Some(array));
        }
        self.evaluated(cells, column_type).map(Some)
    }

    /// Evaluates cell by cell.
    fn evaluated(&self, cells: &[&Expr], column_type: &ColumnType) -> Result<ArrayRef> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(cells.len());
        for (at, cell) in cells.iter().enumerate() {
            let row = at as u64 + 1;
            let value = self.value(cell).map_err(|error| {
                error.context(format!("row {row}, column '{}'", self.column.name))
            })?;
            arrays.push(self.conform(value, column_type, row)?);
        }
        let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
        concat(&arrays).map_err(|error| Error::internal(format!("rows of an insert: {error}")))
    }

    fn value(&self, cell: &Expr) -> Result<ArrayRef> {
        let schema = DFSchema::empty();
        let mut cell = cell.clone();
        let state = self.session.session()?;
        expand_functions(&mut cell, state, "")?;
        let bound = bind_expression(state, &cell, &schema)?;
        let expression = physical(bound, &schema, state)?;
        let one_row = RecordBatchOptions::new().with_row_count(Some(1));
        let batch =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &one_row)
                .map_err(|error| Error::internal(error.to_string()))?;
        expression.evaluate(&batch).and_then(|value| value.into_array(1)).map_err(planning)
    }

    fn conform(&self, values: ArrayRef, column_type: &ColumnType, row: u64) -> Result<ArrayRef> {
        conform::conform(&values, column_type)
            .map_err(|misfit| misfit.into_error(&self.column.name, row))
    }
}

fn erased(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

/// The parts of every cell one after the other, and how many each has.
fn gather<'e>(
    cells: &[&'e Expr],
    parts: fn(&'e Expr) -> Option<Vec<&'e Expr>>,
) -> Option<(Vec<&'e Expr>, Vec<usize>)> {
    let mut all = Vec::new();
    let mut lengths = Vec::with_capacity(cells.len());
    for cell in cells {
        let parts = parts(cell)?;
        lengths.push(parts.len());
        all.extend(parts);
    }
    Some((all, lengths))
}

fn array_elements(cell: &Expr) -> Option<Vec<&Expr>> {
    match cell {
        Expr::Array(array) => Some(array.elem.iter().collect()),
        Expr::Function(_) => call_arguments(cell, "array"),
        _ => None,
    }
}

fn map_pairs(cell: &Expr) -> Option<Vec<&Expr>> {
    match cell {
        Expr::Dictionary(fields) if fields.is_empty() => Some(Vec::new()),
        Expr::Map(map) => {
            let pairs = map.entries.iter().map(|entry| [entry.key.as_ref(), entry.value.as_ref()]);
            Some(pairs.flatten().collect())
        }
        _ => call_arguments(cell, "map").filter(|pairs| pairs.len() % 2 == 0),
    }
}

fn tuple_elements(cell: &Expr) -> Option<Vec<&Expr>> {
    match cell {
        Expr::Tuple(elements) => Some(elements.iter().collect()),
        Expr::Nested(only) => Some(vec![only]),
        _ => call_arguments(cell, "tuple"),
    }
}

/// The arguments of a call of `name`.
fn call_arguments<'e>(cell: &'e Expr, name: &str) -> Option<Vec<&'e Expr>> {
    let Expr::Function(function) = cell else { return None };
    if !function.name.to_string().eq_ignore_ascii_case(name) {
        return None;
    }
    match &function.args {
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
                _ => None,
            })
            .collect(),
        _ => Some(Vec::new()),
    }
}

/// The text of a literal that reads as a value of `base`: `Some(None)` is NULL, `None` no literal.
fn literal_text(cell: &Expr, base: &ColumnType) -> Option<Option<String>> {
    let is_time = matches!(
        base,
        ColumnType::Date
            | ColumnType::DateTime(_)
            | ColumnType::DateTime64(..)
            | ColumnType::Time(_)
            | ColumnType::Interval
            | ColumnType::Binary
    );
    let is_enum = matches!(base, ColumnType::Enum8(_) | ColumnType::Enum16(_));
    let is_whole = base.arrow().is_integer();
    match cell {
        Expr::Value(value) => match &value.value {
            Value::Null => Some(None),
            Value::SingleQuotedString(text) => Some(Some(text.clone())),
            Value::Number(digits, _) => {
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                let reads = !is_time && !is_enum && (!is_whole || plain);
                reads.then(|| Some(digits.clone()))
            }
            Value::Boolean(truth) if *base == ColumnType::Bool => Some(Some(truth.to_string())),
            Value::Boolean(truth) if is_whole => Some(Some(u8::from(*truth).to_string())),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(ValueWithSpan { value: Value::Number(..), .. }) => {
                literal_text(expr, base)?.map(|digits| Some(format!("-{digits}")))
            }
            _ => None,
        },
        _ => None,
    }
}
