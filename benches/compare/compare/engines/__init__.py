"""Adapters by name; imported only by the process that needs one."""

from __future__ import annotations

ALL = ("granary", "granary-cluster", "clickhouse", "duckdb")


def adapter(name: str):
    if name == "duckdb":
        from .duckdb import DuckDb

        return DuckDb
    if name == "clickhouse":
        from .clickhouse import ClickHouse

        return ClickHouse
    from .granary import Granary, GranaryCluster

    return {"granary": Granary, "granary-cluster": GranaryCluster}[name]
