//! Aggregate states in queries: each combinator against the plain function.

use super::support::Memory;

const ROWS: &str = "CREATE TABLE t (k UInt8, v Int64, f Float64, s String, a Array(Int64), \
    at DateTime, n Nullable(Int64)) ENGINE = MergeTree ORDER BY k;
    INSERT INTO t VALUES (1, 1, 1.5, 'a', [1, 2], '2024-01-01 00:00:00', NULL), \
    (1, 2, 2.5, 'b', [], '2024-01-03 00:00:00', 7), (2, 3, -1, 'a', [3], '2024-01-02 00:00:00', 8), \
    (2, 3, 10, 'c', [3, 3], '2024-01-02 00:00:01', NULL), \
    (3, 40, 0, '', [5], '2024-02-02 00:00:00', 9)";

async fn memory() -> Memory {
    let mut memory = Memory::with("").await;
    for statement in ROWS.split(';') {
        memory.run(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    memory
}

async fn rows(memory: &mut Memory, sql: &str) -> Vec<String> {
    memory.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Equal but for the last digits of floats, which depend on the order of the sums.
fn assert_alike(left: &[String], right: &[String], sql: &str) {
    let alike = |(left, right): (&str, &str)| match (left.parse::<f64>(), right.parse::<f64>()) {
        (Ok(a), Ok(b)) if a.is_nan() => b.is_nan(),
        (Ok(a), Ok(b)) => (a - b).abs() <= 1e-12 * a.abs().max(1.0),
        _ => left == right,
    };
    let cells = |rows: &[String]| rows.join(" | ").split(" | ").map(String::from).collect();
    let (left, right): (Vec<String>, Vec<String>) = (cells(left), cells(right));
    let same = left.len() == right.len()
        && left.iter().zip(&right).all(|(a, b)| alike((a.as_str(), b.as_str())));
    assert!(same, "{sql}: {left:?} instead of {right:?}");
}

#[tokio::test]
async fn states_finish_as_the_function_does() {
    let mut memory = memory().await;
    for (function, arguments) in [
        ("count", ""),
        ("count", "n"),
        ("sum", "v"),
        ("sum", "n"),
        ("avg", "v"),
        ("min", "s"),
        ("max", "at"),
        ("uniq", "s"),
        ("uniqExact", "v"),
        ("uniq", "v, s"),
        ("argMax", "v, at"),
        ("argMin", "s, f"),
        ("stddevPop", "f"),
        ("varSamp", "v"),
        ("corr", "v, f"),
        ("quantile", "f"),
        ("quantile(0.9)", "f"),
        ("quantiles(0.1, 0.5)", "v"),
        ("quantileExact(0.5)", "v"),
        ("median", "v"),
        ("groupBitXor", "v"),
        ("skewPop", "f"),
        ("entropy", "s"),
        ("quantileExactWeighted(0.5)", "v, v"),
        ("histogram(2)", "f"),
        ("windowFunnel(86400)", "at, v = 1, v = 3"),
        ("sequenceMatch('(?1).*(?2)')", "at, v = 1, v = 3"),
        ("retention", "v = 1, v = 3"),
        ("groupArraySorted(2)", "v"),
        ("sumMap", "a, a"),
    ] {
        let (name, brackets) = match function.split_once('(') {
            Some((name, rest)) => (name, format!("({rest}")),
            None => (function, String::new()),
        };
        for grouped in ["", "GROUP BY k ORDER BY k"] {
            let plain = format!("SELECT {function}({arguments}) FROM t {grouped}");
            let plain = rows(&mut memory, &plain).await;
            let key = if grouped.is_empty() { "" } else { "k, " };
            let merged = format!(
                "SELECT {name}Merge{brackets}(st) FROM (SELECT {key}{name}State{brackets}\
                 ({arguments}) AS st FROM t GROUP BY {key}v) AS x {grouped}"
            );
            assert_alike(&rows(&mut memory, &merged).await, &plain, &merged);
            let twice = format!(
                "SELECT {name}Merge{brackets}(st) FROM (SELECT {key}{name}MergeState{brackets}(st) \
                 AS st FROM (SELECT {key}{name}State{brackets}({arguments}) AS st FROM t \
                 GROUP BY {key}v) AS x GROUP BY {key}) AS y {grouped}"
            )
            .replace("GROUP BY k, )", "GROUP BY k)")
            .replace("GROUP BY )", ")");
            assert_alike(&rows(&mut memory, &twice).await, &plain, &twice);
        }
    }
}

#[tokio::test]
async fn combinators_change_what_goes_in_and_out() {
    let mut memory = memory().await;
    for (sql, expected) in [
        (
            "SELECT sumIf(v, k = 1), sumDistinct(v), sumOrDefault(n) FROM t WHERE k < 3",
            "3 | 6 | 15",
        ),
        ("SELECT sumOrDefault(v), sumOrNull(v), maxOrDefault(s) FROM t WHERE k > 9", "0 | NULL | "),
        ("SELECT sumArray(a), maxArray(a), countArray(a), uniqArray(a) FROM t", "17 | 5 | 6 | 4"),
        ("SELECT sumSimpleState(v), anyLastSimpleState(k) FROM t WHERE k = 3", "40 | 3"),
        (
            "SELECT sumIfMerge(x) FROM (SELECT sumIfState(v, k > 1) AS x FROM t GROUP BY s) AS y",
            "46",
        ),
        (
            "SELECT sumMergeIf(x, k = 2) FROM (SELECT k, sumState(v) AS x FROM t GROUP BY k) AS y",
            "6",
        ),
        (
            "SELECT sumArrayMerge(x) FROM (SELECT sumArrayState(a) AS x FROM t GROUP BY k) AS y",
            "17",
        ),
        (
            "SELECT length(groupArrayMerge(2)(x)) FROM (SELECT groupArrayState(v) AS x FROM t \
             GROUP BY k) AS y",
            "2",
        ),
        ("SELECT finalizeAggregation(avgState(f)) FROM t WHERE k = 1", "2.0"),
        ("SELECT sumMerge(x) FROM (SELECT sumState(v) AS x FROM t WHERE k > 9) AS y", "NULL"),
        ("SELECT countMerge(x) FROM (SELECT countState() AS x FROM t WHERE k > 9) AS y", "0"),
        ("SELECT sumForEach(a), countForEach(a) FROM t", "[12, 5] | [4, 2]"),
        ("SELECT quantileForEach(0.5)(a), maxForEachIf(a, k < 3) FROM t", "[3.0, 2.5] | [3, 3]"),
        (
            "SELECT sumResample(1, 4, 1)(v, k), countResample(0, 4, 2)(v, k) FROM t",
            "[3, 6, 40] | [2, 3]",
        ),
        ("SELECT groupArrayResample(1, 3, 1)(v, k)[2] FROM t", "[3, 3]"),
        (
            "SELECT avgMap(m), countMap(m)['x'] FROM (SELECT map('x', v, 'y', 1) AS m FROM t)",
            "{x: 9.8, y: 1.0} | 5",
        ),
        ("SELECT windowFunnelIf(86400)(at, v = 1, v = 2, k = 1) FROM t", "1"),
        ("SELECT windowFunnel(200000)(at, v = 1, v = 3, v = 2) FROM t", "3"),
        ("SELECT groupArrayMovingSumArray(2)(a) FROM t WHERE k = 2", "[3, 6, 6]"),
        ("SELECT arrayReduce('quantile(0.5)', [1, 2, 4]), arrayReduce('uniq', [1, 1])", "2.0 | 1"),
    ] {
        assert_eq!(rows(&mut memory, sql).await, [expected], "{sql}");
    }
}

#[tokio::test]
async fn states_are_kept_in_columns() {
    let mut memory = memory().await;
    let ddl = "CREATE TABLE d (k UInt8, users AggregateFunction(uniq, String), \
        total AggregateFunction(sum, Int64), top AggregateFunction(argMax, Float64, DateTime), \
        q AggregateFunction(quantile(0.9), Float64), c AggregateFunction(count), \
        best SimpleAggregateFunction(max, Int64)) ENGINE = AggregatingMergeTree ORDER BY k";
    rows(&mut memory, ddl).await;
    for sql in [
        "INSERT INTO d SELECT k, uniqState(s), sumState(v), argMaxState(f, at), quantileState(f), \
         countState(), max(v) FROM t GROUP BY k",
        "INSERT INTO d SELECT 1, uniqState('zz'), sumState(toInt64(5)), \
         argMaxState(toFloat64(-1), toDateTime('2024-03-01 23:59:59')), quantileState(3), \
         countState(1), 4",
        "INSERT INTO d (k, best) VALUES (9, 9)",
    ] {
        rows(&mut memory, sql).await;
    }
    let sql = "SELECT k, uniqMerge(users), sumMerge(total), argMaxMerge(top), \
               quantileMerge(0.5)(q), countMerge(c), max(best) FROM d GROUP BY k ORDER BY k";
    assert_eq!(
        rows(&mut memory, sql).await,
        [
            "1 | 3 | 8 | -1.0 | 2.5 | 3 | 4",
            "2 | 2 | 6 | 10.0 | 4.5 | 2 | 3",
            "3 | 1 | 40 | 0.0 | 0.0 | 1 | 40",
            "9 | 0 | NULL | NULL | NULL | 0 | 9",
        ]
    );
    let sql = "SELECT finalizeAggregation(total), finalizeAggregation(users), \
               round(finalizeAggregation(q), 2) FROM d WHERE k = 2";
    assert_eq!(rows(&mut memory, sql).await, ["6 | 2 | 8.9"]);
}

#[tokio::test]
async fn wrong_states_are_refused() {
    let mut memory = memory().await;
    let ddl = "CREATE TABLE d (k UInt8, total AggregateFunction(sum, Int64)) \
               ENGINE = AggregatingMergeTree ORDER BY k";
    rows(&mut memory, ddl).await;
    for (sql, expected) in [
        ("SELECT sumMerge(v) FROM t", "sumMerge takes states of sum"),
        ("SELECT maxMerge(total) FROM d", "maxMerge cannot merge states of type"),
        ("SELECT finalizeAggregation(v) FROM t", "takes aggregate states"),
        ("INSERT INTO d SELECT 1, maxState(v) FROM t", "cannot be AggregateFunction(sum, Int64)"),
        ("INSERT INTO d SELECT 1, sumState(f) FROM t", "cannot be AggregateFunction(sum, Int64)"),
        ("INSERT INTO d SELECT 1, 5", "are no states"),
        ("SELECT sumForEachState(a) FROM t", "do not go together with -State"),
        ("SELECT sumDistinctState(v) FROM t", "cannot be left out together with -State"),
        ("CREATE TABLE e (s AggregateFunction(sum, String)) ENGINE = MergeTree ORDER BY s", "sum"),
        (
            "CREATE TABLE e (s AggregateFunction(sum, Int8)) ENGINE = MergeTree ORDER BY s",
            "has no order",
        ),
    ] {
        let error = match memory.run(sql).await {
            Ok(rows) => panic!("{sql}: {rows:?}"),
            Err(error) => error,
        };
        assert!(error.message().contains(expected), "{sql}: {error}");
    }
}
