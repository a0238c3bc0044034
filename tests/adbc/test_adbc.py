"""Granary through the ADBC Flight SQL driver, as a user of Python would connect."""

import threading
import time

import adbc_driver_manager
import pyarrow
import pytest

from conftest import open_connection, uris


def rows_of(count):
    return pyarrow.table(
        {
            "id": pyarrow.array(range(count), pyarrow.int64()),
            "name": [f"name {number}" for number in range(count)],
            "v": pyarrow.array(
                [None if number % 7 == 0 else number / 2 for number in range(count)],
                pyarrow.float64(),
            ),
        }
    )


def value(cursor, sql, parameters=None):
    cursor.execute(sql, parameters)
    return cursor.fetchone()[0]


def test_a_query_returns_typed_rows(cursor):
    cursor.execute("SELECT 1 + 1 AS two, 'text' AS t, CAST(NULL AS BIGINT) AS n, true AS b")
    table = cursor.fetch_arrow_table()
    assert table.column_names == ["two", "t", "n", "b"]
    assert table.to_pylist() == [{"two": 2, "t": "text", "n": None, "b": True}]


def test_statements_change_tables(cursor, table):
    cursor.execute(f"INSERT INTO {table} VALUES (1, 'one', 1.5), (2, 'two', NULL)")
    cursor.execute(f"SELECT id, name, v FROM {table} ORDER BY id")
    assert cursor.fetchall() == [(1, "one", 1.5), (2, "two", None)]


def test_another_coordinator_sees_what_was_acknowledged(cursor, other, table):
    cursor.execute(f"INSERT INTO {table} (id, name) VALUES (1, 'one')")
    with other.cursor() as elsewhere:
        assert value(elsewhere, f"SELECT count(*) FROM {table}") == 1


def test_bulk_ingest_appends(cursor, table):
    assert cursor.adbc_ingest(table, rows_of(10_000), mode="append") in (10_000, -1)
    cursor.execute(f"SELECT count(*), count(v), sum(id), min(name) FROM {table}")
    assert cursor.fetchone() == (10_000, 8_571, 49_995_000, "name 0")


def test_bulk_ingest_streams_batches(cursor, table):
    batches = [rows_of(1_000).to_batches()[0] for _ in range(20)]
    reader = pyarrow.RecordBatchReader.from_batches(batches[0].schema, batches)
    cursor.adbc_ingest(table, reader, mode="append")
    assert value(cursor, f"SELECT count(*) FROM {table}") == 20_000


def test_bulk_ingest_into_nowhere_is_refused(cursor):
    with pytest.raises(adbc_driver_manager.Error, match="no_such_table"):
        cursor.adbc_ingest("no_such_table", rows_of(1), mode="append")


def test_prepared_statements_take_typed_parameters(cursor, table):
    cursor.adbc_ingest(table, rows_of(100), mode="append")
    assert value(cursor, f"SELECT name FROM {table} WHERE id = ?", [42]) == "name 42"
    assert value(cursor, f"SELECT count(*) FROM {table} WHERE id < ? AND v > ?", [50, 10.0]) == 24
    assert value(cursor, f"SELECT id FROM {table} WHERE name = ?", ["name 7"]) == 7


def test_a_prepared_statement_tells_its_schemas(cursor, table):
    parameters = cursor.adbc_prepare(f"SELECT name FROM {table} WHERE id = ?")
    assert parameters is None or len(parameters) == 1
    schema = cursor.adbc_execute_schema(f"SELECT id, name, v FROM {table}")
    assert schema.names == ["id", "name", "v"]
    assert schema.field("id").type == pyarrow.int64()


def test_prepared_inserts_take_many_rows(cursor, table):
    cursor.executemany(
        f"INSERT INTO {table} (id, name) VALUES (?, ?)", [(1, "one"), (2, "two"), (3, "three")]
    )
    assert value(cursor, f"SELECT count(*) FROM {table} WHERE v IS NULL") == 3


def test_settings_last_for_the_connection(connection):
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE IF NOT EXISTS adbc_db")
        cursor.execute("USE adbc_db")
        cursor.execute("DROP TABLE IF EXISTS here")
        cursor.execute("CREATE TABLE here (id Int64) ENGINE = MergeTree ORDER BY id")
    with connection.cursor() as later:
        assert value(later, "SELECT count(*) FROM here") == 0
    with open_connection(uris()[0]) as stranger, stranger.cursor() as cursor:
        with pytest.raises(adbc_driver_manager.Error, match="here"):
            cursor.execute("SELECT count(*) FROM here")
            cursor.fetchall()
        cursor.execute("DROP TABLE adbc_db.here")
        cursor.execute("DROP DATABASE adbc_db")


def test_objects_are_listed(connection, table):
    catalogs = connection.adbc_get_objects(
        depth="columns", table_name_filter=table
    ).read_all().to_pylist()
    found = [
        (schema["db_schema_name"], entry["table_name"],
         [column["column_name"] for column in entry["table_columns"]])
        for catalog in catalogs
        for schema in catalog["catalog_db_schemas"] or []
        for entry in schema["db_schema_tables"] or []
    ]
    assert found == [("default", table, ["id", "name", "v"])]


def test_the_schema_of_a_table(connection, table):
    schema = connection.adbc_get_table_schema(table, db_schema_filter="default")
    assert schema.names == ["id", "name", "v"]
    assert [field.nullable for field in schema] == [False, False, True]


def test_table_types_and_info(connection):
    assert connection.adbc_get_table_types()
    info = connection.adbc_get_info()
    assert "granary" in str(info["vendor_name"]).lower()


def test_errors_tell_what_is_wrong(cursor):
    for sql, word in [
        ("SELEC 1", "SELEC"),
        ("SELECT * FROM no_such_table", "no_such_table"),
        ("SELECT CAST('abc' AS BIGINT)", "abc"),
    ]:
        with pytest.raises(adbc_driver_manager.Error, match=word):
            cursor.execute(sql)
            cursor.fetchall()
    assert value(cursor, "SELECT 1") == 1


def test_transactions_are_refused(connection):
    with pytest.raises(adbc_driver_manager.Error, match="(?i)transaction"):
        connection.adbc_connection.set_autocommit(False)


def test_large_results_stream(cursor, table):
    cursor.adbc_ingest(table, rows_of(100_000), mode="append")
    cursor.execute(f"SELECT a.id, b.name FROM {table} AS a JOIN {table} AS b ON a.id = b.id")
    reader = cursor.fetch_record_batch()
    assert sum(batch.num_rows for batch in reader) == 100_000


def wait_until_gone(words):
    """No coordinator runs a query with these words any more, within 20 s."""
    running = (
        f"SELECT count(*) FROM system.processes WHERE query LIKE '%{words}%' "
        "AND query NOT LIKE '%system.processes%'"
    )
    deadline = time.monotonic() + 20
    for uri in uris():
        with open_connection(uri) as watcher, watcher.cursor() as cursor:
            while value(cursor, running) != 0:
                assert time.monotonic() < deadline, f"the query still runs at {uri}"
                time.sleep(0.1)


def test_a_running_query_can_be_cancelled(cursor, table):
    cursor.adbc_ingest(table, rows_of(100_000), mode="append")
    endless = f"SELECT count(*) FROM {table} AS a JOIN {table} AS b ON a.id <> b.id + 1 - 1"
    timer = threading.Timer(1.0, cursor.adbc_cancel)
    timer.start()
    began = time.monotonic()
    with pytest.raises(adbc_driver_manager.Error):
        cursor.execute(endless)
        cursor.fetchall()
    timer.join()
    assert time.monotonic() - began < 20
    wait_until_gone("b.id + 1 - 1")


def test_two_results_at_once(connection, table):
    with connection.cursor() as one, connection.cursor() as two:
        one.adbc_ingest(table, rows_of(10), mode="append")
        one.execute(f"SELECT id FROM {table} ORDER BY id")
        two.execute(f"SELECT id FROM {table} ORDER BY id DESC")
        assert one.fetchone() == (0,)
        assert two.fetchone() == (9,)
