//! Functions that are written in SQL: as parsed, and what their calls become.

use granary_catalog::{Change, Row, SqlFunction};
use granary_common::{CatalogVersion, ErrorKind};

use super::support::{Memory, only};
use crate::{CreateFunction, Statement, check_function, show_create_function};

fn created(sql: &str) -> CreateFunction {
    match only(sql) {
        Statement::CreateFunction(create) => *create,
        other => panic!("{sql}: {other:?}"),
    }
}

fn function(sql: &str) -> SqlFunction {
    let CreateFunction { name, parameters, text, .. } = created(sql);
    SqlFunction { name, parameters, body: text, created: CatalogVersion(1) }
}

/// A database with these functions.
async fn with(functions: &[&str]) -> Memory {
    let mut memory = Memory::with("CREATE TABLE t (id Int64) ENGINE = MergeTree ORDER BY id").await;
    let changes: Vec<Change> =
        functions.iter().map(|sql| Change::Put(Row::Function(function(sql)))).collect();
    memory.snapshot = memory.snapshot.with_changes(CatalogVersion(9), &changes);
    memory
}

#[test]
fn the_parts_of_a_function() {
    let create = created("CREATE OR REPLACE FUNCTION `a b` ON CLUSTER c AS (x, y) -> x  *  y ; ");
    assert!(create.or_replace && !create.if_not_exists);
    assert_eq!((create.name.as_str(), create.text.as_str()), ("a b", "x  *  y"));
    assert_eq!(create.parameters, ["x", "y"]);
    assert_eq!(create.notices.len(), 1);
    let short = created("CREATE FUNCTION IF NOT EXISTS f AS x -> x");
    assert!(short.if_not_exists);
    assert_eq!(short.parameters, ["x"]);
    assert!(created("CREATE FUNCTION f AS () -> 1").parameters.is_empty());
    let shown = show_create_function(&function("CREATE FUNCTION `a b` AS x -> x + 1"));
    assert_eq!(shown, "CREATE FUNCTION `a b` AS (x) -> x + 1");
    let drop = only("DROP FUNCTION IF EXISTS f");
    assert!(matches!(drop, Statement::DropFunction { if_exists: true, .. }));
}

#[tokio::test]
async fn calls_are_what_the_function_says() {
    let mut memory = with(&[
        "CREATE FUNCTION line AS (x, k, b) -> k * x + b",
        "CREATE FUNCTION twice AS x -> line(x, 2, 0)",
        "CREATE FUNCTION moved AS (xs, by) -> arrayMap(x -> x + by, xs)",
        "CREATE FUNCTION first AS (pair) -> pair.1",
        "CREATE FUNCTION spread AS (v) -> max(v) - min(v)",
    ])
    .await;
    for (sql, expected) in [
        ("SELECT line(1 + 1, 2 + 1, 1)", "7"),
        ("SELECT TWICE(twice(3))", "12"),
        ("SELECT arrayStringConcat(moved([1, 2], x), ',') FROM (SELECT 10 AS x)", "11,12"),
        ("SELECT first((7, 'a'))", "7"),
        ("SELECT first(p) FROM (SELECT (8, 'a') AS p)", "8"),
        ("SELECT spread(twice(id)) FROM (SELECT 1 AS id UNION ALL SELECT 4)", "6"),
        (
            "SELECT a FROM (SELECT twice(2) AS a) WHERE twice(a) = 8 GROUP BY a ORDER BY twice(a)",
            "4",
        ),
    ] {
        let rows = memory.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows, [expected], "{sql}");
    }
}

#[tokio::test]
async fn wrong_calls_are_shown() {
    let mut memory = with(&[
        "CREATE FUNCTION f AS (x, y) -> g(x) + y",
        "CREATE FUNCTION g AS (x) -> f(x, 1)",
        "CREATE FUNCTION h AS (x, y) -> x + y",
    ])
    .await;
    for (sql, part) in [
        ("SELECT 1,\n  h(1)", "'h' takes 2 arguments (x, y), the call has 1 (line 2, column 3)"),
        ("SELECT f(1, 2)", "would call itself (f -> g -> f)"),
        ("SELECT h(1, 2) OVER ()", "takes values only"),
        ("SELECT h(DISTINCT 1, 2)", "takes values only"),
    ] {
        let error = memory.run(sql).await.expect_err(sql);
        assert!(error.message().contains(part), "{sql}: {error}");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{sql}");
    }
}

#[tokio::test]
async fn what_no_function_can_be() {
    let memory = with(&["CREATE FUNCTION twice AS x -> line(x, 2)"]).await;
    let state = memory.state();
    for (sql, part) in [
        ("CREATE FUNCTION upper AS x -> x", "the system has a function 'upper'"),
        ("CREATE FUNCTION arrayMap AS x -> x", "the system has a function"),
        ("CREATE FUNCTION f AS (x, x) -> x", "the parameter 'x' twice"),
        ("CREATE FUNCTION f AS (x) -> x + z", "'z' is no parameter"),
        ("CREATE FUNCTION f AS (x) -> (SELECT x)", "subquery"),
        ("CREATE FUNCTION f AS (x) -> f(x)", "would call itself (f -> f)"),
        ("CREATE FUNCTION line AS (x, k) -> twice(x)", "would call itself (line -> twice -> line)"),
    ] {
        let error = check_function(&state, &created(sql), sql).expect_err(sql);
        assert!(error.message().contains(part), "{sql}: {error}");
    }
    let fine = "CREATE FUNCTION f AS (xs, k) -> arrayMap((x, y) -> x * y + k, xs, xs)";
    check_function(&state, &created(fine), fine).expect("fine");
}
