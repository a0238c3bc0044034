//! One attempt at a mutation, at one snapshot.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use futures::stream::{BoxStream, StreamExt};
use granary_catalog::{CommandBody, CommitWrite, MutationNote, Snapshot, Table, TableWrite};
use granary_common::{Error, Result};
use granary_execution::error::from_datafusion;
use granary_sql::mutate::MERGE_DELETE;
use granary_sql::{Statement, TableName, bind_mutation, mutated_table, resolve_table};

use super::Removals;
use super::log::RunningMutation;
use crate::core::Coordinator;
use crate::insert::digest::statement_digest;
use crate::insert::{Effect, InsertRequest, write_admitted};
use crate::query::{QueryHandle, StatementRequest, edge_schema, hold_past, snapshot_at, to_edge};
use crate::session::StatementSettings;

/// Columns of a mutation's query before the new values: part, place.
const PLACES: usize = 2;

/// What all attempts of a mutation have in common.
pub(super) struct Way<'a> {
    pub settings: &'a StatementSettings,
    pub handle: &'a QueryHandle,
    pub running: &'a RunningMutation,
    /// Without the number of rows.
    pub note: &'a MutationNote,
}

/// Reads at a fresh snapshot and commits; gives how many rows were concerned. Kind `Conflict`: the
/// rows have changed since, nothing happened.
pub(super) async fn attempt(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    statement: &Statement,
    way: &Way<'_>,
) -> Result<u64> {
    let Way { settings, handle, running, note } = *way;
    let (snapshot, _pin) = snapshot_at(core, None).await?;
    handle.reads(snapshot.version);
    let name = mutated_table(statement)
        .ok_or_else(|| Error::internal("a statement reached the wrong place"))?;
    let table = resolve_table(&snapshot, &request.session.database, name)?;
    let state = core.session_state(&snapshot, &request.session, settings)?;
    let plan = bind_mutation(&state, statement, &table, &request.sql).await?;
    let plan = match request.parameters.is_empty() {
        true => plan,
        false => granary_sql::with_parameters(plan, request.parameters.only_row()?)?,
    };
    let _past = hold_past(core, &plan).await?;
    let removals = Arc::new(Removals::of_mutation(Arc::clone(&snapshot), table.id, note));
    running.attempts(&removals);
    let attempt = Attempt { core, request, name, table: &table, settings, handle, removals };
    match statement {
        Statement::Delete(_) => attempt.delete(&snapshot, &state, &plan).await,
        Statement::Update(_) => attempt.rewrite(&state, &plan, false).await,
        _ => attempt.rewrite(&state, &plan, true).await,
    }
}

struct Attempt<'a> {
    core: &'a Arc<Coordinator>,
    request: &'a StatementRequest,
    name: &'a TableName,
    table: &'a Arc<Table>,
    settings: &'a StatementSettings,
    handle: &'a QueryHandle,
    removals: Arc<Removals>,
}

impl Attempt<'_> {
    /// Takes rows away and brings none.
    async fn delete(
        &self,
        snapshot: &Snapshot,
        state: &SessionState,
        plan: &LogicalPlan,
    ) -> Result<u64> {
        let mut batches = self.run(state, plan).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            self.removals.add(batch.column(0), batch.column(1))?;
            self.removals.count_changed(batch.num_rows() as u64);
            self.handle.add_rows(batch.num_rows() as u64);
        }
        let rows = self.removals.rows();
        if rows == 0 {
            return Ok(0);
        }
        let current = snapshot.tables.get(&self.table.id).map(|state| &state.table);
        let table = current.unwrap_or(self.table);
        let buckets = self.removals.bucket_writes(self.core).await?;
        let write = TableWrite { buckets, ..TableWrite::of_nothing(table) };
        let command = CommandBody::CommitWrite(CommitWrite {
            tables: vec![write],
            staged: None,
            token: self.core.with.random.next_hex(),
            digest: self.digest()?,
            rows,
            others: Vec::new(),
            origin: self.removals.origin(),
        });
        // The token makes it happen once.
        self.core.execute_until_known(command).await?;
        Ok(rows)
    }

    fn digest(&self) -> Result<String> {
        Ok(statement_digest(&self.request.sql, &self.request.parameters.to_bytes()?))
    }

    /// Takes rows away and brings their new versions, and for a merge also new rows.
    async fn rewrite(
        &self,
        state: &SessionState,
        plan: &LogicalPlan,
        is_merge: bool,
    ) -> Result<u64> {
        let leading = PLACES + usize::from(is_merge);
        let schema = new_rows_schema(plan, leading);
        let (removals, edge) = (Arc::clone(&self.removals), Arc::clone(&schema));
        let batches = self.run(state, plan).await?.map(move |batch| {
            let batch = batch?;
            removals.count_changed(batch.num_rows() as u64);
            let repeated = removals.add(batch.column(0), batch.column(1))?;
            if is_merge && repeated > 0 {
                return Err(Error::invalid(
                    "MERGE INTO: a row of the table matches several rows of the source, which \
                     would change it more than once",
                ));
            }
            let kept = match is_merge {
                true => without_deleted(&batch)?,
                false => batch,
            };
            new_rows(&kept, leading, &edge)
        });
        let names = self.table.insertable_columns().map(|column| column.name.clone()).collect();
        let request = InsertRequest {
            id: self.request.id.clone(),
            session: self.request.session.clone(),
            table: self.name.clone(),
            columns: Some(names),
            settings: self.settings.clone(),
            digest: Some(self.digest()?),
            text: self.request.sql.clone(),
        };
        let effect = Effect::Replace(Arc::clone(&self.removals));
        write_admitted(self.core, &request, effect, schema, batches.boxed(), self.handle).await?;
        Ok(self.removals.changed())
    }

    async fn run(
        &self,
        state: &SessionState,
        plan: &LogicalPlan,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let engine = &self.core.with.engine;
        let physical = engine.physical_plan(state, plan).await?;
        let batches = engine.execute(&physical, state)?;
        Ok(batches.map(|batch| batch.map_err(|error| from_datafusion(&error))).boxed())
    }
}

/// The columns after the leading ones, as rows leave the engine.
fn new_rows_schema(plan: &LogicalPlan, leading: usize) -> SchemaRef {
    let all = edge_schema(plan.schema().as_arrow());
    Arc::new(Schema::new(all.fields().iter().skip(leading).cloned().collect::<Vec<_>>()))
}

fn new_rows(batch: &RecordBatch, leading: usize, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns: Vec<usize> = (leading..batch.num_columns()).collect();
    to_edge(&batch.project(&columns).map_err(arrow_failed)?, schema)
}

/// The rows of a merge that come.
fn without_deleted(batch: &RecordBatch) -> Result<RecordBatch> {
    let actions = cast(batch.column(PLACES), &DataType::Int64).map_err(arrow_failed)?;
    let actions = actions.as_primitive::<Int64Type>();
    let stays = |row: usize| actions.is_valid(row) && actions.value(row) != MERGE_DELETE;
    let keep: BooleanArray = (0..actions.len()).map(|row| Some(stays(row))).collect();
    filter_record_batch(batch, &keep).map_err(arrow_failed)
}

fn arrow_failed(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("new rows of a mutation: {error}"))
}
