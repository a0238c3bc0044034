//! Columns that a table has at the query's version and a part lacks, because they were added after
//! the part was written: every row of the part holds NULL, or the type's zero value.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatchOptions, UInt64Array, new_null_array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::stream::{BoxStream, StreamExt};
use granary_catalog::{ColumnType, Scalar};
use granary_common::{ColumnId, Error, PartId, Result};

use crate::filter::{CompareOp, Filter};
use crate::scalar::to_arrow_scalar;
use crate::schema::{PART_COLUMN, PART_OFFSET_COLUMN, PartSchema};

/// The columns of the part with the types that the table has now.
pub fn stored_schema(table: &PartSchema, part: &PartSchema) -> PartSchema {
    let is_stored = |id: ColumnId| part.columns.iter().any(|column| column.id == id);
    let mut stored = table.clone();
    stored.columns.retain(|column| is_stored(column.id));
    stored
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
    let resolver = Resolver { table, missing, stored, id };
    resolver.substitute(&filter).map(Some)
}

/// Replaces the terms over missing columns by their outcome.
struct Resolver<'a> {
    table: &'a PartSchema,
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
            Filter::Like { column, .. } => match self.value_of(*column)? {
                Some(Scalar::Null) => self.outcome(None)?,
                Some(_) => {
                    return Err(Error::unsupported(
                        "LIKE on a column that was added after the part was written",
                    ));
                }
                None => filter.clone(),
            },
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
        constant(&self.table.column(column)?.column_type).map(Some)
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

/// What every row of the part holds in a column that it lacks.
fn constant(column_type: &ColumnType) -> Result<Scalar> {
    if column_type.is_nullable() {
        return Ok(Scalar::Null);
    }
    Ok(match column_type.base() {
        ColumnType::Bool => Scalar::Bool(false),
        ColumnType::Int8
        | ColumnType::Int16
        | ColumnType::Int32
        | ColumnType::Int64
        | ColumnType::Date
        | ColumnType::DateTime(_)
        | ColumnType::DateTime64(..) => Scalar::Int(0),
        ColumnType::UInt8
        | ColumnType::UInt16
        | ColumnType::UInt32
        | ColumnType::UInt64
        | ColumnType::Ipv4 => Scalar::UInt(0),
        ColumnType::Float32 | ColumnType::Float64 => Scalar::Float(0.0),
        ColumnType::Decimal(..) => Scalar::Wide(0),
        ColumnType::String => Scalar::Text(String::new()),
        ColumnType::FixedString(length) => Scalar::Bytes(vec![0; *length as usize]),
        ColumnType::Uuid => Scalar::Text("00000000-0000-0000-0000-000000000000".to_owned()),
        ColumnType::Ipv6 => Scalar::Text("::".to_owned()),
        ColumnType::Enum8(names) | ColumnType::Enum16(names) => {
            Scalar::Text(names.first().map(|(name, _)| name.clone()).unwrap_or_default())
        }
        other => {
            return Err(Error::unsupported(format!(
                "a column of type {other} that was added after the part was written"
            )));
        }
    })
}

/// Where a column of a scan comes from.
enum Source {
    /// The column of this place in what is read.
    Read(usize),
    /// The same value in every row.
    Same(ColumnType),
    /// The part's id.
    Part,
}

/// Makes batches with the columns `wanted` of the schema `output` from batches with the columns
/// `read`; the others are the same in every row of the part `id`.
pub fn fill(
    batches: BoxStream<'static, Result<RecordBatch>>,
    table: &PartSchema,
    read: &[ColumnId],
    wanted: &[ColumnId],
    output: SchemaRef,
    id: PartId,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let source = |column: &ColumnId| {
        Ok(match read.iter().position(|read| read == column) {
            Some(place) => Source::Read(place),
            None if *column == PART_COLUMN => Source::Part,
            None => Source::Same(table.column(*column)?.column_type.clone()),
        })
    };
    let sources = wanted.iter().map(source).collect::<Result<Vec<_>>>()?;
    let filled = batches.map(move |batch| {
        let batch = batch?;
        let rows = batch.num_rows();
        let column = |(source, field): (&Source, &Arc<arrow::datatypes::Field>)| match source {
            Source::Read(place) => Ok(Arc::clone(batch.column(*place))),
            Source::Part => Ok(Arc::new(UInt64Array::from_value(id.0, rows)) as ArrayRef),
            Source::Same(column_type) => repeated(column_type, field.data_type(), rows),
        };
        let columns =
            sources.iter().zip(output.fields()).map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&output), columns, &options)
            .map_err(|error| Error::internal(error.to_string()))
    });
    Ok(filled.boxed())
}

fn repeated(column_type: &ColumnType, data_type: &DataType, rows: usize) -> Result<ArrayRef> {
    use arrow::array::{Datum, UInt32Array};
    let nested = matches!(
        column_type.base(),
        ColumnType::Array(_)
            | ColumnType::Map(..)
            | ColumnType::Tuple(_)
            | ColumnType::AggregateFunction(_)
    );
    if column_type.is_nullable() || nested {
        return Ok(new_null_array(data_type, rows));
    }
    let value = to_arrow_scalar(&constant(column_type)?, data_type)?;
    let (value, _) = value.get();
    let same = UInt32Array::from(vec![0; rows]);
    arrow::compute::take(value, &same, None).map_err(|error| Error::internal(error.to_string()))
}
