//! Statements that nobody would write: pieces of real ones put together at random, cut, doubled, nested
//! and grown together. Each is parsed, bound and optimised, or refused with a message in our words; none
//! panics, hangs or overflows the stack. `GRANARY_FUZZ_CASES` and `GRANARY_FUZZ_SEED` set how many and
//! which.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use granary_common::random::SeededRandom;
use granary_common::{ErrorKind, Random};

use super::support::Memory;
use crate::{Statement, TableSource, bind_insert_source, bind_query, create_table, parse};

const CASES: u64 = 4_000;
/// No statement of these lengths takes nearly as long, also on a machine that does much else.
const LIMIT_MS: u64 = 150_000;

pub(super) const TABLES: &str = "CREATE TABLE t (id Int64, name String, price Decimal(10, 2), ratio Float64, day Date,
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

/// What expressions are put into.
const AROUND: &[(&str, &str)] = &[
    ("CAST (", ") AS String )"),
    ("CAST (", ") AS Nullable ( Int8 ) )"),
    ("toString (", ")"),
    ("if (", ", 1 , 2 )"),
    ("coalesce (", ", NULL )"),
    ("arrayMap ( x -> x ,", ")"),
    ("[", "]"),
    ("sum (", ")"),
    ("count ( DISTINCT", ")"),
    ("( SELECT", ")"),
    ("NOT (", ")"),
    ("- (", ")"),
    ("floor (", ", 1 )"),
    ("CASE WHEN", "THEN 1 END"),
    ("id IN (", ")"),
    ("EXISTS (", ")"),
    ("INTERVAL (", ") DAY"),
    ("tuple (", ")"),
    ("row_number ( ) OVER ( ORDER BY", ")"),
    ("extract ( YEAR FROM", ")"),
];

/// The statements of the tests' files; their tables are unknown here.
fn foreign() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    let mut texts = Vec::new();
    let files = ["sql", "acceptance"].into_iter().flat_map(|part| {
        std::fs::read_dir(folder.join(part)).expect("the tests").map(|entry| entry.expect("a file"))
    });
    for file in files.filter(|file| file.path().extension().is_some_and(|name| name == "slt")) {
        let text = std::fs::read_to_string(file.path()).expect("a text");
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
            match self.below(10) {
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
                6 => {
                    pieces.insert(end, ")".to_owned());
                    pieces.insert(at, "(".to_owned());
                }
                // The beginning of one and the end of another.
                7 => {
                    let other = self.source();
                    pieces.truncate(at);
                    pieces.extend_from_slice(&other[self.below(other.len())..]);
                }
                _ => {
                    let (open, close) = AROUND[self.below(AROUND.len())];
                    // Seldom deep.
                    let levels = [1, 1, 2, 12][self.below(4)];
                    pieces.insert(end, [close].repeat(levels).join(" "));
                    pieces.insert(at, [open].repeat(levels).join(" "));
                }
            }
            if pieces.is_empty() {
                pieces = self.run();
            }
        }
        pieces.join(" ")
    }
}

/// Tells which statement it was when the test panics over it or waits for it.
struct Blamed<'a> {
    sql: &'a str,
    /// Says that it is done.
    done: Option<Sender<()>>,
    watch: Option<JoinHandle<()>>,
}

impl<'a> Blamed<'a> {
    fn watch(sql: &'a str) -> Self {
        let (done, waits) = channel();
        let text = sql.to_owned();
        let watch = Builder::new().name("watch".to_owned()).spawn(move || {
            let limit = Duration::from_millis(LIMIT_MS);
            if waits.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!("it takes too long: {text}");
                std::process::abort();
            }
        });
        Self { sql, done: Some(done), watch: Some(watch.expect("a thread")) }
    }
}

impl Drop for Blamed<'_> {
    fn drop(&mut self) {
        self.done = None;
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
        if std::thread::panicking() {
            eprintln!("the statement: {}", self.sql);
        }
    }
}

/// Words of the engines below, which no message may have unless the statement has them.
const FOREIGN_WORDS: [&str; 12] = [
    "DataFusion",
    "datafusion",
    "sqlparser",
    "ScalarValue",
    "DataType::",
    "Expr::",
    "LogicalPlan",
    "Some(",
    "Arc<",
    "Utf8View",
    "Ident {",
    "Span(",
];

/// Parses, binds and optimises; an error of kind Internal is a panic that was caught too late.
pub(super) async fn check(memory: &Memory, sql: &str) -> Result<(), String> {
    let _blamed = Blamed::watch(sql);
    let bound = async {
        for statement in parse(sql)? {
            let state = memory.state();
            match statement {
                Statement::Query(query) => {
                    let plan = bind_query(&state, &query, sql).await?;
                    // What it then has against the plan is said when the query runs.
                    let _ = state.optimize(&plan);
                }
                Statement::Insert(insert) => {
                    bind_insert_source(&state, &insert.source, sql).await?;
                }
                Statement::CreateTable(create) => {
                    let source = TableSource {
                        snapshot: &memory.snapshot,
                        current_database: "default",
                        settings: memory.settings,
                        state: &state,
                        query_columns: &[],
                    };
                    create_table(&create, source)?;
                }
                _ => {}
            }
        }
        Ok::<(), granary_common::Error>(())
    };
    let Err(error) = bound.await else { return Ok(()) };
    let leaks = |word: &&str| error.message().contains(word) && !sql.contains(word);
    match FOREIGN_WORDS.iter().find(|word| leaks(word)) {
        _ if error.kind() == ErrorKind::Internal => Err(format!("{error}\n  {sql}")),
        Some(word) => Err(format!("'{word}': {error}\n  {sql}")),
        None => Ok(()),
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
