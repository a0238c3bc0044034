//! ALTER TABLE to the catalog's command.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use granary_catalog::{ColumnRole, ColumnType, Scalar};
use granary_common::{ColumnId, Error, Result};

use super::support::{Memory, only};
use crate::{AlterSource, AlteredTable, Statement, TableSource, alter_table};

const TABLE: &str = "CREATE TABLE t (id Int64, at DateTime, amount Int32, note String, \
                     INDEX i amount TYPE minmax GRANULARITY 4) \
                     ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (id, toDate(at))";

fn to_scalar(values: &dyn Array, row: usize) -> Result<Scalar> {
    let text = arrow::util::display::array_value_to_string(values, row);
    text.map(Scalar::Text).map_err(|error| Error::internal(error.to_string()))
}

fn to_array(_: &Scalar, _: &DataType) -> Result<ArrayRef> {
    Err(Error::internal("no value is kept here"))
}

async fn altered(sql: &str, has_parts: bool) -> Result<AlteredTable> {
    altered_of(TABLE, sql, has_parts).await
}

async fn altered_of(created: &str, sql: &str, has_parts: bool) -> Result<AlteredTable> {
    let memory = Memory::with(created).await;
    let Statement::AlterTable(alter) = only(sql) else { panic!("{sql}") };
    let state = memory.state();
    let table = TableSource {
        snapshot: &memory.snapshot,
        current_database: "default",
        settings: memory.settings,
        state: &state,
        query_columns: &[],
    };
    let source = AlterSource { table, has_parts, views: &[], prepared: &[], to_scalar, to_array };
    alter_table(&alter, &memory.table("t"), source)
}

/// The visible columns after the statement, with what old rows hold.
async fn check(actions: &str, expected: &str) {
    let altered = altered(&format!("ALTER TABLE t {actions}"), true).await;
    let altered = altered.unwrap_or_else(|error| panic!("{actions}: {error}"));
    assert!(altered.preparation.is_none(), "{actions}");
    let visible = altered.command.columns.iter().filter(|column| column.is_visible());
    let shown = visible.map(|column| match &column.added {
        Some(value) => format!("{} {} = {value}", column.name, column.column_type),
        None => format!("{} {}", column.name, column.column_type),
    });
    assert_eq!(shown.collect::<Vec<_>>().join(", "), expected, "{actions}");
}

#[tokio::test]
async fn columns_come_go_and_change() {
    for (actions, expected) in [
        (
            "ADD COLUMN x Nullable(String) AFTER id, DROP COLUMN note",
            "id Int64, x Nullable(String), at DateTime, amount Int32",
        ),
        (
            "ADD COLUMN x UInt8 DEFAULT 1 + 2 FIRST",
            "x UInt8 = 3, id Int64, at DateTime, amount Int32, note String",
        ),
        ("DROP COLUMN IF EXISTS x", "id Int64, at DateTime, amount Int32, note String"),
        ("RENAME COLUMN at TO time", "id Int64, time DateTime, amount Int32, note String"),
        (
            "MODIFY COLUMN amount Int64 AFTER id",
            "id Int64, amount Int64 = 0, at DateTime, note String",
        ),
        (
            "ALTER COLUMN amount TYPE Nullable(String)",
            "id Int64, at DateTime, amount Nullable(String) = 0, note String",
        ),
    ] {
        check(actions, expected).await;
    }
}

#[tokio::test]
async fn a_new_type_is_a_new_id_and_a_new_name_is_new_everywhere() {
    let command = altered("ALTER TABLE t MODIFY COLUMN amount Int64", true).await.unwrap().command;
    let column = command.columns.iter().find(|column| column.name == "amount").unwrap();
    assert!(column.id > ColumnId(4), "{column:?}");
    assert_eq!((column.earlier[0].id, column.earlier[0].until), (ColumnId(2), 2));
    let command = altered("ALTER TABLE t RENAME COLUMN at TO `from`", true).await.unwrap().command;
    assert_eq!(command.partition_by[0].text, "toYYYYMM(`from`)");
    assert_eq!(command.order_by[1].text, "toDate(`from`)");
}

#[tokio::test]
async fn values_of_their_own_are_prepared_when_there_are_rows() {
    for sql in [
        "ALTER TABLE t ADD COLUMN chance Float64 DEFAULT rand()",
        "ALTER TABLE t ADD COLUMN ticket UUID MATERIALIZED generateUUIDv4()",
        "ALTER TABLE t MODIFY COLUMN amount Int16",
        "ALTER TABLE t MODIFY COLUMN amount Int16, ADD COLUMN day Date DEFAULT toDate(at)",
    ] {
        let prepared = altered(sql, true).await.unwrap();
        let told = prepared.notices.iter().any(|notice| notice.0.contains("written again"));
        assert_eq!(told, sql.contains("ADD COLUMN chance") || sql.contains("ticket"), "{sql}");
        let preparation = prepared.preparation.expect(sql);
        assert!(preparation.rewrites && preparation.columns.len() == 1, "{sql}");
        let mut columns = preparation.command.columns.iter();
        let hidden = columns.find(|column| column.id == preparation.columns[0]).expect(sql);
        assert!(matches!(hidden.role, ColumnRole::KeyExpression(_)), "{sql}");
        let at_once = altered(sql, false).await.unwrap();
        assert!(at_once.preparation.is_none() && at_once.command.requires_no_parts, "{sql}");
    }
}

/// A merge that runs while the rows are looked at writes the new column as well.
#[tokio::test]
async fn what_may_be_null_no_more_keeps_its_values_meanwhile() {
    let created = "CREATE TABLE t (id Int64, v Nullable(Int64)) ENGINE = MergeTree ORDER BY id";
    for sql in ["ALTER TABLE t ALTER COLUMN v SET NOT NULL", "ALTER TABLE t MODIFY COLUMN v Int64"]
    {
        let altered = altered_of(created, sql, true).await.unwrap();
        let preparation = altered.preparation.expect(sql);
        assert!(!preparation.rewrites && preparation.checks.len() == 1, "{sql}");
        let mut columns = preparation.command.columns.iter();
        let hidden = columns.find(|column| column.id == preparation.columns[0]).expect(sql);
        assert!(!hidden.is_visible() && hidden.column_type == ColumnType::Int64, "{sql}");
        assert_eq!((hidden.earlier[0].id, hidden.earlier[0].until), (ColumnId(1), 2), "{sql}");
    }
}

#[tokio::test]
async fn what_follows_from_a_row_is_computed_when_it_is_read() {
    for (actions, read) in [
        ("ADD COLUMN x Date DEFAULT toDate(at)", vec!["at"]),
        ("ADD COLUMN x Int64 MATERIALIZED amount * 2", vec!["amount"]),
        ("ADD COLUMN x Int64 ALIAS amount + id", vec!["id", "amount"]),
        (
            "ADD COLUMN y Int8 DEFAULT 3, ADD COLUMN x String DEFAULT concat(note, toString(y))",
            vec!["note", "y"],
        ),
        ("RENAME COLUMN note TO text, ADD COLUMN x String DEFAULT lower(text)", vec!["text"]),
    ] {
        let altered = altered(&format!("ALTER TABLE t {actions}"), true).await.unwrap();
        assert!(altered.preparation.is_none(), "{actions}");
        assert!(!altered.command.requires_no_parts, "{actions}");
        let column = altered.command.columns.iter().find(|column| column.name == "x").unwrap();
        let computed = column.computed.as_ref().expect(actions);
        let names: Vec<&str> = computed.inputs.iter().map(|input| input.name.as_str()).collect();
        assert_eq!((names, column.added.as_ref()), (read, None), "{actions}");
        assert_eq!(computed.since, 2, "{actions}");
    }
}

/// What has no other form in the catalog, and what an insert checks or spells in one way.
#[tokio::test]
async fn values_of_every_type_need_no_part_to_be_written() {
    for (actions, read) in [
        ("x UUID DEFAULT note", vec!["note"]),
        ("x Array(Int64) DEFAULT range(amount)", vec!["amount"]),
        ("x FixedString(4) DEFAULT note", vec!["note"]),
        ("x Enum8('a' = 1, 'it''s' = 2) DEFAULT lower(note)", vec!["note"]),
        ("x IPv4 DEFAULT note", vec!["note"]),
        ("x IPv4 DEFAULT amount", vec!["amount"]),
        ("x IPv6 DEFAULT note", vec!["note"]),
        ("x DateTime DEFAULT if(id > 1, now(), at)", vec!["id", "at"]),
    ] {
        let altered = altered(&format!("ALTER TABLE t ADD COLUMN {actions}"), true).await;
        let altered = altered.unwrap_or_else(|error| panic!("{actions}: {error}"));
        assert!(altered.preparation.is_none() && altered.notices.is_empty(), "{actions}");
        let column = altered.command.columns.iter().find(|column| column.name == "x").unwrap();
        let computed = column.computed.as_ref().expect(actions);
        let names: Vec<&str> = computed.inputs.iter().map(|input| input.name.as_str()).collect();
        assert_eq!(names, read, "{actions}");
    }
}

#[tokio::test]
async fn what_does_not_go() {
    for (actions, expected) in [
        ("DROP COLUMN nope", "unknown column 'nope'"),
        ("DROP COLUMN id", "ORDER BY"),
        ("DROP COLUMN at", "uses it"),
        ("DROP COLUMN amount", "index 'i'"),
        ("MODIFY COLUMN at Date", "cannot change the type"),
        ("ADD COLUMN note String", "already exists"),
        ("RENAME COLUMN amount TO note", "already exists"),
        ("ADD COLUMN x Int32 DEFAULT y", "x"),
        ("ADD INDEX i amount TYPE minmax", "already exists"),
        ("ADD INDEX k amount TYPE nonsense", "unknown type"),
        ("DROP INDEX k", "unknown index 'k'"),
        ("MATERIALIZE PROJECTION p", "unknown projection 'p'"),
        ("MODIFY SETTING nonsense = 1", "unknown setting"),
        ("RESET SETTING index_granularity", "not set"),
        ("MODIFY ORDER BY (id, toDate(at), amount)", "column 'amount' is there already"),
        ("MODIFY ORDER BY id, ADD COLUMN x Int8", "'toDate(at)' is missing"),
        ("ADD COLUMN x Int8, MODIFY ORDER BY (id, x)", "'x' stands where 'toDate(at)' is"),
        ("ADD COLUMN x Int8, MODIFY ORDER BY (toDate(at), id, x)", "stands where 'id' is"),
        ("ADD COLUMN x Int8, MODIFY ORDER BY (id, toDate(at), x + 1)", "is an expression"),
        ("ADD COLUMN x Int8, MODIFY ORDER BY (id, toDate(at), x, x)", "more than once"),
        ("ADD COLUMN x Int8, MODIFY ORDER BY (id, toDate(at), y)", "unknown column 'y'"),
        ("ADD COLUMN x Array(Int8), MODIFY ORDER BY (id, toDate(at), x)", "has no order"),
        ("ADD COLUMN x Int8 DEFAULT id, MODIFY ORDER BY (id, toDate(at), x)", "another value"),
        ("ADD COLUMN x Int8 ALIAS 1, MODIFY ORDER BY (id, toDate(at), x)", "another value"),
        (
            "MODIFY COLUMN amount Int64, MODIFY ORDER BY (id, toDate(at), amount)",
            "is there already",
        ),
    ] {
        let sql = format!("ALTER TABLE t {actions}");
        let error = altered(&sql, true).await.expect_err(actions).to_string();
        assert!(error.contains(expected), "{actions}: {error}");
    }
}

#[tokio::test]
async fn the_sorting_key_grows_by_new_columns() {
    for (actions, expected) in [
        ("MODIFY ORDER BY (id, toDate(at))", "id, toDate(at)"),
        ("ADD COLUMN x Int8 FIRST, MODIFY ORDER BY (id, toDate(at), x)", "id, toDate(at), x"),
        (
            "MODIFY ORDER BY (id, toDate(at), y, x), ADD COLUMN x Int8 DEFAULT 3, ADD COLUMN y Int8",
            "id, toDate(at), y, x",
        ),
    ] {
        let altered = altered(&format!("ALTER TABLE t {actions}"), true).await.unwrap();
        assert!(altered.preparation.is_none(), "{actions}");
        let command = altered.command;
        let keys: Vec<&str> = command.order_by.iter().map(|key| key.text.as_str()).collect();
        assert_eq!(keys.join(", "), expected, "{actions}");
        assert_eq!(command.appended_keys, keys.len() - 2, "{actions}");
        let named = |key: &&granary_catalog::KeyExpression| {
            command.columns.iter().any(|column| column.id == key.column && column.name == key.text)
        };
        assert_eq!(command.order_by.iter().filter(named).count(), keys.len(), "{actions}");
    }
}
