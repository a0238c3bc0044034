//! Queries to rows: what ClickHouse's words mean here.

use super::support::{Memory, only};
use crate::{Statement, bind_query, parameter_types, with_parameters};

const TABLE: &str = "CREATE TABLE t (id Int32, Name String, ms Int64, amount Decimal(10, 2), \
     day Date, at DateTime, n Nullable(Int64), tags Array(String), props Map(String, String)) \
     ENGINE = MergeTree ORDER BY id; \
     INSERT INTO t VALUES \
     (1, 'a', 10, 1.5, '2024-01-01', '2024-01-01 10:00:00', 1, ['x', 'y'], map('k', 'v')), \
     (2, 'b', 20, 2.5, '2024-01-02', '2024-01-01 11:30:00', NULL, [], map()), \
     (3, 'a', 30, 3.5, '2024-02-01', '2024-01-02 00:00:00', 3, ['z'], map('k', 'w'))";

async fn check(cases: &[(&str, &str)]) {
    let mut memory = Memory::with(TABLE).await;
    for (sql, expected) in cases {
        let rows = memory.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows.join("; "), *expected, "{sql}");
    }
}

#[tokio::test]
async fn names_match_exactly_then_without_case() {
    check(&[
        ("SELECT name FROM T WHERE ID = 1", "a"),
        ("SELECT t.NAME FROM t AS t WHERE t.Id = 2", "b"),
        ("SELECT x.`Name` FROM default.t x WHERE \"id\" = 3", "a"),
        ("WITH slow AS (SELECT * FROM t WHERE ms > 15) SELECT count() FROM SLOW", "2"),
    ])
    .await;
}

#[tokio::test]
async fn aliases() {
    check(&[
        (
            "SELECT lower(Name) AS l, count() AS c FROM t GROUP BY l HAVING c > 1 ORDER BY l",
            "a | 2",
        ),
        ("SELECT ms * 2 AS twice FROM t WHERE twice > 50", "60"),
        ("SELECT id, id, ms FROM t WHERE id = 1", "1 | 1 | 10"),
        ("SELECT ms * 2 AS twice, twice + 1 AS more FROM t WHERE id = 1", "20 | 21"),
        // The column of the source wins over the alias.
        ("SELECT sum(ms) AS ms FROM t WHERE ms >= '20'", "50"),
        ("SELECT id % 2 AS id, count() FROM t GROUP BY id ORDER BY 2, 1 LIMIT 1", "0 | 1"),
        ("WITH 15 AS low SELECT count() FROM t WHERE ms > low", "2"),
    ])
    .await;
}

#[tokio::test]
async fn arithmetic() {
    check(&[
        ("SELECT 5 / 2, intDiv(5, 2), 7.0 / 2, 7 % 4, intDiv(-7, 2)", "2.5 | 2 | 3.5 | 3 | -3"),
        ("SELECT 1e-3 * 2, 1e30 > 1", "0.002 | true"),
        ("SELECT day + 5, day - 1 FROM t WHERE id = 1", "2024-01-06 | 2023-12-31"),
        ("SELECT at + 60 FROM t WHERE id = 1", "2024-01-01T10:01:00"),
        ("SELECT max(day) - min(day), max(at) - min(at) FROM t", "31 | 50400"),
        (
            "SELECT count() FROM t WHERE at - toDateTime('2024-01-01 10:00:00') > INTERVAL 1 HOUR",
            "2",
        ),
        ("SELECT sum(amount) / 2, amount * 2 FROM t WHERE id = 1 GROUP BY amount", "0.75 | 3.00"),
    ])
    .await;
}

#[tokio::test]
async fn comparisons_with_texts_are_by_value() {
    check(&[
        ("SELECT count() FROM t WHERE day >= '2024-01-02' AND ms != '20'", "1"),
        ("SELECT count() FROM t WHERE at BETWEEN '2024-01-01 10:00:00' AND '2024-01-01 12:00:00'", "2"),
        ("SELECT count() FROM t WHERE id IN ('1', '3') AND amount = '1.5'", "1"),
        ("SELECT count() FROM t WHERE day IN ('2024-01-01', '2024-02-01')", "2"),
    ])
    .await;
}

#[tokio::test]
async fn clauses() {
    check(&[
        ("SELECT * EXCEPT (Name, ms, amount, day, at, n, tags, props) FROM t LIMIT 1, 1", "2"),
        ("SELECT id FROM t FINAL PREWHERE ms > 10 WHERE id < 3", "2"),
        ("SELECT Name, id FROM t ORDER BY Name, id DESC LIMIT 1 BY Name", "a | 3; b | 2"),
        ("SELECT Name, id FROM t ORDER BY Name, id LIMIT 1, 1 BY Name", "a | 3"),
        ("SELECT Name, id FROM t ORDER BY Name, id LIMIT 1 BY Name LIMIT 1", "a | 1"),
        ("SELECT n FROM t ORDER BY n DESC", "3; 1; NULL"),
        ("SELECT count(), sum(number) FROM numbers(2, 3)", "3 | 9"),
        ("SELECT count() FROM t a JOIN t b USING id WHERE a.id GLOBAL IN (SELECT id FROM t)", "3"),
        ("SELECT CASE WHEN id > 2 THEN 'big' ELSE 'small' END AS s FROM t WHERE id = 3", "big"),
        ("SELECT id = 3 ? 'yes' : 'no' FROM t ORDER BY id", "no; no; yes"),
    ])
    .await;
}

#[tokio::test]
async fn aggregates() {
    check(&[
        ("SELECT count(), count(n), uniq(Name), uniqExact(Name, id) FROM t", "3 | 2 | 2 | 3"),
        ("SELECT countIf(ms > 15), sumIf(ms, ms > 15), avgIf(ms, ms > 99) FROM t", "2 | 50 | NULL"),
        (
            "SELECT quantile(0.5)(ms), quantiles(0.5, 1)(ms), median(ms) FROM t",
            "20.0 | [20.0, 30.0] | 20.0",
        ),
        ("SELECT quantileExact(0.5)(ms), argMax(Name, ms), argMin(id, ms) FROM t", "20 | a | 1"),
        (
            "SELECT arraySort(groupArray(n)), groupUniqArray(id % 1), any(1) FROM t",
            "[1, 3] | [0] | 1",
        ),
        ("SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY ms) FROM t", "20.0"),
        ("SELECT sum(ms) FILTER (WHERE id < 3), sumOrNull(ms) FROM t", "30 | 60"),
        ("SELECT sum(ms) FROM t WHERE id > 100", "NULL"),
    ])
    .await;
}

#[tokio::test]
async fn functions() {
    check(&[
        ("SELECT if(1 > 2, 'x', 'y'), multiIf(1 = 2, 'a', 2 = 2, 'b', 'c')", "y | b"),
        ("SELECT toString(toDateTime('2024-01-01 10:00:00')), CAST(12.50 AS String)", "2024-01-01 10:00:00 | 12.5"),
        ("SELECT toYYYYMM(day), toYYYYMMDD(day), toYear(day), toDayOfWeek(day) FROM t WHERE id = 3", "202402 | 20240201 | 2024 | 4"),
        ("SELECT toStartOfHour(at), toStartOfMonth(at) FROM t WHERE id = 2", "2024-01-01T11:00:00 | 2024-01-01"),
        ("SELECT toStartOfInterval(at, INTERVAL 15m) FROM t WHERE id = 2", "2024-01-01T11:30:00"),
        ("SELECT dateDiff('day', toDate('2024-02-28'), day) FROM t WHERE id = 3", "-27"),
        ("SELECT formatDateTime(at, '%Y-%m-%d %H:%i') FROM t WHERE id = 2", "2024-01-01 11:30"),
        ("SELECT addMonths(toDate('2024-01-31'), 1), day + INTERVAL id DAY FROM t WHERE id = 2", "2024-02-29 | 2024-01-04"),
        ("SELECT concat('a', NULL), concat('a', 'b', 'c'), length('abc'), length(tags) FROM t WHERE id = 1", "NULL | abc | 3 | 2"),
        ("SELECT extract('id=42', 'id=([0-9]+)'), extract(YEAR FROM day), position('hello', 'l') FROM t WHERE id = 1", "42 | 2024 | 3"),
        ("SELECT replaceRegexpAll('a1b22', '[0-9]+', '#'), splitByChar(',', 'a,b')[2], substring('abc', -2)", "a#b# | b | bc"),
        ("SELECT props['k'], props['none'], tags[1], tags[9] FROM t WHERE id = 1", "v |  | x | "),
        ("SELECT arrayMap(x -> x * 2, [1, 2]), arrayFilter(x -> x > 1, [1, 2]), has([1, 2], 2)", "[2, 4] | [2] | true"),
        ("SELECT toUInt32OrZero('x'), toInt64OrNull('x'), ifNull(NULL, 'd')", "0 | NULL | d"),
    ])
    .await;
}

#[tokio::test]
async fn output_names() {
    let memory = Memory::with(TABLE).await;
    for (sql, expected) in [
        ("SELECT count(), SUM(ms) FROM t", "count() SUM(ms)"),
        ("SELECT id, t.ms, ms + 1 FROM t", "id ms ms + 1"),
        ("SELECT 1, 1", "1 1_2"),
    ] {
        let Statement::Query(query) = only(sql) else { panic!("{sql}") };
        let plan = bind_query(&memory.state(), &query, sql).await.expect(sql);
        let names: Vec<&str> =
            plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names.join(" "), expected, "{sql}");
    }
}

#[tokio::test]
async fn settings_are_a_clause_and_the_database_has_a_name() {
    let mut memory = Memory::with(TABLE).await;
    for (sql, settings) in [
        ("SELECT 1 SETTINGS max_threads = 2", "max_threads=2"),
        ("SELECT id FROM t SETTINGS max_threads = 2, session_timezone = 'UTC'", {
            "max_threads=2,session_timezone=UTC"
        }),
        ("SELECT id AS settings FROM t", ""),
        ("SELECT 1 settings", ""),
    ] {
        let Statement::Query(query) = only(sql) else { panic!("{sql}") };
        let found = crate::query_settings(&query);
        let texts: Vec<String> = found.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(texts.join(","), settings, "{sql}");
        memory.run(sql).await.expect(sql);
    }
    for sql in ["SELECT currentDatabase()", "SELECT upper(DATABASE()) = 'DEFAULT'"] {
        memory.run(sql).await.expect(sql);
    }
}

#[tokio::test]
async fn placeholders_have_types() {
    let memory = Memory::with(TABLE).await;
    for (sql, expected) in [
        ("SELECT id FROM t WHERE id = ? AND Name = ?", "$1 Int32, $2 Utf8View"),
        ("SELECT id FROM t WHERE ms > $2 AND id < $1", "$1 Int32, $2 Int64"),
        ("SELECT id FROM t WHERE ms > {low:UInt8}", "$low UInt8"),
    ] {
        let Statement::Query(query) = only(sql) else { panic!("{sql}") };
        let plan = bind_query(&memory.state(), &query, sql).await.expect(sql);
        let types = parameter_types(&plan).expect(sql);
        let texts: Vec<String> = types
            .iter()
            .map(|(name, data_type)| match data_type {
                Some(data_type) => format!("{name} {data_type}"),
                None => format!("{name} ?"),
            })
            .collect();
        assert_eq!(texts.join(", "), expected, "{sql}");
        assert!(with_parameters(plan, Vec::new()).is_err(), "{sql}");
    }
}

#[tokio::test]
async fn mistakes_are_explained() {
    let mut memory = Memory::with(TABLE).await;
    for (sql, expected) in [
        ("SELECT * FROM nope", "unknown table 'default.nope' (line 1, column 15)"),
        ("SELECT * FROM nodb.t", "unknown database 'nodb'"),
        ("SELECT idd FROM t", "unknown column 'idd'; did you mean 'id'? (line 1, column 8)"),
        ("SELECT id\nFROM t\nWHERE Nam = 'x'", "did you mean 'Name'? (line 3, column 7)"),
        ("SELECT no_such_function(id) FROM t", "unknown function 'no_such_function'"),
        ("SELECT lenght(Name) FROM t", "did you mean 'length'?"),
        ("SELECT id, count() FROM t", "GROUP BY"),
        ("SELECT id FROM t WHERE sum(ms) > 1 GROUP BY id", "ggregate"),
        ("SELECT sum(count()) FROM t", "ggregate"),
        ("SELECT CAST('abc' AS UInt32)", "abc"),
        ("SELECT id FROM t UNION ALL SELECT id, ms FROM t", "columns"),
        ("SELECT (SELECT id FROM t)", "more than one row"),
        ("SELECT Name FROM t ORDER BY nope", "unknown column 'nope'"),
        ("SELECT count() FROM t SAMPLE 0.1", "no sampling key"),
        ("SELECT id FROM t SAMPLE 2.5", "whole rows"),
        (
            "SELECT DISTINCT count() FROM t GROUP BY Name WITH TOTALS",
            "WITH TOTALS together with QUALIFY",
        ),
        ("SELECT id FROM t FOR UPDATE", "FOR UPDATE"),
        ("SELECT sum(0.5)(id) FROM t", "takes no parameters"),
        ("SELECT sum(Name) FROM t", "no function takes these argument types: sum(String)"),
    ] {
        let error = memory.run(sql).await.err().unwrap_or_else(|| panic!("{sql} succeeded"));
        let message = error.message();
        assert!(message.contains(expected), "{sql}: {message}");
        for leak in ["Utf8View", "DataFusion", "ScalarFunction", "SchemaError"] {
            assert!(!message.contains(leak), "{sql}: {message}");
        }
    }
}
