"""Values in and out: ingest modes, parameters of each type, lists of objects, large results."""

import datetime
import decimal
import time

import adbc_driver_manager
import pyarrow
import pytest

from test_adbc import rows_of, value

TYPED = [
    ("b", "Bool", pyarrow.bool_(), True),
    ("i1", "Int8", pyarrow.int8(), -8),
    ("i2", "Int16", pyarrow.int16(), -16_000),
    ("i4", "Int32", pyarrow.int32(), -2_000_000_000),
    ("i8", "Int64", pyarrow.int64(), -9_000_000_000_000_000_000),
    ("u1", "UInt8", pyarrow.uint8(), 200),
    ("u2", "UInt16", pyarrow.uint16(), 60_000),
    ("u4", "UInt32", pyarrow.uint32(), 4_000_000_000),
    ("u8", "UInt64", pyarrow.uint64(), 18_000_000_000_000_000_000),
    ("f4", "Float32", pyarrow.float32(), 0.5),
    ("f8", "Float64", pyarrow.float64(), 0.1),
    ("d", "Decimal(20, 4)", pyarrow.decimal128(20, 4), decimal.Decimal("-1234567890.1234")),
    ("s", "String", pyarrow.string(), "Grüße, 'quoted'"),
    ("x", "Binary", pyarrow.binary(), b"\x00\xff\x80"),
    ("day", "Date", pyarrow.date32(), datetime.date(1969, 7, 20)),
    ("at", "DateTime64(6)", pyarrow.timestamp("us"), datetime.datetime(2024, 2, 29, 1, 2, 3, 45)),
]


@pytest.fixture
def fresh(cursor):
    """The name of a table that is not there."""
    cursor.execute("DROP TABLE IF EXISTS adbc_fresh")
    yield "adbc_fresh"
    cursor.execute("DROP TABLE IF EXISTS adbc_fresh")


@pytest.fixture
def typed(cursor):
    """A table with a column of each type."""
    cursor.execute("DROP TABLE IF EXISTS adbc_typed")
    columns = ", ".join(f"{name} Nullable({kind})" for name, kind, _, _ in TYPED)
    cursor.execute(
        f"CREATE TABLE adbc_typed (k Int64, {columns}) ENGINE = MergeTree ORDER BY k"
    )
    yield "adbc_typed"
    cursor.execute("DROP TABLE adbc_typed")


def test_ingest_modes(cursor, fresh):
    count = f"SELECT count(*) FROM {fresh}"
    with pytest.raises(adbc_driver_manager.Error, match=fresh):
        cursor.adbc_ingest(fresh, rows_of(10), mode="append")
    cursor.adbc_ingest(fresh, rows_of(10), mode="create")
    assert value(cursor, count) == 10
    with pytest.raises(adbc_driver_manager.Error, match="already exists"):
        cursor.adbc_ingest(fresh, rows_of(10), mode="create")
    assert value(cursor, count) == 10
    cursor.adbc_ingest(fresh, rows_of(5), mode="append")
    cursor.adbc_ingest(fresh, rows_of(5), mode="create_append")
    assert value(cursor, count) == 20
    # Another schema in the place of the old one.
    cursor.adbc_ingest(fresh, pyarrow.table({"only": ["a", "b"]}), mode="replace")
    cursor.execute(f"SELECT * FROM {fresh} ORDER BY only")
    assert cursor.fetch_arrow_table().to_pydict() == {"only": ["a", "b"]}
    cursor.execute(f"DROP TABLE {fresh}")
    cursor.adbc_ingest(fresh, rows_of(7), mode="create_append")
    assert value(cursor, count) == 7
    cursor.execute(f"DROP TABLE {fresh}")
    cursor.adbc_ingest(fresh, rows_of(3), mode="replace")
    assert value(cursor, count) == 3


def test_ingest_into_a_named_database(connection, cursor):
    cursor.execute("CREATE DATABASE IF NOT EXISTS adbc_named")
    cursor.execute("DROP TABLE IF EXISTS adbc_named.t")
    cursor.adbc_ingest("t", rows_of(4), mode="create", db_schema_name="adbc_named")
    assert value(cursor, "SELECT count(*) FROM adbc_named.t") == 4
    with pytest.raises(adbc_driver_manager.Error, match="catalog"):
        cursor.adbc_ingest("t", rows_of(4), mode="append", catalog_name="other")
    cursor.execute("DROP TABLE adbc_named.t")
    cursor.execute("DROP DATABASE adbc_named")


def tables_like(cursor, name):
    cursor.execute(f"SHOW TABLES LIKE '{name}%'")
    return [row[0] for row in cursor.fetchall()]


def test_a_stream_that_breaks_makes_no_table(cursor, fresh):
    def batches():
        yield rows_of(1_000).to_batches()[0]
        raise ValueError("broken on purpose")

    reader = pyarrow.RecordBatchReader.from_batches(rows_of(1).schema, batches())
    with pytest.raises(Exception, match="broken on purpose"):
        cursor.adbc_ingest(fresh, reader, mode="create")
    # The server notices a moment later that its client gave up.
    for _ in range(100):
        if not (left := tables_like(cursor, fresh)):
            break
        time.sleep(0.1)
    assert left == []
    cursor.adbc_ingest(fresh, rows_of(10), mode="create")
    assert value(cursor, f"SELECT count(*) FROM {fresh}") == 10
    assert tables_like(cursor, fresh) == [fresh]


def test_parameters_of_each_type(cursor, typed):
    names = ["k"] + [name for name, _, _, _ in TYPED]
    marks = ", ".join("?" for _ in names)
    schema = pyarrow.schema(
        [("k", pyarrow.int64())] + [(name, kind) for name, _, kind, _ in TYPED]
    )
    full = [1] + [given for _, _, _, given in TYPED]
    nothing = [2] + [None for _ in TYPED]
    batch = pyarrow.record_batch(
        [pyarrow.array(list(pair), field.type) for pair, field in zip(zip(full, nothing), schema)],
        schema=schema,
    )
    cursor.executemany(f"INSERT INTO {typed} ({', '.join(names)}) VALUES ({marks})", batch)
    cursor.execute(f"SELECT {', '.join(names)} FROM {typed} ORDER BY k")
    assert cursor.fetchall() == [tuple(full), tuple(nothing)]
    for name, _, kind, given in TYPED:
        one = pyarrow.record_batch([pyarrow.array([given], kind)], names=["0"])
        assert value(cursor, f"SELECT k FROM {typed} WHERE {name} = ?", one) == 1, name
        null = pyarrow.record_batch([pyarrow.array([None], kind)], names=["0"])
        assert value(cursor, f"SELECT count(*) FROM {typed} WHERE {name} = ?", null) == 0, name


def test_python_values_are_parameters(cursor, typed):
    for name, given in [
        ("b", True),
        ("i8", 5),
        ("f8", 2.5),
        ("s", "text"),
        ("x", b"\x01\x02"),
        ("day", datetime.date(2024, 2, 29)),
        ("at", datetime.datetime(2024, 2, 29, 12, 30)),
    ]:
        cursor.execute(f"TRUNCATE TABLE {typed}")
        cursor.execute(f"INSERT INTO {typed} (k, {name}) VALUES (?, ?)", [1, given])
        assert value(cursor, f"SELECT {name} FROM {typed} WHERE {name} = ?", [given]) == given


def test_wrong_parameters_are_refused(cursor, table):
    select = f"SELECT name FROM {table} WHERE id = ?"
    for wrong in (["no number"], [1, 2]):
        with pytest.raises(adbc_driver_manager.Error):
            cursor.execute(select, wrong)
            cursor.fetchall()
    cursor.adbc_ingest(table, rows_of(3), mode="append")
    assert value(cursor, select, [2]) == "name 2"


def objects(connection, **filters):
    """What is listed, as {database: {table: [columns]}}; None where the depth ends."""
    listed = connection.adbc_get_objects(**filters).read_all().to_pylist()
    found = {}
    for catalog in listed:
        assert catalog["catalog_name"] == "granary"
        for schema in catalog["catalog_db_schemas"] or []:
            tables = schema["db_schema_tables"]
            found[schema["db_schema_name"]] = tables and {
                entry["table_name"]: entry["table_columns"]
                and [column["column_name"] for column in entry["table_columns"]]
                for entry in tables
            }
    return len(listed), found


def test_objects_by_depth_and_filter(connection, cursor, table):
    cursor.execute(f"CREATE OR REPLACE VIEW adbc_v AS SELECT id FROM {table}")
    assert objects(connection, depth="catalogs") == (1, {})
    count, databases = objects(connection, depth="db_schemas")
    assert count == 1
    assert {"default", "information_schema", "system"} <= set(databases)
    assert not any(databases.values())
    _, found = objects(connection, depth="db_schemas", db_schema_filter="def%")
    assert list(found) == ["default"]
    _, found = objects(connection, depth="tables", table_name_filter="adbc\\__%")
    assert {name for tables in found.values() for name in tables or {}} == {table, "adbc_v"}
    _, found = objects(
        connection, depth="tables", table_name_filter="adbc__", table_types_filter=["VIEW"]
    )
    assert [tables for tables in found.values() if tables] == [{"adbc_v": None}]
    _, found = objects(
        connection, depth="columns", table_name_filter=table, column_name_filter="n%"
    )
    assert [tables for tables in found.values() if tables] == [{table: ["name"]}]
    count, _ = objects(connection, depth="tables", catalog_filter="other")
    assert count == 0
    cursor.execute("DROP VIEW adbc_v")


def test_rows_in_the_statement_may_be_of_different_types(cursor, fresh):
    cursor.execute(
        f"CREATE TABLE {fresh} (at DateTime, day Date, n Nullable(Int64), b Binary) ENGINE = MergeTree ORDER BY at"
    )
    cursor.execute(
        f"INSERT INTO {fresh} VALUES ('2024-01-01 00:00:00', '2024-01-01', '7', x'6162'), "
        "(toDateTime('2024-01-02 00:00:00'), today(), NULL, 'text')"
    )
    cursor.execute(f"SELECT toString(at), n, b FROM {fresh} ORDER BY at")
    assert cursor.fetchall() == [
        ("2024-01-01 00:00:00", 7, b"ab"),
        ("2024-01-02 00:00:00", None, b"text"),
    ]


def test_a_large_result_is_read_in_parts(connection, cursor, table):
    cursor.adbc_ingest(table, rows_of(300_000), mode="append")
    cursor.execute(f"SELECT id, name FROM {table} ORDER BY id")
    seen = 0
    while rows := cursor.fetchmany(7_000):
        assert rows[0] == (seen, f"name {seen}")
        seen += len(rows)
        # Others get their answers while this one is half read.
        if seen == 70_000:
            with connection.cursor() as between:
                assert value(between, f"SELECT max(id) FROM {table}") == 299_999
    assert seen == 300_000
    # One that is left in the middle does no harm.
    cursor.execute(f"SELECT a.id FROM {table} AS a CROSS JOIN {table} AS b")
    reader = cursor.fetch_record_batch()
    assert next(reader).num_rows > 0
    reader.close()
    with connection.cursor() as later:
        assert value(later, f"SELECT count(*) FROM {table}") == 300_000
