"""Engines with several writers. They extend the adapters of benches/compare."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa

from compare.engines.base import Engine


def engine(name: str) -> type[Engine]:
    if name == "granary":
        return granary()
    return clickhouse(syncs=name == "clickhouse-sync")


def granary() -> type[Engine]:
    import adbc_driver_flightsql.dbapi as flight_sql
    from compare.engines.granary import Granary

    class WritingGranary(Granary):
        #: Every insert is synced before it is acknowledged.
        table_settings = ""

        def writer(self):
            connection = flight_sql.connect(self.url, autocommit=True)

            def write(table: str, rows: pa.Table, text: str | None) -> None:
                with connection.cursor() as cursor:
                    if text:
                        cursor.execute(text)
                    else:
                        # A message of the driver takes 16 MiB at most.
                        batches = rows.to_reader(max_chunksize=100_000)
                        cursor.adbc_ingest(table, batches, mode="append")

            return write, connection.close

        def mutate(self, text: str) -> None:
            self.create(text)

        def parts(self, table: str) -> int:
            rows = self.query(
                f"SELECT count(*) FROM system.parts WHERE table = '{table}' AND active"
            )
            return rows.column(0)[0].as_py()

    return WritingGranary


def clickhouse(syncs: bool) -> type[Engine]:
    from compare.engines.clickhouse import ClickHouse

    class WritingClickHouse(ClickHouse):
        name = "clickhouse-sync" if syncs else "clickhouse"
        #: By default the kernel writes files out when it likes.
        table_settings = (
            " SETTINGS fsync_after_insert = 1, fsync_part_directory = 1" if syncs else ""
        )

        def start(self) -> None:
            super().start()
            self.session.query("SET mutations_sync = 2")
            self.session.query("SET lightweight_deletes_sync = 2")
            self.lock = threading.Lock()

        def writer(self):
            def write(table: str, rows: pa.Table, text: str | None) -> None:
                if text:
                    self.session.query(text)
                else:
                    # The table function looks for the variable of this name.
                    self.session.query(f"INSERT INTO {table} SELECT * FROM Python(rows)")

            return write, lambda: None

        def mutate(self, text: str) -> None:
            # UPDATE is spelled as a mutation.
            words = text.split(" ")
            if words[0] == "UPDATE":
                text = f"ALTER TABLE {words[1]} UPDATE {text.split(' SET ', 1)[1]}"
            self.session.query(text)

        def parts(self, table: str) -> int:
            return self._value(
                f"SELECT count() FROM system.parts WHERE table = '{table}' AND active"
            )

    return WritingClickHouse


def written_bytes(pids: list[int]) -> int:
    """What the processes have handed to the file systems below the page cache."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            name, _, value = line.partition(": ")
            if name == "write_bytes":
                total += int(value)
    return total
