//! Files that others wrote, as a table of one query.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, ToDFSchema};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use granary_execution::{OutsideScanExec, OutsideSpec};
use granary_outside::{FileScan, Format};

/// The rows of files.
#[derive(Debug)]
pub struct OutsideTable {
    scan: Arc<FileScan>,
}

impl OutsideTable {
    /// The rows that `scan` reads.
    pub fn new(scan: FileScan) -> Self {
        Self { scan: Arc::new(scan) }
    }

    /// What of `filters` tells which row groups are worth reading.
    fn filter(
        &self,
        session: &dyn Session,
        schema: &DFSchema,
        filters: &[Expr],
    ) -> Option<Arc<dyn PhysicalExpr>> {
        let kept = filters.iter().filter(|filter| !filter.is_volatile()).cloned();
        session.create_physical_expr(conjunction(kept)?, schema).ok()
    }
}

#[async_trait]
impl TableProvider for OutsideTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.scan.schema)
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
        let schema = Arc::clone(&self.scan.schema).to_dfschema()?;
        let columns = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.scan.schema.fields().len()).collect(),
        };
        let mut groups = self.scan.deal(session.config().target_partitions());
        // Partitions without files would keep the engine from dealing out the rows of the others.
        groups.retain(|group| !group.is_empty());
        if groups.is_empty() {
            groups.push(Vec::new());
        }
        let spec = OutsideSpec { scan: Arc::clone(&self.scan), groups, columns, fetch: limit };
        let filter = self.filter(session, &schema, filters);
        Ok(Arc::new(OutsideScanExec::new(spec, filter)?))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        // Only Parquet knows what its row groups cannot have; the rows are looked at above.
        let answer = match self.scan.format {
            Format::Parquet => TableProviderFilterPushDown::Inexact,
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(vec![answer; filters.len()])
    }
}
