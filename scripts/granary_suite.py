"""What the suites share: a server with an empty database, how rows are compared, and the ratchet."""

import contextlib
import decimal
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import granary_venv

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
LISTS = REPOSITORY / "tests/suites"
# For the suites whose rows and queries are those of benches/compare, in an environment of their own.
COMPARED = ["duckdb==2.0.0", "numpy==2.4.6", "tpchgen-cli==4.0.0", *granary_venv.DRIVER]
COMPARED_VENV = granary_venv.CACHE / "venv-suites"
READY_LIMIT_S = 120
STOP_LIMIT_S = 60
QUERY_LIMIT_S = 120
RELATIVE_ERROR_MAX = 1e-6


def add_binary(parser):
    """The option that names the binary: what the scripts build, unless something else is said."""
    built = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or os.environ.get("GRANARY_BUILD_DIR")
                         or granary_venv.CACHE / "target") / "release/granary"
    parser.add_argument("--binary", default=os.environ.get("GRANARY_BINARY", str(built)))


@contextlib.contextmanager
def server(binary):
    """A server with an empty database; gives its address, and stops it at the end."""
    with tempfile.TemporaryDirectory(prefix="granary-suite-") as folder:
        process, address = start(binary, pathlib.Path(folder) / "data")
        try:
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def start(binary, folder):
    """Starts a server; gives its process and its address."""
    command = [binary, "server", "--data-dir", str(folder)]
    for listener in ["grpc", "http", "internal"]:
        command += [f"--{listener}-listen", "127.0.0.1:0"]
    log = open(folder.with_suffix(".log"), "wb")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GRANARY_")}
    # The data are small, and a developer's disk may be nearly full of what was built.
    environment["GRANARY_KEEP_FREE"] = "64 MiB"
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               env=environment)
    deadline = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < deadline:
        text = folder.with_suffix(".log").read_text(errors="replace")
        ready = re.search(r"^granary: ready.* grpc=(\S+)", text, re.MULTILINE)
        if ready:
            return process, ready.group(1)
        if process.poll() is not None:
            break
        time.sleep(0.05)
    sys.exit(f"the server is not ready; the end of its log:\n{text[-2000:]}")


def plain(value):
    """A value as both engines mean it."""
    if isinstance(value, (bool, int)):
        return float(value)
    if isinstance(value, decimal.Decimal):
        return float(value)
    if value is None or isinstance(value, float):
        return value
    return str(value).strip()


def is_alike(left, right):
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=RELATIVE_ERROR_MAX, abs_tol=1e-6) or (
            math.isnan(left) and math.isnan(right))
    return left == right


def order_of(row):
    return [(value is None, isinstance(value, str), f"{value:.4f}" if isinstance(value, float) else str(value))
            for value in row]


def difference(ours, theirs):
    """What differs between the rows, as far as their order is not settled by the query; or nothing."""
    if len(ours) != len(theirs):
        return f"{len(ours)} rows, {len(theirs)} expected"
    ours = sorted(([plain(v) for v in row] for row in ours), key=order_of)
    theirs = sorted(([plain(v) for v in row] for row in theirs), key=order_of)
    for own, other in zip(ours, theirs):
        if len(own) != len(other) or not all(map(is_alike, own, other)):
            return f"row {own}, expected {other}"
    return None


def check(session, numbers, text_of, compare):
    """Runs queries by their numbers; gives those that fail, with why. `compare` gets a query's number
    and its rows and says what is wrong with them, or nothing."""
    with session.cursor() as cursor:
        cursor.execute(f"SET max_execution_time = {QUERY_LIMIT_S}")
    failed = {}
    for number in numbers:
        started = time.monotonic()
        try:
            with session.cursor() as cursor:
                cursor.execute(text_of(number))
                table = cursor.fetch_arrow_table()
            took = time.monotonic() - started
            why = compare(number, list(zip(*(column.to_pylist() for column in table.columns))))
        except Exception as error:
            took = time.monotonic() - started
            why = str(error).splitlines()[0]
        if why:
            failed[number] = why
        print(f"q{number:02} {took:6.2f} s  {'ok' if not why else why[:300]}", flush=True)
    return failed


def verdict(name, count, failed, checked):
    """Prints how many of `count` queries pass and ends the script: well when exactly those of
    `checked` fail that the suite's list expects. `failed` and `checked` are numbers of queries."""
    path = LISTS / f"{name}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    known = {int(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")}
    known &= set(checked)
    print(f"{count - len(failed)} of {count} queries pass")
    new, mended = sorted(set(failed) - known), sorted(known - set(failed))
    if new:
        print("fail and are not expected to: " + ", ".join(map(str, new)))
    if mended:
        print(f"pass; take them out of {path.relative_to(REPOSITORY)}: " + ", ".join(map(str, mended)))
    sys.exit(1 if new or mended else 0)
