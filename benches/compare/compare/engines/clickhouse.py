"""ClickHouse in the process (chdb), on MergeTree tables on disk."""

from __future__ import annotations

import time
from pathlib import Path

import chdb.session
import pyarrow as pa

from .base import Engine, folder_bytes

# Statistics at once and not only by the first merge: they decide the order of joins.
SETTINGS = {"materialize_statistics_on_insert": 1, "session_timezone": "'UTC'"}


class ClickHouse(Engine):
    name = "clickhouse"

    def version(self) -> str:
        return f"ClickHouse {self._value('SELECT version()')}"

    def start(self) -> None:
        self.session = chdb.session.Session(str(self.place.folder))
        for name, value in {"max_threads": self.place.threads, **SETTINGS}.items():
            self.session.query(f"SET {name} = {value}")
        self.session.query("CREATE DATABASE IF NOT EXISTS bench")
        self.session.query("USE bench")

    def stop(self) -> None:
        self.session.close()

    def create(self, statement: str) -> None:
        self.session.query(statement)

    def load(self, table: str, source: Path) -> None:
        files = source / "*.parquet" if source.is_dir() else source
        self.session.query(f"INSERT INTO {table} SELECT * FROM file('{files}', Parquet)")

    def settle(self) -> None:
        """Waits until no merge runs, at most two minutes."""
        quiet = 0
        deadline = time.monotonic() + 120
        while quiet < 4 and time.monotonic() < deadline:
            time.sleep(0.5)
            quiet = quiet + 1 if self._value("SELECT count() FROM system.merges") == 0 else 0

    def query(self, text: str) -> pa.Table:
        result = self.session.query(text, "Arrow")
        if not result.size():
            return pa.table({})
        return pa.ipc.open_file(pa.py_buffer(result.bytes())).read_all()

    def bytes_on_disk(self) -> int:
        """Of active parts: merged ones stay for minutes."""
        size = self._value("SELECT sum(bytes_on_disk) FROM system.parts WHERE active")
        return int(size) or folder_bytes(self.place.folder)

    def _value(self, text: str):
        return self.query(text).column(0)[0].as_py()
