"""Generates a table of ClickBench's shape.

    row ─► counter (site), user, time ─► everything else follows from them by hashing

A user keeps the same browser, region and screen, a page the same title, so columns are
correlated as in real traffic. Sizes scale with the number of rows: about one row in six starts a
new user, one in six a new URL, 13 % carry a search phrase, 6 % a phone model, 0.6 % an
advertisement. The constants that the 43 queries look for (CounterID 62, one user, two hashes, the
words Google and google) occur about as often as in the original.

Rows are made in chunks, each from (seed, chunk number) alone: memory is bounded, an interrupted
run continues, and the same arguments give the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import hits_columns
from .hits_schema import arrow_schema

CHUNK_ROWS = 250_000


def generate(folder: Path, rows: int, seed: int = 62) -> Path:
    """Writes the files that are missing and returns the folder."""
    target = folder / f"hits-{rows}-{seed}"
    target.mkdir(parents=True, exist_ok=True)
    world = hits_columns.World(rows, seed)
    schema = arrow_schema()
    chunks = (rows + CHUNK_ROWS - 1) // CHUNK_ROWS
    for number in range(chunks):
        path = target / f"{number:05d}.parquet"
        if path.exists():
            continue
        first = number * CHUNK_ROWS
        count = min(CHUNK_ROWS, rows - first)
        rng = np.random.Generator(np.random.Philox(key=[seed, number]))
        columns = hits_columns.chunk(world, rng, first, count)
        table = pa.table([columns[name] for name in schema.names], names=schema.names)
        partial = path.with_suffix(".partial")
        pq.write_table(table.cast(schema), partial, compression="zstd")
        partial.rename(path)
        print(f"  hits: {first + count:,} of {rows:,} rows", file=sys.stderr, flush=True)
    return target
