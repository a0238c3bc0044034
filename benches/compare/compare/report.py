"""What was measured, as one JSON value and as text."""

from __future__ import annotations

import json
import os
import platform
from math import exp, log
from statistics import median

from .answers import differ
from .options import Options
from .queries import queries


def summarize(options: Options) -> dict:
    loads = {name: _read(options, f"load-{name}") for name in options.engines}
    loads = {name: load for name, load in loads.items() if load}
    rounds = [_read(options, f"round-{n}") for n in range(1, options.rounds + 1)]
    rounds = [r for r in rounds if r]
    chosen = options.chosen(queries(options.suite, "common"))
    names = list(loads)
    return {
        "suite": options.suite,
        "label": options.label,
        "machine": _machine(),
        "threads": options.threads,
        "rounds": len(rounds),
        "hot_runs": options.hot,
        "engines": names,
        "loads": loads,
        "queries": {q.name: {n: _query(rounds, q.name, n) for n in names} for q in chosen},
        "ratios": {other: _ratio(rounds, chosen, names[0], other) for other in names[1:]},
        "disagreements": _disagreements(options, chosen, names),
    }


def _read(options: Options, name: str) -> dict:
    path = options.record(name)
    return json.loads(path.read_text()) if path.exists() else {}


def _machine() -> str:
    with open("/proc/cpuinfo") as cpuinfo:
        models = [line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = models[0] if models else platform.machine()
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}"


def _query(rounds: list[dict], query: str, engine: str) -> dict:
    results = [r.get(query, {}).get(engine, {"error": "not measured"}) for r in rounds]
    good = [result for result in results if "error" not in result]
    if not good:
        return {"error": results[0]["error"] if results else "not measured"}
    seconds = [s for result in good for s in result["seconds"]]
    return {
        "cold_s": good[0].get("cold_s"),
        "cold_how": good[0].get("cold_how"),
        "hot_best_s": min(seconds),
        "hot_median_s": median(seconds),
        "cpu_median_s": median(c for result in good for c in result["cpu_s"]),
        "rows": good[0]["rows"],
        "peak_bytes": max(result["peak_bytes"] for result in good),
    }


def _ratio(rounds: list[dict], chosen: list, subject: str, other: str) -> dict:
    """How many times as long the subject takes: the geometric mean over the queries, each from
    the best hot runs of the same round; the median over the rounds."""
    means, cpu, count = [], [], 0
    for record in rounds:
        pairs = [
            (record.get(q.name, {}).get(subject, {}), record.get(q.name, {}).get(other, {}))
            for q in chosen
        ]
        pairs = [(a, b) for a, b in pairs if "seconds" in a and "seconds" in b]
        count = max(count, len(pairs))
        if pairs:
            means.append(_geometric([min(a["seconds"]) / min(b["seconds"]) for a, b in pairs]))
            used = sum(median(b["cpu_s"]) for _, b in pairs)
            cpu.append(sum(median(a["cpu_s"]) for a, _ in pairs) / max(used, 0.01))
    if not means:
        return {"error": "nothing in common"}
    return {"hot": median(means), "hot_by_round": means, "cpu_total": median(cpu), "queries": count}


def _geometric(values: list[float]) -> float:
    return exp(sum(log(max(value, 1e-6)) for value in values) / len(values))


def _disagreements(options: Options, chosen: list, names: list[str]) -> list[str]:
    """Every engine against the last one that has an answer."""
    found = []
    for query in chosen:
        have = [n for n in names if options.answer(query.name, n).exists()]
        for name in have[:-1]:
            why = differ(
                options.answer(query.name, name),
                options.answer(query.name, have[-1]),
                query.compare,
            )
            if why:
                found.append(f"{query.name}: {name} and {have[-1]} differ: {why}")
    return found


def text(summary: dict) -> str:
    lines = [
        f"{summary['label']}: {summary['machine']}",
        f"{summary['rounds']} rounds, {summary['hot_runs']} hot runs in each",
        "",
    ]
    lines += _loads(summary) + [""] + _queries(summary) + [""] + _ratios(summary)
    lines += [f"DIFFERENT RESULTS  {line}" for line in summary["disagreements"]]
    if not summary["disagreements"]:
        lines.append("All engines that answered gave the same results.")
    for name, why in summary["not_loaded"].items():
        lines.append(f"FAILED  to load into {name}: {why.splitlines()[0][:160]}")
    for query, by_engine in summary["queries"].items():
        lines += [
            f"FAILED  {query} on {name}: {r['error'].splitlines()[0][:160]}"
            for name, r in by_engine.items()
            if "error" in r
        ]
    return "\n".join(lines) + "\n"


def _loads(summary: dict) -> list[str]:
    lines = [f"{'':18}{'load s':>10}{'CPU s':>10}{'MB on disk':>12}{'peak MB':>10}  version"]
    for name, load in summary["loads"].items():
        lines.append(
            f"{name:18}{sum(load['load_s'].values()):10.1f}{load['load_cpu_s']:10.1f}"
            f"{load['bytes'] / 1e6:12.1f}{load['peak_bytes'] / 1e6:10.0f}  {load['version']}"
        )
    return lines


def _queries(summary: dict) -> list[str]:
    names = summary["engines"]
    lines = [
        " " * 6 + "".join(f"{name:>30}" for name in names),
        " " * 6 + "".join(f"{'cold ms':>10}{'hot ms':>10}{'peak MB':>10}" for _ in names),
    ]
    for query, by_engine in summary["queries"].items():
        cells = []
        for name in names:
            result = by_engine[name]
            if "error" in result:
                cells.append(f"{'failed':>30}")
                continue
            cold = f"{result['cold_s'] * 1000:10.1f}" if result["cold_s"] else f"{'-':>10}"
            hot = result["hot_best_s"] * 1000
            cells.append(f"{cold}{hot:10.1f}{result['peak_bytes'] / 1e6:10.0f}")
        lines.append(f"{query:6}" + "".join(cells))
    lines.append(f"{'mean':6}" + "".join(_mean(summary, name) for name in names))
    how = {r.get("cold_how") for q in summary["queries"].values() for r in q.values()} - {None}
    return [
        *lines,
        "mean: geometric, of the queries that ran; peak: the highest. "
        f"Cold: first run, {' / '.join(sorted(how)) or 'not measured'}.",
    ]


def _mean(summary: dict, engine: str) -> str:
    good = [r[engine] for r in summary["queries"].values() if "error" not in r[engine]]
    if not good:
        return f"{'-':>30}"
    hot = _geometric([r["hot_best_s"] for r in good]) * 1000
    cold = [r["cold_s"] for r in good if r["cold_s"]]
    shown = f"{_geometric(cold) * 1000:10.1f}" if cold else f"{'-':>10}"
    return f"{shown}{hot:10.1f}{max(r['peak_bytes'] for r in good) / 1e6:10.0f}"


def _ratios(summary: dict) -> list[str]:
    subject, lines = summary["engines"][0] if summary["engines"] else "", []
    loads = summary["loads"]
    for other, ratio in summary["ratios"].items():
        if "error" in ratio:
            continue
        time = sum(loads[subject]["load_s"].values()) / sum(loads[other]["load_s"].values())
        size = loads[subject]["bytes"] / max(1, loads[other]["bytes"])
        lines.append(
            f"{subject} / {other}: hot {ratio['hot']:.2f} (geometric mean of "
            f"{ratio['queries']} queries, median of the rounds), "
            f"CPU {ratio['cpu_total']:.2f}, "
            f"load {time:.2f}, size {size:.2f}"
        )
    return lines
