//! Projections: what is bound of them, and which are refused.

use granary_catalog::{BoundProjection, Fold, Projection};

use super::support::{Memory, only};
use crate::Statement;

async fn created(query: &str) -> granary_common::Result<Vec<Projection>> {
    let sql = format!(
        "CREATE TABLE t (id Int64, s String, x Int32, n Nullable(Float64), at DateTime, \
         a Array(Int8), PROJECTION p ({query})) ENGINE = MergeTree ORDER BY id"
    );
    let mut memory = Memory::with("").await;
    let Statement::CreateTable(create) = only(&sql) else { panic!("{sql}") };
    let notices = memory.create(&create)?;
    assert!(notices.is_empty(), "{notices:?}");
    Ok(memory.table("t").options.projections.clone())
}

/// Types of keys, folds with types of values, and the order.
fn shown(bound: &BoundProjection) -> String {
    let keys: Vec<String> = bound.keys.iter().map(|key| key.column_type.to_string()).collect();
    let values = bound.values.iter().map(|value| {
        let fold = match value.fold {
            Fold::Count => "count",
            Fold::Sum => "sum",
            Fold::Min => "min",
            Fold::Max => "max",
        };
        format!("{fold} {}", value.column_type)
    });
    let values: Vec<String> = values.collect();
    let kind = if bound.is_grouped { "grouped" } else { "rows" };
    format!("{kind} [{}] [{}] {:?}", keys.join(", "), values.join(", "), bound.ordered_by)
}

#[tokio::test]
async fn selects_are_bound() {
    for (query, expected) in [
        (
            "SELECT s, count(), sum(x) GROUP BY s",
            "grouped [String] [count Int64, sum Nullable(Int64)] [0]",
        ),
        ("SELECT count(x), count(), count(id) GROUP BY s", "grouped [String] [count Int64] [0]"),
        (
            "SELECT avg(x), avg(n) GROUP BY s",
            "grouped [String] [sum Nullable(Float64), count Int64, sum Nullable(Float64), count \
             Int64] [0]",
        ),
        (
            "SELECT toStartOfHour(at) AS h, min(at), max(s) GROUP BY h, id",
            "grouped [DateTime, Int64] [min Nullable(DateTime), max Nullable(String)] [0, 1]",
        ),
        ("SELECT s, x GROUP BY 1, x", "grouped [String, Int32] [] [0, 1]"),
        (
            "SELECT sum(x) / count() AS mean, sumIf(x, id > 3)",
            "grouped [] [sum Nullable(Int64), count Int64, sum Nullable(Int64)] []",
        ),
        ("SELECT s, x ORDER BY x", "rows [Int32, String] [] [0]"),
        (
            "SELECT * ORDER BY (s, id)",
            "rows [String, Int64, Int32, Nullable(Float64), DateTime, Array(Int8)] [] [0, 1]",
        ),
    ] {
        let projections = created(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        let bound = projections[0].bound.as_ref().expect("is bound");
        assert_eq!(shown(bound), expected, "{query}");
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    for (query, expected) in [
        ("SELECT uniq(x) GROUP BY s", "possible are count, sum, min, max and avg"),
        ("SELECT count(DISTINCT x) GROUP BY s", "possible are count, sum, min, max and avg"),
        ("SELECT groupArray(x) GROUP BY s", "possible are count, sum, min, max and avg"),
        ("SELECT x, count() GROUP BY s", "'x' is neither grouped by nor aggregated"),
        ("SELECT *, count() GROUP BY s", "is neither grouped by nor aggregated"),
        ("SELECT count() GROUP BY a", "has no order"),
        ("SELECT count() GROUP BY n + 1", "a computed float"),
        ("SELECT count() GROUP BY rand()", "not the same every time"),
        ("SELECT sum(x + rand()) GROUP BY s", "not the same every time"),
        ("SELECT count() GROUP BY nope", "nope"),
        ("SELECT count() GROUP BY 7", "7 is no place of an item"),
        ("SELECT count() GROUP BY s ORDER BY s", "ORDER BY beside GROUP BY"),
        ("SELECT s ORDER BY s DESC", "ascending order"),
        ("SELECT s", "it needs GROUP BY or ORDER BY"),
        ("SELECT count() FROM other GROUP BY s", "FROM is not possible"),
        ("SELECT count() WHERE x > 1 GROUP BY s", "WHERE is not possible"),
        ("SELECT count() GROUP BY s HAVING count() > 1", "HAVING is not possible"),
        ("SELECT count() GROUP BY s LIMIT 1", "LIMIT is not possible"),
    ] {
        let error = created(query).await.expect_err(query);
        assert!(error.message().contains(expected), "{query}: {error}");
        assert!(error.message().contains("projection 'p'"), "{query}: {error}");
    }
}
