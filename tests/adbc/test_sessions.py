"""Sessions of the driver: by bearer token, by cookie, and their options."""

import json

import adbc_driver_manager
import pytest

from conftest import open_connection, uris

OPTION = "adbc.flight.sql.session.option."
BOOLEAN = "adbc.flight.sql.session.optionbool."
ERASE = "adbc.flight.sql.session.optionerase."
ALL = "adbc.flight.sql.session.options"


def value(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def setting(connection, name):
    return value(connection, f"SELECT value FROM system.settings WHERE name = '{name}'")


@pytest.fixture(params=[True, False], ids=["cookie", "bearer"])
def session(request):
    """A connection whose session comes back by cookie, and one by the token of its handshake."""
    with open_connection(uris()[0], cookies=request.param) as opened:
        yield opened


@pytest.fixture
def database(session):
    """A database with one table, dropped afterwards."""
    with session.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS adbc_options.here")
        cursor.execute("DROP DATABASE IF EXISTS adbc_options")
        cursor.execute("CREATE DATABASE adbc_options")
        cursor.execute("CREATE TABLE adbc_options.here (id Int64) ENGINE = MergeTree ORDER BY id")
    yield "adbc_options"
    with session.cursor() as cursor:
        cursor.execute("DROP TABLE adbc_options.here")
        cursor.execute("DROP DATABASE adbc_options")


def test_set_and_use_last_for_the_connection(session, database):
    usual = setting(session, "max_threads")
    with session.cursor() as cursor:
        cursor.execute("SET max_threads = 3")
        cursor.execute(f"USE {database}")
    # Other cursors of the connection, several calls later.
    for _ in range(3):
        assert setting(session, "max_threads") == "3"
        assert value(session, "SELECT count(*) FROM here") == 0
    with open_connection(uris()[0]) as stranger:
        assert setting(stranger, "max_threads") == usual
        assert value(stranger, "SELECT current_database()") == "default"
    with session.cursor() as cursor:
        cursor.execute("SET max_threads = DEFAULT")
        cursor.execute("USE default")
    assert setting(session, "max_threads") == usual


def test_options_of_the_driver_are_the_session(session, database):
    native = session.adbc_connection
    usual = setting(session, "max_threads")
    native.set_options(**{OPTION + "schema": database})
    assert value(session, "SELECT count(*) FROM here") == 0
    native.set_options(**{OPTION + "max_threads": "3"})
    assert setting(session, "max_threads") == "3"
    assert native.get_option(OPTION + "max_threads") == "3"
    native.set_options(**{OPTION + "max_threads": 4})
    assert setting(session, "max_threads") == "4"
    native.set_options(**{BOOLEAN + "allow_stale_reads": "true"})
    assert setting(session, "allow_stale_reads") == "1"
    options = json.loads(native.get_option(ALL))
    assert options["schema"] == database
    assert options["catalog"] == "granary"
    assert options["max_threads"] == "4"
    native.set_options(**{ERASE + "max_threads": ""})
    assert setting(session, "max_threads") == usual
    native.set_options(**{OPTION + "schema": "default"})
    assert value(session, "SELECT current_database()") == "default"


def test_wrong_options_are_refused(session):
    native = session.adbc_connection
    for name, wrong in [
        ("no_such_option", "1"),
        ("max_threads", "many"),
        ("schema", "no_such_database"),
        ("catalog", "other"),
    ]:
        with pytest.raises(adbc_driver_manager.Error, match=name):
            native.set_options(**{OPTION + name: wrong})
    assert value(session, "SELECT 1") == 1
    assert value(session, "SELECT current_database()") == "default"


def test_the_current_database_of_the_connection(session, database):
    assert session.adbc_current_catalog == "granary"
    assert session.adbc_current_db_schema == "default"
    session.adbc_current_db_schema = database
    assert value(session, "SELECT current_database()") == database
    assert session.adbc_current_db_schema == database
    session.adbc_current_db_schema = "default"
