//! What parts have of a projection, as a table of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ToDFSchema;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use granary_catalog::{BoundProjection, Part, PartProjection, Projection};
use granary_common::{ColumnId, PartId};
use granary_execution::error::to_datafusion;
use granary_execution::part_scan::predicate::{all_of, to_filter};
use granary_execution::{KeyRanges, Layout, PartScanExec, ScanFacts, ScanSpec, ScannedPart};
use granary_storage::projection::schema_of;
use granary_storage::{CompareOp, Filter, PartRef, PartSchema};

use super::super::partitions::with_implied;
use super::{PartTable, partitions, physical_filter};

impl PartTable {
    /// The projections that may stand for rows of this table: none where rows are collapsed first,
    /// and none of the past.
    pub(crate) fn projections(&self) -> impl Iterator<Item = (&Projection, &BoundProjection)> {
        let is_plain = self.collapse.is_none() && self.past_version().is_none();
        let projections = self.state.table.options.projections.iter().filter(move |_| is_plain);
        projections.filter_map(|one| one.bound.as_ref().map(|bound| (one, bound)))
    }

    /// The columns that queries see.
    pub(crate) fn exposed(&self) -> &PartSchema {
        &self.exposed
    }

    /// The parts that may have rows that pass every one of `filters`, which name columns as the
    /// table does.
    pub(crate) fn matching_parts(&self, session: &dyn Session, filters: &[Expr]) -> Vec<Arc<Part>> {
        let schema = Arc::clone(&self.schema).to_dfschema();
        let known = schema.map(|schema| {
            let known = filters.iter().filter_map(|term| self.filter(session, &schema, term));
            known.collect::<Vec<_>>()
        });
        let filter = all_of(known.unwrap_or_default());
        let table = &self.state.table;
        let filter = filter.map(|filter| with_implied(session, table, &self.part_schema, filter));
        let conditions = self.conditions(session, filters);
        self.matching(filter.as_ref(), conditions).into_iter().cloned().collect()
    }

    /// The column that rows are ordered by first.
    pub(crate) fn leading_key(&self) -> Option<ColumnId> {
        self.part_schema.primary_key().first().copied()
    }

    /// The columns that every row must have some values of to pass all `filters`, which name columns
    /// as the table does.
    pub(crate) fn constrained(
        &self,
        session: &dyn Session,
        filters: &[Expr],
    ) -> BTreeSet<ColumnId> {
        let Ok(schema) = Arc::clone(&self.schema).to_dfschema() else { return BTreeSet::new() };
        let mut terms: Vec<Filter> =
            filters.iter().filter_map(|term| self.filter(session, &schema, term)).collect();
        let mut columns = BTreeSet::new();
        while let Some(term) = terms.pop() {
            match term {
                Filter::And(more) => terms.extend(more),
                Filter::Compare { column, op, .. } if op != CompareOp::NotEq => {
                    columns.insert(column);
                }
                Filter::In { column, negated: false, .. } => {
                    columns.insert(column);
                }
                _ => {}
            }
        }
        columns
    }

    /// What `part` has of a projection, if that is of just the rows that queries see.
    pub(crate) fn of_projection<'a>(
        &self,
        part: &'a Part,
        fingerprint: u64,
    ) -> Option<&'a PartProjection> {
        let is_whole = part.deletions_at(self.version).is_none();
        let mut listed = part.projections().iter().filter(|_| is_whole);
        listed.find(|found| found.fingerprint == fingerprint)
    }

    /// Whether its rows are those that were inserted, as they are now, as far as it shows in the
    /// catalog.
    pub(crate) fn is_plain(&self) -> bool {
        let table = &self.state.table;
        let mut parts = self.state.visible_parts(self.version);
        self.collapse.is_none()
            && self.past_version().is_none()
            && table.unique_key.is_empty()
            && table.options.rules.is_empty()
            && parts.all(|part| part.deletions_at(self.version).is_none())
    }

    /// Rows that are not deleted.
    pub(crate) fn rows(&self) -> u64 {
        self.state.visible_parts(self.version).map(|part| part.rows_at(self.version)).sum()
    }

    /// The same table, whose rows are read for what a view made of those of its source.
    pub(crate) fn read_as_view(&self, view: &str) -> PartTable {
        let name = format!("{}, view={view}", self.name);
        PartTable { name, ..self.without(&BTreeSet::new()) }
    }

    /// The table without these parts.
    pub(crate) fn without(&self, parts: &BTreeSet<PartId>) -> PartTable {
        let mut state = self.state.clone();
        for id in parts {
            state.parts.remove(id);
        }
        PartTable {
            state,
            snapshot: Arc::clone(&self.snapshot),
            version: self.version,
            name: self.name.clone(),
            part_schema: Arc::clone(&self.part_schema),
            schema: Arc::clone(&self.schema),
            exposed: self.exposed.clone(),
            collapse: self.collapse.clone(),
            statistics: Arc::clone(&self.statistics),
        }
    }

    /// What `parts` have of the projection.
    pub(crate) fn projected<'a>(
        &self,
        name: &str,
        bound: &BoundProjection,
        parts: impl Iterator<Item = (&'a Part, &'a PartProjection)>,
    ) -> ProjectedParts {
        let table = &self.state.table;
        let schema = schema_of(table.id, bound, table.index_granularity());
        let scanned = parts.map(|(part, projection)| ScannedPart {
            part: PartRef {
                location: self.snapshot.readable_location(part),
                ..PartRef::of_projection(part, projection)
            },
            bucket: part.bucket,
            holders: self.holders(part),
            run: 0,
            merged: part.level > 0,
        });
        ProjectedParts {
            name: format!("{}, projection={name}", self.name),
            schema: schema.arrow_schema(),
            parts: scanned.collect(),
            part_schema: Arc::new(schema),
        }
    }
}

/// Rows of a projection.
#[derive(Debug)]
pub(crate) struct ProjectedParts {
    name: String,
    part_schema: Arc<PartSchema>,
    schema: SchemaRef,
    parts: Vec<ScannedPart>,
}

#[async_trait]
impl TableProvider for ProjectedParts {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let schema = Arc::clone(&self.schema).to_dfschema()?;
        let mut known = Vec::with_capacity(filters.len());
        for filter in filters {
            let physical = session.create_physical_expr(filter.clone(), &schema)?;
            // One that the scan cannot decide stays above it.
            known.extend(to_filter(&self.part_schema, &physical));
        }
        let positions = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let column = |position: &usize| self.part_schema.columns[*position].id;
        let mut spec = ScanSpec {
            name: self.name.clone(),
            schema: Arc::clone(&self.part_schema),
            columns: positions.iter().map(column).collect(),
            parts: self.parts.clone(),
            filter: all_of(known),
            fetch: limit,
            ordered_by: 0,
            layout: Layout::Spread { partitions: 1 },
            collapse: None,
            key_ranges: KeyRanges::default(),
            hints: Vec::new(),
        };
        spec.layout = Layout::Spread { partitions: partitions(session.config(), &spec) };
        let scan = PartScanExec::new(spec, Arc::new(ScanFacts::default()));
        Ok(Arc::new(scan.map_err(to_datafusion)?))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        let schema = Arc::clone(&self.schema).to_dfschema()?;
        let supported = |original: &&Expr| {
            let physical = physical_filter(original, &schema);
            match physical.and_then(|physical| to_filter(&self.part_schema, &physical)) {
                // It stays above as well, as with tables.
                Some(_) => TableProviderFilterPushDown::Inexact,
                None => TableProviderFilterPushDown::Unsupported,
            }
        };
        Ok(filters.iter().map(supported).collect())
    }
}
