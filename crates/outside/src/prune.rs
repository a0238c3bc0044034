//! Row groups of Parquet files that cannot have a row that a filter lets through.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::RowGroupMetaData;
use parquet::schema::types::SchemaDescriptor;

use crate::columns::seen_type;

/// Of each of `groups` whether it may have rows that pass `filter`, which is over `schema`.
pub(crate) fn may_match(
    filter: &Arc<dyn PhysicalExpr>,
    schema: &SchemaRef,
    of_file: &Schema,
    parquet_schema: &SchemaDescriptor,
    groups: &[&RowGroupMetaData],
) -> Vec<bool> {
    let known = Known { schema, of_file, parquet_schema, groups };
    // What cannot be decided is read.
    PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(schema))
        .try_build(Arc::clone(filter))
        .and_then(|predicate| predicate.prune(&known))
        .unwrap_or_else(|_| vec![true; groups.len()])
}

/// What the footer knows of row groups.
struct Known<'a> {
    schema: &'a SchemaRef,
    of_file: &'a Schema,
    parquet_schema: &'a SchemaDescriptor,
    groups: &'a [&'a RowGroupMetaData],
}

impl Known<'_> {
    /// The statistics of a column, if the file has it with values that order as the query's do.
    fn converter(&self, column: &Column) -> Option<StatisticsConverter<'_>> {
        let seen = self.schema.field_with_name(&column.name).ok()?;
        let own = self.of_file.field_with_name(&column.name).ok()?;
        if seen_type(own.data_type()) != *seen.data_type() {
            return None;
        }
        StatisticsConverter::try_new(&column.name, self.of_file, self.parquet_schema).ok()
    }

    fn seen(&self, column: &Column, values: ArrayRef) -> Option<ArrayRef> {
        let seen = self.schema.field_with_name(&column.name).ok()?;
        cast(&values, seen.data_type()).ok()
    }
}

impl PruningStatistics for Known<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let groups = self.groups.iter().copied();
        self.seen(column, self.converter(column)?.row_group_mins(groups).ok()?)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        let groups = self.groups.iter().copied();
        self.seen(column, self.converter(column)?.row_group_maxes(groups).ok()?)
    }

    fn num_containers(&self) -> usize {
        self.groups.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        // A count that the file does not have is not taken for none.
        let converter = self.converter(column)?.with_missing_null_counts_as_zero(false);
        let counts = converter.row_group_null_counts(self.groups.iter().copied()).ok()?;
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts = self.groups.iter().map(|group| group.num_rows().max(0) as u64);
        Some(Arc::new(arrow::array::UInt64Array::from_iter_values(counts)))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
