//! A summary as a predicate over the probed side.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

use super::{FilterHub, KeySummary};

type Expressions = [Arc<dyn PhysicalExpr>];

/// Where the summary comes from.
#[derive(Clone, Debug)]
pub struct FilterSource {
    id: u64,
    found: Arc<OnceLock<Arc<KeySummary>>>,
    hub: Option<FilterHub>,
}

impl FilterSource {
    /// A summary that is [`set`](Self::set) later, if ever.
    pub fn later() -> Self {
        Self { id: 0, found: Arc::default(), hub: None }
    }

    /// A summary that may reach the hub under this id.
    pub fn awaited(id: u64, hub: FilterHub) -> Self {
        Self { id, found: Arc::new(OnceLock::new()), hub: Some(hub) }
    }

    /// Makes the summary known; the first one stays.
    pub fn set(&self, summary: Arc<KeySummary>) {
        // Whoever was first said the same: the built side is one.
        let _ = self.found.set(summary);
    }

    /// The summary, if it is there by now.
    pub fn get(&self) -> Option<&Arc<KeySummary>> {
        if self.found.get().is_none()
            && let Some(summary) = self.hub.as_ref().and_then(|hub| hub.get(self.id))
        {
            self.set(summary);
        }
        self.found.get()
    }
}

/// Whether the keys of a row may be among those that a join has built. TRUE until that is known.
#[derive(Debug)]
pub struct KeyFilterExpr {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    source: FilterSource,
}

impl KeyFilterExpr {
    /// A filter over `keys`, in the order of the join's keys.
    pub fn new(keys: Vec<Arc<dyn PhysicalExpr>>, source: FilterSource) -> Self {
        Self { keys, source }
    }

    /// The keys and what is known of them.
    pub fn known(&self) -> Option<(&Expressions, &KeySummary)> {
        Some((&self.keys, self.source.get()?))
    }
}

impl PartialEq for KeyFilterExpr {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys && Arc::ptr_eq(&self.source.found, &other.source.found)
    }
}

impl Eq for KeyFilterExpr {}

impl Hash for KeyFilterExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.keys.hash(state);
        Arc::as_ptr(&self.source.found).hash(state);
    }
}

impl fmt::Display for KeyFilterExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        write!(f, "built({})", keys.join(", "))
    }
}

impl PhysicalExpr for KeyFilterExpr {
    fn data_type(&self, _input_schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _input_schema: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let Some(summary) = self.source.get() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))));
        };
        let rows = batch.num_rows();
        let columns = self.keys.iter().map(|key| key.evaluate(batch)?.into_array(rows));
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        Ok(ColumnarValue::Array(Arc::new(summary.test(&columns)?)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.keys.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { keys: children, source: self.source.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
