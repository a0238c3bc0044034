"""Runs every measure on every engine, in turn, and reports."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import report


class Remote:
    """An engine's process."""

    def __init__(self, name: str, folder: Path, threads: int):
        self.name = name
        read, write = os.pipe()
        arguments = [name, str(folder / name), str(threads), str(write)]
        self.child = subprocess.Popen(
            [sys.executable, "-m", "engines.child", *arguments],
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            pass_fds=[write],
            text=True,
        )
        os.close(write)
        self.answers = os.fdopen(read)

    def ask(self, what: str, **request) -> dict:
        self.child.stdin.write(json.dumps({"do": what, **request}) + "\n")
        self.child.stdin.flush()
        line = self.answers.readline()
        return json.loads(line) if line else {"error": "the engine's process ended"}

    def stop(self) -> None:
        self.ask("stop")
        self.child.stdin.close()
        self.child.wait(60)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/engines/run", description=__doc__)
    parser.add_argument("--engines", default="granary,clickhouse,clickhouse-sync")
    parser.add_argument("--measures", default="inserts,merges,final,reads,mutations")
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the table of FINAL")
    parser.add_argument("--parts", type=int, default=10, help="that overlap")
    kinds = "ReplacingMergeTree(version);SummingMergeTree(v)"
    parser.add_argument("--kinds", default=kinds, help="engines of the tables of FINAL")
    parser.add_argument("--buckets", default="1,4", help="of the tables of FINAL, in Granary")
    parser.add_argument("--seconds", type=float, default=4, help="of each measure of inserts")
    parser.add_argument("--times", type=int, default=7, help="that a query runs")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batches", default="1,1000,100000", help="rows of an insert")
    parser.add_argument("--writers", default="1,4,16")
    parser.add_argument("--folder", type=Path, help="for the data; a temporary one by default")
    parser.add_argument("--json", type=Path, default=Path.home() / ".cache/granary/engines.json")
    return parser.parse_args()


def plan(chosen: argparse.Namespace) -> list[tuple[str, str, dict]]:
    """Name, measure and its arguments."""
    steps = []
    numbers = lambda text: [int(number) for number in text.split(",")]  # noqa: E731
    for batch in numbers(chosen.batches):
        for writers in numbers(chosen.writers):
            request = {"batch_rows": batch, "writers": writers, "seconds": chosen.seconds}
            steps.append((f"inserts of {batch:,}, {writers} writers", "inserts", request))
    smaller = max(chosen.rows // 2, 1)
    of_parts = {"total": smaller, "parts": chosen.parts}
    steps.append((f"merge of {smaller:,} rows in {chosen.parts} parts", "merges", of_parts))
    for kind in chosen.kinds.split(";"):
        for buckets in numbers(chosen.buckets):
            of_final = {"total": chosen.rows, "parts": chosen.parts, "times": chosen.times}
            of_final |= {"kind": kind, "buckets": buckets}
            name = f"FINAL of {chosen.rows:,} rows in {chosen.parts} parts, {kind}, {buckets} buckets"
            steps.append((name, "final", of_final))
    steps.append((f"reads by key of {smaller:,} rows", "reads", {"total": smaller, "times": 50}))
    steps.append(
        (f"mutations of {smaller:,} rows", "mutations", {"total": smaller, "times": chosen.times})
    )
    wanted = chosen.measures.split(",")
    return [step for step in steps if step[1] in wanted or step[1] == "reads" and "mutations" in wanted]


def main() -> None:
    chosen = options()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="granary-engines-"))
    engines = [Remote(name, folder, chosen.threads) for name in chosen.engines.split(",")]
    results = {
        "machine": {"cores": chosen.threads, "system": platform.platform()},
        "versions": {engine.name: engine.ask("version") for engine in engines},
        "measures": {},
    }
    try:
        for place, (name, what, request) in enumerate(plan(chosen)):
            found = results["measures"][name] = {}
            # Who begins rotates: the machine may change under way.
            turn = place % len(engines)
            for engine in engines[turn:] + engines[:turn]:
                found[engine.name] = engine.ask(what, **request)
            print(report.measure(name, found, [engine.name for engine in engines]), flush=True)
            chosen.json.write_text(json.dumps(results, indent=1))
    finally:
        for engine in engines:
            engine.stop()
        if chosen.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\nwritten to {chosen.json}")


if __name__ == "__main__":
    main()
