//! How many parts are left by what the catalog knows of them.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::logical_expr::Expr;
use granary_catalog::Part;
use granary_execution::{CountsParts, PartChoice};
use granary_storage::Filter;

use super::PartTable;
use crate::tables::prune::partition_may_match;

impl PartTable {
    /// The counts, where somebody asks for them.
    pub(super) fn choice(
        &self,
        session: &dyn Session,
        filter: Option<&Filter>,
        filters: &[Expr],
    ) -> Option<PartChoice> {
        session.config().get_extension::<CountsParts>()?;
        let visible = self.state.visible_parts(self.version);
        let parts: Vec<_> = visible.filter(|part| part.rows_at(self.version) > 0).collect();
        let conditions = self.conditions(session, filters);
        let passing = conditions.map(|it| it.passing(parts.iter().map(|part| &part.partition)));
        let in_partition = |part: &&&Arc<Part>| {
            passing.as_ref().is_none_or(|passing| passing[&part.partition])
                && filter.is_none_or(|it| partition_may_match(&self.part_schema, part, it))
        };
        Some(PartChoice {
            total: parts.len(),
            by_partition: parts.iter().filter(in_partition).count(),
            by_key: self.matching(filter, self.conditions(session, filters)).len(),
        })
    }
}
