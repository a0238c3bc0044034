"""One engine in a process of its own.

Reads a request a line from its standard input, writes an answer a line to the descriptor that it
was given; both JSON. Whatever an engine prints goes to the standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from . import measure
from .engines import adapter
from .engines.base import Place
from .queries import definitions


class Child:
    def __init__(self, engine: str, place: Place):
        measure.pin(place.threads)
        self.engine = adapter(engine)(place)
        self.engine.start()

    def version(self) -> dict:
        return {"version": self.engine.version()}

    def load(self, sources: dict[str, str]) -> dict:
        for statement in definitions(self.engine.place.suite, self.engine.name):
            self.engine.create(statement)
        times = {}
        cpu = measure.cpu_seconds(self.engine.pids())
        for table, source in sources.items():
            begin = time.perf_counter()
            self.engine.load(table, Path(source))
            times[table] = time.perf_counter() - begin
        cpu = measure.cpu_seconds(self.engine.pids()) - cpu
        begin = time.perf_counter()
        self.engine.settle()
        return {
            "load_s": times,
            "load_cpu_s": cpu,
            "settle_s": time.perf_counter() - begin,
            "bytes": self.engine.bytes_on_disk(),
            "peak_bytes": measure.peak_bytes(self.engine.pids()),
        }

    def cold(self) -> dict:
        return {"how": measure.drop_page_cache(self.engine.place.folder)}

    def run(self, text: str, times: int, answer: str | None) -> dict:
        """Runs the query a number of times; the rows of the first run go to the file `answer`."""
        measure.reset_peak(self.engine.pids())
        seconds, cpu, rows = [], [], 0
        for turn in range(times):
            before = measure.cpu_seconds(self.engine.pids())
            begin = time.perf_counter()
            table = self.engine.query(text)
            seconds.append(time.perf_counter() - begin)
            cpu.append(measure.cpu_seconds(self.engine.pids()) - before)
            rows = table.num_rows
            if turn == 0 and answer:
                _write(table, Path(answer))
        peak = measure.peak_bytes(self.engine.pids())
        return {"seconds": seconds, "cpu_s": cpu, "rows": rows, "peak_bytes": peak}

    def stop(self) -> dict:
        self.engine.stop()
        return {}


def _write(table: pa.Table, path: Path) -> None:
    # Engines give columns any names, even equal ones, and Parquet has no string views.
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    columns = [column.cast(plain.get(column.type, column.type)) for column in table.columns]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, names=[f"c{i}" for i in range(len(columns))]), path)


def main() -> None:
    engine, folder, threads, suite, answers = sys.argv[1:6]
    place = Place(Path(folder), int(threads), suite)
    with os.fdopen(int(answers), "w") as output:
        child = None
        for line in sys.stdin:
            request = json.loads(line)
            try:
                child = child or Child(engine, place)
                answer = getattr(child, request.pop("do"))(**request)
            except Exception as error:  # noqa: BLE001 - whatever an engine throws is a result
                answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
            output.write(json.dumps(answer) + "\n")
            output.flush()


if __name__ == "__main__":
    main()
