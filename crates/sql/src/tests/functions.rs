//! Functions by their values: tables of expressions.

use super::support::Memory;

const TABLE: &str = "CREATE TABLE t (id Int32, tags Array(String), m Map(String, Float64), \
     items Array(Tuple(product UInt64, quantity UInt32)), n Nested(k String, v Int32), \
     payload String, amount Decimal(10, 2), x Nullable(Int32)) ENGINE = MergeTree ORDER BY id; \
     INSERT INTO t VALUES \
     (1, ['a', 'b'], map('one', 1, 'two', 2), [(7, 2), (8, 1)], ['p', 'q'], [1, 2], \
      '{\"id\": 5, \"user\": {\"name\": \"ann\", \"tags\": [\"x\", \"y\"]}, \"ok\": true}', 2.5, 1), \
     (2, [], map(), [], [], [], 'broken', 0, NULL)";

/// Each expression over the first row of the table.
async fn check(cases: &[(&str, &str)]) {
    let mut memory = Memory::with(TABLE).await;
    let mut wrong = Vec::new();
    for (expression, expected) in cases {
        let sql = format!("SELECT toString({expression}) FROM t WHERE id = 1");
        match memory.run(&sql).await {
            Ok(rows) if rows.join("; ") == *expected => {}
            Ok(rows) => {
                wrong.push(format!("{expression}: {} instead of {expected}", rows.join("; ")))
            }
            Err(error) => wrong.push(format!("{expression}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn check_queries(cases: &[(&str, &str)]) {
    let mut memory = Memory::with(TABLE).await;
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        match memory.run(sql).await {
            Ok(rows) if rows.join("; ") == *expected => {}
            Ok(rows) => wrong.push(format!("{sql}: {} instead of {expected}", rows.join("; "))),
            Err(error) => wrong.push(format!("{sql}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn arrays() {
    check(&[
        ("arrayMap((x, y) -> x + y, [1, 2], [10, 20])", "[11,22]"),
        ("arrayMap(x -> x.product, items)", "[7,8]"),
        ("arrayMap(x -> arrayMap(y -> x + y, [1]), [1, 2])", "[[2],[3]]"),
        ("arrayFilter((x, y) -> y > 1, ['a', 'b'], [1, 2])", "['b']"),
        ("arraySum(x -> x * 0.5, [1, 2, 3])", "3"),
        ("arraySum(n.v)", "3"),
        ("arrayAvg([1, 2, 6])", "3"),
        ("arrayCount(x -> x > 1, [1, 2, 3])", "2"),
        ("arraySort(x -> -x, [1, 3, 2])", "[3,2,1]"),
        ("arrayReverseSort(x -> -x, [1, 3, 2])", "[1,2,3]"),
        ("arrayExists(x -> x = 3, [1, 2])", "false"),
        ("arrayAll(x -> x > 0, [1, 2])", "true"),
        ("arrayFirst(x -> x > 1, [1, 2, 3])", "2"),
        ("arrayLast(x -> x > 1, [1, 2, 3])", "3"),
        ("arrayFirstIndex(x -> x > 1, [1, 2, 3])", "2"),
        ("arrayLastIndex(x -> x < 3, [1, 2, 3])", "2"),
        ("arrayCumSum([1, 2, 3])", "[1,3,6]"),
        ("arrayDifference([1, 4, 2])", "[0,3,-2]"),
        ("arrayProduct([2, 3])", "6"),
        ("arrayUniq([1, 1, 2])", "2"),
        ("arrayEnumerate(['a', 'b'])", "[1,2]"),
        ("arrayEnumerateUniq(['a', 'a', 'b'])", "[1,2,1]"),
        ("countEqual([1, 2, 1], 1)", "2"),
        ("empty([])", "true"),
        ("items[1].product", "7"),
        ("items[2].2", "1"),
        ("tupleElement(items[1], 'quantity')", "2"),
        ("tupleElement((1, 'b'), 2)", "b"),
        ("(1, 'b').2", "b"),
        ("mapFilter((k, v) -> v > 1, m)['two']", "2"),
        ("mapApply((k, v) -> (k, v * 10), m)['one']", "10"),
        ("mapKeys(mapFilter((k, v) -> v > 1, m))", "['two']"),
        ("mapExists((k, v) -> v > 1, m)", "true"),
    ])
    .await;
}

#[tokio::test]
async fn documents() {
    check(&[
        ("JSONExtractInt(payload, 'id')", "5"),
        ("JSONExtractString(payload, 'user', 'name')", "ann"),
        ("JSONExtractString(payload, 'user', 'tags', -1)", "y"),
        ("JSONHas(payload, 'user', 'nope')", "false"),
        ("JSONLength(payload, 'user', 'tags')", "2"),
        ("JSONExtractBool(payload, 'ok')", "true"),
        ("JSONExtract(payload, 'user', 'tags', 'Array(String)')", "['x','y']"),
        ("JSONExtract(payload, 'id', 'UInt8')", "5"),
        ("JSONExtract(payload, 'nope', 'UInt8')", "0"),
        ("JSONExtract(payload, 'nope', 'Nullable(UInt8)') IS NULL", "true"),
        ("JSONExtract('[1, \"a\"]', 'Tuple(n UInt8, s String)').s", "a"),
        ("JSONExtract('{\"a\": 1}', 'Map(String, Int64)')['a']", "1"),
        ("JSONExtractKeysAndValues('{\"a\": 1}', 'Int64')[1].2", "1"),
        ("JSONExtractKeys(payload, 'user')", "['name','tags']"),
        ("JSONType(payload, 'id')", "Int64"),
        ("JSONExtractRaw('{\"a\": [1, 2]}', 'a')", "[1,2]"),
        ("JSONExtractArrayRaw('[1, \"b\"]')", "['1','\"b\"']"),
        ("isValidJSON(payload)", "true"),
        ("isValidJSON('{')", "false"),
        ("visitParamExtractInt('{\"a\": 3}', 'a')", "3"),
        ("JSONExtractInt('broken', 'a')", "0"),
    ])
    .await;
}

#[tokio::test]
async fn conditions_and_numbers() {
    check(&[
        ("1 AND 1", "true"),
        ("1 AND NULL IS NULL", "true"),
        ("(1 OR NULL) = 1", "true"),
        ("(id = 1) + 1", "2"),
        ("100.0 / (id - 1)", "inf"),
        ("100.0 / id", "100"),
        ("1 / 0", "inf"),
        ("currentUser()", "default"),
        ("current_user", "default"),
        ("user()", "default"),
    ])
    .await;
}

#[tokio::test]
async fn rows_in_subqueries() {
    check_queries(&[
        ("SELECT id FROM t WHERE (id, amount) IN (SELECT 1, 2.5)", "1"),
        ("SELECT id FROM t WHERE (id, amount) NOT IN (SELECT id, max(amount) FROM t WHERE id = 1 GROUP BY id)", "2"),
        ("SELECT count() FROM t WHERE (id, x) NOT IN (SELECT 5 AS a, 6 AS b)", "2"),
        ("SELECT count() FROM t WHERE (id, x) NOT IN (SELECT 2 AS a, 5 AS b)", "1"),
        ("SELECT id, n.k FROM t ORDER BY id", "1 | [p, q]; 2 | []"),
    ])
    .await;
}

#[tokio::test]
async fn texts() {
    check(&[
        ("hex('ab')", "6162"),
        ("hex(255)", "FF"),
        ("unhex('6162')", "ab"),
        ("bin(5)", "00000101"),
        ("base64Encode('abc')", "YWJj"),
        ("base64Decode('YWJj')", "abc"),
        ("tryBase64Decode('?')", ""),
        ("encodeURLComponent('a b/c')", "a%20b%2Fc"),
        ("decodeURLComponent('a%20b%')", "a b%"),
        ("char(104, 105)", "hi"),
        ("splitByRegexp('[0-9]+', 'a12b3c')", "['a','b','c']"),
        ("splitByWhitespace(' a  b ')", "['a','b']"),
        ("alphaTokens('ab1c')", "['ab','c']"),
        ("ngrams('abc', 2)", "['ab','bc']"),
        ("multiSearchAny('abc', ['x', 'b'])", "true"),
        ("multiSearchFirstIndex('abc', ['x', 'b'])", "2"),
        ("multiSearchFirstPosition('abc', ['c', 'b'])", "2"),
        ("multiMatchAny('abc', ['^b', 'c$'])", "true"),
        ("countSubstrings('aXbX', 'X')", "2"),
        ("countMatches('a1b22', '[0-9]+')", "2"),
        ("position('abab', 'b', 3)", "4"),
        ("substringIndex('a.b.c', '.', 2)", "a.b"),
        ("hasToken('a b,c', 'b')", "true"),
        ("like('abc', 'a%')", "true"),
        ("concatWithSeparator('-', 'a', 'b')", "a-b"),
        ("domain('http://www.a.org:80/b')", "www.a.org"),
        ("domainWithoutWWW('http://www.a.org/')", "a.org"),
        ("path('http://a/b?c#d')", "/b"),
        ("queryString('http://a/b?c#d')", "c"),
        ("cutQueryString('http://a/b?c#d')", "http://a/b#d"),
        ("port('http://a:81/')", "81"),
        ("extractURLParameter('http://a/?b=1&c=2', 'c')", "2"),
        ("cutURLParameter('http://a/?b=1&c=2', 'b')", "http://a/?c=2"),
        ("extractURLParameterNames('http://a/?b=1&c=2')", "['b','c']"),
        ("IPv4StringToNum('0.0.1.0')", "256"),
        ("IPv4NumToString(256)", "0.0.1.0"),
        ("isIPAddressInRange('10.1.2.3', '10.0.0.0/8')", "true"),
        ("isIPv4String('300.1.1.1')", "false"),
        ("CRC32('a')", "3904355907"),
        ("cityHash64('a', 1) = cityHash64('a', 1)", "true"),
    ])
    .await;
}

#[tokio::test]
async fn times_numbers_and_conversions() {
    check(&[
        ("dateAdd(day, 1, toDate('2024-01-31'))", "2024-02-01"),
        ("date_sub(MONTH, 1, toDate('2024-03-31'))", "2024-02-29"),
        ("toISOWeek(toDate('2024-01-01'))", "1"),
        ("toStartOfWeek(toDate('2024-01-10'))", "2024-01-07"),
        ("toLastDayOfMonth(toDate('2024-02-10'))", "2024-02-29"),
        ("fromUnixTimestamp64Milli(1704067200123)", "2024-01-01 00:00:00.123"),
        ("toRelativeDayNum(toDate('1970-01-05'))", "4"),
        ("timeSlot(toDateTime('2024-01-01 10:45:00'))", "2024-01-01 10:30:00"),
        ("age('month', toDate('2024-01-31'), toDate('2024-03-30'))", "1"),
        ("age('year', toDate('2020-02-29'), toDate('2024-02-29'))", "4"),
        ("parseDateTimeBestEffortOrNull('x') IS NULL", "true"),
        ("toUInt8OrZero('300')", "0"),
        ("toInt16OrDefault('x', 7)", "7"),
        ("toFloat64OrNull('x') IS NULL", "true"),
        ("transform(2, [1, 2], ['a', 'b'], 'c')", "b"),
        ("transform(3, [1, 2], ['a', 'b'], 'c')", "c"),
        ("bitAnd(5, 3)", "1"),
        ("bitXor(5, 3)", "6"),
        ("bitShiftLeft(1, 4)", "16"),
        ("bitCount(7)", "3"),
        ("bitNot(0)", "-1"),
        ("xor(1, 0)", "true"),
        ("positiveModulo(-1, 3)", "2"),
        ("intDivOrZero(1, 0)", "0"),
        ("isFinite(1.5)", "true"),
        ("isInfinite(1 / 0)", "true"),
        ("log(exp(1))", "1"),
        ("and(1, 1, 0)", "false"),
        ("arrayReduce('max', [1, 3, 2])", "3"),
        ("arrayIntersect([1, 2, 3], [2, 3], [3])", "[3]"),
        ("CAST('5', 'UInt8') + 1", "6"),
        ("CAST([1, 2], 'Array(String)')", "['1','2']"),
        ("toTypeName(1)", "Int64"),
        ("toTypeName(tags)", "Array(String)"),
        ("formatReadableSize(1048576)", "1.00 MiB"),
        ("formatReadableQuantity(1234567)", "1.23 million"),
    ])
    .await;
}

#[tokio::test]
async fn aggregates_by_key_and_of_frequency() {
    check_queries(&[
        ("SELECT toString(topK(2)(t)) FROM (SELECT arrayJoin(['x', 'y', 'x', 'z', 'y', 'x']) AS t)", "['x','y']"),
        ("SELECT toString(topKIf(2)(t, t <> 'x')) FROM (SELECT arrayJoin(['x', 'y', 'x', 'z', 'y']) AS t)", "['y','z']"),
        (
            "SELECT toString(t.1), toString(t.2) FROM (SELECT sumMap(k, v) AS t FROM \
             (SELECT [1, 2] AS k, [10, 20] AS v UNION ALL SELECT [2, 3], [5, 5]))",
            "[1,2,3] | [10,25,5]",
        ),
        ("SELECT sumMap(m)['two'], maxMap(m)['one'] FROM t", "2.0 | 1.0"),
        ("SELECT sum(id > 1), sumIf(id = 2, id < 5) FROM t", "1 | 1"),
        ("SELECT avgWeighted(id, id) FROM t", "1.6666666666666667"),
        ("SELECT toString(groupArraySorted(2)(x)) FROM (SELECT arrayJoin([3, 1, 2]) AS x)", "[1,2]"),
        ("SELECT groupConcat('-')(x) FROM (SELECT 'a' AS x)", "a"),
    ])
    .await;
}

#[tokio::test]
async fn parts_of_parts() {
    let mut memory = Memory::with(
        "CREATE TABLE traces (id Int32, logs Array(Tuple(timestamp DateTime, \
         fields Map(String, String)))) ENGINE = MergeTree ORDER BY id; \
         INSERT INTO traces VALUES \
         (1, [('2024-01-01 00:00:00', map('level', 'info'))])",
    )
    .await;
    for (sql, expected) in [
        ("SELECT logs[1].fields['level'] FROM traces", "info"),
        ("SELECT logs[1].fields['nope'] FROM traces", ""),
        ("SELECT traces.logs[1].2['level'] FROM traces", "info"),
        ("SELECT toString(arrayMap(l -> l.fields['level'], logs)) FROM traces", "['info']"),
        ("SELECT l.fields['level'] FROM (SELECT arrayJoin(logs) AS l FROM traces)", "info"),
        ("SELECT l.1 AS t FROM (SELECT arrayJoin([(1, 'a')]) AS l)", "1"),
    ] {
        let rows = memory.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows.join("; "), expected, "{sql}");
    }
}

#[tokio::test]
async fn enums_have_numbers() {
    let mut memory = Memory::with(
        "CREATE TABLE t (id Int32, e Enum8('new' = 1, 'it''s' = -2)) ENGINE = MergeTree ORDER BY id; \
         INSERT INTO t VALUES (1, 'new'), (2, 'it''s')",
    )
    .await;
    for (sql, expected) in [
        ("SELECT toInt8(e), toString(e) FROM t ORDER BY id", "1 | new; -2 | it's"),
        ("SELECT CAST(x.e AS Int16) FROM t AS x ORDER BY id", "1; -2"),
        ("SELECT id FROM t WHERE toInt32(e) < 0", "2"),
        ("SELECT toInt8(e) FROM (SELECT e FROM t WHERE id = 1)", "1"),
    ] {
        let rows = memory.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows.join("; "), expected, "{sql}");
    }
}
