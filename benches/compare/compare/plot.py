"""Hot times as a picture, one bar an engine and query, on a logarithmic axis."""

from __future__ import annotations

from pathlib import Path

COLORS = {
    "granary": "#2f7d4f",
    "granary-cluster": "#8fc3a3",
    "clickhouse": "#e0b400",
    "duckdb": "#5b5b5b",
}


def draw(summary: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names, queries = summary["engines"], list(summary["queries"])
    if not names or not queries:
        return
    width = 0.8 / len(names)
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(max(10, len(queries) * 0.42), 8), height_ratios=[3, 1]
    )
    for place, name in enumerate(names):
        heights = [summary["queries"][q][name].get("hot_best_s", 0) * 1000 for q in queries]
        at = [index + (place - (len(names) - 1) / 2) * width for index in range(len(queries))]
        top.bar(at, heights, width, label=name, color=COLORS.get(name))
    top.set_yscale("log")
    top.set_ylabel("hot, best run, ms")
    top.set_xticks(range(len(queries)), queries, rotation=90)
    top.set_title(f"{summary['label']}\n{summary['machine']}", fontsize=9)
    top.legend()
    top.grid(axis="y", alpha=0.3)

    loads = [summary["loads"][name] for name in names]
    measures = {
        "load, s": [sum(load["load_s"].values()) for load in loads],
        "on disk, 100 MB": [load["bytes"] / 1e8 for load in loads],
        "peak memory of a query, 100 MB": [
            max((summary["queries"][q][n].get("peak_bytes", 0) for q in queries)) / 1e8
            for n in names
        ],
    }
    for place, name in enumerate(names):
        at = [index + (place - (len(names) - 1) / 2) * width for index in range(len(measures))]
        bottom.barh(
            at, [values[place] for values in measures.values()], width, color=COLORS.get(name)
        )
    bottom.set_yticks(range(len(measures)), list(measures))
    bottom.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
