//! Columns that a table has at the query's version and a part lacks.
//!
//! A column that was added after the part was written has one value in all of its rows: the one that
//! the table says, else NULL or the type's zero value; or its values are computed from others of the
//! part as they are read. A column whose type changed since is in the part under an earlier id, and its
//! values are cast.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatchOptions, StringArray, UInt64Array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{CastOptions, cast_with_options, ilike, is_null, like};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::stream::{BoxStream, StreamExt};
use granary_catalog::Scalar;
use granary_common::{ColumnId, Error, PartId, Result};

use super::constant::{constant, repeated};
use crate::filter::{CompareOp, Filter};
use crate::schema::{PART_COLUMN, PART_OFFSET_COLUMN, PartColumn, PartSchema};
use crate::ttl::{RowComputation, RowEvaluator, row_schema};

/// The columns of the part with the types that the table has now, and those that the table's
/// columns are cast or computed from.
pub fn stored_schema(table: &PartSchema, part: &PartSchema) -> PartSchema {
    let is_stored = |id: ColumnId| part.columns.iter().any(|column| column.id == id);
    let mut stored = table.clone();
    stored.columns.retain(|column| is_stored(column.id));
    let is_plain = |column: &&PartColumn| column.earlier.is_empty() && column.computed.is_none();
    let others = table.columns.iter().filter(|column| !is_plain(column));
    for id in others.flat_map(|column| sources(column, part)) {
        if stored.columns.iter().all(|column| column.id != id) {
            stored.columns.extend(part.columns.iter().find(|found| found.id == id).cloned());
        }
    }
    stored
}

/// The id under which the part has the column.
fn stored_as(column: &PartColumn, part: &PartSchema) -> Option<ColumnId> {
    let ids = std::iter::once(column.id).chain(column.earlier.iter().map(|earlier| earlier.id));
    let mut ids = ids.filter(|id| part.columns.iter().any(|found| found.id == *id));
    ids.next()
}

/// The columns of the part that values of `column` come from.
fn sources(column: &PartColumn, part: &PartSchema) -> Vec<ColumnId> {
    match (stored_as(column, part), &column.computed) {
        (Some(stored), _) => vec![stored],
        (None, None) => Vec::new(),
        (None, Some(computed)) => {
            let of = |input| sources(&PartColumn::of(input), part);
            computed.inputs.iter().flat_map(of).collect()
        }
    }
}

/// What to read of the part for the columns `wanted` of the table, each once.
pub fn columns_to_read(
    table: &PartSchema,
    part: &PartSchema,
    wanted: &[ColumnId],
) -> Result<Vec<ColumnId>> {
    let mut read: Vec<ColumnId> = Vec::with_capacity(wanted.len());
    let mut add = |id| match read.contains(&id) {
        true => {}
        false => read.push(id),
    };
    for id in wanted {
        match *id {
            PART_OFFSET_COLUMN => add(*id),
            PART_COLUMN => {}
            _ => sources(table.column(*id)?, part).into_iter().for_each(&mut add),
        }
    }
    Ok(read)
}

/// `filter` over stored columns only, or `None` when every row passes. `id` is what the column
/// `_part` holds. Kind `Unsupported` for a filter over positions.
pub fn resolve(
    filter: Filter,
    table: &PartSchema,
    part: &PartSchema,
    id: PartId,
) -> Result<Option<Filter>> {
    if filter.columns().contains(&PART_OFFSET_COLUMN) {
        return Err(Error::unsupported("a filter over positions is not for scans"));
    }
    let stored = stored_schema(table, part);
    let missing: Vec<ColumnId> = filter
        .columns()
        .into_iter()
        .filter(|id| stored.columns.iter().all(|column| column.id != *id))
        .collect();
    if missing.is_empty() {
        return Ok(match filter {
            Filter::And(terms) if terms.is_empty() => None,
            filter => Some(filter),
        });
    }
    let stored = stored.columns.first().map(|column| column.id);
    let resolver = Resolver { table, part, missing, stored, id };
    resolver.substitute(&filter).map(Some)
}

/// Replaces the terms over missing columns by their outcome.
struct Resolver<'a> {
    table: &'a PartSchema,
    part: &'a PartSchema,
    missing: Vec<ColumnId>,
    /// Any column that is not missing.
    stored: Option<ColumnId>,
    id: PartId,
}

impl Resolver<'_> {
    fn substitute(&self, filter: &Filter) -> Result<Filter> {
        Ok(match filter {
            Filter::And(terms) => Filter::And(self.all(terms)?),
            Filter::Or(terms) => Filter::Or(self.all(terms)?),
            Filter::Not(term) => Filter::Not(Box::new(self.substitute(term)?)),
            Filter::Compare { column, op, value } => match self.value_of(*column)? {
                Some(constant) => self.outcome(holds(*op, &constant, value))?,
                None => filter.clone(),
            },
            Filter::CompareColumns { left, op, right } => {
                match (self.value_of(*left)?, self.value_of(*right)?) {
                    (Some(left), Some(right)) => self.outcome(holds(*op, &left, &right))?,
                    (Some(value), None) => {
                        Filter::Compare { column: *right, op: op.swapped(), value }
                    }
                    (None, Some(value)) => Filter::Compare { column: *left, op: *op, value },
                    (None, None) => filter.clone(),
                }
            }
            Filter::In { column, values, negated } => match self.value_of(*column)? {
                Some(constant) => {
                    let found = is_in(&constant, values).map(|found| found != *negated);
                    self.outcome(found)?
                }
                None => filter.clone(),
            },
            Filter::IsNull { column, negated } => match self.value_of(*column)? {
                Some(constant) => {
                    self.outcome(Some(matches!(constant, Scalar::Null) != *negated))?
                }
                None => filter.clone(),
            },
            Filter::Like { column, pattern, negated, case_insensitive } => {
                match self.value_of(*column)? {
                    Some(Scalar::Text(text)) => {
                        let found = is_like(&text, pattern, *case_insensitive)?;
                        self.outcome(Some(found != *negated))?
                    }
                    Some(Scalar::Null) => self.outcome(None)?,
                    Some(_) => return Err(Error::invalid("LIKE is for texts")),
                    None => filter.clone(),
                }
            }
        })
    }

    fn all(&self, terms: &[Filter]) -> Result<Vec<Filter>> {
        terms.iter().map(|term| self.substitute(term)).collect()
    }

    /// The value of a missing column.
    fn value_of(&self, column: ColumnId) -> Result<Option<Scalar>> {
        if !self.missing.contains(&column) {
            return Ok(None);
        }
        if column == PART_COLUMN {
            return Ok(Some(Scalar::UInt(self.id.0)));
        }
        let column = self.table.column(column)?;
        if stored_as(column, self.part).is_some() || column.computed.is_some() {
            // Planners leave such filters to the engine.
            return Err(Error::unsupported(format!(
                "a filter on the column '{}', whose values are cast or computed",
                column.name
            )));
        }
        constant(column).map(Some)
    }

    /// A filter with this outcome for every row.
    fn outcome(&self, outcome: Option<bool>) -> Result<Filter> {
        match (outcome, self.stored) {
            (Some(true), _) => Ok(Filter::And(Vec::new())),
            (Some(false), _) => Ok(Filter::Or(Vec::new())),
            (None, Some(column)) => {
                Ok(Filter::Compare { column, op: CompareOp::Eq, value: Scalar::Null })
            }
            (None, None) => Err(Error::unsupported("the part has none of the table's columns")),
        }
    }
}

fn holds(op: CompareOp, a: &Scalar, b: &Scalar) -> Option<bool> {
    let known = !matches!(a, Scalar::Null) && !matches!(b, Scalar::Null);
    known.then(|| op.holds(a.cmp(b)))
}

/// SQL's `value IN (values)`.
fn is_in(value: &Scalar, values: &[Scalar]) -> Option<bool> {
    let outcomes = values.iter().map(|other| holds(CompareOp::Eq, value, other));
    // TRUE is above NULL is above FALSE.
    let rank = |outcome: &Option<bool>| outcome.map_or(1, |found| if found { 2 } else { 0 });
    outcomes.max_by_key(rank).unwrap_or(Some(false))
}

fn is_like(text: &str, pattern: &str, case_insensitive: bool) -> Result<bool> {
    let one = |text: &str| arrow::array::Scalar::new(StringArray::from(vec![text]));
    let (text, pattern) = (StringArray::from(vec![text]), one(pattern));
    let found = match case_insensitive {
        true => ilike(&text, &pattern),
        false => like(&text, &pattern),
    };
    found.map(|found| found.value(0)).map_err(|error| Error::invalid(error.to_string()))
}

/// Where a column of a scan comes from.
enum Source {
    /// The column of this place in what is read.
    Read(usize),
    /// The same value in every row.
    Same(PartColumn),
    /// Computed from others.
    Computed(Box<Computed>),
    /// The part's id.
    Part,
}

/// A column whose values follow from others of the row.
struct Computed {
    computation: Arc<dyn RowComputation>,
    inputs: Vec<Source>,
    /// Of the inputs.
    schema: SchemaRef,
    column: PartColumn,
}

/// What a scan of a part of the shape `part` gives for columns of `table`.
pub struct Missing<'a> {
    pub table: &'a PartSchema,
    pub part: &'a PartSchema,
    /// What is read of the part, see [`columns_to_read`].
    pub read: &'a [ColumnId],
    pub evaluator: &'a dyn RowEvaluator,
}

impl Missing<'_> {
    /// Makes batches with the columns `wanted` of the schema `output` from batches with those that
    /// are read of the part `id`.
    pub fn fill(
        &self,
        batches: BoxStream<'static, Result<RecordBatch>>,
        wanted: &[ColumnId],
        output: SchemaRef,
        id: PartId,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let source = |column: &ColumnId| match *column {
            PART_COLUMN => Ok(Source::Part),
            PART_OFFSET_COLUMN => {
                let place = self.place(PART_OFFSET_COLUMN).map(Source::Read);
                place.ok_or_else(|| Error::internal("positions are not read"))
            }
            column => self.source(self.table.column(column)?),
        };
        let sources = wanted.iter().map(source).collect::<Result<Vec<_>>>()?;
        let filled = batches.map(move |batch| filled(&sources, &batch?, Arc::clone(&output), id));
        Ok(filled.boxed())
    }

    fn place(&self, column: ColumnId) -> Option<usize> {
        self.read.iter().position(|read| *read == column)
    }

    fn source(&self, column: &PartColumn) -> Result<Source> {
        if let Some(place) = stored_as(column, self.part).and_then(|stored| self.place(stored)) {
            return Ok(Source::Read(place));
        }
        let Some(computed) = &column.computed else { return Ok(Source::Same(column.clone())) };
        let inputs: Vec<PartColumn> = computed.inputs.iter().map(PartColumn::of).collect();
        let schema = row_schema(&inputs);
        let computation = self.evaluator.compile(&computed.expression, &schema)?;
        let sources = inputs.iter().map(|input| self.source(input)).collect::<Result<Vec<_>>>()?;
        let (schema, column) = (Arc::new(schema), column.clone());
        Ok(Source::Computed(Box::new(Computed { computation, inputs: sources, schema, column })))
    }
}

fn filled(
    sources: &[Source],
    batch: &RecordBatch,
    output: SchemaRef,
    id: PartId,
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let column = |(source, field): (&Source, &Arc<Field>)| match source {
        Source::Read(place) => as_type(batch.column(*place), field),
        Source::Part => Ok(Arc::new(UInt64Array::from_value(id.0, rows)) as ArrayRef),
        Source::Same(column) => repeated(column, field.data_type(), rows),
        Source::Computed(computed) => computed.values(batch, field, id),
    };
    let columns = sources.iter().zip(output.fields()).map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(output, columns, &options)
        .map_err(|error| Error::internal(error.to_string()))
}

impl Computed {
    fn values(&self, batch: &RecordBatch, field: &Field, id: PartId) -> Result<ArrayRef> {
        let rows = filled(&self.inputs, batch, Arc::clone(&self.schema), id)?;
        let values = self.evaluated(&rows, field);
        let values = values.map_err(|error| self.explained(error, &rows, field))?;
        if field.is_nullable() || values.null_count() == 0 {
            return Ok(values);
        }
        // What cannot be NULL is the type's zero value, as where nothing is said of older rows.
        let plain = PartColumn { added: None, computed: None, ..self.column.clone() };
        let zeros = repeated(&plain, field.data_type(), values.len())?;
        let missing = is_null(&values).and_then(|missing| zip(&missing, &zeros, &values));
        missing.map_err(|error| Error::internal(error.to_string()))
    }

    fn evaluated(&self, rows: &RecordBatch, field: &Field) -> Result<ArrayRef> {
        self.computation.evaluate(rows).and_then(|values| as_type(&values, field))
    }

    /// `error` with the first row that has no value, found by halves, and what to do about it.
    fn explained(&self, error: Error, rows: &RecordBatch, field: &Field) -> Error {
        let fails = |first: usize, count: usize| {
            self.evaluated(&rows.slice(first, count), field).err().filter(|_| count > 0)
        };
        let (mut first, mut count) = (0, rows.num_rows());
        while count > 1 {
            let half = count / 2;
            match fails(first, half) {
                Some(_) => count = half,
                None => (first, count) = (first + half, count - half),
            }
        }
        let error = fails(first, count).unwrap_or(error);
        let computed = self.column.computed.as_ref();
        let names = computed.iter().flat_map(|computed| &computed.inputs).map(|input| &input.name);
        let shown = |(name, values): (&String, &ArrayRef)| {
            format!("{name} = {}", shown(values.as_ref(), first))
        };
        let row: Vec<String> = names.zip(rows.columns()).map(shown).collect();
        let name = &self.column.name;
        Error::new(
            error.kind(),
            format!(
                "column '{name}' has no value in an older row where {}: the default that it was added \
                 with fails there: {}; UPDATE the column where that is so, or drop it and add it with a \
                 default that has a value for every row",
                row.join(" and "),
                error.message()
            ),
        )
    }
}

/// Most characters of a value in an error.
const SHOWN_CHARACTERS: usize = 60;

fn shown(values: &dyn Array, row: usize) -> String {
    let options = FormatOptions::new().with_null("NULL");
    let formatter = ArrayFormatter::try_new(values, &options);
    let text = formatter.map(|it| it.value(row).to_string()).unwrap_or_default();
    let cut: String = text.chars().take(SHOWN_CHARACTERS).collect();
    let dots = if cut.len() < text.len() { "..." } else { "" };
    let is_text = matches!(values.data_type(), DataType::Utf8 | DataType::Utf8View);
    match is_text && values.is_valid(row) {
        true => format!("'{cut}{dots}'"),
        false => format!("{cut}{dots}"),
    }
}

/// The values in the type that the column has now; only changes that lose nothing leave parts as
/// they are.
fn as_type(values: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    if values.data_type() == field.data_type() {
        return Ok(Arc::clone(values));
    }
    let strict = CastOptions { safe: false, format_options: FormatOptions::new() };
    cast_with_options(values, field.data_type(), &strict).map_err(|error| {
        Error::invalid(format!("column '{}', whose type changed: {error}", field.name()))
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;
    use granary_catalog::ColumnType;

    use super::*;

    #[test]
    fn values_of_an_earlier_type_are_cast() {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(10), None]));
        for (text, first) in [("Nullable(Int64)", "10"), ("Nullable(String)", "10")] {
            let field = text.parse::<ColumnType>().expect("a type").arrow_field("c");
            let cast = as_type(&numbers, &field).expect("casts");
            let shown = arrow::util::display::array_value_to_string(&cast, 0).expect("a value");
            assert_eq!((shown.as_str(), cast.is_null(1)), (first, true), "{text}");
        }
    }

    #[test]
    fn patterns_on_values_of_old_rows() {
        assert!(is_like("SELECT 1", "SELECT%", false).expect("compares"));
        assert!(!is_like("SELECT 1", "select%", false).expect("compares"));
        assert!(is_like("SELECT 1", "select _", true).expect("compares"));
    }
}
