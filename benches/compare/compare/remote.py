"""The parent's end of an engine's process."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path


class Failed(Exception):
    """The engine said no, died, or took too long."""


class Remote:
    """Starts the process at the first request, and again after it was lost."""

    def __init__(self, engine: str, folder: Path, threads: int, suite: str):
        self.engine = engine
        self.folder = folder
        self._arguments = [str(folder), str(threads), suite]
        self._child: subprocess.Popen | None = None

    def ask(self, do: str, limit_s: float, **request) -> dict:
        child = self._child or self._start()
        child.stdin.write(json.dumps({"do": do, **request}) + "\n")
        child.stdin.flush()
        readable, _, _ = select.select([self._answers], [], [], limit_s)
        line = self._answers.readline() if readable else ""
        if not line:
            why = "ended" if readable else f"took longer than {limit_s:.0f} s"
            self._kill()
            raise Failed(f"{self.engine} {why}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def stop(self) -> None:
        if self._child is None:
            return
        try:
            self.ask("stop", 120)
        except Failed as error:
            print(f"  {self.engine}: {error}", file=sys.stderr)
        self._kill()

    def _start(self) -> subprocess.Popen:
        read, write = os.pipe()
        command = [sys.executable, "-m", "compare.child", self.engine, *self._arguments, str(write)]
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            text=True,
            pass_fds=[write],
            start_new_session=True,
        )
        os.close(write)
        self._answers = os.fdopen(read)
        return self._child

    def _kill(self) -> None:
        """Ends the process and what it started."""
        if self._child is None:
            return
        self._child.stdin.close()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self._child.pid, 9)
        except ProcessLookupError:
            pass
        self._child.wait()
        self._answers.close()
        self._child = None
