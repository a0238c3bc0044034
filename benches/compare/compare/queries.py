"""The suites: tables, query texts and how their results may be compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .data import hits_schema

REPOSITORY = Path(__file__).resolve().parents[3]
OWN = Path(__file__).resolve().parents[1] / "queries"
TPCH = REPOSITORY / "tests" / "tpch"
SUITES = ("tpch", "clickbench")


@dataclass(frozen=True)
class Query:
    name: str
    text: str
    #: "rows": all rows in any order. "column N": only column N, counted from 1, since ties may
    #: be cut anywhere by LIMIT. "count": only how many rows.
    compare: str


def queries(suite: str, engine: str) -> list[Query]:
    """The suite's queries; a file in a folder of the engine's name replaces the common one."""
    folder = TPCH / "queries" if suite == "tpch" else OWN / suite
    found = []
    for path in sorted(folder.glob("q*.sql")):
        own = OWN / suite / engine / path.name
        text = (own if own.exists() else path).read_text(encoding="utf-8").strip().rstrip(";")
        match = re.match(r"-- compare: (.+)\n", path.read_text(encoding="utf-8"))
        body = re.sub(r"^-- compare: .+\n", "", text)
        found.append(Query(path.stem, body, match.group(1) if match else "rows"))
    return found


def tables(suite: str) -> list[str]:
    if suite == "clickbench":
        return ["hits"]
    return re.findall(r"CREATE TABLE (\w+)", (TPCH / "tables.sql").read_text())


def definitions(suite: str, engine: str) -> list[str]:
    """CREATE TABLE for each table. The tests' TPC-H definitions serve all engines: the same sort
    keys for ClickHouse and Granary, no keys for DuckDB, which has none."""
    if suite == "clickbench":
        return [_hits(engine)]
    text = re.sub(r"--.*", "", (TPCH / "tables.sql").read_text())
    statements = [part.strip() for part in text.split(";") if part.strip()]
    return [_tpch(statement, engine) for statement in statements]


def _tpch(statement: str, engine: str) -> str:
    if engine.startswith("granary"):
        return statement
    statement = re.sub(r"\s+DISTRIBUTED BY \([^)]*\)(\s+BUCKETS \d+)?", "", statement)
    statement = re.sub(r"\s+COLOCATE WITH \w+", "", statement)
    if engine == "clickhouse":
        return statement
    statement = re.sub(r"\)\s*ENGINE = .*", ")", statement, flags=re.DOTALL)
    spelled = {"Int64": "BIGINT", "Int32": "INTEGER", "String": "VARCHAR", "Date32": "DATE"}
    return re.sub(r"\b(Int64|Int32|String|Date32)\b", lambda m: spelled[m.group(1)], statement)


def _hits(engine: str) -> str:
    key = ", ".join(hits_schema.SORT_KEY)
    if engine == "duckdb":
        return f"CREATE TABLE hits (\n{hits_schema.sql_columns()}\n)"
    if engine == "clickhouse":
        columns = hits_schema.sql_columns(char="TEXT")
        return f"CREATE TABLE hits (\n{columns}\n) ENGINE = MergeTree ORDER BY ({key})"
    columns = hits_schema.sql_columns()
    return f"CREATE TABLE hits (\n{columns}\n) ENGINE = MergeTree ORDER BY ({key})"
