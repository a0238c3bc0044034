"""DuckDB on its native file."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from .base import Engine


class DuckDb(Engine):
    name = "duckdb"

    def version(self) -> str:
        return f"DuckDB {duckdb.__version__}"

    def start(self) -> None:
        self.connection = duckdb.connect(str(self.place.folder / "database.duckdb"))
        self.connection.execute(f"SET threads = {self.place.threads}")
        self.connection.execute("SET enable_progress_bar = false")
        self.connection.execute("SET TimeZone = 'UTC'")

    def stop(self) -> None:
        self.connection.close()

    def create(self, statement: str) -> None:
        self.connection.execute(statement)

    def load(self, table: str, source: Path) -> None:
        files = source / "*.parquet" if source.is_dir() else source
        self.connection.execute(f"INSERT INTO {table} SELECT * FROM read_parquet('{files}')")
        self.connection.execute("CHECKPOINT")

    def query(self, text: str) -> pa.Table:
        return self.connection.sql(text).to_arrow_table()
