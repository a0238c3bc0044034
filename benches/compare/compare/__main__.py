"""data -> load -> rounds -> compare answers -> report"""

from __future__ import annotations

import sys

from . import options as command_line
from . import plot, report, rounds
from .data import hits, tpch
from .options import Options


def sources(options: Options) -> dict[str, str]:
    """Table to its Parquet file or folder."""
    if options.suite == "tpch":
        made = tpch.generate(options.data, options.scale)
    else:
        made = {"hits": hits.generate(options.data, options.rows, options.seed)}
    return {table: str(path) for table, path in made.items()}


def main() -> int:
    good = True
    for options in command_line.parse():
        failed = rounds.load(options, sources(options))
        rounds.run(options)
        summary = report.summarize(options) | {"not_loaded": failed}
        rounds.save(options.record("summary"), summary)
        text = report.text(summary)
        options.record("summary").with_suffix(".txt").write_text(text)
        picture = options.record("summary").with_suffix(".png")
        plot.draw(summary, picture)
        print(text)
        print(f"{options.record('summary')}\n{picture}")
        good = good and not failed and not summary["disagreements"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
