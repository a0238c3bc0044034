//! From the rows that a client sends to the rows that a table stores.
//!
//! ```text
//!   batch ──conform──► named columns ──defaults, zero values──► visible columns
//!                                                 ──key expressions──► all columns
//! ```

mod conform;
mod formatted;
mod plain;
mod values;
mod zero;

use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr as PlannedExpr, cast};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use granary_catalog::{Column, ColumnRole, Table};
use granary_common::{Error, Result, did_you_mean};

use crate::bind::bind_expression;
use crate::constraints::RowChecks;
use crate::error_from_datafusion;
use crate::session::SessionSource;
use crate::statement::parse_expression;

pub(crate) use conform::{canonical_ipv6, canonical_uuid};
pub use formatted::with_formatted_rows;
pub use plain::has_plain_values;
pub use values::insert_values;
pub(crate) use values::{default_of, defaults_as_null, is_default, one_value};

/// The zero value of the type, as an array of one row.
pub(crate) fn zero_value(column_type: &granary_catalog::ColumnType) -> ArrayRef {
    zero::zero_array(column_type, 1)
}

/// The value of a row as a message shows it.
pub(crate) fn shown_value(values: &ArrayRef, row: usize) -> String {
    conform::shown(values, row)
}

/// The value, in an array of one row, as a value of the column.
pub(crate) fn conform_value(value: &ArrayRef, column: &Column) -> Result<ArrayRef> {
    let conformed = conform::conform(value, &column.column_type);
    conformed.map_err(|misfit| misfit.into_error(&column.name, 1))
}

/// How the columns of an insert become the columns of a table.
#[derive(Debug)]
pub struct RowProjection {
    columns: Vec<Column>,
    /// For each column of the table, where its values come from.
    sources: Vec<Source>,
    /// Positions of the columns that are computed, in an order in which they can be.
    computed: Vec<usize>,
    /// Columns of a batch.
    inputs: usize,
    /// The table's columns as computations see them.
    working: SchemaRef,
    schema: SchemaRef,
    checks: RowChecks,
}

#[derive(Clone, Debug)]
enum Source {
    /// The column of the batch at this position.
    Input(usize),
    /// The zero value of the type.
    Zero,
    /// NULL.
    Null,
    /// A default or a key expression, over the table's columns.
    Computed(Arc<dyn PhysicalExpr>),
}

impl RowProjection {
    /// Binds the columns of `input`, by position to `named_columns` or to the visible columns.
    ///
    /// # Errors
    /// InvalidInput for unknown or repeated columns and for a wrong number of them.
    pub fn bind(
        table: &Table,
        named_columns: Option<&[String]>,
        input: &Schema,
        session: &dyn SessionSource,
    ) -> Result<RowProjection> {
        let targets = targets(table, named_columns)?;
        if targets.len() != input.fields().len() {
            return Err(wrong_number(targets.len(), input.fields().len()));
        }
        let columns = table.columns.clone();
        let schema: SchemaRef = Arc::new(Schema::new(
            columns.iter().map(|c| c.column_type.arrow_field(&c.name)).collect::<Vec<Field>>(),
        ));
        let working: SchemaRef = Arc::new(Schema::new(
            schema
                .fields()
                .iter()
                .map(|f| f.as_ref().clone().with_nullable(true))
                .collect::<Vec<_>>(),
        ));
        let mut projection = RowProjection {
            sources: Vec::with_capacity(columns.len()),
            computed: Vec::new(),
            inputs: input.fields().len(),
            working,
            schema,
            columns,
            checks: RowChecks::default(),
        };
        let planner = DFSchema::try_from(projection.schema.as_ref().clone()).map_err(planning)?;
        projection.bind_sources(&targets, &planner, session)?;
        projection.checks = RowChecks::bind(table, &planner, session)?;
        Ok(projection)
    }

    fn bind_sources(
        &mut self,
        targets: &[usize],
        planner: &DFSchema,
        session: &dyn SessionSource,
    ) -> Result<()> {
        let mut waiting: Vec<(usize, Vec<usize>)> = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            let given = targets.iter().position(|target| *target == at);
            let text = match (&column.role, &column.default, given) {
                (ColumnRole::KeyExpression(text), ..) => text,
                (_, _, Some(input)) => {
                    self.sources.push(Source::Input(input));
                    continue;
                }
                (_, Some(default), None) => default.text(),
                (_, None, None) => {
                    self.sources.push(match column.column_type.is_nullable() {
                        true => Source::Null,
                        false => Source::Zero,
                    });
                    continue;
                }
            };
            let (expression, mentioned) = computation(text, column, planner, session.session()?)
                .map_err(|error| error.context(format!("column '{}'", column.name)))?;
            self.sources.push(Source::Computed(expression));
            waiting.push((at, mentioned));
        }
        self.order_computations(waiting)
    }

    /// Orders the computed columns so that each comes after those that it mentions.
    fn order_computations(&mut self, mut waiting: Vec<(usize, Vec<usize>)>) -> Result<()> {
        while !waiting.is_empty() {
            let open: Vec<usize> = waiting.iter().map(|(at, _)| *at).collect();
            let (ready, blocked): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|(_, mentioned)| mentioned.iter().all(|at| !open.contains(at)));
            if ready.is_empty() {
                let names: Vec<&str> =
                    open.iter().map(|at| self.columns[*at].name.as_str()).collect();
                return Err(Error::invalid(format!(
                    "the defaults of the columns {} refer to each other",
                    names.join(", ")
                )));
            }
            self.computed.extend(ready.iter().map(|(at, _)| *at));
            waiting = blocked;
        }
        Ok(())
    }

    /// The columns of the table in its order, hidden ones included, as [`Self::apply`] gives them.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batch in the order of the table's columns, hidden ones included. `first_row` is the
    /// number of the batch's first row in its insert, from 1, for errors.
    ///
    /// # Errors
    /// InvalidInput that names the row and the column of the first value that does not fit.
    pub fn apply(&self, batch: &RecordBatch, first_row: u64) -> Result<RecordBatch> {
        if batch.num_columns() != self.inputs {
            return Err(wrong_number(self.inputs, batch.num_columns()));
        }
        let rows = batch.num_rows();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (column, source) in self.columns.iter().zip(&self.sources) {
            let array = match source {
                Source::Input(at) => self.conform(batch.column(*at), column, first_row)?,
                Source::Zero => zero::zero_array(&column.column_type, rows),
                Source::Null | Source::Computed(_) => {
                    new_null_array(&column.column_type.arrow(), rows)
                }
            };
            arrays.push(array);
        }
        for at in &self.computed {
            let Source::Computed(expression) = &self.sources[*at] else { continue };
            let column = &self.columns[*at];
            let working = record_batch(&self.working, arrays.clone(), rows)?;
            let values = expression
                .evaluate(&working)
                .and_then(|values| values.into_array(rows))
                .map_err(planning)
                .map_err(|error| error.context(format!("column '{}'", column.name)))?;
            arrays[*at] = self.conform(&values, column, first_row)?;
        }
        record_batch(&self.schema, arrays, rows)
    }

    /// Checks that rows which [`Self::apply`] gave meet the table's constraints. `first_row` as there,
    /// where the rows have numbers.
    ///
    /// # Errors
    /// InvalidInput that names the constraint and the first row that does not meet it.
    pub fn verify(&self, rows: &RecordBatch, first_row: Option<u64>) -> Result<()> {
        self.checks.verify(rows, first_row)
    }

    fn conform(&self, values: &ArrayRef, column: &Column, first_row: u64) -> Result<ArrayRef> {
        conform::conform(values, &column.column_type)
            .map_err(|misfit| misfit.into_error(&column.name, first_row))
    }
}

fn record_batch(schema: &SchemaRef, arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .map_err(|error| Error::internal(format!("rows of an insert: {error}")))
}

fn planning(error: datafusion::error::DataFusionError) -> Error {
    error_from_datafusion(error, None)
}

fn wrong_number(expected: usize, given: usize) -> Error {
    Error::invalid(format!(
        "the number of columns does not match: {expected} expected, {given} given"
    ))
}

/// Positions of the named columns, or of those that are not computed.
pub(crate) fn targets(table: &Table, named_columns: Option<&[String]>) -> Result<Vec<usize>> {
    let visible = || table.columns.iter().enumerate().filter(|(_, column)| column.is_visible());
    let Some(names) = named_columns else {
        let insertable = visible().filter(|(_, column)| column.is_insertable());
        return Ok(insertable.map(|(at, _)| at).collect());
    };
    let mut targets = Vec::with_capacity(names.len());
    for written in names {
        // The standard has the name of the column alone.
        let name = match written.split_once('.') {
            Some((of, name)) if table.name.eq_ignore_ascii_case(of) => name,
            _ => written.as_str(),
        };
        let exact = visible().find(|(_, column)| column.name == *name);
        let mut alike = visible().filter(|(_, column)| column.name.eq_ignore_ascii_case(name));
        let found = exact.or_else(|| match (alike.next(), alike.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        });
        let Some((at, _)) = found else {
            let hint = did_you_mean(name, visible().map(|(_, column)| column.name.as_str()));
            return Err(Error::invalid(format!(
                "unknown column '{name}' in table '{}'{hint}",
                table.name
            )));
        };
        if let Some(default) =
            table.columns[at].default.as_ref().filter(|_| table.columns[at].is_computed())
        {
            return Err(Error::invalid(format!(
                "cannot insert into column '{name}': it is {} {}",
                default.keyword(),
                default.text()
            )));
        }
        if targets.contains(&at) {
            return Err(Error::invalid(format!("column '{name}' is named twice")));
        }
        targets.push(at);
    }
    Ok(targets)
}

/// A default or key expression, ready to evaluate, and the columns that it mentions.
fn computation(
    text: &str,
    column: &Column,
    schema: &DFSchema,
    state: &SessionState,
) -> Result<(Arc<dyn PhysicalExpr>, Vec<usize>)> {
    let bound = bind_expression(state, &parse_expression(text)?, schema)?;
    let mentioned = bound
        .column_refs()
        .into_iter()
        .filter_map(|mentioned| schema.maybe_index_of_column(mentioned))
        .collect();
    // Texts are made to fit later, with the row in the error.
    let bound = match &column.role {
        ColumnRole::KeyExpression(_) => cast(bound, column.column_type.arrow()),
        ColumnRole::Ordinary => bound,
    };
    Ok((physical(bound, schema, state)?, mentioned))
}

pub(crate) fn physical(
    bound: PlannedExpr,
    schema: &DFSchema,
    state: &SessionState,
) -> Result<Arc<dyn PhysicalExpr>> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(Arc::clone(state.config_options()))
        .with_current_time()
        .build();
    let simplifier = ExprSimplifier::new(context);
    let coerced = simplifier.coerce(bound, schema).map_err(planning)?;
    // This also settles now(), which is one time for the whole insert.
    let simplified = simplifier.simplify(coerced).map_err(planning)?;
    state.create_physical_expr(simplified, schema).map_err(planning)
}
