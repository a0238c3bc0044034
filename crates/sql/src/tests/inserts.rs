//! INSERT: from cells to stored rows.

use super::support::Memory;

const TYPES: &str = "CREATE TABLE t (id UInt32, name String DEFAULT concat('n', toString(id)), \
     amount Decimal(10, 2), day Date, n Nullable(Int64), tags Array(String), \
     props Map(String, Float64), at DateTime DEFAULT toDateTime(day), \
     kind Enum8('a' = 1, 'b' = 2), pos Tuple(x Int32, y Int32)) \
     ENGINE = MergeTree ORDER BY (id, day) PARTITION BY toYYYYMM(day)";

/// The rows that `sql` stores.
async fn check(sql: &str, expected: &[&str]) {
    let mut memory = Memory::with(TYPES).await;
    memory.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(memory.stored("t"), expected, "{sql}");
}

async fn check_error(sql: &str, expected: &str) {
    let mut memory = Memory::with(TYPES).await;
    let error = memory.run(sql).await.err().unwrap_or_else(|| panic!("{sql} succeeded"));
    assert!(error.message().contains(expected), "{sql}: {error}");
    assert_eq!(memory.stored("t"), [""; 0], "{sql}");
}

#[tokio::test]
async fn values_defaults_and_zero_values() {
    check(
        "INSERT INTO t (id, day) VALUES (7, '2024-02-29')",
        &["7 | n7 | 0.00 | 2024-02-29 | NULL | [] | {} | 2024-02-29T00:00:00 | a | \
           {x: 0, y: 0} | 202402"],
    )
    .await;
    check(
        "INSERT INTO t VALUES (1, 'x', 1.5, '2024-01-31', -3, ['p', 'q'], map('k', 1, 'l', 2.5), \
         '2024-01-01 10:00:00', 'b', (1, -2)), (2, '', 0, '1970-01-01', NULL, [], map(), \
         1704067200, 2, (0, 0))",
        &[
            "1 | x | 1.50 | 2024-01-31 | -3 | [p, q] | {k: 1.0, l: 2.5} | 2024-01-01T10:00:00 | \
             b | {x: 1, y: -2} | 202401",
            "2 |  | 0.00 | 1970-01-01 | NULL | [] | {} | 2024-01-01T00:00:00 | b | {x: 0, y: 0} \
             | 197001",
        ],
    )
    .await;
}

#[tokio::test]
async fn expressions_and_queries() {
    check(
        "INSERT INTO t (ID, name, day) VALUES (1 + 1, upper('a'), toDate('2024-01-01') + 5)",
        &["2 | A | 0.00 | 2024-01-06 | NULL | [] | {} | 2024-01-06T00:00:00 | a | {x: 0, y: 0} \
           | 202401"],
    )
    .await;
    check(
        "INSERT INTO t (id, amount) SELECT number, number * 2.5 FROM numbers(1)",
        &["0 | n0 | 0.00 | 1970-01-01 | NULL | [] | {} | 1970-01-01T00:00:00 | a | {x: 0, y: 0} \
           | 197001"],
    )
    .await;
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    for (sql, expected) in [
        ("INSERT INTO t (id) VALUES (1), ('abc')", "row 2, column 'id': cannot parse 'abc' as"),
        ("INSERT INTO t (id) VALUES (-1)", "row 1, column 'id': cannot parse '-1'"),
        ("INSERT INTO t (id) VALUES (4294967296)", "row 1, column 'id'"),
        ("INSERT INTO t (id, day) VALUES (1, 'not a date')", "row 1, column 'day'"),
        ("INSERT INTO t (id, day) VALUES (1, '2024-02-30')", "cannot parse '2024-02-30'"),
        ("INSERT INTO t (id) VALUES (1), (NULL)", "row 2, column 'id': NULL"),
        ("INSERT INTO t (id, kind) VALUES (1, 'c')", "unknown enum value 'c'"),
        ("INSERT INTO t (id, nope) VALUES (1, 2)", "unknown column 'nope'"),
        ("INSERT INTO t (id, id) VALUES (1, 2)", "column 'id' is named twice"),
        ("INSERT INTO t VALUES (1, 'x')", "number of columns does not match: 10 expected, 2 given"),
        ("INSERT INTO t (id) SELECT 1, 2", "number of columns"),
        ("INSERT INTO t (id) SELECT -1 - number FROM numbers(3)", "row 1, column 'id': -1"),
        ("INSERT INTO t (id) VALUES (nope)", "unknown column 'nope'"),
        ("INSERT INTO nope VALUES (1)", "unknown table 'default.nope'"),
        ("INSERT INTO t (amount) VALUES ('12345678901.5')", "row 1, column 'amount'"),
    ] {
        check_error(sql, expected).await;
    }
}

#[tokio::test]
async fn thousands_of_rows() {
    let rows: Vec<String> =
        (0..5_000).map(|n| format!("({n}, 'name {n}', {n}.25, '2024-01-01')")).collect();
    let sql = format!("INSERT INTO t (id, name, amount, day) VALUES {}", rows.join(", "));
    let mut memory = Memory::with(TYPES).await;
    memory.run(&sql).await.expect("five thousand rows");
    let rows = memory.run("SELECT count(), sum(amount), max(name) FROM t").await;
    assert_eq!(rows.expect("a row"), ["5000 | 12498750.00 | name 999"]);
}
