//! Engine clauses: what they become, what SHOW CREATE TABLE says, and what is refused.

use granary_catalog::{Distribution, EngineKind};
use granary_common::ColumnId;

use super::support::{Memory, only};
use crate::{Notice, Statement, show_create_table};

const COLUMNS: &str = "(k UInt32, s String, v UInt64, f Float64, sign Int8, deleted UInt8, \
                       at DateTime, n Nullable(Int32))";

async fn create(clauses: &str) -> granary_common::Result<(Memory, Vec<Notice>)> {
    let sql = format!("CREATE TABLE t {COLUMNS} {clauses}");
    let mut memory = Memory::with("").await;
    let Statement::CreateTable(create) = only(&sql) else { panic!("{sql}") };
    let notices = memory.create(&create)?;
    Ok((memory, notices))
}

#[tokio::test]
async fn engines_become_kinds_and_come_back() {
    let id = ColumnId;
    for (clause, kind, shown) in [
        ("MergeTree()", EngineKind::MergeTree, "MergeTree"),
        (
            "ReplacingMergeTree",
            EngineKind::Replacing { version: None, is_deleted: None },
            "ReplacingMergeTree",
        ),
        (
            "ReplacingMergeTree(at, deleted)",
            EngineKind::Replacing { version: Some(id(6)), is_deleted: Some(id(5)) },
            "ReplacingMergeTree(at, deleted)",
        ),
        ("SummingMergeTree()", EngineKind::Summing { columns: vec![] }, "SummingMergeTree"),
        (
            "SummingMergeTree(v)",
            EngineKind::Summing { columns: vec![id(2)] },
            "SummingMergeTree(v)",
        ),
        (
            "summingmergetree((v, n))",
            EngineKind::Summing { columns: vec![id(2), id(7)] },
            "SummingMergeTree((v, n))",
        ),
        ("AggregatingMergeTree()", EngineKind::Aggregating, "AggregatingMergeTree"),
        (
            "CollapsingMergeTree(sign)",
            EngineKind::Collapsing { sign: id(4) },
            "CollapsingMergeTree(sign)",
        ),
        (
            "VersionedCollapsingMergeTree(sign, v)",
            EngineKind::VersionedCollapsing { sign: id(4), version: id(2) },
            "VersionedCollapsingMergeTree(sign, v)",
        ),
        (
            "CoalescingMergeTree((s, n))",
            EngineKind::Coalescing { columns: vec![id(1), id(7)] },
            "CoalescingMergeTree((s, n))",
        ),
        (
            "ReplicatedReplacingMergeTree('/t/{shard}', '{replica}', at)",
            EngineKind::Replacing { version: Some(id(6)), is_deleted: None },
            "ReplacingMergeTree(at)",
        ),
        ("ReplicatedAggregatingMergeTree", EngineKind::Aggregating, "AggregatingMergeTree"),
        (
            "ReplicatedCollapsingMergeTree(sign)",
            EngineKind::Collapsing { sign: id(4) },
            "CollapsingMergeTree(sign)",
        ),
    ] {
        let clauses = format!("ENGINE = {clause} ORDER BY k");
        let (memory, notices) = create(&clauses).await.unwrap_or_else(|e| panic!("{clause}: {e}"));
        let table = memory.table("t");
        assert_eq!(table.engine.kind, kind, "{clause}");
        assert_eq!(clause.starts_with("Replicated"), !notices.is_empty(), "{clause}");
        let text = show_create_table(&table, "default");
        assert!(text.contains(&format!("\nENGINE = {shown}\n")), "{text}");
        let mut again = Memory::with("").await;
        again.run(&text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(again.table("t").engine, table.engine, "{text}");
        assert_eq!(show_create_table(&again.table("t"), "default"), text);
    }
}

#[tokio::test]
async fn collapsing_engines_are_distributed_by_their_sorting_key() {
    for (clauses, ids, shown) in [
        ("ORDER BY (k, s)", vec![0, 1], "DISTRIBUTED BY (k, s)"),
        ("ORDER BY (k, s) DISTRIBUTED BY (s) BUCKETS 2", vec![1], "DISTRIBUTED BY (s) BUCKETS 2"),
        ("ORDER BY (toDate(at), k)", vec![8, 0], "DISTRIBUTED BY (toDate(at), k)"),
        ("ORDER BY k DISTRIBUTED BY (rand()) BUCKETS 2", vec![0], "DISTRIBUTED BY (k) BUCKETS 2"),
    ] {
        let clauses = format!("ENGINE = SummingMergeTree {clauses}");
        let (memory, notices) = create(&clauses).await.unwrap_or_else(|e| panic!("{clauses}: {e}"));
        let table = memory.table("t");
        let ids = ids.into_iter().map(ColumnId).collect();
        assert_eq!(table.distribution, Distribution::Hash(ids), "{clauses}");
        assert_eq!(notices.is_empty(), !clauses.contains("rand"), "{clauses}");
        let text = show_create_table(&table, "default");
        assert!(text.contains(shown), "{text}");
        let mut again = Memory::with("").await;
        again.run(&text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(again.table("t").distribution, table.distribution, "{text}");
    }
    let (memory, _) = create("ENGINE = ReplacingMergeTree ORDER BY tuple()").await.expect("tuple");
    assert_eq!(memory.table("t").distribution, Distribution::Rotation);
    assert_eq!(memory.table("t").buckets, 1);
}

#[tokio::test]
async fn broken_engines_are_refused() {
    for (clauses, expected) in [
        ("MergeTree(k) ORDER BY k", "engine MergeTree takes no arguments; 'k' is too much"),
        ("ReplacingMergeTree(nope) ORDER BY k", "engine ReplacingMergeTree: unknown column 'nope'"),
        ("ReplacingMergeTree(s) ORDER BY k", "column 's' of type String cannot be a version"),
        ("ReplacingMergeTree(n) ORDER BY k", "'n' of type Nullable(Int32) cannot be a version"),
        ("ReplacingMergeTree(v, sign) ORDER BY k", "cannot be the is_deleted column"),
        ("ReplacingMergeTree(v, deleted, k) ORDER BY k", "'k' is too much"),
        ("ReplacingMergeTree(v + 1) ORDER BY k", "takes names of columns, not 'v + 1'"),
        ("SummingMergeTree(s) ORDER BY k", "column 's' of type String cannot be summed"),
        ("SummingMergeTree(nope) ORDER BY k", "unknown column 'nope'"),
        ("SummingMergeTree(k) ORDER BY k", "column 'k' is in the sorting or the partition key"),
        ("SummingMergeTree((v, v)) ORDER BY k", "column 'v' appears more than once"),
        ("SummingMergeTree(v, f) ORDER BY k", "SummingMergeTree((a, b))"),
        ("CollapsingMergeTree ORDER BY k", "takes a sign column of type Int8"),
        ("CollapsingMergeTree(v) ORDER BY k", "'v' of type UInt64 cannot be a sign column"),
        ("VersionedCollapsingMergeTree(sign) ORDER BY k", "takes two columns"),
        ("AggregatingMergeTree(v) ORDER BY k", "takes no arguments"),
        ("GraphiteMergeTree('x') ORDER BY k", "engine GraphiteMergeTree is not supported"),
        ("ReplicatedReplacingMergTree ORDER BY k", "unknown engine 'ReplicatedReplacingMergTree'"),
        ("SummingMergeTree ORDER BY k DISTRIBUTED BY (s)", "'s' is not in the sorting key (k)"),
        ("SummingMergeTree ORDER BY tuple() DISTRIBUTED BY (rand()) BUCKETS 4", "has 1 bucket"),
    ] {
        let error = match create(&format!("ENGINE = {clauses}")).await {
            Ok(_) => panic!("{clauses} succeeded"),
            Err(error) => error,
        };
        assert!(error.message().contains(expected), "{clauses}: {error}");
    }
}
