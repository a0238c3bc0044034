//! An input that is being read already.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use parking_lot::Mutex;

/// Stands in a plan for `input`, whose partitions are handed over as streams.
pub(super) struct Fed {
    input: Arc<dyn ExecutionPlan>,
    streams: Arc<Mutex<HashMap<usize, SendableRecordBatchStream>>>,
}

impl Fed {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { input, streams: Arc::default() }
    }

    /// What whoever executes `partition` gets, once.
    pub(super) fn put(&self, partition: usize, stream: SendableRecordBatchStream) {
        self.streams.lock().insert(partition, stream);
    }
}

impl fmt::Debug for Fed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fed").field("input", &self.input).finish_non_exhaustive()
    }
}

impl DisplayAs for Fed {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fed")
    }
}

impl ExecutionPlan for Fed {
    fn name(&self) -> &str {
        "Fed"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    #[allow(deprecated)] // The trait still requires it.
    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self { input, streams: Arc::clone(&self.streams) })),
            _ => internal_err!("Fed has one input"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        match self.streams.lock().remove(&partition) {
            Some(stream) => Ok(stream),
            None => internal_err!("partition {partition} of a join's input is not there"),
        }
    }
}
