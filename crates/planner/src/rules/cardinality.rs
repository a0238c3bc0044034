//! About how much comes out of a plan. The engine divides a join over several keys by the values of
//! one of them only, which makes a join of `lineitem` with `partsupp` several times as large as it is,
//! and whatever stands above it.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, JoinType, Result, Statistics};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::statistics::StatisticsContext;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs};
use granary_execution::part_scan::statistics::value_bytes;

/// About how many bytes come out of `plan`, as far as statistics say.
pub(super) fn bytes(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<u64>> {
    let estimates = Estimates::default();
    let statistics = estimates.of_engine(plan)?;
    let share = estimates.share(plan)?;
    if let Precision::Exact(bytes) | Precision::Inexact(bytes) = statistics.total_byte_size {
        return Ok(Some((bytes as f64 * share) as u64));
    }
    let schema = plan.schema();
    let row: usize = schema.fields().iter().map(|field| value_bytes(field.data_type())).sum();
    let rows = statistics.num_rows.get_value();
    Ok(rows.map(|rows| (rows.saturating_mul(row.max(1)) as f64 * share) as u64))
}

#[derive(Default)]
struct Estimates(StatisticsContext);

impl Estimates {
    fn of_engine(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<Statistics>> {
        self.0.compute(&**plan, &StatisticsArgs::new())
    }

    /// Which share of the rows that the engine expects of `plan` is to be expected, from 0 to 1.
    fn share(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<f64> {
        let inputs = plan.children();
        let shares = inputs.iter().map(|input| self.share(input)).collect::<Result<Vec<f64>>>()?;
        let join = plan.downcast_ref::<HashJoinExec>();
        let inner = join.filter(|join| *join.join_type() == JoinType::Inner);
        let (Some(join), [left, right]) = (inner, shares.as_slice()) else {
            return Ok(shares.into_iter().reduce(f64::max).unwrap_or(1.0));
        };
        let engine = rows(&*self.of_engine(plan)?);
        let share = left * right;
        let (left, right) = (self.side(join.left(), *left)?, self.side(join.right(), *right)?);
        let (Some(engine), Some(left), Some(right)) = (engine, left, right) else {
            return Ok(share);
        };
        if join.on().len() < 2 || engine <= 0.0 {
            return Ok(share);
        }
        let keys = (join.on().iter().map(|on| &on.0), join.on().iter().map(|on| &on.1));
        let values = left.distinct(keys.0).max(right.distinct(keys.1));
        Ok(share.min(left.rows * right.rows / values / engine))
    }

    fn side(&self, plan: &Arc<dyn ExecutionPlan>, share: f64) -> Result<Option<Side>> {
        let statistics = self.of_engine(plan)?;
        Ok(rows(&statistics).map(|rows| Side { statistics, rows: rows * share }))
    }
}

/// A side of a join: what the engine knows of it, and how many rows are to be expected.
struct Side {
    statistics: Arc<Statistics>,
    rows: f64,
}

impl Side {
    /// How many different values `keys` have together at most. A key of which nothing is known counts
    /// as one value, which errs to more rows of the join.
    fn distinct<'a>(&self, keys: impl Iterator<Item = &'a Arc<dyn PhysicalExpr>>) -> f64 {
        let values = keys.map(|key| {
            let column = key.downcast_ref::<Column>().map(Column::index);
            let known = column.and_then(|index| self.statistics.column_statistics.get(index));
            known.and_then(values_of).unwrap_or(1.0)
        });
        values.product::<f64>().min(self.rows).max(1.0)
    }
}

fn rows(statistics: &Statistics) -> Option<f64> {
    statistics.num_rows.get_value().map(|rows| *rows as f64)
}

fn values_of(column: &ColumnStatistics) -> Option<f64> {
    if let Some(distinct) = column.distinct_count.get_value() {
        return Some(*distinct as f64);
    }
    let (min, max) = (column.min_value.get_value()?, column.max_value.get_value()?);
    if !min.data_type().is_integer() {
        return None;
    }
    max.distance(min).map(|range| range as f64 + 1.0)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::{NullEquality, ScalarValue};
    use datafusion::physical_plan::joins::PartitionMode;
    use datafusion::physical_plan::test::exec::StatisticsExec;

    use super::*;

    /// A table of `rows` rows whose columns `a`, `b` have so many values each.
    fn table(rows: usize, values: [i64; 2]) -> Arc<dyn ExecutionPlan> {
        let fields = ["a", "b"].map(|name| Field::new(name, DataType::Int64, false));
        let column_statistics = values
            .map(|values| ColumnStatistics {
                min_value: Precision::Inexact(ScalarValue::Int64(Some(1))),
                max_value: Precision::Inexact(ScalarValue::Int64(Some(values))),
                ..ColumnStatistics::new_unknown()
            })
            .to_vec();
        let statistics = Statistics {
            num_rows: Precision::Inexact(rows),
            total_byte_size: Precision::Inexact(rows * 16),
            column_statistics,
        };
        Arc::new(StatisticsExec::new(statistics, Schema::new(fields.to_vec())))
    }

    fn join(
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
        keys: &[&str],
        join_type: JoinType,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let key = |side: &Arc<dyn ExecutionPlan>, name: &str| {
            let column = Column::new_with_schema(name, &side.schema());
            column.map(|column| Arc::new(column) as Arc<dyn PhysicalExpr>)
        };
        let on = keys.iter().map(|name| Ok((key(&left, name)?, key(&right, name)?)));
        let on = on.collect::<Result<Vec<_>>>()?;
        let joined = HashJoinExec::try_new(
            left,
            right,
            on,
            None,
            &join_type,
            None,
            PartitionMode::Partitioned,
            NullEquality::NullEqualsNothing,
            false,
        )?;
        Ok(Arc::new(joined))
    }

    #[test]
    fn joins_over_several_keys_are_no_larger_than_their_keys_say() -> Result<()> {
        let lineitem = || table(1_200_000, [200_000, 10_000]);
        let partsupp = || table(800_000, [200_000, 10_000]);
        let one = join(partsupp(), lineitem(), &["a"], JoinType::Inner)?;
        assert_eq!(Estimates::default().share(&one)?, 1.0);
        let two = join(partsupp(), lineitem(), &["a", "b"], JoinType::Inner)?;
        // The engine expects 1.2 M * 800 k / 200 k rows, which is 4.8 M.
        assert!((Estimates::default().share(&two)? - 0.8 / 4.8).abs() < 1e-3);
        assert_eq!(bytes(&two)?.map(|bytes| bytes / (1 << 20)), Some(24));
        let above = join(table(10, [10, 10]), Arc::clone(&two), &["b"], JoinType::Right)?;
        assert!((Estimates::default().share(&above)? - 1.0).abs() < 1e-9);
        let alike = join(table(10, [10, 10]), two, &["b"], JoinType::Inner)?;
        assert!((Estimates::default().share(&alike)? - 0.8 / 4.8).abs() < 1e-3);
        Ok(())
    }
}
