"""Rows to write: seeded, the same for every engine."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

WORDS = np.array([f"word-{number:05}" for number in range(20_000)])


def rows(ids: np.ndarray, seed: int) -> pa.Table:
    """A row for each id, with a version, a number, a float and a text."""
    random = np.random.default_rng(seed)
    count = len(ids)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "version": pa.array(np.full(count, seed), pa.int64()),
            "v": pa.array(random.integers(0, 1_000_000, count), pa.int64()),
            "x": pa.array(random.random(count), pa.float64()),
            "text": pa.array(WORDS[random.integers(0, len(WORDS), count)], pa.string()),
        }
    )


COLUMNS = "id Int64, version Int64, v Int64, x Float64, text String"


def values(batch: pa.Table, table: str) -> str:
    """The rows as an INSERT."""
    lines = ", ".join(
        f"({row['id']}, {row['version']}, {row['v']}, {row['x']!r}, '{row['text']}')"
        for row in batch.to_pylist()
    )
    return f"INSERT INTO {table} VALUES {lines}"
