//! TTL: what is kept of its rules, and which are refused.

use granary_catalog::{ColumnCodec, TtlAction, TtlPlace, TtlRule};
use granary_common::ColumnId;

use super::support::Memory;
use crate::show_create_table;

const COLUMNS: &str = "(id Int64, at DateTime, day Date, v Int32, note String DEFAULT 'x')";

async fn rules(clauses: &str) -> (Vec<TtlRule>, String) {
    let sql = format!("CREATE TABLE t {COLUMNS} ENGINE = MergeTree ORDER BY (id, day) {clauses}");
    let memory = Memory::with(&sql).await;
    let table = memory.table("t");
    (table.options.rules.clone(), show_create_table(&table, "default"))
}

#[tokio::test]
async fn rules_are_bound_and_shown() {
    let recompressed = |level| TtlAction::RecompressWith(vec![ColumnCodec::Zstd { level }]);
    for (clauses, shown, actions) in [
        ("TTL at + INTERVAL 1 DAY", "TTL at + INTERVAL 1 DAY DELETE", vec![TtlAction::Delete]),
        (
            "TTL day + INTERVAL 30 DAY TO DISK 'hdd', day + INTERVAL 90 DAY TO VOLUME 's3'",
            "TTL day + INTERVAL 30 DAY TO DISK 'hdd', day + INTERVAL 90 DAY TO VOLUME 's3'",
            vec![
                TtlAction::Move(TtlPlace::Disk("hdd".into())),
                TtlAction::Move(TtlPlace::Volume("s3".into())),
            ],
        ),
        (
            "TTL at + toIntervalMonth(1) DELETE WHERE v > 5, at RECOMPRESS CODEC(ZSTD(17))",
            "TTL at + toIntervalMonth(1) DELETE WHERE v > 5, at RECOMPRESS CODEC(ZSTD(17))",
            vec![TtlAction::Delete, recompressed(17)],
        ),
    ] {
        let (rules, text) = rules(clauses).await;
        assert!(text.contains(shown), "{text}");
        let found: Vec<TtlAction> = rules.iter().map(|rule| rule.action.clone()).collect();
        assert_eq!(found, actions, "{clauses}");
        assert!(rules.iter().all(|rule| rule.expiry.columns.len() == 1));
    }
    let (rules, text) =
        rules("TTL at + INTERVAL 1 DAY GROUP BY id SET v = max(v) + min(v), note = any(note)")
            .await;
    assert!(text.contains("GROUP BY id SET v = max(v) + min(v), note = any(note)"), "{text}");
    let [TtlRule { action: TtlAction::GroupBy(roll_up), .. }] = rules.as_slice() else {
        panic!("{rules:?}");
    };
    assert_eq!(roll_up.keys, [ColumnId(0)]);
    assert_eq!(roll_up.aggregates.len(), 3);
    assert_eq!(roll_up.set[0].1.columns, [ColumnId(0), ColumnId(1)]);
    assert_eq!(roll_up.set[1].1.columns, [ColumnId(2)]);
}

#[tokio::test]
async fn columns_have_rules_of_their_own() {
    let sql = "CREATE TABLE t (id Int64, at DateTime, v Int32 TTL at + INTERVAL 1 DAY, \
               w String DEFAULT 'gone' TTL at + INTERVAL 2 DAY) ENGINE = MergeTree ORDER BY id";
    let table = Memory::with(sql).await.table("t");
    let resets: Vec<(ColumnId, bool)> = table
        .options
        .rules
        .iter()
        .map(|rule| match &rule.action {
            TtlAction::Reset { column, default } => (*column, default.is_some()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(resets, [(ColumnId(2), false), (ColumnId(3), true)]);
}

#[tokio::test]
async fn rules_that_do_not_fit_are_refused() {
    for (clauses, expected) in [
        ("TTL id", "a Date or a DateTime is needed"),
        ("TTL nope + INTERVAL 1 DAY", "nope"),
        ("TTL now() + INTERVAL 1 DAY", "not the same every time"),
        ("TTL toDate('2024-01-01') + INTERVAL 1 DAY", "refers to no column"),
        ("TTL at TO SHELF 's'", "expected: DISK or VOLUME"),
        ("TTL at RECOMPRESS ZSTD", "RECOMPRESS takes CODEC(...)"),
        ("TTL at RECOMPRESS CODEC(Zip)", "unknown codec 'Zip'"),
        ("TTL at RECOMPRESS CODEC(ZSTD(99))", "levels are 1 to 22"),
        ("TTL at TO DISK 'd' WHERE v > 1", "WHERE is for rules that delete rows or group them"),
        ("TTL at GROUP BY v SET note = any(note)", "the first expressions of the primary key"),
        ("TTL at GROUP BY id SET id = max(id)", "SET cannot change a column of a key"),
        ("TTL at GROUP BY id SET v = v + 1", "SET needs aggregate functions"),
        ("TTL at GROUP BY id SET nope = max(v)", "unknown column 'nope'"),
        ("TTL at GROUP BY id SET v = max(v), v = min(v)", "twice"),
    ] {
        let sql =
            format!("CREATE TABLE t {COLUMNS} ENGINE = MergeTree ORDER BY (id, day) {clauses}");
        let mut memory = Memory::with("").await;
        let error = memory.run(&sql).await.expect_err(clauses);
        assert!(error.message().contains(expected), "{clauses}: {error}");
    }
    let key = "CREATE TABLE t (id Int64, at DateTime TTL at + INTERVAL 1 DAY) ENGINE = MergeTree \
               ORDER BY (id, toDate(at))";
    let error = Memory::with("").await.run(key).await.expect_err("a key");
    assert!(error.message().contains("a column of a key cannot expire"), "{error}");
}
