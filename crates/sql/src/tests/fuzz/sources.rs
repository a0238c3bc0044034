//! What statements are made of.

use std::path::Path;

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

/// Other statements over them.
const CHANGES: &[&str] = &[
    "INSERT INTO t (id, name, day) VALUES (1, 'a', '2024-01-01'), (2, NULL, DEFAULT)",
    "INSERT INTO u SELECT id, t_id, kind, doc FROM u WHERE id > 3",
    "CREATE TABLE v (a Int64 DEFAULT b + 1, b Nullable(Decimal(9, 2)), c Array(String) CODEC(ZSTD(3)), INDEX i a TYPE minmax GRANULARITY 1) ENGINE = ReplacingMergeTree(b) PARTITION BY a % 7 ORDER BY (a, c) TTL toDate(a) + INTERVAL 3 DAY SETTINGS index_granularity = 8192",
    "CREATE OR REPLACE TABLE v ENGINE = MergeTree ORDER BY id AS SELECT id, upper(name) AS n FROM t",
    "CREATE MATERIALIZED VIEW m ENGINE = SummingMergeTree ORDER BY name AS SELECT name, sum(price) AS s FROM t GROUP BY name",
    "ALTER TABLE t ADD COLUMN z UInt8 DEFAULT 3 AFTER id, DROP COLUMN note, MODIFY COLUMN ratio Nullable(Float64)",
    "ALTER TABLE t ADD INDEX i name TYPE bloom_filter(0.01) GRANULARITY 4, MODIFY TTL day + INTERVAL 1 MONTH DELETE",
    "DELETE FROM t WHERE id IN (SELECT t_id FROM u) AND name LIKE '%x'",
    "UPDATE t SET name = upper(name), ratio = ratio * 2 WHERE id BETWEEN 3 AND 9",
    "MERGE INTO t USING u ON t.id = u.t_id WHEN MATCHED AND u.id > 3 THEN UPDATE SET name = 'x' WHEN NOT MATCHED THEN INSERT (id) VALUES (u.id)",
    "EXPLAIN SELECT id FROM t WHERE pairs['a'] > 3 AND has(tags, 'x')",
    "OPTIMIZE TABLE t PARTITION 3 FINAL; SHOW CREATE TABLE t; DESCRIBE t; SET max_threads = 3; USE d",
];

/// Values and words at the edges.
pub(super) const EDGES: &[&str] = &[
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
    "repeat('x', 9223372036854775807)",
    "range(9223372036854775807)",
    "generate_series(1, 9223372036854775807)",
    "INTERVAL '9223372036854775807' YEAR",
    "toDecimal256('1', 76)",
    "'(((((((((('",
    "'\\0'",
];

/// The pieces of a text that mean something by themselves.
pub(super) fn pieces(text: &str) -> Vec<String> {
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

/// The statements of a file of tests: what stands between a record's first line and its rows.
fn statements_of(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split("\n\n").filter_map(|record| {
        let (head, body) = record.split_once('\n')?;
        let body = if head.starts_with("skipif") { body.split_once('\n')?.1 } else { body };
        Some(body.split("\n----").next()?.to_owned())
    })
}

/// Statements over the tables above.
pub(super) fn own() -> Vec<String> {
    QUERIES.iter().chain(CHANGES).map(|text| (*text).to_owned()).collect()
}

/// The statements of the tests' files and those that users bring with them; their tables are unknown
/// here.
pub(super) fn foreign() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    let mut texts: Vec<String> =
        super::super::seed::first_section().into_iter().map(|(_, statement)| statement).collect();
    for name in ["sql", "acceptance"] {
        for entry in std::fs::read_dir(folder.join(name)).expect("the tests") {
            let path = entry.expect("a file").path();
            if path.extension().is_some_and(|ending| ending == "slt") {
                texts.extend(statements_of(&std::fs::read_to_string(path).expect("a text")));
            }
        }
    }
    texts.retain(|text| text.len() < 2_000);
    texts.sort();
    texts
}
