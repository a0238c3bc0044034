//! Plans made by hand, over scans of column `k` of a table without rows.

use std::sync::Arc;

use datafusion::common::{JoinType, NullEquality};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use granary_catalog::ColumnType;
use granary_common::{BucketIndex, ColumnId, TableId};
use granary_execution::{KeyRanges, Layout, PartScanExec, Placement, ScanFacts, ScanSpec};
use granary_storage::{PartColumn, PartSchema};

pub type Plan = Arc<dyn ExecutionPlan>;

pub fn scan(layout: Layout) -> Plan {
    let schema = PartSchema {
        table: TableId(1),
        schema_version: 1,
        columns: vec![PartColumn::new(ColumnId(0), "k", ColumnType::Int64)],
        sort_key: vec![ColumnId(0)],
        primary_key_len: 1,
        partition: vec![],
        granularity: 8192,
        document_paths_max: 0,
    };
    let spec = ScanSpec {
        name: "db.t".to_owned(),
        schema: Arc::new(schema),
        columns: vec![ColumnId(0)],
        parts: vec![],
        filter: None,
        fetch: None,
        ordered_by: 0,
        layout,
        collapse: None,
        key_ranges: KeyRanges::default(),
        hints: Vec::new(),
    };
    let placement = Placement { hashed: vec![ColumnId(0)], leaders: vec![] };
    let facts = ScanFacts { placement: Some(placement), ..ScanFacts::default() };
    Arc::new(PartScanExec::new(spec, Arc::new(facts)).expect("a scan"))
}

pub fn buckets(groups: &[&[u32]]) -> Plan {
    let group = |group: &&[u32]| group.iter().map(|bucket| BucketIndex(*bucket)).collect();
    scan(Layout::Bucketed { groups: groups.iter().map(group).collect() })
}

pub fn spread(partitions: usize) -> Plan {
    scan(Layout::Spread { partitions })
}

pub fn hashed(input: Plan, partitions: usize) -> Plan {
    let key = Partitioning::Hash(vec![Arc::new(Column::new("k", 0))], partitions);
    Arc::new(RepartitionExec::try_new(input, key).expect("a repartition"))
}

pub fn in_turn(input: Plan, partitions: usize) -> Plan {
    let turns = Partitioning::RoundRobinBatch(partitions);
    Arc::new(RepartitionExec::try_new(input, turns).expect("a repartition"))
}

/// Rows of the left with a partner.
pub fn join(left: Plan, right: Plan, mode: PartitionMode) -> HashJoinExec {
    join_of(JoinType::LeftSemi, left, right, mode, NullEquality::NullEqualsNothing)
}

pub fn join_of(
    join_type: JoinType,
    left: Plan,
    right: Plan,
    mode: PartitionMode,
    nulls: NullEquality,
) -> HashJoinExec {
    let key = || Arc::new(Column::new("k", 0)) as _;
    HashJoinExec::try_new(
        left,
        right,
        vec![(key(), key())],
        None,
        &join_type,
        None,
        mode,
        nulls,
        false,
    )
    .expect("a join")
}

pub fn partitioned(left: Plan, right: Plan) -> Plan {
    Arc::new(join(left, right, PartitionMode::Partitioned))
}
