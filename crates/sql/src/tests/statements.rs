//! Text to statement.

use granary_common::ErrorKind;

use super::support::only;
use crate::{EqualColumns, Statement, parse};

#[test]
fn statements_are_read() {
    for (sql, expected) in [
        ("CREATE DATABASE IF NOT EXISTS d", "CreateDatabase"),
        ("DROP DATABASE IF EXISTS d", "DropDatabase"),
        ("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a", "CreateTable"),
        ("DROP TABLE IF EXISTS a.b, c ON CLUSTER x SYNC", "DropTables"),
        ("TRUNCATE TABLE t", "TruncateTable"),
        ("RENAME TABLE a TO b, c TO d.e", "RenameTables"),
        ("SHOW DATABASES LIKE 'a%'", "ShowDatabases"),
        ("SHOW TABLES FROM d NOT LIKE 'x_'", "ShowTables"),
        ("SHOW CREATE TABLE d.t", "ShowCreateTable"),
        ("DESCRIBE TABLE t", "Describe"),
        ("DESC t", "Describe"),
        ("EXPLAIN SELECT 1", "Explain"),
        ("EXPLAIN ANALYZE SELECT 1", "Explain"),
        ("USE d", "Use"),
        ("SET a = 1, b = 'x'", "Set"),
        ("INSERT INTO TABLE t (a, b) VALUES (1, 'x'), (2, 'y')", "Insert"),
        ("INSERT INTO t SELECT * FROM u", "Insert"),
        ("INSERT INTO t (a) SETTINGS b = 1, c = 'x' VALUES (1)", "Insert"),
        ("INSERT INTO t SETTINGS b = 1 SELECT * FROM u SETTINGS c = 2", "Insert"),
        ("OPTIMIZE TABLE d.t", "Optimize"),
        ("OPTIMIZE t FINAL", "Optimize"),
        ("OPTIMIZE TABLE t ON CLUSTER c FINAL CLEANUP", "Optimize"),
        ("OPTIMIZE TABLE t FINAL DEDUPLICATE BY a, b", "Optimize"),
        ("OPTIMIZE TABLE t DEDUPLICATE BY * EXCEPT (a)", "Optimize"),
        ("CHECK TABLE d.t", "CheckTable"),
        ("CHECK TABLE t PARTITION (2024, 'x')", "CheckTable"),
        ("CHECK TABLE t PARTITION ID '2024'", "CheckTable"),
        ("SYSTEM STOP MERGES", "SetMerges"),
        ("SYSTEM START MERGES d.t", "SetMerges"),
        ("SYSTEM STOP MERGES ON CLUSTER c t", "SetMerges"),
        ("SELECT 1", "Query"),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "Query"),
        ("(SELECT 1) UNION ALL (SELECT 2)", "Query"),
        ("VALUES (1), (2)", "Query"),
    ] {
        let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let [statement] = statements.as_slice() else { panic!("{sql}: {statements:?}") };
        let read = format!("{statement:?}");
        assert!(read.starts_with(expected), "{sql}: {read}");
    }
}

#[test]
fn several_statements_and_none() {
    assert_eq!(parse(" ; SELECT 1;; SELECT 2 ;").expect("two").len(), 2);
    assert_eq!(parse("-- nothing\n").expect("none").len(), 0);
}

#[test]
fn details_are_kept() {
    let sql = "EXPLAIN ANALYZE VERBOSE SELECT 1";
    assert!(matches!(only(sql), Statement::Explain { analyze: true, verbose: true, .. }));
    let sql = "SET max_threads = 4, mode = 'x', on_off = true";
    let Statement::Set { assignments } = only(sql) else { panic!("{sql}") };
    let texts: Vec<String> =
        assignments.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(texts.join(" "), "max_threads=4 mode=x on_off=true");
    let sql = "DROP TABLE t ON CLUSTER c";
    let statements = parse(sql).expect(sql);
    assert!(statements[0].notices()[0].0.contains("ON CLUSTER c has no effect"));
}

#[test]
fn patterns_of_show() {
    let sql = "SHOW TABLES ILIKE 'L_ne%'";
    let Statement::ShowTables { like: Some(like), .. } = only(sql) else { panic!("{sql}") };
    for (name, shown) in [("lineitem", true), ("LINE", true), ("lne", false), ("orders", false)] {
        assert_eq!(like.matches(name), shown, "{name}");
    }
}

#[test]
fn what_is_wrong_is_shown() {
    for (sql, kind, expected) in [
        ("SELEC 1", ErrorKind::InvalidInput, "(line 1, column 1)\n  SELEC 1\n  ^"),
        (
            "SELECT id FROM t WHERE id = = 1",
            ErrorKind::InvalidInput,
            "found: = (line 1, column 29)",
        ),
        ("SELECT a\nFROM t WHERE", ErrorKind::InvalidInput, "found: the end of the statement"),
        ("SELECT 'x", ErrorKind::InvalidInput, "line 1, column 8"),
        ("SELECT 1 2", ErrorKind::InvalidInput, "syntax error"),
        ("SELECT a FROM t GROUP BY a GROUP BY a", ErrorKind::InvalidInput, "syntax error"),
        (
            "CREATE TABLE u (id UInt32 ENGINE = MergeTree() ORDER BY id",
            ErrorKind::InvalidInput,
            "syntax error",
        ),
        (
            "CREATE TABLE u (id UInt32) ORDER BY id ORDER BY id",
            ErrorKind::InvalidInput,
            "ORDER BY is written twice",
        ),
        ("CREATE VIEW v ORDER BY a", ErrorKind::InvalidInput, "AS and the query of the view"),
        ("BEGIN", ErrorKind::Unsupported, "BEGIN is not supported yet"),
        ("INSERT INTO t FORMAT Native x", ErrorKind::Unsupported, "FORMAT"),
    ] {
        let error = parse(sql).expect_err(sql);
        assert_eq!(error.kind(), kind, "{sql}: {error}");
        assert!(error.message().contains(expected), "{sql}: {error}");
    }
    let nested = format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500));
    assert!(parse(&nested).expect_err("deep").message().contains("nested too deeply"));
}

#[test]
fn merges_are_asked_for() {
    let sql = "OPTIMIZE TABLE t DEDUPLICATE BY * EXCEPT a";
    let Statement::Optimize(optimize) = only(sql) else { panic!("{sql}") };
    assert!(optimize.is_final);
    assert_eq!(optimize.deduplicate, Some(EqualColumns::Except(vec!["a".to_owned()])));
    assert_eq!(optimize.notices.len(), 1);
    let sql = "SYSTEM START MERGES";
    assert!(matches!(only(sql), Statement::SetMerges { table: None, stopped: false, .. }));
    let Statement::Nothing { notices } = only("SYSTEM RELOAD DICTIONARY d") else {
        panic!("{sql}")
    };
    assert_eq!(notices.len(), 1);
    for (sql, kind) in [
        ("OPTIMIZE TABLE t CLEANUP", ErrorKind::InvalidInput),
        ("CHECK ALL TABLES", ErrorKind::Unsupported),
        ("CHECK TABLE t PART '7'", ErrorKind::Unsupported),
        ("CHECK t", ErrorKind::InvalidInput),
        ("OPTIMIZE TABLE t FINAL DEDUPLICATE BY COLUMNS('x')", ErrorKind::Unsupported),
        ("SYSTEM STOP MUTATIONS", ErrorKind::Unsupported),
    ] {
        assert_eq!(parse(sql).expect_err(sql).kind(), kind, "{sql}");
    }
}
