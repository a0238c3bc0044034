//! Shapes that grow without bound.

use granary_common::ErrorKind;

use super::check;
use super::sources::TABLES;
use crate::parse;
use crate::tests::support::Memory;

/// A statement of a length.
type Shape = fn(usize) -> String;

/// Shapes that grow without bound: the short ones work, the long ones work or are refused.
#[tokio::test]
async fn long_and_deep_statements_work_or_are_refused() {
    let memory = Memory::with(TABLES).await;
    let shapes: [(&str, usize, Shape); 14] = [
        ("brackets", 3000, |n| format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n))),
        ("NOT", 3000, |n| format!("SELECT {} true", "NOT ".repeat(n))),
        ("minus", 3000, |n| format!("SELECT {}1", "- ".repeat(n))),
        ("sum", 3000, |n| format!("SELECT 1{}", " + id".repeat(n)) + " FROM t"),
        ("AND", 3000, |n| format!("SELECT id FROM t WHERE id > 0{}", " AND id <> 7".repeat(n))),
        ("OR", 3000, |n| format!("SELECT id FROM t WHERE id = 0{}", " OR name = 'x'".repeat(n))),
        ("concatenation", 3000, |n| format!("SELECT name{} FROM t", " || 'x'".repeat(n))),
        ("list", 3000, |n| format!("SELECT id FROM t WHERE id IN (0{})", ", 7".repeat(n))),
        ("columns", 300, |n| format!("SELECT 1{}", ", id".repeat(n)) + " FROM t"),
        ("subqueries", 300, |n| {
            format!("{}SELECT 1{}", "SELECT * FROM (".repeat(n), ")".repeat(n))
        }),
        ("unions", 300, |n| format!("SELECT 1{}", " UNION ALL SELECT 2".repeat(n))),
        ("calls", 300, |n| format!("SELECT {}id{} FROM t", "abs(".repeat(n), ")".repeat(n))),
        ("arrays", 300, |n| format!("SELECT {}1{}", "[".repeat(n), "]".repeat(n))),
        ("cases", 300, |n| {
            format!("SELECT {}0{}", "CASE WHEN true THEN 1 ELSE ".repeat(n), " END".repeat(n))
        }),
    ];
    for (name, bound_max, shape) in shapes {
        for length in [3, 30, 300, 3_000, 30_000] {
            let sql = shape(length);
            // The types of long operations are asked for again and again, which takes its time.
            if length > bound_max {
                assert!(parse(&sql).is_ok_and(|s| s.len() == 1) || parse(&sql).is_err());
                continue;
            }
            let outcome = check(&memory, &sql).await;
            outcome.unwrap_or_else(|error| panic!("{name} of {length}: {}", &error[..200]));
        }
    }
}

/// What lies within itself too often is refused by the parser, with words that say so.
#[test]
fn deep_nesting_is_refused_with_a_clear_error() {
    let shapes: [(&str, Shape); 12] = [
        ("brackets", |n| format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n))),
        ("NOT", |n| format!("SELECT {} true", "NOT ".repeat(n))),
        ("minus", |n| format!("SELECT {}1", "- ".repeat(n))),
        ("subqueries", |n| format!("{}SELECT 1{}", "SELECT * FROM (".repeat(n), ")".repeat(n))),
        ("calls", |n| format!("SELECT {}id{} FROM t", "abs(".repeat(n), ")".repeat(n))),
        ("arrays", |n| format!("SELECT {}1{}", "[".repeat(n), "]".repeat(n))),
        ("records", |n| format!("SELECT {}1{}", "{'a': ".repeat(n), "}".repeat(n))),
        ("cases", |n| {
            format!("SELECT {}0{}", "CASE WHEN true THEN 1 ELSE ".repeat(n), " END".repeat(n))
        }),
        ("casts", |n| format!("SELECT {}1{}", "CAST(".repeat(n), " AS String)".repeat(n))),
        ("lambdas", |n| format!("SELECT arrayMap({} 1, [1])", "x -> ".repeat(n))),
        ("types", |n| format!("CREATE TABLE d (a {}Int8{})", "Array(".repeat(n), ")".repeat(n))),
        ("joins", |n| format!("SELECT 1 FROM {}t{}", "(".repeat(n), ")".repeat(n))),
    ];
    for (name, shape) in shapes {
        for length in [3_000, 30_000] {
            let error = parse(&shape(length)).err().unwrap_or_else(|| panic!("{name} of {length}"));
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
            assert!(error.to_string().contains("nested"), "{name}: {error}");
        }
    }
}
