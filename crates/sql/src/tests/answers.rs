//! Answers that other databases give: of floats beside decimals, of NULL in aggregates, of types that
//! Arrow does not carry.

use super::support::Memory;

const TABLES: &str = "CREATE TABLE f (id Int32, v Float64, w Float32) ENGINE = MergeTree ORDER BY id; \
     INSERT INTO f VALUES (1, 1e30, 0.5), (2, 'inf', 1e30), (3, 0.30000000000000004, 0.3), \
     (4, 1e-20, 'inf'), (5, 0.5, -0.25); \
     CREATE TABLE s (id Int32, u UUID, a IPv4, b IPv6, t String, m Map(String, UInt8), \
     l Array(String), n Nullable(Int32), x UInt8, g Nested(x UInt8, y String)) \
     ENGINE = MergeTree ORDER BY id; \
     INSERT INTO s (id, u, a, b, t, m, l, n, g.x, g.y) VALUES \
     (1, '61F0C404-5CB3-11E7-907B-A6006AD3DBA0', '1.2.3.4', '::1', '1.2.3.4', {'k': 2}, ['p', 'q'], \
      NULL, [3], ['z'])";

#[tokio::test]
async fn queries_answer_as_elsewhere() {
    let mut memory = Memory::with(TABLES).await;
    let mut wrong = Vec::new();
    for (sql, expected) in [
        ("SELECT id FROM f WHERE v > 0.4 ORDER BY id", "1; 2; 5"),
        ("SELECT id FROM f WHERE v > 0.0 AND 0.1 > v", "4"),
        (
            "SELECT id FROM f WHERE v IN (0.3, 0.5) OR (w NOT BETWEEN -1.5 AND 0.4 AND id < 3) ORDER BY id",
            "1; 2; 5",
        ),
        ("SELECT countIf(v > 0.5), countIf(v = 0.3), countIf(w = 0.3) FROM f", "2 | 0 | 1"),
        (
            "SELECT CASE v WHEN 0.5 THEN 'half' ELSE 'other' END FROM f WHERE id > 3 ORDER BY id",
            "other; half",
        ),
        ("SELECT toString(groupArray(n)), length(groupArrayIf(id, id > 5)) FROM s", "[] | 0"),
        (
            "SELECT argMax(v, k), argMin(v, k), anyLast(v), any(v) FROM (SELECT * FROM (VALUES (1, NULL), (2, 5), (3, 6), (4, NULL)) t(k, v) ORDER BY k)",
            "6 | 5 | 6 | 5",
        ),
        ("SELECT argMax(k, 1) FROM (VALUES (2)) t(k)", "2"),
        ("SELECT quantileGK(1000, 0.5)(n) FROM (VALUES (1), (2), (9)) t(n)", "2.0"),
        (
            "SELECT k, lag(v, 1, v * 10) OVER (ORDER BY k) FROM (VALUES (1, 5), (2, 6)) t(k, v) ORDER BY k",
            "1 | 50; 2 | 5",
        ),
        ("SELECT toString(m.keys), toString(m.values), l.size0 FROM s", "['k'] | [2] | 2"),
        ("SELECT x, toString(g.x) FROM s", "0 | [3]"),
        (
            "SELECT toString(arrayResize(['a'], 3)), toString(arrayResize([1], -3)), toString(arrayResize([1], 3, 9))",
            "['a','',''] | [0,0,1] | [1,9,9]",
        ),
        (
            "SELECT toString(arraySlice([1, 2, 3, 4, 5], 2, -1)), toString(arraySlice([1, 2, 3, 4, 5], -2, 5))",
            "[2,3,4] | [4,5]",
        ),
        (
            "SELECT toString(arraySort([3, NULL, 1])), toString(arrayReverseSort([3, NULL, 1]))",
            "[1,3,NULL] | [3,1,NULL]",
        ),
        (
            "SELECT k, v FROM (VALUES (1, 1), (1, 2), (1, 3), (2, 4)) t(k, v) ORDER BY k, v LIMIT 1 OFFSET 1 BY k",
            "1 | 2",
        ),
        ("SELECT (3,).1, tupleElement((4,), 1)", "3 | 4"),
        (
            "SELECT EXTRACT(century FROM DATE '2024-05-05'), EXTRACT(decade FROM DATE '2024-05-05')",
            "21 | 202",
        ),
        (
            "SELECT u = '61F0C404-5CB3-11E7-907B-A6006AD3DBA0', u IN ('61F0C4045CB311E7907BA6006AD3DBA0'), u = toUUID('61F0C404-5CB3-11E7-907B-A6006AD3DBA0') FROM s",
            "true | true | true",
        ),
        (
            "SELECT toString(a), a IN ('1.2.3.4'), '1.2.3.10' > a, toString(x.a) = x.t, b = '0:0::1' FROM s x WHERE a BETWEEN '1.0.0.0' AND '2.0.0.0'",
            "1.2.3.4 | true | true | true | true",
        ),
        ("SELECT count(*) FROM (SELECT toString(a) AS a FROM s) WHERE a = '1.2.3.4'", "1"),
        (
            "SELECT toString(CAST('[1,2]' AS Array(Int32))), coalesce(toString(TRY_CAST(x AS Array(Int32))), 'none') FROM (VALUES ('[a]')) t(x)",
            "[1,2] | none",
        ),
        (
            "SELECT formatRowNoNewline('CSV', 1, 'a\"b', NULL), formatRowNoNewline('JSONCompactEachRow', 1, 'x')",
            "1,\"a\"\"b\",\\N | [1, \"x\"]",
        ),
        (
            "SELECT length(normalizeUTF8NFD('\u{e9}')), length(normalizeUTF8NFC('e\u{301}')), normalizeUTF8NFKC('\u{fb01}')",
            "3 | 2 | fi",
        ),
        (
            "SELECT toString(mapPopulateSeries(map(1, 'a', 3, 'c'), 4)), arrayLevenshteinDistance(['a', 'b', 'c'], ['a', 'c'])",
            "{1:'a',2:'',3:'c',4:''} | 1.0",
        ),
    ] {
        match memory.run(sql).await {
            Ok(rows) if rows.join("; ") == expected => {}
            Ok(rows) => wrong.push(format!("{sql}:\n    {}\n    {expected}", rows.join("; "))),
            Err(error) => wrong.push(format!("{sql}:\n    {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
