//! Statements that nobody would write: pieces of real ones put together at random, cut, doubled and
//! nested. Each is parsed and bound, or refused with a message; none panics, hangs or overflows the
//! stack. `GRANARY_FUZZ_CASES` and `GRANARY_FUZZ_SEED` set how many and which.

use std::path::Path;

use granary_common::random::SeededRandom;
use granary_common::{Clock, ErrorKind, Random, SystemClock};

use super::support::Memory;
use crate::{Statement, bind_query, parse};

const CASES: u64 = 1_500;
/// No statement of these lengths takes nearly as long, also on a machine that does much else.
const LIMIT_MS: u64 = 30_000;

const TABLES: &str = "CREATE TABLE t (id Int64, name String, price Decimal(10, 2), ratio Float64, day Date,
    at DateTime, tags Array(String), pairs Map(String, Int32), note Nullable(String), code FixedString(4))
    ENGINE = MergeTree ORDER BY id;
    CREATE TABLE u (id Int32, t_id Nullable(Int64), kind Enum8('a' = 1, 'b' = 2), doc JSON)
    ENGINE = MergeTree ORDER BY id";

/// Queries over the tables above, so that what is made of them gets further than to an unknown name.
const QUERIES: &[&str] = &[
    "SELECT id, name FROM t WHERE price > 1.5 AND day >= '2024-01-01' ORDER BY id DESC LIMIT 3",
    "SELECT name, count(*) AS c, sum(price) FROM t GROUP BY name WITH TOTALS HAVING c > 1",
    "SELECT t.id, u.kind FROM t LEFT JOIN u ON t.id = u.t_id AND u.id <> 3 WHERE t.name LIKE 'a%'",
    "SELECT arrayMap(x -> upper(x), tags), pairs['a'], tags[1] FROM t ARRAY JOIN tags AS tag",
    "SELECT id, row_number() OVER (PARTITION BY name ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r",
    "SELECT id FROM t WHERE id IN (SELECT t_id FROM u WHERE kind = 'a') OR EXISTS (SELECT 1 FROM u WHERE u.t_id = t.id)",
    "SELECT toStartOfMonth(day) AS m, quantile(0.9)(ratio), uniqIf(name, id > 2) FROM t GROUP BY ALL ORDER BY m WITH FILL",
    "SELECT * EXCEPT (at) REPLACE (id + 1 AS id) FROM t QUALIFY rank() OVER (ORDER BY id) = 1",
    "SELECT COLUMNS('^(id|name)$'), CASE WHEN note IS NULL THEN 'x' ELSE note END FROM t LIMIT 1 BY name",
    "SELECT doc.a.b, CAST(id AS String), id::Float64, INTERVAL 3 DAY + day FROM t, u WHERE code = 'ab'",
    "SELECT a.id FROM t AS a ASOF JOIN u AS b ON a.id = b.t_id AND a.id >= b.id",
    "SELECT id FROM t UNION ALL SELECT id FROM u EXCEPT SELECT 3 INTERSECT SELECT t_id FROM u",
    "SELECT multiIf(id = 1, 'a', id = 2, 'b', 'c'), if(id > 0, 1, 2), (id, name) FROM t GROUP BY CUBE (id, name)",
    "SELECT sum(id) FROM t PIVOT (sum(price) FOR name IN ('a', 'b'))",
    "SELECT [1, 2][1], {'a': 1}, x'ff', 1e300, -0.0, NULL, DATE '2024-02-30', dateDiff('day', day, at) FROM t SAMPLE 0.1",
];

/// Values and words at the edges.
const EDGES: &[&str] = &[
    "NULL",
    "-1",
    "0",
    "9223372036854775808",
    "-9223372036854775808",
    "1e999",
    "''",
    "'\\'",
    "''''",
    "()",
    "[]",
    "*",
    "(SELECT 1)",
    "(SELECT id FROM t)",
    "DISTINCT",
    "CAST(NULL AS Nothing)",
    "\u{1f33e}",
    "\"\"",
    "99999999999999999999999999999999999999999",
    "$1",
    "{p:UInt8}",
    "?",
    "--",
    "/*",
    "x -> x",
    "INTERVAL",
    "'2024-13-45'",
    "0x",
    "1.2.3",
    "Array(Array(Nothing))",
    "OVER ()",
    "FILTER (WHERE id)",
    "a.b.c.d.e",
];

/// The pieces of a text that mean something by themselves.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = match first {
            '\'' => rest[1..].find('\'').map_or(rest.len(), |end| end + 2),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        pieces.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    pieces
}

/// The statements of the tests' files; their tables are unknown here.
fn foreign() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder.join("sql")).expect("the tests") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("a text");
        let records = text.split("\n\n").filter_map(|record| {
            let (head, body) = record.split_once('\n')?;
            let body = if head.starts_with("skipif") { body.split_once('\n')?.1 } else { body };
            Some(body.split("\n----").next()?.to_owned())
        });
        texts.extend(records.filter(|text| text.len() < 2_000));
    }
    texts.sort();
    texts
}

struct Mutations {
    random: SeededRandom,
    own: Vec<Vec<String>>,
    foreign: Vec<Vec<String>>,
}

impl Mutations {
    fn below(&self, bound: usize) -> usize {
        (self.random.next_u64() % bound.max(1) as u64) as usize
    }

    fn source(&self) -> &[String] {
        let all = if self.below(4) == 0 { &self.foreign } else { &self.own };
        &all[self.below(all.len())]
    }

    /// A run of pieces of some statement.
    fn run(&self) -> Vec<String> {
        let source = self.source();
        let first = self.below(source.len());
        let count = 1 + self.below(8);
        source.iter().skip(first).take(count).cloned().collect()
    }

    fn statement(&self) -> String {
        let mut pieces = self.source().to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(pieces.len());
            let end = (at + 1 + self.below(5)).min(pieces.len());
            match self.below(7) {
                0 => drop(pieces.drain(at..end)),
                1 => {
                    let doubled = pieces[at..end].to_vec();
                    pieces.splice(at..at, doubled);
                }
                2 => drop(pieces.splice(at..end, self.run())),
                3 => drop(pieces.splice(at..at, self.run())),
                4 => drop(pieces.splice(at..end, [EDGES[self.below(EDGES.len())].to_owned()])),
                5 => {
                    let other = self.below(pieces.len());
                    if !pieces.is_empty() {
                        pieces.swap(at, other);
                    }
                }
                _ => {
                    pieces.insert(end, ")".to_owned());
                    pieces.insert(at, "(".to_owned());
                }
            }
            if pieces.is_empty() {
                pieces = self.run();
            }
        }
        pieces.join(" ")
    }
}

/// Tells which statement it was when the test panics over it.
struct Blamed<'a>(&'a str);

impl Drop for Blamed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the statement: {}", self.0);
        }
    }
}

/// Parses and binds; an error of kind Internal is a panic that was caught too late.
async fn check(memory: &Memory, sql: &str) -> Result<(), String> {
    let _blamed = Blamed(sql);
    let clock = SystemClock;
    let started = clock.monotonic_ms();
    let bound = async {
        for statement in parse(sql)? {
            if let Statement::Query(query) = statement {
                bind_query(&memory.state(), &query, sql).await?;
            }
        }
        Ok::<(), granary_common::Error>(())
    };
    let outcome = bound.await;
    assert!(clock.monotonic_ms() - started < LIMIT_MS, "it took too long");
    match outcome {
        Err(error) if error.kind() == ErrorKind::Internal => Err(format!("{error}\n  {sql}")),
        _ => Ok(()),
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn no_statement_panics_or_hangs() {
    let memory = Memory::with(TABLES).await;
    let mutations = Mutations {
        random: SeededRandom::new(number("GRANARY_FUZZ_SEED", 1)),
        own: QUERIES.iter().map(|text| pieces(text)).collect(),
        foreign: foreign().iter().map(|text| pieces(text)).filter(|p| !p.is_empty()).collect(),
    };
    assert!(mutations.foreign.len() > 500, "the files were read");
    let mut internal = Vec::new();
    for _ in 0..number("GRANARY_FUZZ_CASES", CASES) {
        internal.extend(check(&memory, &mutations.statement()).await.err());
    }
    assert!(internal.is_empty(), "{} internal errors:\n{}", internal.len(), internal.join("\n"));
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
