"""Bytes on disk after merges, with the codecs that each engine takes by itself.

    run sizes --scale 1 --rows 5000000

ClickHouse counts its active part, DuckDB its file after a checkpoint, Granary its active parts.
`--columns` also measures each column: ClickHouse says so itself, of Granary a table of the sort key and the
column is loaded, less one of the key alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from . import queries
from .data import observed, tpch
from .engines.base import Place

ENGINES = ("granary", "clickhouse", "duckdb")


@dataclass(frozen=True)
class DataSet:
    name: str
    source: Path
    #: Names and types, in Granary's and ClickHouse's words.
    columns: list[tuple[str, str]]
    key: tuple[str, ...]

    def definition(self, engine: str, table: str, only: list[str] | None = None) -> str:
        columns = [(name, kind) for name, kind in self.columns if only is None or name in only]
        if engine == "duckdb":
            spelled = {"Int64": "BIGINT", "Int32": "INTEGER", "String": "VARCHAR",
                       "Date32": "DATE", "DateTime": "TIMESTAMP", "Float64": "DOUBLE"}
            listed = ", ".join(f"{name} {spelled.get(kind, kind)}" for name, kind in columns)
            return f"CREATE TABLE {table} ({listed})"
        listed = ", ".join(f"{name} {kind}" for name, kind in columns)
        key = ", ".join(self.key)
        more = " DISTRIBUTED BY (%s) BUCKETS 1" % self.key[0] if engine == "granary" else ""
        return f"CREATE TABLE {table} ({listed}) ENGINE = MergeTree ORDER BY ({key}){more}"


def lineitem(folder: Path, scale: float) -> DataSet:
    text = re.sub(r"--.*", "", (queries.TPCH / "tables.sql").read_text())
    body = re.search(r"CREATE TABLE lineitem \((.*?)\n\)", text, re.DOTALL).group(1)
    columns = re.findall(r"(\w+) (\w+(?:\([^)]*\))?)", body)
    key = re.search(r"lineitem.*?ORDER BY \(?([^)\n;]*)", text, re.DOTALL).group(1)
    key = tuple(name.strip() for name in key.split(","))
    return DataSet("lineitem", tpch.generate(folder, scale)["lineitem"], columns, key)


def generated(name: str, source: Path, body: str, key: tuple[str, ...]) -> DataSet:
    return DataSet(name, source, re.findall(r"(\w+) (\w+)", body), key)


def open_engine(name: str, folder: Path, threads: int):
    from .engines import clickhouse, duckdb, granary

    kind = {"granary": granary.Granary, "clickhouse": clickhouse.ClickHouse,
            "duckdb": duckdb.DuckDb}[name]
    shutil.rmtree(folder, ignore_errors=True)
    return kind(Place(folder, threads, "sizes"))


def measured(engine, data: DataSet, columns: bool) -> dict:
    """Bytes of the table, and of its columns where they are asked for."""
    engine.start()
    try:
        engine.create(data.definition(engine.name, "data"))
        engine.load("data", data.source)
        if engine.name != "duckdb":
            engine.create("OPTIMIZE TABLE data FINAL")
        if engine.name == "duckdb":
            return {"bytes": engine.bytes_on_disk()}
        table = "table = 'data' AND active"
        size = value(engine, "sum(bytes)" if engine.name == "granary" else "sum(bytes_on_disk)",
                     f"system.parts WHERE {table}")
        found = {"bytes": int(size)}
        if columns and engine.name == "clickhouse":
            rows = engine.query("SELECT column, sum(column_data_compressed_bytes) AS bytes "
                                f"FROM system.parts_columns WHERE {table} GROUP BY column")
            found["columns"] = {row["column"]: int(row["bytes"]) for row in rows.to_pylist()}
        elif columns:
            found["columns"] = of_columns(engine, data)
        return found
    finally:
        engine.stop()


def value(engine, what: str, source: str):
    return engine.query(f"SELECT {what} AS it FROM {source}").column(0)[0].as_py()


def of_columns(engine, data: DataSet) -> dict[str, int]:
    """A column's share is what it adds to the key."""

    def of(columns: list[str]) -> int:
        engine.create(data.definition(engine.name, "one", columns))
        engine.create(f"INSERT INTO one ({', '.join(columns)}) SELECT {', '.join(columns)} FROM data")
        engine.create("OPTIMIZE TABLE one FINAL")
        size = int(value(engine, "sum(bytes)", "system.parts WHERE table = 'one' AND active"))
        engine.create("DROP TABLE one")
        return size

    key = of(list(data.key))
    others = [name for name, _ in data.columns if name not in data.key]
    return {"(key)": key} | {
        name: of([own for own, _ in data.columns if own in data.key or own == name]) - key
        for name in others
    }


def main() -> None:
    cache = Path(os.environ.get("COMPARE_CACHE", Path.home() / ".cache/granary/compare"))
    parser = argparse.ArgumentParser(prog="run sizes", description=__doc__)
    parser.add_argument("--scale", type=float, default=1, help="TPC-H scale factor (default 1)")
    parser.add_argument("--rows", type=int, default=5_000_000, help="of logs and of series")
    parser.add_argument("--sets", default="lineitem,logs,series")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--columns", action="store_true", help="also column by column")
    parser.add_argument("--data", type=Path, default=cache / "data")
    given = parser.parse_args()
    made = {
        "lineitem": lambda: lineitem(given.data, given.scale),
        "logs": lambda: generated("logs", observed.logs(given.data, given.rows), observed.LOGS,
                                  observed.LOGS_KEY),
        "series": lambda: generated("series", observed.series(given.data, given.rows),
                                    observed.SERIES, observed.SERIES_KEY),
    }
    results: dict[str, dict] = {}
    for name in given.sets.split(","):
        data = made[name]()
        for engine in given.engines.split(","):
            folder = given.data / "sizes" / f"{name}-{engine}"
            found = measured(open_engine(engine, folder, given.threads), data, given.columns)
            shutil.rmtree(folder, ignore_errors=True)
            results.setdefault(name, {})[engine] = found
            print(f"{name:10} {engine:12} {found['bytes']:>15,} bytes", flush=True)
            for column, size in sorted(found.get("columns", {}).items(), key=lambda one: -one[1]):
                print(f"{'':14}{column:20} {size:>13,}", flush=True)
        own = results[name].get("granary")
        for other, found in results[name].items():
            if own and other != "granary":
                print(f"{name:10} granary is {own['bytes'] / found['bytes']:.2f} of {other}")
    json.dump(results, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
