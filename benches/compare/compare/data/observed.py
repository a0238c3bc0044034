"""Logs of a service and time series of machines, generated: seeded, in bounded memory.

Lines of logs have the words, numbers and ids that real ones have, in about their proportions; gauges
wander, counters rise, and every series reports at its own second with some jitter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CHUNK_ROWS = 250_000
SECOND_NS = 1_000_000_000
BEGIN_S = 1_709_251_200  # 2024-03-01

LOGS = """(
    seen_at DateTime, host String, service String, level String, status Int32, ms Float64,
    user_id Int64, trace String, line String
)"""
LOGS_KEY = ("service", "seen_at")
SERIES = """(
    metric String, host String, seen_at DateTime, value Float64, total Int64
)"""
SERIES_KEY = ("metric", "host", "seen_at")

SERVICES = ["api", "auth", "billing", "cart", "mail", "search", "static", "worker"]
PATHS = ["/", "/login", "/cart", "/cart/items", "/search", "/orders", "/users/me", "/health"]
VERBS = ["GET", "GET", "GET", "POST", "PUT", "DELETE"]
FAULTS = ["connection reset by peer", "deadline exceeded", "no such user", "out of stock",
          "duplicate key value", "permission denied"]
METRICS = ["cpu.user", "cpu.system", "disk.read", "disk.write", "mem.used", "net.in", "net.out",
           "requests"]


def _write(folder: Path, rows: int, chunk) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range((rows + CHUNK_ROWS - 1) // CHUNK_ROWS):
        path = folder / f"{number:05d}.parquet"
        if path.exists():
            continue
        first = number * CHUNK_ROWS
        partial = path.with_suffix(".partial")
        pq.write_table(chunk(number, first, min(CHUNK_ROWS, rows - first)), partial,
                       compression="zstd")
        partial.rename(path)
    return folder


def logs(folder: Path, rows: int, seed: int = 62) -> Path:
    """Writes the files that are missing and returns the folder."""

    def chunk(number: int, first: int, count: int) -> pa.Table:
        rng = np.random.Generator(np.random.Philox(key=[seed, number]))
        at = BEGIN_S + (first + np.arange(count)) // 200
        service = np.array(SERVICES)[np.minimum(rng.zipf(1.4, count) - 1, 7)]
        host = [f"{name}-{place:02d}.eu.example.org"
                for name, place in zip(service, rng.integers(0, 12, count))]
        failed = rng.random(count) < 0.03
        status = np.where(failed, rng.choice([400, 401, 404, 500, 503], count),
                          rng.choice([200, 200, 200, 201, 204, 304], count))
        ms = np.round(np.exp(rng.normal(2.5, 1.1, count)), 3)
        user = np.minimum(rng.zipf(1.2, count), 2_000_000)
        trace = [f"{value:016x}" for value in rng.integers(0, 1 << 63, count)]
        verb = rng.choice(VERBS, count)
        path = rng.choice(PATHS, count)
        fault = rng.choice(FAULTS, count)
        line = [
            f"{v} {p} failed for user {u}: {f}" if bad
            else f"{v} {p} answered {s} in {m:.3f} ms, user {u}, {b} bytes"
            for v, p, u, f, bad, s, m, b in zip(verb, path, user, fault, failed, status, ms,
                                                rng.integers(120, 60_000, count))
        ]
        return pa.table({
            "seen_at": pa.array(at * 1000, pa.timestamp("ms")), "host": host,
            "service": pa.array(service), "level": np.where(failed, "ERROR", "INFO"),
            "status": pa.array(status, pa.int32()), "ms": ms, "user_id": pa.array(user, pa.int64()),
            "trace": trace, "line": line,
        })

    return _write(folder / f"logs-{rows}-{seed}", rows, chunk)


def series(folder: Path, rows: int, seed: int = 62) -> Path:
    """Writes the files that are missing and returns the folder."""
    hosts = 50
    width = hosts * len(METRICS)

    def chunk(number: int, first: int, count: int) -> pa.Table:
        rng = np.random.Generator(np.random.Philox(key=[seed, number]))
        row = first + np.arange(count)
        place, step = row % width, row // width
        kind = place % len(METRICS)
        jitter = rng.random(count) < 0.02
        at = BEGIN_S + step * 10 + place % 7 + jitter
        # Gauges are known to two decimals and wander around a level of their own.
        level = (place * 37 % 83) + 5.0
        value = np.round(level + 4 * np.sin(step / 180 + place) + rng.normal(0, 0.7, count), 2)
        total = (step * (50 + place % 113) + rng.integers(0, 50, count)).astype(np.int64)
        return pa.table({
            "metric": np.array(METRICS)[kind],
            "host": [f"machine-{one:03d}" for one in place // len(METRICS)],
            "seen_at": pa.array(at * 1000, pa.timestamp("ms")), "value": value,
            "total": pa.array(total, pa.int64()),
        })

    return _write(folder / f"series-{rows}-{seed}", rows, chunk)
