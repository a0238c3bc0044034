"""Granary: the release binary as an embedded server, queried through ADBC's Flight SQL driver."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import adbc_driver_flightsql.dbapi as flight_sql
import pyarrow as pa

from .base import Engine

READY_LIMIT_S = 120


def binary() -> Path:
    """`GRANARY_BINARY`, else where the scripts build it (see scripts/env)."""
    build = Path(os.environ.get("CARGO_TARGET_DIR") or os.environ.get("GRANARY_BUILD_DIR")
                 or Path.home() / ".cache/granary/target")
    path = Path(os.environ.get("GRANARY_BINARY", build / "release" / "granary"))
    if not path.exists():
        raise RuntimeError(
            f"{path} is not built; scripts/demo builds it, or name it in GRANARY_BINARY"
        )
    return path


class Process:
    """A role that was started, with the addresses of its ready line."""

    def __init__(self, folder: Path, name: str, arguments: list[str]):
        self.log = folder / f"{name}.log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GRANARY_")}
        with open(self.log, "wb") as output:
            self.child = subprocess.Popen(
                [str(binary()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
            )
        self.addresses: dict[str, str] = {}

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_LIMIT_S
        while time.monotonic() < deadline:
            text = self.log.read_text(errors="replace")
            line = re.search(r"^granary: ready(.*)$", text, re.MULTILINE)
            if line:
                self.addresses = dict(pair.split("=", 1) for pair in line.group(1).split())
                return
            if self.child.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"not ready; the end of {self.log}:\n{text[-2000:]}")

    def stop(self) -> None:
        self.child.terminate()
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Granary(Engine):
    name = "granary"

    def version(self) -> str:
        return subprocess.check_output([str(binary()), "--version"], text=True).strip()

    def start(self) -> None:
        self.processes = self._spawn()
        for process in self.processes:
            process.wait_ready()
        self.url = f"grpc://{self.processes[-1].addresses['grpc']}"
        self.connection = flight_sql.connect(self.url, autocommit=True)

    def _spawn(self) -> list[Process]:
        """The last one has the gRPC port."""
        return [self._process("server", "server", "grpc", "http", "internal", queries=True)]

    def _process(self, name: str, role: str, *listeners: str, queries=False, more=()) -> Process:
        folder = self.place.folder
        arguments = [role, "--data-dir", str(folder / name)]
        for listener in listeners:
            arguments += [f"--{listener}-listen", "127.0.0.1:0"]
        if queries:
            arguments += ["--threads", str(self.place.threads)]
        return Process(folder, name, [*arguments, *more])

    def stop(self) -> None:
        self.connection.close()
        for process in reversed(self.processes):
            process.stop()

    def create(self, statement: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)

    def load(self, table: str, source: Path) -> None:
        files = str(source / "*.parquet") if source.is_dir() else str(source)
        command = [
            str(binary()),
            "load",
            "--url",
            self.url.replace("grpc://", "http://"),
            table,
            files,
        ]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"{' '.join(command)}: {run.stderr[-2000:]}")

    def query(self, text: str) -> pa.Table:
        with self.connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetch_arrow_table()

    def pids(self) -> list[int]:
        return [process.child.pid for process in self.processes]


class GranaryCluster(Granary):
    """The same, as 3 metadata nodes, 3 workers and a coordinator, all on the same cores."""

    name = "granary-cluster"

    def _spawn(self) -> list[Process]:
        ports = free_ports(3)
        group = ["--metadata", ",".join(f"127.0.0.1:{port}" for port in ports)]
        processes = []
        for place, port in enumerate(ports, 1):
            more = ["--raft-listen", f"127.0.0.1:{port}", "--node-id", str(place), *group]
            processes.append(self._process(f"metadata-{place}", "metadata", "http", more=more))
        for place in range(1, 4):
            name = f"worker-{place}"
            processes.append(
                self._process(name, "worker", "internal", "http", queries=True, more=group)
            )
        processes.append(
            self._process("coordinator-1", "coordinator", "grpc", "http", queries=True, more=group)
        )
        return processes


def free_ports(count: int) -> list[int]:
    """Ports that are free now. Kept in the folder's processes only as long as they run: the group
    is named by address, so the same ones are needed again after a restart."""
    import socket

    ports, port = [], 18_000
    while len(ports) < count:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                ports.append(port)
            except OSError:
                pass
        port += 1
    return ports
