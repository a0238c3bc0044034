//! Statements that are deeper or longer than anybody writes them: the parser and the binder are done
//! with them in little time, and a mistake in them is reported where it is.

use granary_common::{Clock, SystemClock};

use super::fuzz::{TABLES, check};
use super::support::Memory;
use crate::parse;

/// Far more than any of them takes, also on a machine that does much else.
const LIMIT_MS: u64 = 20_000;

/// The message of a statement that must not be understood.
fn refusal(sql: &str) -> String {
    let clock = SystemClock;
    let started = clock.monotonic_ms();
    let outcome = parse(sql);
    let taken = clock.monotonic_ms() - started;
    let shown: String = sql.chars().take(60).collect();
    assert!(taken < LIMIT_MS, "{taken} ms for {shown}");
    match outcome {
        Ok(_) => panic!("understood: {shown}"),
        Err(error) => error.message().to_owned(),
    }
}

/// A form around a value.
type Form = (&'static str, &'static str);

/// Forms that a word begins, each of which may be within itself.
const FORMS: [Form; 26] = [
    ("CAST(", " AS Int8)"),
    ("TRY_CAST(", " AS Int8)"),
    ("CASE WHEN ", " THEN 1 END"),
    ("CASE ", " WHEN 1 THEN 2 ELSE 3 END"),
    ("CASE (", ") WHEN 1 THEN 2 ELSE 3 END"),
    ("floor(", ")"),
    ("floor(", ", id)"),
    ("ceil(", ", 1)"),
    ("substring(", ", 1)"),
    ("substring(", " FROM 1 FOR 2)"),
    ("substr(", ", 1, 2, 3)"),
    ("trim(", ")"),
    ("trim(BOTH ' ' FROM ", ")"),
    ("position(", " IN name)"),
    ("extract(YEAR FROM ", ")"),
    ("overlay(", " PLACING 'a' FROM 1)"),
    ("convert(", ", Int8)"),
    ("current_timestamp(", ")"),
    ("INTERVAL (", ") DAY"),
    ("NOT (", ")"),
    ("ARRAY[", "]"),
    ("[", "]"),
    ("(", ")"),
    ("f(", ")"),
    ("EXISTS (SELECT 1 WHERE ", ")"),
    ("id IN (", ")"),
];

fn nested((open, close): Form, depth: usize, inner: &str) -> String {
    format!("SELECT {}{inner}{} FROM t", open.repeat(depth), close.repeat(depth))
}

#[test]
fn a_mistake_deep_inside_is_reported_where_it_is() {
    for form in FORMS {
        for depth in [1, 40] {
            let message = refusal(&nested(form, depth, "1 + + * 2"));
            let column = "SELECT ".len() + depth * form.0.len() + "1 + + ".len() + 1;
            let place = format!("(line 1, column {column})");
            assert!(message.contains(&place), "{form:?} of {depth}, {place}: {message}");
        }
    }
}

#[test]
fn what_is_nested_too_deeply_is_refused() {
    for form in FORMS {
        for depth in [1_000, 100_000] {
            let message = refusal(&nested(form, depth, "1"));
            assert!(message.contains("nested too deeply"), "{form:?}: {message}");
            assert!(message.contains("(line 1, column "), "{form:?}: {message}");
        }
    }
}

#[test]
fn forms_are_read_once_at_each_level() {
    for form in FORMS {
        // EXISTS and IN take several levels of the parser's at once.
        for depth in [1, 7, 24] {
            let sql = nested(form, depth, "id");
            parse(&sql).unwrap_or_else(|error| panic!("{form:?} of {depth}: {error}"));
        }
    }
    for form in &FORMS[..3] {
        parse(&nested(*form, 60, "id")).unwrap_or_else(|error| panic!("{form:?}: {error}"));
    }
}

/// What begins without end, and what its refusal says.
#[test]
fn beginnings_without_end_are_refused() {
    for (open, says) in [
        ("NOT ", "nested too deeply"),
        ("- ", ""),
        ("INTERVAL ", "expected: the length of an interval"),
        ("INTERVAL DAY '1' + ", ""),
        ("CASE WHEN ", "nested too deeply"),
        ("(", "nested too deeply"),
        ("[", "nested too deeply"),
        ("{", "nested too deeply"),
        ("f(", "nested too deeply"),
        ("x -> ", "nested too deeply"),
        ("(x, y) -> ", "nested too deeply"),
        ("a.", "nested too deeply"),
        ("(SELECT ", "nested too deeply"),
        ("1 ? 2 : ", "nested too deeply"),
        ("Array(", "nested too deeply"),
        ("1::Array(", "nested too deeply"),
        ("1::ARRAY<", ""),
        ("1::STRUCT<", ""),
        ("LAMBDA x : ", "expected"),
        ("{'a': ", ""),
        ("MAP {'a': ", ""),
        ("* FROM (SELECT ", "nested too deeply"),
        ("* FROM ((SELECT ", "nested too deeply"),
        ("* FROM (a JOIN (", "nested too deeply"),
        ("* FROM (((a JOIN b) JOIN ", "nested too deeply"),
        ("1 IN ((SELECT ", "nested too deeply"),
        ("1 BETWEEN SYMMETRIC ", "expected"),
    ] {
        for count in [30, 1_000, 100_000] {
            let message = refusal(&format!("SELECT {}1 + )", open.repeat(count)));
            let is_short = count == 30;

            assert!(is_short || message.contains(says), "{open} {count} times: {message}");
        }
    }
}

/// Valid, and read again and again by a parser that tries one reading after the other.
#[test]
fn tables_in_brackets_are_read_a_bounded_number_of_times() {
    let sql = |depth: usize| {
        let open = "SELECT * FROM ((".repeat(depth);
        format!("{open}SELECT 1{}", ") AS a JOIN u ON true)".repeat(depth))
    };
    for depth in [1, 3, 8] {
        parse(&sql(depth)).unwrap_or_else(|error| panic!("{depth}: {error}"));
    }
    assert!(refusal(&sql(20)).contains("nested too deeply"));
}

/// Names that stand for others which stand for others, each of them twice.
#[tokio::test]
async fn names_that_double_are_refused() {
    let memory = Memory::with(TABLES).await;
    let chain = |item: &dyn Fn(usize) -> String, count: usize| {
        (1..count).map(item).collect::<Vec<_>>().join(", ")
    };
    for count in [5, 60] {
        let with = chain(&|n| format!("a{} + a{} AS a{n}", n - 1, n - 1), count);
        let functions = chain(&|n| format!("x -> f{}(f{}(x)) AS f{n}", n - 1, n - 1), count);
        let select = chain(&|n| format!("b{} + b{} AS b{n}", n - 1, n - 1), count);
        let pivots = "(PIVOT ".repeat(count) + "t" + &" ON id USING sum(id))".repeat(count);
        let calls =
            "greatest(if(".repeat(count.min(40)) + "id" + &", 1, 2), 3)".repeat(count.min(40));
        for sql in [
            format!("WITH 1 AS a0, {with} SELECT a{}", count - 1),
            format!("WITH x -> x + 1 AS f0, {functions} SELECT f{}(1)", count - 1),
            format!("SELECT id AS b0, {select} FROM t"),
            format!("SELECT * FROM {pivots}"),
            format!("SELECT {calls} FROM t"),
        ] {
            check(&memory, &sql).await.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

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
        ("sum", 100_000, |n| format!("SELECT 1{}", " + id".repeat(n)) + " FROM t"),
        ("AND", 10_000, |n| format!("SELECT id FROM t WHERE id > 0{}", " AND id <> 7".repeat(n))),
        ("OR", 10_000, |n| format!("SELECT id FROM t WHERE id = 0{}", " OR name = 'x'".repeat(n))),
        ("concatenation", 100_000, |n| format!("SELECT name{} FROM t", " || 'x'".repeat(n))),
        ("list", 10_000, |n| format!("SELECT id FROM t WHERE id IN (0{})", ", 7".repeat(n))),
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
        for length in [3, 30, 300, 2_000, 10_000, 100_000] {
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
