//! Joins with little memory against the same ones with as much as they want.

use std::sync::Arc;

use datafusion::arrow::array::{Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::{JoinSide, JoinType, NullEquality};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_plan::collect;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::joins::{HashJoinExecBuilder, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::prelude::SessionConfig;

use super::*;
use crate::memory::{MemoryLimits, NodeMemory};

type TestResult<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const LITTLE: u64 = 1 << 20;
const MUCH: u64 = 1 << 30;
const KINDS: [JoinType; 10] = [
    JoinType::Inner,
    JoinType::Left,
    JoinType::Right,
    JoinType::Full,
    JoinType::LeftSemi,
    JoinType::LeftAnti,
    JoinType::LeftMark,
    JoinType::RightSemi,
    JoinType::RightAnti,
    JoinType::RightMark,
];

/// Rows of a side: keys that `key` gives for each number, of which some are NULL.
fn side(rows: i64, key: impl Fn(i64) -> i64) -> TestResult<Arc<dyn ExecutionPlan>> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("number", DataType::Int64, false),
        Field::new("text", DataType::Utf8View, false),
    ]));
    let batches = (0..rows).step_by(1000).map(|first| {
        let numbers = first..(first + 1000).min(rows);
        let keys = numbers.clone().map(|number| (number % 17 != 3).then(|| key(number)));
        let texts = numbers.clone().map(|number| format!("a text of some length: {number}"));
        let columns: Vec<Arc<dyn datafusion::arrow::array::Array>> = vec![
            Arc::new(Int64Array::from_iter(keys)),
            Arc::new(Int64Array::from_iter_values(numbers)),
            Arc::new(StringViewArray::from_iter_values(texts)),
        ];
        RecordBatch::try_new(Arc::clone(&schema), columns)
    });
    let batches: Vec<RecordBatch> = batches.collect::<Result<_, _>>()?;
    Ok(MemorySourceConfig::try_new_exec(&[batches], schema, None)?)
}

fn column(name: &str, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(name, index))
}

/// Both sides in as many partitions as the mode wants.
fn join(
    kind: JoinType,
    mode: PartitionMode,
    built: Arc<dyn ExecutionPlan>,
    probed: Arc<dyn ExecutionPlan>,
) -> TestResult<HashJoinExecBuilder> {
    let by_key = || Partitioning::Hash(vec![column("key", 0)], 3);
    let probed = Arc::new(RepartitionExec::try_new(probed, by_key())?);
    let built = match mode {
        PartitionMode::CollectLeft => built,
        _ => Arc::new(RepartitionExec::try_new(built, by_key())?),
    };
    let on = vec![(column("key", 0), column("key", 0))];
    Ok(HashJoinExecBuilder::new(built, probed, on, kind)
        .with_partition_mode(mode)
        .with_null_equality(NullEquality::NullEqualsNothing))
}

struct Memory {
    _folder: tempfile::TempDir,
    env: Arc<RuntimeEnv>,
}

fn memory(bytes: u64) -> TestResult<Memory> {
    let folder = tempfile::tempdir()?;
    let limits = MemoryLimits {
        node_bytes_max: bytes,
        spill_dir: folder.path().join("spill"),
        spill_bytes_max: MUCH,
    };
    let env = NodeMemory::new(&limits)?.for_query(0);
    Ok(Memory { _folder: folder, env })
}

struct Joined {
    rows: Vec<String>,
    count: usize,
    spilled: usize,
    /// Bytes that the query held after its end.
    left_over: usize,
}

async fn run(join: HashJoinExecBuilder, bytes: u64) -> Result<Joined, Box<dyn std::error::Error>> {
    let memory = memory(bytes)?;
    let context = TaskContext::default()
        .with_session_config(SessionConfig::new().with_batch_size(1000))
        .with_runtime(Arc::clone(&memory.env));
    let join: Arc<dyn ExecutionPlan> = let_joins_spill(join.build_exec()?)?;
    assert!(join.is::<SpillingJoinExec>());
    let batches = collect(Arc::clone(&join), Arc::new(context)).await?;
    let mut rows: Vec<String> =
        pretty_format_batches(&batches)?.to_string().lines().map(str::to_owned).collect();
    rows.sort_unstable();
    let count = batches.iter().map(RecordBatch::num_rows).sum();
    let spilled = join.metrics().and_then(|metrics| metrics.spilled_rows()).unwrap_or(0);
    drop((batches, join));
    Ok(Joined { rows, count, spilled, left_over: memory.env.memory_pool.reserved() })
}

async fn check(make: impl Fn() -> TestResult<HashJoinExecBuilder>, what: &str) -> TestResult {
    let expected = run(make()?, MUCH).await?;
    assert_eq!(expected.spilled, 0, "{what}");
    let spilling = run(make()?, LITTLE).await.map_err(|error| format!("{what}: {error}"))?;
    assert!(spilling.spilled > 0, "{what} did not spill");
    assert_eq!(spilling.rows.len(), expected.rows.len(), "{what}");
    assert!(spilling.rows == expected.rows, "{what}: other rows");
    assert_eq!(spilling.left_over, 0, "{what}");
    Ok(())
}

#[tokio::test]
async fn every_kind_of_join_gives_the_same_rows_from_files() -> TestResult {
    for mode in [PartitionMode::Partitioned, PartitionMode::CollectLeft] {
        for kind in KINDS {
            let make = || {
                let built = side(30_000, |number| number / 2)?;
                join(kind, mode, built, side(10_000, |number| number * 3)?)
            };
            check(make, &format!("{kind} {mode:?}")).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn conditions_beside_the_keys_hold_from_files() -> TestResult {
    let numbers = |side| ColumnIndex { index: 1, side };
    for kind in KINDS {
        let make = || {
            let condition = BinaryExpr::new(column("number", 0), Operator::Lt, column("number", 1));
            let schema = Schema::new(vec![
                Field::new("number", DataType::Int64, false),
                Field::new("number", DataType::Int64, false),
            ]);
            let columns = vec![numbers(JoinSide::Left), numbers(JoinSide::Right)];
            let filter = JoinFilter::new(Arc::new(condition), columns, Arc::new(schema));
            let built = side(30_000, |number| number % 5000)?;
            let probed = side(10_000, |number| number % 6_000)?;
            Ok(join(kind, PartitionMode::Partitioned, built, probed)?.with_filter(Some(filter)))
        };
        check(make, &format!("{kind} with a condition")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn more_rows_of_a_key_than_fit_are_joined_in_portions() -> TestResult {
    for kind in [JoinType::Inner, JoinType::Left, JoinType::LeftSemi, JoinType::LeftAnti] {
        let make = || {
            let built = side(30_000, |number| i64::from(number % 100 == 0))?;
            join(kind, PartitionMode::Partitioned, built, side(40, |number| number)?)
        };
        check(make, &format!("{kind} of one key")).await?;
    }
    let built = side(30_000, |_| 1)?;
    let full = join(JoinType::Full, PartitionMode::Partitioned, built, side(40, |number| number)?)?;
    let error = run(full, LITTLE).await.err().ok_or("the rows of one key fitted")?.to_string();
    assert!(error.contains("key@0") && error.contains("Full join"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_limit_inside_the_join_holds_from_files() -> TestResult {
    for most in [10, 5000] {
        let built = side(30_000, |number| number)?;
        let limited =
            join(JoinType::Inner, PartitionMode::CollectLeft, built, side(30_000, |n| n)?)?;
        let joined = run(limited.with_fetch(Some(most)), LITTLE).await?;
        assert!(joined.spilled > 0);
        assert_eq!(joined.count, most);
    }
    Ok(())
}

#[test]
fn joins_that_need_a_whole_side_or_keep_an_order_stay_as_they_are() -> TestResult {
    let built = side(10, |number| number)?;
    let anti = join(JoinType::LeftAnti, PartitionMode::CollectLeft, built, side(10, |n| n)?)?;
    let plan = let_joins_spill(anti.with_null_aware(true).build_exec()?)?;
    assert!(plan.is::<HashJoinExec>());
    Ok(())
}
