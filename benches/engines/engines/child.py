"""One engine in a process of its own: a request a line comes in, an answer a line goes out, as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from compare import measure
from compare.engines.base import Place

from . import measures
from .writers import engine


def main() -> None:
    name, folder, threads, answers = sys.argv[1:5]
    measure.pin(int(threads))
    running = None
    with os.fdopen(int(answers), "w") as output:
        for line in sys.stdin:
            request = json.loads(line)
            what = request.pop("do")
            try:
                if running is None:
                    running = engine(name)(Place(Path(folder), int(threads), "engines"))
                    running.start()
                if what == "stop":
                    running.stop()
                    answer = {}
                elif what == "version":
                    answer = {"version": running.version()}
                else:
                    answer = getattr(measures, what)(running, **request)
            except Exception as error:  # noqa: BLE001 - whatever an engine throws is a result
                answer = {"error": f"{type(error).__name__}: {error}"[:1000]}
            output.write(json.dumps(answer) + "\n")
            output.flush()


if __name__ == "__main__":
    main()
