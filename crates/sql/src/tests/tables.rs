//! CREATE TABLE and SHOW CREATE TABLE.

use granary_common::Result;

use super::support::{Memory, only};
use crate::{Notice, Statement, describe, show_create_table};

/// Creates the table of `sql` beside `before`.
async fn create(before: &str, sql: &str) -> Result<(Memory, Vec<Notice>)> {
    let mut memory = Memory::with(before).await;
    let Statement::CreateTable(create) = only(sql) else { panic!("{sql} is no CREATE TABLE") };
    let notices = memory.create(&create)?;
    Ok((memory, notices))
}

/// What SHOW CREATE TABLE says of the table `t`, and that it makes the same table again.
async fn check(sql: &str, expected: &str) {
    let (memory, _) = create("", sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let shown = show_create_table(&memory.table("t"), "default");
    assert_eq!(shown, expected, "{sql}");
    let (again, _) = create("", &shown).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert_eq!(again.table("t").columns, memory.table("t").columns, "{sql}");
    assert_eq!(show_create_table(&again.table("t"), "default"), shown);
}

#[tokio::test]
async fn clauses_come_in_any_order() {
    let expected = "CREATE TABLE default.t\n(\n    a UInt64,\n    d Date\n)\nENGINE = MergeTree\n\
         PARTITION BY toYYYYMM(d)\nPRIMARY KEY a\nORDER BY (a, d)\n\
         DISTRIBUTED BY (a) BUCKETS 8\nSETTINGS index_granularity = 1024\nCOMMENT 'it\\'s'";
    for sql in [
        "CREATE TABLE t (a UInt64, d Date) ENGINE = MergeTree() PARTITION BY toYYYYMM(d) \
         ORDER BY (a, d) PRIMARY KEY a DISTRIBUTED BY (a) BUCKETS 8 \
         SETTINGS index_granularity = 1024 COMMENT 'it''s'",
        "CREATE TABLE t (a UInt64, d Date) COMMENT 'it''s' SETTINGS index_granularity = 1024 \
         DISTRIBUTED BY HASH (a) BUCKETS 8 PRIMARY KEY (a) ORDER BY (a, d) \
         PARTITION BY toYYYYMM(d) ENGINE MergeTree",
    ] {
        check(sql, expected).await;
    }
}

#[tokio::test]
async fn what_a_table_keeps() {
    check(
        "CREATE TABLE t (order_id BIGINT PRIMARY KEY, note VARCHAR(10) NULL DEFAULT 'x', \
         `my col` DOUBLE COMMENT 'c')",
        "CREATE TABLE default.t\n(\n    order_id Int64,\n    note Nullable(String) DEFAULT 'x',\n    \
         `my col` Float64 COMMENT 'c'\n)\nENGINE = MergeTree\nORDER BY order_id\n\
         DISTRIBUTED RANDOMLY BUCKETS 4",
    )
    .await;
    check(
        "CREATE TABLE t (a Int32, b String) ENGINE = MergeTree ORDER BY tuple()",
        "CREATE TABLE default.t\n(\n    a Int32,\n    b String\n)\nENGINE = MergeTree\n\
         ORDER BY tuple()\nDISTRIBUTED RANDOMLY BUCKETS 4",
    )
    .await;
    check(
        "CREATE TABLE t (a Int32, b Int32, PRIMARY KEY (a, b)) DISTRIBUTED BY (b, a) \
         COLOCATE WITH g",
        "CREATE TABLE default.t\n(\n    a Int32,\n    b Int32\n)\nENGINE = MergeTree\n\
         ORDER BY (a, b)\nDISTRIBUTED BY (b, a) BUCKETS 4\nCOLOCATE WITH g",
    )
    .await;
}

#[tokio::test]
async fn sampling_keys_are_kept() {
    let sql = "CREATE TABLE t (a Int64, b Int8) ENGINE = MergeTree ORDER BY b SAMPLE BY abs(a)";
    let (memory, _) = create("", sql).await.expect(sql);
    let table = memory.table("t");
    assert_eq!(table.sampling_key(), Some("abs(a)"));
    let shown = show_create_table(&table, "default");
    assert!(shown.contains("ORDER BY b\nSAMPLE BY abs(a)\n"), "{shown}");
    assert!(!shown.contains("SETTINGS"), "{shown}");
    let (memory, _) = create(sql, "CREATE TABLE u AS t").await.expect("like");
    assert_eq!(memory.table("u").sampling_key(), Some("abs(a)"));
    let constant = "CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a SAMPLE BY 1";
    let error = create("", constant).await.err().expect("no key");
    assert!(error.message().contains("refers to no column"), "{error}");
}

#[tokio::test]
async fn nullable_by_setting() {
    let mut memory = Memory::with("").await;
    memory.settings.set("data_type_default_nullable", "1").expect("a setting");
    let sql = "CREATE TABLE t (a Int32 PRIMARY KEY, b Int32, c Int32 NOT NULL, d Array(Int8))";
    memory.run(sql).await.expect(sql);
    let rows = describe(&memory.table("t"));
    let types: Vec<&str> = rows.iter().map(|row| row.column_type.as_str()).collect();
    assert_eq!(types, ["Int32", "Nullable(Int32)", "Int32", "Array(Int8)"]);
}

#[tokio::test]
async fn key_expressions_have_hidden_columns() {
    let sql = "CREATE TABLE t (ts DateTime, k String) ENGINE = MergeTree \
               PARTITION BY (toYYYYMM(ts), k) ORDER BY (lower(k), toYYYYMM(ts), ts)";
    let (memory, _) = create("", sql).await.expect(sql);
    let table = memory.table("t");
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["ts", "k", "lower(k)", "toYYYYMM(ts)"]);
    assert_eq!(table.visible_columns().count(), 2);
    assert_eq!(table.partition_by[0].column, table.order_by[1].column);
}

#[tokio::test]
async fn tables_like_tables() {
    let before =
        "CREATE TABLE s (a Int32, b Date) ENGINE = MergeTree ORDER BY (a, b) PRIMARY KEY a";
    let (memory, _) = create(before, "CREATE TABLE t AS s").await.expect("like");
    assert_eq!(memory.table("t").primary_key_len, 1);
    let sql = "CREATE TABLE t AS s ENGINE = MergeTree ORDER BY b";
    let (memory, _) = create(before, sql).await.expect(sql);
    assert_eq!(memory.table("t").order_by[0].text, "b");
}

#[tokio::test]
async fn spellings_without_effect_are_told() {
    for (sql, expected) in [
        ("CREATE TABLE t ON CLUSTER c (a Int8) ENGINE = MergeTree ORDER BY a", "ON CLUSTER c"),
        (
            "CREATE TABLE t (a Int8) ENGINE = ReplicatedMergeTree('/p', '{replica}') ORDER BY a",
            "ReplicatedMergeTree",
        ),
        ("CREATE TABLE t (a Int8 CODEC(LZ4)) ENGINE = MergeTree ORDER BY a", "LZ4 stands for"),
        (
            "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS old_parts_lifetime = 9",
            "old_parts_lifetime is history_retention_seconds",
        ),
        (
            "CREATE TABLE t (a Int8 PRIMARY KEY, b Int8) ENGINE = MergeTree ORDER BY b",
            "PRIMARY KEY beside a column has no effect",
        ),
    ] {
        let (_, notices) = create("", sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let texts: Vec<String> = notices.iter().map(Notice::to_string).collect();
        assert!(texts.join("; ").contains(expected), "{sql}: {texts:?}");
    }
}

#[tokio::test]
async fn broken_tables_are_refused() {
    let group = "CREATE TABLE g (a Int64) ENGINE = MergeTree ORDER BY a DISTRIBUTED BY (a) \
                 BUCKETS 4 COLOCATE WITH g";
    for (clauses, expected) in [
        ("(id Int8, id String) ORDER BY id", "column 'id' appears more than once"),
        ("(id NoSuchType) ORDER BY id", "column 'id': unknown type 'NoSuchType'"),
        ("(id Int8) ORDER BY nope", "ORDER BY: unknown column 'nope'"),
        ("(ident Int8) ORDER BY idnet", "did you mean 'ident'?"),
        ("(id Int8) ORDER BY id PARTITION BY toYYYYMM(nope)", "unknown column 'nope'"),
        ("(id Int8) ENGINE = NoSuchEngine() ORDER BY id", "unknown engine 'NoSuchEngine'"),
        ("(id Int8) ENGINE = MergeTre ORDER BY id", "did you mean 'MergeTree'?"),
        ("(id Int8) ENGINE = GraphiteMergeTree('r') ORDER BY id", "GraphiteMergeTree is not sup"),
        ("(a Int8, b Int8) ORDER BY (a, b) PRIMARY KEY b", "must be a prefix of the sorting key"),
        ("(a Int8) ENGINE = SummingMergeTree", "ORDER BY is missing"),
        ("(a Int8) ENGINE = ReplacingMergeTree", "ORDER BY is missing"),
        ("(a Int8) ORDER BY (a, a)", "'a' appears more than once"),
        ("(a Array(Int8)) ORDER BY a", "has no order"),
        ("(a Int8) ORDER BY a + rand()", "not the same every time"),
        ("(a Int8) ORDER BY 1 + 1", "refers to no column"),
        ("(a Int8) ORDER BY a SETTINGS index_granularty = 1", "did you mean 'index_granularity'?"),
        ("(a Int8) ORDER BY a SETTINGS index_granularity = 0", "index_granularity is 1 to"),
        ("(a Int8) ORDER BY a SETTINGS replication_factor = 0", "replication_factor is 1 to 16"),
        ("(a Int8) ORDER BY a SETTINGS min_copies = 3", "more than replication_factor = 2"),
        ("(a Int8) ORDER BY a DISTRIBUTED BY (b)", "DISTRIBUTED BY: unknown column 'b'"),
        ("(a Int8) ORDER BY a DISTRIBUTED BY (a, a)", "'a' appears more than once"),
        ("(a Int8) ORDER BY a DISTRIBUTED BY (a % 2)", "takes columns, not 'a % 2'"),
        ("(a Int8) ORDER BY a DISTRIBUTED BY (a) BUCKETS 0", "BUCKETS is 1 to"),
        ("(a Int8) ORDER BY a COLOCATE WITH g", "needs DISTRIBUTED BY columns"),
        ("(a String) ORDER BY a DISTRIBUTED BY (a) COLOCATE WITH g", "is distributed by (Int64)"),
        ("(a Int8) ORDER BY a DISTRIBUTED BY (a) BUCKETS 2 COLOCATE WITH g", "write BUCKETS 4"),
        ("(a Nullable(Int8) NOT NULL) ORDER BY a", "nullable and not"),
        ("(a Int8 DEFAULT nope) ORDER BY a", "the default of column 'a': unknown column 'nope'"),
        ("(a Int8 DEFAULT a + 1) ORDER BY a", "refers to the column itself"),
        ("ORDER BY a", "at least one column"),
    ] {
        let sql = format!("CREATE TABLE t {clauses}");
        let error = match create(group, &sql).await {
            Ok(_) => panic!("{sql} succeeded"),
            Err(error) => error,
        };
        assert!(error.message().contains(expected), "{sql}: {error}");
    }
    let error = create("", "CREATE TABLE nodb.t (a Int8)").await.err().expect("no database");
    assert!(error.message().contains("unknown database 'nodb'"), "{error}");
}

#[tokio::test]
async fn unique_keys() {
    let expected = |partition: &str, distribution: &str| {
        format!(
            "CREATE TABLE default.t\n(\n    a UInt64,\n    d Date,\n    v Float64\n)\nENGINE = MergeTree\n\
             {partition}ORDER BY d\nUNIQUE KEY (d, a)\nDISTRIBUTED BY ({distribution}) BUCKETS 4"
        )
    };
    let columns = "CREATE TABLE t (a UInt64, d Date, v Float64)";
    for (clauses, partition, distribution) in [
        ("ENGINE = MergeTree ORDER BY d UNIQUE KEY (d, a)", "", "d, a"),
        ("UNIQUE KEY (d, a) DISTRIBUTED BY (a) ORDER BY d ENGINE = MergeTree", "", "a"),
        ("UNIQUE KEY (d, a) ORDER BY d DISTRIBUTED BY (rand())", "", "d, a"),
        (
            "ENGINE = MergeTree PARTITION BY toYYYYMM(d) UNIQUE KEY (d, a) ORDER BY d",
            "PARTITION BY toYYYYMM(d)\n",
            "d, a",
        ),
    ] {
        check(&format!("{columns} {clauses}"), &expected(partition, distribution)).await;
    }
    let (memory, _) =
        create(&format!("{columns} ORDER BY d UNIQUE KEY (a)"), "CREATE TABLE u AS t")
            .await
            .unwrap();
    assert_eq!(memory.table("u").unique_key, memory.table("t").unique_key);
    assert_eq!(memory.table("u").unique_key.len(), 1);
}

#[tokio::test]
async fn broken_unique_keys_are_refused() {
    let columns = "CREATE TABLE t (a UInt64, d Date, v Float64, n Nullable(Int8))";
    for (clauses, expected) in [
        ("ORDER BY a UNIQUE KEY (x)", "unknown column 'x'"),
        ("ORDER BY a UNIQUE KEY (a + 1)", "UNIQUE KEY takes columns, not 'a + 1'"),
        ("ORDER BY a UNIQUE KEY ()", "at least one column"),
        ("ORDER BY a UNIQUE KEY (a, a)", "'a' appears more than once"),
        ("ORDER BY a UNIQUE KEY (a) UNIQUE KEY (a)", "UNIQUE KEY is written twice"),
        ("ORDER BY a UNIQUE KEY (v)", "'v' of type Float64"),
        ("ORDER BY a UNIQUE KEY (n)", "'n' of type Nullable(Int8)"),
        ("ORDER BY a UNIQUE KEY (a) PARTITION BY toYYYYMM(d)", "'d' is not in the UNIQUE KEY (a)"),
        ("ORDER BY a UNIQUE KEY (a) DISTRIBUTED BY (d)", "'d' is not in the UNIQUE KEY (a)"),
        ("ENGINE = ReplacingMergeTree ORDER BY a UNIQUE KEY (a)", "with ReplacingMergeTree"),
    ] {
        let sql = format!("{columns} {clauses}");
        let message = match read_and_create(&sql).await {
            Ok(()) => panic!("{sql} succeeded"),
            Err(error) => error,
        };
        assert!(message.contains(expected), "{sql}: {message}");
    }
}

/// Reads and creates, with the message of what fails first.
async fn read_and_create(sql: &str) -> std::result::Result<(), String> {
    let statements = crate::parse(sql).map_err(|error| error.to_string())?;
    assert_eq!(statements.len(), 1, "{sql}");
    create("", sql).await.map(drop).map_err(|error| error.to_string())
}
