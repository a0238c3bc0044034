//! What an operator reads, as expressions over one table.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use granary_catalog::RowExpression;
use granary_storage::PartSchema;

/// Rows of a scan that pass filters, and columns that are computed of them. Columns of the table are
/// named by their ids.
pub struct Source<'a> {
    pub scan: &'a TableScan,
    /// Conditions that every row passes.
    pub filters: Vec<Expr>,
    /// The columns of the operator's output.
    pub columns: Vec<Expr>,
}

/// The column of the table at `place` of what queries see.
pub fn by_id(exposed: &PartSchema, place: usize) -> Option<Expr> {
    let column = exposed.columns.get(place)?;
    Some(Expr::Column(Column::new_unqualified(RowExpression::name_of(column.id))))
}

impl<'a> Source<'a> {
    /// What `plan` reads of the table that `exposed` gives the columns of; `None` when it is more
    /// than filters and computed columns over one scan.
    pub fn of(
        plan: &'a LogicalPlan,
        exposed: &dyn Fn(&TableScan) -> Option<PartSchema>,
    ) -> Option<Source<'a>> {
        match plan {
            LogicalPlan::TableScan(scan) => Self::of_scan(scan, &exposed(scan)?),
            LogicalPlan::SubqueryAlias(alias) => Self::of(&alias.input, exposed),
            LogicalPlan::Filter(filter) => {
                let mut source = Self::of(&filter.input, exposed)?;
                let schema = filter.input.schema();
                for term in split_conjunction(&filter.predicate) {
                    let term = source.over_table(term, schema)?;
                    source.filters.push(term);
                }
                Some(source)
            }
            LogicalPlan::Projection(projection) => {
                let source = Self::of(&projection.input, exposed)?;
                let schema = projection.input.schema();
                let columns =
                    projection.expr.iter().map(|column| source.over_table(column, schema));
                let columns = columns.collect::<Option<Vec<_>>>()?;
                Some(Source { columns, ..source })
            }
            _ => None,
        }
    }

    fn of_scan(scan: &'a TableScan, exposed: &PartSchema) -> Option<Source<'a>> {
        if scan.fetch.is_some() {
            return None;
        }
        let places = match &scan.projection {
            Some(places) => places.clone(),
            None => (0..scan.source.schema().fields().len()).collect(),
        };
        let whole = (0..exposed.columns.len()).map(|place| by_id(exposed, place));
        let columns = places.iter().map(|place| by_id(exposed, *place)).collect::<Option<_>>()?;
        // Filters of a scan may be over columns that it does not give.
        let names = exposed.arrow_schema();
        let names = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &names).ok()?;
        let all = Source { scan, filters: Vec::new(), columns: whole.collect::<Option<_>>()? };
        let filters = scan.filters.iter().map(|filter| all.over_table(filter, &names));
        Some(Source { filters: filters.collect::<Option<_>>()?, columns, scan })
    }

    /// An expression over the operator's output, which has `schema`, as one over the table.
    pub fn over_table(&self, expression: &Expr, schema: &DFSchema) -> Option<Expr> {
        if expression.is_volatile() {
            return None;
        }
        let mut is_known = true;
        let mapped = expression.clone().transform_up(|inner| {
            Ok(match &inner {
                Expr::Column(column) => {
                    let place = schema.maybe_index_of_column(column);
                    match place.and_then(|place| self.columns.get(place)) {
                        Some(of_table) => Transformed::yes(of_table.clone()),
                        None => {
                            is_known = false;
                            Transformed::no(inner)
                        }
                    }
                }
                Expr::Alias(alias) => Transformed::yes((*alias.expr).clone()),
                _ => Transformed::no(inner),
            })
        });
        mapped.ok().map(|mapped| mapped.data).filter(|_| is_known)
    }
}
