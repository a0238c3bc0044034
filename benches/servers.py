"""Granary's processes with TPC-H in them, kept in a folder between runs of a benchmark."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
READY_LIMIT_S = 120
TABLES = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]


class Mode:
    """One way of running: its processes, and the commands that start them again on their data."""

    def __init__(self, name, folder, options):
        self.name = name
        self.folder = folder / f"{name}-scale-{options.scale:g}"
        self.state = self.folder.with_suffix(".json")
        self.binary = options.binary
        self.scale = options.scale
        self.pids, self.url = [], ""

    def start(self):
        if self.state.exists():
            self.restart()
        else:
            self.load()

    def load(self):
        """Loads once, and notes how the processes were started."""
        command = [self.binary, "demo", "--keep", "--data-dir", str(self.folder), "--scale",
                   f"{self.scale:g}"]
        if self.name == "embedded":
            command.append("--embedded")
        print(f"loading {self.name}", file=sys.stderr)
        text = subprocess.run(command, cwd=REPOSITORY, check=True, text=True,
                              stdout=subprocess.PIPE).stdout
        self.pids = [int(pid) for pid in re.findall(r" pid (\d+)", text)]
        self.url = re.search(r"sql --url (\S+)", text).group(1)
        for table in TABLES:
            self.sql(f"OPTIMIZE TABLE {table} FINAL")
        commands = [Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1] for pid in self.pids]
        environment = Path(f"/proc/{self.pids[0]}/environ").read_text().split("\0")
        secret = [entry for entry in environment if entry.startswith("GRANARY_")]
        self.state.write_text(json.dumps({"commands": commands, "environment": secret,
                                          "url": self.url}, indent=1))

    def restart(self):
        """Starts the processes again, perhaps of a newer binary."""
        state = json.loads(self.state.read_text())
        # A server refuses variables of its prefix that are no settings, such as GRANARY_BINARY.
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("GRANARY_")}
        environment.update(entry.split("=", 1) for entry in state["environment"])
        self.url = state["url"]
        with open(self.folder / "bench.log", "ab") as log:
            for command in state["commands"]:
                started = subprocess.Popen([self.binary, *command[1:]], env=environment, stdout=log,
                                           stderr=log, start_new_session=True)
                self.pids.append(started.pid)
        deadline = time.monotonic() + READY_LIMIT_S
        while True:
            try:
                self.sql("SELECT count(*) FROM lineitem")
                return
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def sql(self, text):
        command = [self.binary, "sql", "--url", self.url, "--format", "csv", "-c", text]
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE).stdout

    def script(self, text):
        """Runs statements in one session; gives seconds."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
            file.write(text)
            file.flush()
            command = [self.binary, "sql", "--url", self.url, "--format", "csv", "-f", file.name]
            started = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            return time.monotonic() - started

    def cpu_s(self):
        """User and system time of all processes so far."""
        total = 0
        for pid in self.pids:
            # The name of the program, in brackets, may hold blanks.
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS_PER_S

    def stop(self):
        for pid in reversed(self.pids):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and any(alive(pid) for pid in self.pids):
            time.sleep(0.2)


def alive(pid):
    try:
        os.waitpid(pid, os.WNOHANG)  # Takes away what is left of a child.
    except ChildProcessError:
        pass
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
