//! Tables of a FROM that the standard does not know, planned over the plans of what they are made of.
//! DataFusion asks here first for every table.

mod array_join;
mod asof_join;
pub(crate) mod fill;
mod sample;

use std::fmt::Display;

use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use granary_common::Error;
use sqlparser::ast::{JoinOperator, TableFactor, TableSampleKind, TableWithJoins};

/// Plans ARRAY JOIN, ASOF JOIN, SAMPLE and what WITH FILL is rewritten to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DialectRelations;

impl RelationPlanner for DialectRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        match relation {
            TableFactor::NestedJoin { table_with_joins, alias } => {
                match special_join(*table_with_joins, context)? {
                    Ok(plan) => planned(plan, alias),
                    Err(joins) => original(TableFactor::NestedJoin {
                        table_with_joins: Box::new(joins),
                        alias,
                    }),
                }
            }
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample:
                    Some(
                        TableSampleKind::BeforeTableAlias(sample)
                        | TableSampleKind::AfterTableAlias(sample),
                    ),
                index_hints,
            } => {
                let table = context.plan(TableFactor::Table {
                    name,
                    alias: None,
                    args,
                    with_hints,
                    version,
                    with_ordinality,
                    partitions,
                    json_path,
                    sample: None,
                    index_hints,
                })?;
                planned(sample::plan(table, &sample, context)?, alias)
            }
            TableFactor::Derived { lateral: false, mut subquery, alias, sample: None } => {
                match subquery.order_by.take_if(|order_by| fill::marked_keys(order_by)) {
                    Some(order_by) => planned(fill::plan(subquery, order_by, context)?, alias),
                    None => original(TableFactor::Derived {
                        lateral: false,
                        subquery,
                        alias,
                        sample: None,
                    }),
                }
            }
            other => original(other),
        }
    }
}

fn planned(
    plan: LogicalPlan,
    alias: Option<sqlparser::ast::TableAlias>,
) -> Result<RelationPlanning> {
    Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
}

fn original(relation: TableFactor) -> Result<RelationPlanning> {
    Ok(RelationPlanning::Original(Box::new(relation)))
}

/// The plan of a nest with one join of ours; what it is when its join is another one.
fn special_join(
    mut joins: TableWithJoins,
    context: &mut dyn RelationPlannerContext,
) -> Result<std::result::Result<LogicalPlan, TableWithJoins>> {
    if joins.joins.len() != 1 {
        return Ok(Err(joins));
    }
    let Some(join) = joins.joins.pop() else { return Ok(Err(joins)) };
    let plan = match join.join_operator {
        JoinOperator::ArrayJoin | JoinOperator::InnerArrayJoin => {
            let base = context.plan(joins.relation)?;
            array_join::plan(base, join.relation, false, context)?
        }
        JoinOperator::LeftArrayJoin => {
            let base = context.plan(joins.relation)?;
            array_join::plan(base, join.relation, true, context)?
        }
        JoinOperator::AsOf { match_condition, constraint } => {
            let left = context.plan(joins.relation)?;
            let right = context.plan(join.relation)?;
            let keeps_unmatched = asof_join::keeps_unmatched(&match_condition)?;
            asof_join::plan(left, right, constraint, keeps_unmatched, context)?
        }
        _ => {
            joins.joins.push(join);
            return Ok(Err(joins));
        }
    };
    Ok(Ok(plan))
}

/// The mistake is the user's.
fn invalid(message: impl Display) -> DataFusionError {
    DataFusionError::External(Box::new(Error::invalid(message.to_string())))
}
