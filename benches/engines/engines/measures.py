"""The measures. Each runs in the engine's process and gives plain figures."""

from __future__ import annotations

import statistics
import threading
import time

import numpy as np

from compare import measure

from .data import COLUMNS, rows, values
from .writers import written_bytes

#: Rows from which a batch is sent as Arrow and not as text.
ARROW_ROWS_MIN = 100


def table(engine, name: str, kind: str = "MergeTree", buckets: int = 0) -> None:
    placed = f" DISTRIBUTED BY (id) BUCKETS {buckets}" if buckets and engine.name == "granary" else ""
    engine.create(f"DROP TABLE IF EXISTS {name}")
    engine.create(
        f"CREATE TABLE {name} ({COLUMNS}) ENGINE = {kind} ORDER BY id{placed}"
        f"{engine.table_settings}"
    )


def inserts(engine, batch_rows: int, writers: int, seconds: float) -> dict:
    """Writers insert batches for a time; then merges are waited for."""
    table(engine, "inserts")
    latencies: list[float] = []
    failures: list[str] = []
    counted = threading.Lock()
    bytes_inserted = [0]
    batches = [prepared(batch_rows, writer) for writer in range(writers)]
    ways = [engine.writer() for _ in range(writers)]

    def work(writer: int) -> None:
        write, own, turn = ways[writer][0], batches[writer], 0
        try:
            while time.perf_counter() < stop:
                batch, text = own[turn % len(own)]
                begin = time.perf_counter()
                write("inserts", batch, text)
                took = time.perf_counter() - begin
                turn += 1
                with counted:
                    latencies.append(took)
                    bytes_inserted[0] += batch.nbytes
        except Exception as error:  # noqa: BLE001 - whatever an engine throws is a result
            failures.append(f"{type(error).__name__}: {error}"[:300])

    measure.reset_peak(engine.pids())
    before, cpu = written_bytes(engine.pids()), measure.cpu_seconds(engine.pids())
    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(writers)]
    begin = time.perf_counter()
    stop = begin + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begin
    at_end = written_bytes(engine.pids()) - before
    parts = engine.parts("inserts")
    for _, close in ways:
        close()
    settle(engine, "inserts")
    result = {
        "rows_per_s": len(latencies) * batch_rows / took,
        "inserts": len(latencies),
        "latency_ms_median": 1e3 * statistics.median(latencies) if latencies else None,
        "parts_at_end": parts,
        "written_per_byte": at_end / max(bytes_inserted[0], 1),
        "written_per_byte_merged": (written_bytes(engine.pids()) - before)
        / max(bytes_inserted[0], 1),
        "cpu_s": measure.cpu_seconds(engine.pids()) - cpu,
        "peak_bytes": measure.peak_bytes(engine.pids()),
    }
    return {**result, "errors": failures[:3]} if failures else result


def prepared(batch_rows: int, writer: int) -> list:
    """A few batches of a writer: it is the engine that is measured and not the generator."""
    batches = []
    for turn in range(4 if batch_rows > 10_000 else 16):
        first = (writer * 16 + turn) * batch_rows
        batch = rows(np.arange(first, first + batch_rows), seed=writer * 16 + turn)
        text = values(batch, "inserts") if batch_rows < ARROW_ROWS_MIN else None
        batches.append((batch, text))
    return batches


def settle(engine, name: str, limit_s: float = 60) -> None:
    """Waits until the number of parts stays the same for two seconds."""
    deadline, same, last = time.monotonic() + limit_s, 0, None
    while same < 8 and time.monotonic() < deadline:
        parts = engine.parts(name)
        same, last = (same + 1 if parts == last else 0), parts
        time.sleep(0.25)


def overlapping(engine, name: str, kind: str, total: int, parts: int, buckets: int = 4) -> int:
    """Parts whose keys lie among those of the others, one in ten of them in several parts; merges
    are stopped. Gives the bytes of the rows."""
    table(engine, name, kind, buckets)
    engine.create(f"SYSTEM STOP MERGES {name}")
    write, close = engine.writer()
    each, size = total // parts, 0
    random = np.random.default_rng(7)
    for part in range(parts):
        ids = random.choice(int(total * 5), each, replace=False)
        batch = rows(np.sort(ids), seed=part)
        size += batch.nbytes
        write(name, batch, None)
    close()
    return size


def merges(engine, total: int, parts: int) -> dict:
    """All parts of a table become one (in Granary one of each bucket)."""
    size = overlapping(engine, "merged", "MergeTree", total, parts)
    engine.create("SYSTEM START MERGES merged")
    measure.reset_peak(engine.pids())
    before, cpu = written_bytes(engine.pids()), measure.cpu_seconds(engine.pids())
    begin = time.perf_counter()
    engine.create("OPTIMIZE TABLE merged FINAL")
    took = time.perf_counter() - begin
    return {
        "seconds": took,
        "row_mb_per_s": size / took / 1e6,
        "rows_per_s": total / took,
        "written_per_byte": (written_bytes(engine.pids()) - before) / size,
        "cpu_s": measure.cpu_seconds(engine.pids()) - cpu,
        "peak_bytes": measure.peak_bytes(engine.pids()),
    }


def timed(engine, text: str, times: int) -> dict:
    seconds, answer = [], None
    measure.reset_peak(engine.pids())
    for _ in range(times):
        begin = time.perf_counter()
        answer = engine.query(text)
        seconds.append(time.perf_counter() - begin)
    return {
        "ms_first": 1e3 * seconds[0],
        "ms_median": 1e3 * statistics.median(seconds[1:] or seconds),
        "ms_best": 1e3 * min(seconds),
        "answer": [shown(column[0].as_py()) for column in answer.columns],
        "peak_bytes": measure.peak_bytes(engine.pids()),
    }


def shown(value) -> str:
    """Sums of floats depend on their order in the last digits."""
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def final(engine, total: int, parts: int, times: int, kind: str, buckets: int) -> dict:
    """Reads of a table whose parts overlap, with FINAL and without."""
    overlapping(engine, "replaced", kind, total, parts, buckets)
    queries = {
        "one column": "SELECT count(*), sum(v) FROM replaced{}",
        "all columns": "SELECT count(*), sum(v), max(x), min(text), sum(version) FROM replaced{}",
        "key range": "SELECT count(*), sum(v) FROM replaced{} WHERE id < " + str(total // 4),
        "group by": "SELECT v % 100 AS g, count(*), sum(x) FROM replaced{} GROUP BY g ORDER BY g",
    }
    results = {}
    for name, text in queries.items():
        plain = timed(engine, text.format(""), times)
        with_final = timed(engine, text.format(" FINAL"), times)
        results[name] = {
            "plain": plain,
            "final": with_final,
            "final_over_plain": with_final["ms_median"] / plain["ms_median"],
            "first_final_over_plain": with_final["ms_first"] / plain["ms_median"],
        }
    name = "one column"
    after = after_inserts(engine, queries[name].format(" FINAL"), total, times)
    over = after["ms_median"] / results[name]["plain"]["ms_median"]
    results[f"{name}, 1,000 rows inserted before each"] = {"final": after, "final_over_plain": over}
    return results


def after_inserts(engine, text: str, total: int, times: int) -> dict:
    """The query after an insert of 1,000 rows whose keys lie among all others, time and again."""
    write, close = engine.writer()
    random, seconds = np.random.default_rng(17), []
    for turn in range(times):
        ids = np.sort(random.choice(int(total * 5), 1_000, replace=False))
        write("replaced", rows(ids, seed=100 + turn), None)
        begin = time.perf_counter()
        engine.query(text)
        seconds.append(time.perf_counter() - begin)
    close()
    return {"ms_median": 1e3 * statistics.median(seconds), "ms_best": 1e3 * min(seconds)}


def reads(engine, total: int, times: int) -> dict:
    """Point and range reads by key of a table of merged parts."""
    table(engine, "keyed", buckets=4)
    write, close = engine.writer()
    for first in range(0, total, 1_000_000):
        ids = np.arange(first, min(first + 1_000_000, total))
        write("keyed", rows(ids, seed=first), None)
    close()
    engine.create("OPTIMIZE TABLE keyed FINAL")
    random = np.random.default_rng(11)
    results = {}
    for name, width in [("point", 0), ("range of 1,000", 999), ("range of 1 %", total // 100)]:
        seconds = []
        for first in random.integers(0, total - width, times):
            text = f"SELECT * FROM keyed WHERE id BETWEEN {first} AND {first + width}"
            begin = time.perf_counter()
            found = engine.query(text).num_rows
            seconds.append(time.perf_counter() - begin)
            if found != width + 1:
                raise RuntimeError(f"{text}: {found} rows")
        results[name] = {"ms_median": 1e3 * statistics.median(seconds), "ms_best": 1e3 * min(seconds)}
    return results


def mutations(engine, total: int, times: int) -> dict:
    """Deletes and updates of the table of `reads`: 10 rows by key, and one of ten rows."""
    random = np.random.default_rng(13)
    results = {}
    few = "id BETWEEN {0} AND {0} + 9"
    for name, text, turns in [
        ("update of 10 rows", f"UPDATE keyed SET v = v + 1 WHERE {few}", times),
        ("delete of 10 rows", f"DELETE FROM keyed WHERE {few}", times),
        ("update of one in ten", "UPDATE keyed SET v = v + 1 WHERE id % 10 = 3", 1),
        ("delete of one in ten", "DELETE FROM keyed WHERE id % 10 = 7", 1),
    ]:
        seconds, before = [], written_bytes(engine.pids())
        measure.reset_peak(engine.pids())
        for first in random.integers(0, total - 10, turns):
            begin = time.perf_counter()
            engine.mutate(text.format(first))
            seconds.append(time.perf_counter() - begin)
        results[name] = {
            "ms_median": 1e3 * statistics.median(seconds),
            "written_kib_each": (written_bytes(engine.pids()) - before) / turns / 1024,
            "peak_bytes": measure.peak_bytes(engine.pids()),
        }
    return results
