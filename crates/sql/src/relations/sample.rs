//! `FROM t SAMPLE k [OFFSET m]`: the rows whose sampling key has a hash in a part of all hashes. So the
//! same k always means the same rows, a smaller k some of those of a larger one, and all rows of a key
//! are in or out together.

use datafusion::common::Result;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use granary_common::Error;
use sqlparser::ast::{
    BinaryOperator, Expr as Tree, TableSample, TableSampleModifier, Value, ValueWithSpan,
};

use super::invalid;
use crate::bind::standard_words;
use crate::statement::parse_expression;
use granary_functions::sample_hash;

/// What is asked for.
enum Part {
    /// Rows from one fraction of all hashes to another, 0 to 1.
    Fractions(f64, f64),
    Rows(usize),
}

/// The rows of `table` that are in the sample.
pub(super) fn plan(
    table: LogicalPlan,
    sample: &TableSample,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let part = part(sample)?;
    let key = sampling_key(&table)?;
    let external = |error: Error| datafusion::error::DataFusionError::External(Box::new(error));
    let key = standard_words(parse_expression(&key).map_err(external)?).map_err(external)?;
    let key = context.sql_to_expr(key, table.schema())?;
    let hash = sample_hash(key)?;
    let builder = LogicalPlanBuilder::from(table);
    match part {
        Part::Rows(rows) => {
            // A limit of its own: under an alias the planner takes a sort for needless without one.
            builder.sort(vec![hash.sort(true, false)])?.limit(0, Some(rows))?.build()
        }
        Part::Fractions(from, to) => {
            let first = (from > 0.0).then(|| hash.clone().gt_eq(lit(hash_at(from))));
            let end = (to < 1.0).then(|| hash.lt(lit(hash_at(to))));
            match first.into_iter().chain(end).reduce(Expr::and) {
                Some(condition) => builder.filter(condition)?.build(),
                None => builder.build(),
            }
        }
    }
}

/// The hash below which that fraction of all hashes is.
fn hash_at(fraction: f64) -> u64 {
    // Saturates, so that 1 is the last hash.
    (fraction * 2_f64.powi(64)) as u64
}

fn part(sample: &TableSample) -> Result<Part> {
    let is_plain = sample.modifier == TableSampleModifier::Sample
        && sample.name.is_none()
        && sample.seed.is_none()
        && sample.bucket.is_none();
    let Some(quantity) = sample.quantity.as_ref().filter(|q| is_plain && q.unit.is_none()) else {
        return Err(invalid("write SAMPLE k, SAMPLE k OFFSET m or SAMPLE rows"));
    };
    let size = number(&quantity.value)?;
    let offset = sample.offset.as_ref().map(number).transpose()?;
    if size > 1.0 {
        return match offset {
            None if size.fract() == 0.0 => Ok(Part::Rows(size as usize)),
            None => Err(invalid(format!("SAMPLE takes a part up to 1 or whole rows, not {size}"))),
            Some(_) => Err(invalid("SAMPLE of a number of rows takes no OFFSET")),
        };
    }
    let from = offset.unwrap_or(0.0);
    if size <= 0.0 || !(0.0..=1.0).contains(&from) {
        return Err(invalid("SAMPLE k OFFSET m takes k above 0, and m from 0 to 1"));
    }
    Ok(Part::Fractions(from, (from + size).min(1.0)))
}

/// A number, or the quotient of two.
fn number(tree: &Tree) -> Result<f64> {
    let wrong = || invalid(format!("SAMPLE takes numbers, not '{tree}'"));
    match tree {
        Tree::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
            digits.parse().map_err(|_| wrong())
        }
        Tree::Nested(inner) => number(inner),
        Tree::BinaryOp { left, op: BinaryOperator::Divide, right } => {
            Ok(number(left)? / number(right)?)
        }
        _ => Err(wrong()),
    }
}

/// The SAMPLE BY of the only table in the plan.
fn sampling_key(plan: &LogicalPlan) -> Result<String> {
    let mut at = plan;
    loop {
        match at {
            LogicalPlan::TableScan(scan) => {
                let provider = source_as_provider(&scan.source)?;
                // What tables of the catalog tell of their definition is this key.
                return match provider.get_table_definition() {
                    Some(key) => Ok(key.to_owned()),
                    None => Err(invalid(format!(
                        "table '{}' has no sampling key: SAMPLE needs SAMPLE BY in its CREATE TABLE",
                        scan.table_name
                    ))),
                };
            }
            LogicalPlan::SubqueryAlias(alias) => at = &alias.input,
            _ => return Err(invalid("SAMPLE takes a table, not a view or a subquery")),
        }
    }
}
