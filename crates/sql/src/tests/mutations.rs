//! DELETE, UPDATE, MERGE INTO, partition commands and INSERT OVERWRITE.

use arrow::util::display::array_value_to_string;
use granary_catalog::Table;
use granary_common::ErrorKind;

use super::support::{Memory, only};
use crate::{
    PartitionClause, Statement, bind_query, delete_query, merge_query, parse, partition_values,
    update_query, with_overwritten_columns,
};

const TABLES: &str = "
    CREATE TABLE t (id Int64, day Date, qty Int32, note Nullable(String) DEFAULT 'x',
        _part UInt64, _part_offset UInt64)
        ENGINE = MergeTree ORDER BY (id, toYYYYMM(day)) PARTITION BY toYYYYMM(day);
    CREATE TABLE parts (day Date, kind Int8, id Int64)
        ENGINE = MergeTree ORDER BY id PARTITION BY (day, kind);
    CREATE TABLE s (id Int64, qty Int32, op String) ENGINE = MergeTree ORDER BY id;
    CREATE TABLE plain (id Int64) ENGINE = MergeTree ORDER BY id;
    INSERT INTO t VALUES (1, '2024-01-01', 10, 'a', 7, 0), (2, '2024-01-02', 20, NULL, 7, 1),
        (3, '2024-02-01', 30, 'c', 8, 0);
    INSERT INTO s VALUES (1, 100, 'u'), (2, 200, 'd'), (9, 900, 'c')";

#[test]
fn spellings_are_read() {
    for (sql, expected) in [
        ("DELETE FROM t", "Delete"),
        ("DELETE FROM d.t AS x WHERE x.id IN (SELECT id FROM u)", "Delete"),
        ("DELETE FROM t ON CLUSTER c WHERE id = 1 SETTINGS mutations_sync = 2", "Delete"),
        ("DELETE FROM t IN PARTITION 202401 WHERE 1", "Delete"),
        ("ALTER TABLE t DELETE WHERE id = 1", "Delete"),
        ("UPDATE t SET a = 1, b = a + 1 WHERE c > 2", "Update"),
        ("UPDATE d.t x SET x.a = (SELECT max(a) FROM u)", "Update"),
        ("ALTER TABLE t ON CLUSTER c UPDATE a = 1, b = 2 WHERE c = 3", "Update"),
        ("ALTER TABLE t DROP PARTITION 202401", "AlterPartition"),
        ("ALTER TABLE t DROP PARTITION '202401'", "AlterPartition"),
        ("ALTER TABLE t DROP PARTITION (202401, 3)", "AlterPartition"),
        ("ALTER TABLE t DROP PARTITION ID '202401-3'", "AlterPartition"),
        ("ALTER TABLE t DROP PARTITION ALL", "AlterPartition"),
        ("ALTER TABLE t DETACH PARTITION tuple()", "AlterPartition"),
        ("ALTER TABLE t ATTACH PARTITION toYYYYMM(today())", "AlterPartition"),
        ("ALTER TABLE t DROP DETACHED PARTITION '2024-01-01'", "AlterPartition"),
        ("ALTER TABLE t REPLACE PARTITION 1 FROM d.u", "AlterPartition"),
        ("ALTER TABLE t ATTACH PARTITION 1 FROM u", "AlterPartition"),
        ("ALTER TABLE t MOVE PARTITION 1 TO TABLE u", "AlterPartition"),
        ("MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET *", "Merge"),
        (
            "MERGE INTO d.t x USING (SELECT 1 AS id) y ON x.id = y.id WHEN MATCHED AND y.id > 0 \
             THEN DELETE WHEN NOT MATCHED BY TARGET THEN INSERT (id) VALUES (y.id)",
            "Merge",
        ),
        ("INSERT OVERWRITE t SELECT * FROM u", "Insert"),
        ("INSERT OVERWRITE TABLE t PARTITION (day = '2024-01-01') SELECT 1, 2", "Insert"),
        ("INSERT OVERWRITE INTO t (a) PARTITION (202401) VALUES (1)", "Insert"),
    ] {
        let read = format!("{:?}", only(sql));
        assert!(read.starts_with(expected), "{sql}: {read}");
    }
}

#[test]
fn what_is_not_offered_says_so() {
    for (sql, kind, text) in [
        ("ALTER TABLE t DELETE", ErrorKind::InvalidInput, "WHERE 1"),
        ("ALTER TABLE t UPDATE a = 1", ErrorKind::InvalidInput, "needs WHERE"),
        ("ALTER TABLE t DROP PART 'all_1_1_0'", ErrorKind::Unsupported, "partition"),
        ("ALTER TABLE t FREEZE PARTITION 1", ErrorKind::Unsupported, "FREEZE"),
        ("ALTER TABLE t DROP PARTITION 1, DROP PARTITION 2", ErrorKind::Unsupported, "one"),
        ("UPDATE t SET a = 1 FROM u, v WHERE t.id = u.id", ErrorKind::Unsupported, "one table"),
        ("INSERT INTO t PARTITION (a = 1) SELECT 1", ErrorKind::Unsupported, "OVERWRITE"),
        ("MERGE INTO t USING s ON 1 = 1", ErrorKind::InvalidInput, "WHEN"),
    ] {
        let error = parse(sql).expect_err(sql);
        assert_eq!(error.kind(), kind, "{sql}: {error}");
        assert!(error.message().contains(text), "{sql}: {error}");
    }
}

/// The rows of the query that finds the rows of a statement.
async fn found(memory: &Memory, sql: &str) -> granary_common::Result<Vec<String>> {
    let table = |name: &crate::TableName| {
        crate::resolve_table(&memory.snapshot, "default", name).expect("a table")
    };
    let query = match only(sql) {
        Statement::Delete(delete) => delete_query(&delete, &table(&delete.table))?,
        Statement::Update(update) => update_query(&update, &table(&update.table))?,
        Statement::Merge(merge) => merge_query(&merge, &table(&merge.table))?,
        other => panic!("{other:?}"),
    };
    let plan = bind_query(&memory.state(), &query, sql).await?;
    let mut rows = memory.rows_of(plan, sql).await?;
    rows.sort();
    Ok(rows)
}

#[tokio::test]
async fn the_rows_of_a_statement_are_found() {
    let memory = Memory::with(TABLES).await;
    for (sql, expected) in [
        ("DELETE FROM t WHERE id > 1", vec!["7 | 1", "8 | 0"]),
        ("DELETE FROM t x WHERE x.ID = 1", vec!["7 | 0"]),
        // NULL is not true
        ("DELETE FROM t WHERE note <> 'a'", vec!["8 | 0"]),
        ("DELETE FROM t WHERE 0", vec![]),
        ("DELETE FROM t IN PARTITION 202402 WHERE 1", vec!["8 | 0"]),
        ("DELETE FROM t WHERE id NOT IN (SELECT id FROM s)", vec!["8 | 0"]),
        ("DELETE FROM t WHERE (id, qty) NOT IN (SELECT id, max(qty) FROM t GROUP BY id)", vec![]),
        (
            "UPDATE t SET qty = qty * 2, note = concat('was ', toString(qty)) WHERE id = 1",
            vec!["7 | 0 | 1 | 2024-01-01 | 20 | was 10 | 7 | 0"],
        ),
        (
            "UPDATE t SET QTY = (SELECT max(s.qty) FROM s WHERE s.id = t.id) WHERE id = 2",
            vec!["7 | 1 | 2 | 2024-01-02 | 200 | NULL | 7 | 1"],
        ),
        (
            "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND s.op = 'u' THEN UPDATE SET \
             qty = s.qty + t.qty WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND s.op = 'c' THEN \
             INSERT (id, day, qty) VALUES (s.id, '2024-05-05', s.qty)",
            vec![
                "7 | 0 | 1 | 1 | 2024-01-01 | 110 | a | 7 | 0",
                "7 | 1 | 0 | NULL | NULL | NULL | NULL | NULL | NULL",
                "NULL | NULL | 2 | 9 | 2024-05-05 | 900 | x | 0 | 0",
            ],
        ),
    ] {
        let rows = found(&memory, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows, expected, "{sql}");
    }
}

#[tokio::test]
async fn assignments_are_checked() {
    let memory = Memory::with(TABLES).await;
    for (sql, text) in [
        ("UPDATE t SET nope = 1", "unknown column 'nope'"),
        ("UPDATE t SET qty = 1, qty = 2", "named twice"),
        ("ALTER TABLE t UPDATE id = id + 1 WHERE 1", "key"),
        // only a key's expression mentions it
        ("ALTER TABLE t UPDATE day = '2024-01-01' WHERE 1", "key"),
        ("DELETE FROM t IN PARTITION (1, 2) WHERE 1", "1 values"),
        (
            "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (1, 2)",
            "1 columns and 2 values",
        ),
    ] {
        let error = found(&memory, sql).await.expect_err(sql);
        assert!(error.message().contains(text), "{sql}: {error}");
    }
    found(&memory, "UPDATE t SET id = id + 1").await.expect("UPDATE may change keys");
}

fn table(memory: &Memory, name: &str) -> std::sync::Arc<Table> {
    let name = crate::TableName { database: None, name: name.to_owned() };
    crate::resolve_table(&memory.snapshot, "default", &name).expect("a table")
}

#[tokio::test]
async fn partitions_are_values_of_their_key() {
    let memory = Memory::with(TABLES).await;
    for (name, partition, expected) in [
        ("t", "202401", Ok("202401")),
        ("t", "'202401'", Ok("202401")),
        ("t", "toYYYYMM(toDate('2024-03-04'))", Ok("202403")),
        ("t", "(202401)", Ok("202401")),
        ("parts", "('2024-01-01', 3)", Ok("2024-01-01,3")),
        ("parts", "tuple('2024-01-01', 3)", Ok("2024-01-01,3")),
        ("plain", "tuple()", Ok("")),
        ("t", "'January'", Err("no partition of table 't'")),
        ("t", "(202401, 3)", Err("1 values")),
        ("parts", "'2024-01-01'", Err("2 values (day, kind)")),
        ("parts", "('2024-01-01', 300)", Err("cannot parse '300'")),
        ("plain", "1", Err("PARTITION ALL")),
        ("t", "(SELECT 1)", Err("constant")),
    ] {
        let sql = format!("ALTER TABLE {name} DROP PARTITION {partition}");
        let Statement::AlterPartition(alter) = only(&sql) else { panic!("{sql}") };
        let PartitionClause::Values(values) = &alter.partition else { panic!("{sql}") };
        let got = partition_values(&table(&memory, name), values, &memory.state());
        let text =
            |array: &arrow::array::ArrayRef| array_value_to_string(array, 0).expect("a text");
        match (got, expected) {
            (Ok(arrays), Ok(expected)) => {
                let texts: Vec<String> = arrays.iter().map(text).collect();
                assert_eq!(texts.join(","), expected, "{sql}");
            }
            (Err(error), Err(text)) => assert!(error.message().contains(text), "{sql}: {error}"),
            (got, expected) => panic!("{sql}: {got:?} instead of {expected:?}"),
        }
    }
}

#[tokio::test]
async fn overwritten_columns_are_brought_by_the_statement() {
    let memory = Memory::with(TABLES).await;
    let parts = table(&memory, "parts");
    for (sql, expected) in [
        (
            "INSERT OVERWRITE parts PARTITION (day = '2024-01-01', kind = 1) SELECT id FROM s",
            Ok("id,day,kind"),
        ),
        (
            "INSERT OVERWRITE parts PARTITION (kind = 1, day = '2024-01-01') VALUES (7)",
            Ok("id,kind,day"),
        ),
        ("INSERT OVERWRITE parts PARTITION (day = '2024-01-01') VALUES (7)", Err("'kind'")),
        (
            "INSERT OVERWRITE parts PARTITION (day = '2024-01-01', kind = 1, id = 1) SELECT 1",
            Err("not in the partition key"),
        ),
    ] {
        let Statement::Insert(insert) = only(sql) else { panic!("{sql}") };
        match (with_overwritten_columns(&insert, &parts), expected) {
            (Ok(insert), Ok(columns)) => {
                assert_eq!(insert.columns.clone().expect("columns").join(","), columns, "{sql}");
                let plan = bind_query(&memory.state(), &insert.source, sql).await.expect(sql);
                assert_eq!(plan.schema().fields().len(), 3, "{sql}");
            }
            (Err(error), Err(text)) => assert!(error.message().contains(text), "{sql}: {error}"),
            (got, expected) => panic!("{sql}: {got:?} instead of {expected:?}"),
        }
    }
}
