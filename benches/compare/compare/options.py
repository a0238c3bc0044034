"""What the command line asks for."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path

from . import engines, queries


@dataclass
class Options:
    suite: str
    engines: list[str]
    scale: float
    rows: int
    rounds: int
    hot: int
    threads: int
    limit_s: float
    load_limit_s: float
    only: list[str]
    data: Path  # generated files and databases
    out: Path  # what was measured
    seed: int = field(default=62)

    @property
    def label(self) -> str:
        """Names the data set: results of one are never mixed with those of another."""
        size = f"scale-{self.scale:g}" if self.suite == "tpch" else f"rows-{self.rows}"
        return f"{self.suite}-{size}-threads-{self.threads}"

    def record(self, name: str) -> Path:
        return self.out / self.label / f"{name}.json"

    def answer(self, query: str, engine: str) -> Path:
        return self.out / self.label / "answers" / f"{query}.{engine}.parquet"

    def chosen(self, all_queries: list) -> list:
        return [q for q in all_queries if not self.only or q.name in self.only]


def parse(arguments: list[str] | None = None) -> list[Options]:
    cache = Path(os.environ.get("COMPARE_CACHE", Path.home() / ".cache/granary/compare"))
    parser = argparse.ArgumentParser(
        prog="run",
        description="Measures Granary beside ClickHouse and DuckDB on this machine. "
        "A run that was interrupted continues; --fresh begins again.",
    )
    option = parser.add_argument
    option("--suite", choices=[*queries.SUITES, "all"], default="all")
    option(
        "--engines", default="granary,clickhouse,duckdb", help=f"any of {', '.join(engines.ALL)}"
    )
    option("--scale", type=float, default=1, help="TPC-H scale factor (default 1)")
    option("--rows", type=int, default=5_000_000, help="rows of hits (default 5000000)")
    option("--rounds", type=int, default=3, help="rounds over all queries (default 3)")
    option("--hot", type=int, default=4, help="hot runs of a query in a round (default 4)")
    option("--threads", type=int, default=2, help="cores and threads of each engine (default 2)")
    option("--limit", type=float, default=120, help="seconds that a query may take")
    option("--queries", default="", help="only these, for example q01,q06")
    option("--data", type=Path, default=cache / "data", help="generated files and databases")
    option("--out", type=Path, default=cache / "results", help="measurements and reports")
    option("--fresh", action="store_true", help="measure again what was measured before")
    given = parser.parse_args(arguments)

    names = [name for name in given.engines.split(",") if name]
    unknown = [name for name in names if name not in engines.ALL]
    if unknown:
        parser.error(f"unknown engine {unknown[0]}; there are {', '.join(engines.ALL)}")
    if given.threads > len(os.sched_getaffinity(0)):
        parser.error(f"--threads {given.threads}: this machine has fewer cores")
    suites = queries.SUITES if given.suite == "all" else (given.suite,)
    made = [
        Options(
            suite,
            names,
            given.scale,
            given.rows,
            given.rounds,
            given.hot,
            given.threads,
            given.limit,
            7200,
            [q for q in given.queries.split(",") if q],
            given.data.resolve(),
            given.out.resolve(),
        )
        for suite in suites
    ]
    if given.fresh:
        for options in made:
            for old in options.record("x").parent.glob("*.json"):
                old.unlink()
    return made
