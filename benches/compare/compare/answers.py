"""Do the engines agree? Their rows are compared with the types' differences removed."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Averages of decimals have six digits in one engine and fifteen in another.
RELATIVE, ABSOLUTE = 1e-6, 2e-6


def differ(left: Path, right: Path, compare: str) -> str | None:
    """Why the two answers differ; None when they agree."""
    a, b = _rows(left, compare), _rows(right, compare)
    if len(a) != len(b):
        return f"{len(a)} rows against {len(b)}"
    if compare == "count":
        return None
    for number, (x, y) in enumerate(zip(a, b), 1):
        if len(x) != len(y):
            return f"{len(x)} columns against {len(y)}"
        if not all(_equal(p, q) for p, q in zip(x, y)):
            return f"row {number}: {_show(x)} against {_show(y)}"
    return None


def _rows(path: Path, compare: str) -> list[tuple]:
    table = pq.read_table(path)
    if compare == "count":
        return [()] * table.num_rows
    if compare.startswith("column "):
        table = table.select([int(compare.removeprefix("column ")) - 1])
    columns = [_plain(table.column(i)) for i in range(table.num_columns)]
    rows = list(zip(*columns)) if columns else []
    return sorted(rows, key=lambda row: tuple(_order(value) for value in row))


def _plain(column: pa.ChunkedArray) -> list:
    """Dates as days and times as seconds since 1970, decimals as floats, bytes as text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = pc.cast(column, kind.value_type)
        kind = column.type
    if pa.types.is_date(kind):
        column = pc.cast(pc.cast(column, pa.date32()), pa.int32())
    elif pa.types.is_timestamp(kind):
        column = pc.cast(pc.cast(column, pa.timestamp("s"), safe=False), pa.int64())
    elif pa.types.is_decimal(kind):
        column = pc.cast(column, pa.float64())
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        column = pc.cast(column, pa.large_string())
    return column.to_pylist()


def _order(value) -> tuple:
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, (int, float)):
        # Rounded, so that equal rows of two engines come in the same order.
        return (1, float(f"{value:.5g}"), "")
    return (2, 0.0, str(value))


def _equal(a, b) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        if a is None or b is None:
            return a is b
        return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    if isinstance(a, str) and isinstance(b, str):
        return a == b
    return a == b


def _show(row: tuple) -> str:
    text = ", ".join(str(value) for value in row)
    return text if len(text) < 120 else text[:117] + "..."
