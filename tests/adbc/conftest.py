"""Connections to the server or cluster that the caller started."""

import os

import adbc_driver_flightsql.dbapi as flightsql
import pytest

COOKIES = "adbc.flight.sql.rpc.with_cookie_middleware"


def uris():
    """The coordinators, as grpc://host:port, from GRANARY_TEST_URIS (separated by commas)."""
    return os.environ["GRANARY_TEST_URIS"].split(",")


def open_connection(uri, cookies=True):
    options = {"username": "tester", "password": ""}
    if cookies:
        options[COOKIES] = "true"
    return flightsql.connect(uri, db_kwargs=options, autocommit=True)


@pytest.fixture
def connection():
    with open_connection(uris()[0]) as opened:
        yield opened


@pytest.fixture
def other():
    """A connection to another coordinator, where there is one."""
    with open_connection(uris()[-1]) as opened:
        yield opened


@pytest.fixture
def cursor(connection):
    with connection.cursor() as opened:
        yield opened


@pytest.fixture
def table(cursor):
    """An empty table, dropped afterwards."""
    cursor.execute("DROP TABLE IF EXISTS adbc_t")
    cursor.execute(
        "CREATE TABLE adbc_t (id Int64, name String, v Nullable(Float64)) "
        "ENGINE = MergeTree ORDER BY id DISTRIBUTED BY (id) BUCKETS 3"
    )
    yield "adbc_t"
    cursor.execute("DROP TABLE IF EXISTS adbc_t")
