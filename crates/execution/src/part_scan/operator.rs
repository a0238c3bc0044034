//! [`PartScanExec`] as the engine sees it.

use std::time::Duration;

use futures::{FutureExt, StreamExt};

use super::stream::is_dynamic;
use super::*;

/// How long a scan waits for the filters of small sides, which are made by the time that a few
/// messages take: a scan without them may read many times as much.
const PATIENCE: Duration = Duration::from_millis(50);

impl ExecutionPlan for PartScanExec {
    fn name(&self) -> &str {
        "PartScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let awaited = self.awaited.iter().flat_map(|filter| &filter.keys);
        apply_expression_roots(self.residual.iter().chain(awaited), f)
    }

    #[allow(deprecated)] // The trait still requires it.
    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => internal_err!("PartScanExec has no children"),
        }
    }

    /// A new run has new runtime filters: what the old ones know may not hold for it.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let residual = self.residual.iter().filter(|term| !is_dynamic(term)).cloned().collect();
        let facts = Arc::clone(&self.facts);
        let scan = Self::with_filters((*self.spec).clone(), residual, Vec::new(), facts);
        Ok(Arc::new(scan.map_err(crate::error::to_datafusion)?))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if partition >= self.spec.layout.partitions() {
            return internal_err!("PartScanExec has no partition {partition}");
        }
        let metrics = ScanMetrics::new(&self.metrics, partition, &self.spec.hints);
        let Some((queue, shared)) = self.queue(partition) else {
            return internal_err!("PartScanExec has no units for partition {partition}");
        };
        let access = PartAccess::of(&context).map_err(crate::error::to_datafusion)?;
        let predicates = self.predicates(partition, &access);
        if let Some(rule) = &self.spec.collapse {
            let counted = metrics.baseline.clone();
            let output = self.schema();
            let batches = collapse::collapsed(
                &self.spec,
                rule,
                &predicates,
                (queue, shared),
                metrics,
                context,
                output,
            )?;
            return Ok(self.counted(batches, counted));
        }
        let batch_rows = context.session_config().batch_size();
        let reader = Arc::new(Reader::new(
            Arc::clone(&self.spec),
            &predicates,
            Arc::clone(&access),
            batch_rows,
            self.schema(),
        )?);
        match ordering(&self.spec) {
            Some(ordering) => self.merged(reader, queue, &ordering, metrics, &context),
            None => {
                let counted = metrics.baseline.clone();
                let filters = access.filters.clone();
                let near = self.awaited.iter().filter(|filter| filter.is_near);
                let near: Vec<u64> = near.map(|filter| filter.id).collect();
                let batches = stream::unordered(reader, queue, metrics);
                let batches = async move {
                    if !near.is_empty() {
                        filters.wait(&near, PATIENCE).await;
                    }
                    batches
                };
                Ok(self.counted(batches.flatten_stream().boxed(), counted))
            }
        }
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _input_stats: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let whole = statistics::of_scan(&self.spec, &self.facts.summaries);
        let partitions = self.spec.layout.partitions().max(1);
        let statistics = match args.partition() {
            None => whole,
            Some(_) => {
                let share = |all: usize| all.div_ceil(partitions);
                let rows = whole.num_rows.get_value().copied().map(share);
                let bytes = whole.total_byte_size.get_value().copied().map(share);
                let mut part = whole.to_inexact();
                part.num_rows = inexact(rows);
                part.total_byte_size = inexact(bytes);
                part
            }
        };
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let spec = ScanSpec { fetch: limit, ..(*self.spec).clone() };
        Some(Arc::new(self.with_spec(spec).ok()?))
    }

    fn fetch(&self) -> Option<usize> {
        self.spec.fetch
    }

    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let mut columns = Vec::with_capacity(projection.expr().len());
        for output in projection.expr() {
            let Some(column) = output.expr.downcast_ref::<Column>() else { return Ok(None) };
            let Some(id) = self.spec.columns.get(column.index()) else { return Ok(None) };
            if output.alias != column.name() || columns.contains(id) {
                return Ok(None);
            }
            columns.push(*id);
        }
        let spec = ScanSpec { columns, ..(*self.spec).clone() };
        Ok(Some(Arc::new(self.with_spec(spec)?)))
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        child_pushdown_result: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let mut filters = Vec::new();
        add_terms(&mut filters, self.spec.filter.iter().cloned());
        let known = filters.len();
        let mut residual = self.residual.clone();
        let mut answers = Vec::new();
        for offered in child_pushdown_result.parent_filters {
            let over_table = map_columns(&offered.filter, |output| {
                let early =
                    self.spec.columns.get(output).is_some_and(|id| self.spec.decides_early(*id));
                self.table_position(output).filter(|_| early)
            });
            let Ok(over_table) = over_table else {
                answers.push(PushedDown::No);
                continue;
            };
            match phase {
                FilterPushdownPhase::Pre => match to_filter(&self.spec.schema, &over_table) {
                    Some(filter) => {
                        add_terms(&mut filters, [filter]);
                        answers.push(PushedDown::Yes);
                    }
                    None => answers.push(PushedDown::No),
                },
                FilterPushdownPhase::Post => {
                    residual.push(over_table);
                    answers.push(PushedDown::Yes);
                }
            }
        }
        let answer = FilterPushdownPropagation::with_parent_pushdown_result(answers);
        if filters.len() == known && residual.len() == self.residual.len() {
            return Ok(answer);
        }
        let spec = ScanSpec { filter: all_of(filters), ..(*self.spec).clone() };
        let (awaited, facts) = (self.awaited.clone(), Arc::clone(&self.facts));
        let updated = Self::with_filters(spec, residual, awaited, facts)
            .map_err(crate::error::to_datafusion)?;
        Ok(answer.with_updated_node(Arc::new(updated)))
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
    ) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        let available = sort_expressions(&self.spec, &self.spec.columns);
        let streams = self.spec.parts.len().div_ceil(self.spec.layout.partitions().max(1));
        if order.len() > available.len()
            || order.iter().zip(&available).any(|(wanted, have)| wanted != have)
            || streams > MERGE_STREAMS_MAX
            || self.spec.collapse.is_some()
        {
            return Ok(SortOrderPushdownResult::Unsupported);
        }
        let spec = ScanSpec { ordered_by: order.len(), ..(*self.spec).clone() };
        Ok(SortOrderPushdownResult::Exact { inner: Arc::new(self.with_spec(spec)?) })
    }
}

fn inexact(value: Option<usize>) -> datafusion::common::stats::Precision<usize> {
    use datafusion::common::stats::Precision;
    value.map_or(Precision::Absent, Precision::Inexact)
}

impl PartScanExec {
    fn counted(
        &self,
        batches: futures::stream::BoxStream<'static, Result<arrow::record_batch::RecordBatch>>,
        metrics: datafusion::physical_plan::metrics::BaselineMetrics,
    ) -> SendableRecordBatchStream {
        use datafusion::physical_plan::metrics::RecordOutput;
        use futures::TryStreamExt;
        let counted = batches.map_ok(move |batch| batch.record_output(&metrics));
        Box::pin(RecordBatchStreamAdapter::new(self.schema(), counted))
    }

    /// A merge of this partition's parts that keeps their order.
    fn merged(
        &self,
        reader: Arc<Reader>,
        queue: UnitQueue,
        ordering: &LexOrdering,
        metrics: ScanMetrics,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let units: Vec<_> = queue.lock().drain(..).collect();
        let streams = units.into_iter().map(|unit| {
            let batches = stream::of_unit(Arc::clone(&reader), unit, None, metrics.clone());
            Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)) as _
        });
        let mut streams: Vec<SendableRecordBatchStream> = streams.collect();
        if streams.len() <= 1 {
            let batches = match streams.pop() {
                Some(only) => only as futures::stream::BoxStream<'static, _>,
                None => Box::pin(futures::stream::empty()),
            };
            return Ok(self.counted(batches, metrics.baseline));
        }
        let reservation = MemoryConsumer::new("PartScanExec merge").register(context.memory_pool());
        StreamingMergeBuilder::new()
            .with_streams(streams)
            .with_schema(self.schema())
            .with_expressions(ordering)
            .with_metrics(metrics.baseline)
            .with_batch_size(context.session_config().batch_size())
            .with_fetch(self.spec.fetch)
            .with_reservation(reservation)
            .build()
    }
}

/// Adds what must hold, term by term; what is there already is not tested twice.
fn add_terms(terms: &mut Vec<Filter>, filters: impl IntoIterator<Item = Filter>) {
    for filter in filters {
        match filter {
            Filter::And(inner) => add_terms(terms, inner),
            other if terms.contains(&other) => {}
            other => terms.push(other),
        }
    }
}
