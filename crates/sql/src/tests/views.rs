//! CREATE VIEW as parsed, aliases, and what names mean.

use granary_common::ErrorKind;

use super::support::only;
use crate::{CreateView, Statement, alias_arguments};

fn created(sql: &str) -> CreateView {
    match only(sql) {
        Statement::CreateView(create) => *create,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn the_text_of_a_view_is_as_written() {
    for (sql, name, columns, text) in [
        ("CREATE VIEW v AS SELECT 1 AS one", "v", &[][..], "SELECT 1 AS one"),
        (
            "CREATE VIEW IF NOT EXISTS db.v ON CLUSTER c (a, b) AS\n  SELECT x, -- why\n'\u{e9}\\d' FROM t ; ",
            "db.v",
            &["a", "b"],
            "SELECT x, -- why\n'\u{e9}\\d' FROM t",
        ),
        (
            "CREATE OR REPLACE VIEW v COMMENT 'text' AS WITH q AS (SELECT 1 AS a) SELECT a FROM q",
            "v",
            &[],
            "WITH q AS (SELECT 1 AS a) SELECT a FROM q",
        ),
    ] {
        let create = created(sql);
        assert_eq!(create.name.to_string(), name);
        assert_eq!(create.columns, columns);
        assert_eq!(create.text, text);
        assert!(create.materialized.is_none());
        assert!(matches!(only(&create.text), Statement::Query(_)));
    }
}

#[test]
fn materialized_views_have_a_table() {
    let to = created("CREATE MATERIALIZED VIEW mv ON CLUSTER c TO db.t AS SELECT a FROM s");
    let clause = to.materialized.expect("materialized");
    assert_eq!(clause.to.expect("a table").to_string(), "db.t");
    assert!(!clause.populate);
    let own = created(
        "CREATE MATERIALIZED VIEW mv (a UInt32, b String) ENGINE = MergeTree() PARTITION BY b \
         ORDER BY (a, b) POPULATE AS SELECT a, b FROM s",
    );
    assert!(own.materialized.expect("materialized").populate);
    assert_eq!(own.columns, ["a", "b"]);
    assert_eq!(own.table.columns.len(), 2);
    assert_eq!(own.table.clauses.order_by.expect("a key").len(), 2);
    let or_not = created("CREATE MATERIALIZED VIEW mv TO t AS SELECT 1 AS refresh FROM s");
    assert!(or_not.materialized.expect("materialized").refresh.is_none());
}

#[test]
fn distributed_names_its_table() {
    let arguments = |engine: &str| {
        let sql = format!("CREATE TABLE a AS t ENGINE = {engine}");
        let Statement::CreateTable(create) = only(&sql) else { panic!("{sql}") };
        alias_arguments(create.engine.as_ref())
    };
    for (engine, target, key) in [
        ("Distributed(c, db, t)", "db.t", None),
        ("Distributed('c', 'db', 't', rand())", "db.t", Some("rand()")),
        ("Distributed(c, currentDatabase(), t, cityHash64(k), 'p')", "t", Some("cityHash64(k)")),
        ("distributed(c, '', t)", "t", None),
    ] {
        let found = arguments(engine).expect(engine).expect(engine);
        assert_eq!(found.target.to_string(), target, "{engine}");
        assert_eq!(found.key.as_deref(), key, "{engine}");
    }
    assert!(arguments("MergeTree").expect("an engine").is_none());
    for engine in ["Distributed(c, db)", "Distributed(c, db, 1)", "Distributed(c, d, t, 1, 2, 3)"] {
        assert_eq!(arguments(engine).expect_err(engine).kind(), ErrorKind::InvalidInput);
    }
}

/// Names that WITH gives to expressions are settled before the grammar, but belong to what was written.
#[test]
fn a_view_is_kept_as_it_is_written() {
    for query in [
        "SELECT 1 AS a",
        "WITH 2 AS two SELECT two  *  3",
        "WITH 2 AS two, t AS (SELECT 1 AS a) SELECT a + two FROM t",
        "WITH x -> x + 1 AS f SELECT f(1)",
    ] {
        let Statement::CreateView(create) = only(&format!("CREATE VIEW v AS {query}")) else {
            panic!("{query}")
        };
        assert_eq!(create.text, query);
    }
}
