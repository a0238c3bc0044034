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
        ("arrayMap((x, y) -> x + y, [1, 2], [10, 20])", "[11, 22]"),
        ("arrayMap(x -> x.product, items)", "[7, 8]"),
        ("arrayMap(x -> arrayMap(y -> x + y, [1]), [1, 2])", "[[2], [3]]"),
        ("arrayFilter((x, y) -> y > 1, ['a', 'b'], [1, 2])", "[b]"),
        ("arraySum(x -> x * 0.5, [1, 2, 3])", "3"),
        ("arraySum(n.v)", "3"),
        ("arrayAvg([1, 2, 6])", "3"),
        ("arrayCount(x -> x > 1, [1, 2, 3])", "2"),
        ("arraySort(x -> -x, [1, 3, 2])", "[3, 2, 1]"),
        ("arrayReverseSort(x -> -x, [1, 3, 2])", "[1, 2, 3]"),
        ("arrayExists(x -> x = 3, [1, 2])", "false"),
        ("arrayAll(x -> x > 0, [1, 2])", "true"),
        ("arrayFirst(x -> x > 1, [1, 2, 3])", "2"),
        ("arrayLast(x -> x > 1, [1, 2, 3])", "3"),
        ("arrayFirstIndex(x -> x > 1, [1, 2, 3])", "2"),
        ("arrayLastIndex(x -> x < 3, [1, 2, 3])", "2"),
        ("arrayCumSum([1, 2, 3])", "[1, 3, 6]"),
        ("arrayDifference([1, 4, 2])", "[0, 3, -2]"),
        ("arrayProduct([2, 3])", "6"),
        ("arrayUniq([1, 1, 2])", "2"),
        ("arrayEnumerate(['a', 'b'])", "[1, 2]"),
        ("arrayEnumerateUniq(['a', 'a', 'b'])", "[1, 2, 1]"),
        ("countEqual([1, 2, 1], 1)", "2"),
        ("empty([])", "true"),
        ("items[1].product", "7"),
        ("items[2].2", "1"),
        ("tupleElement(items[1], 'quantity')", "2"),
        ("tupleElement((1, 'b'), 2)", "b"),
        ("(1, 'b').2", "b"),
        ("mapFilter((k, v) -> v > 1, m)['two']", "2"),
        ("mapApply((k, v) -> (k, v * 10), m)['one']", "10"),
        ("mapKeys(mapFilter((k, v) -> v > 1, m))", "[two]"),
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
        ("JSONExtract(payload, 'user', 'tags', 'Array(String)')", "[x, y]"),
        ("JSONExtract(payload, 'id', 'UInt8')", "5"),
        ("JSONExtract(payload, 'nope', 'UInt8')", "0"),
        ("JSONExtract(payload, 'nope', 'Nullable(UInt8)') IS NULL", "true"),
        ("JSONExtract('[1, \"a\"]', 'Tuple(n UInt8, s String)').s", "a"),
        ("JSONExtract('{\"a\": 1}', 'Map(String, Int64)')['a']", "1"),
        ("JSONExtractKeysAndValues('{\"a\": 1}', 'Int64')[1].2", "1"),
        ("JSONExtractKeys(payload, 'user')", "[name, tags]"),
        ("JSONType(payload, 'id')", "Int64"),
        ("JSONExtractRaw('{\"a\": [1, 2]}', 'a')", "[1,2]"),
        ("JSONExtractArrayRaw('[1, \"b\"]')", "[1, \"b\"]"),
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
        ("100.0 / (id - 1) IS NULL", "true"),
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
        ("SELECT count() FROM t WHERE (id, x) NOT IN (SELECT 5, 5)", "2"),
        ("SELECT count() FROM t WHERE (id, x) NOT IN (SELECT 2, 5)", "1"),
        ("SELECT id, n.k FROM t ORDER BY id", "1 | [p, q]; 2 | []"),
    ])
    .await;
}
