//! TPC-H: the tables of the tests, and all 22 queries against them.

use std::path::{Path, PathBuf};

use super::support::Memory;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tpch")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test]
async fn all_queries_bind_and_run() {
    let mut memory = Memory::with(&read(&folder().join("tables.sql"))).await;
    assert_eq!(memory.snapshot.tables.len(), 8);
    for number in 1..=22 {
        let sql = read(&folder().join(format!("queries/q{number:02}.sql")));
        let rows = memory.run(&sql).await;
        rows.unwrap_or_else(|error| panic!("query {number}: {error}"));
    }
}

#[tokio::test]
async fn discounts_are_decimals() {
    let mut memory = Memory::with(&read(&folder().join("tables.sql"))).await;
    let line = "INSERT INTO lineitem (l_orderkey, l_quantity, l_extendedprice, l_discount, \
                l_shipdate) VALUES (1, 10, 100.00, 0.07, '1994-06-01')";
    memory.run(line).await.expect("a line");
    let sql = read(&folder().join("queries/q06.sql"));
    assert_eq!(memory.run(&sql).await.expect("query 6"), ["7.0000"]);
}
