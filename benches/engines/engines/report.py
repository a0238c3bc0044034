"""Figures as text."""

from __future__ import annotations

#: Of these the smaller is better, so that the ratio says how many times faster the first engine is.
SMALLER = ("ms_", "seconds", "latency", "written", "cpu", "peak", "final_over",
           "first_final_over")


def flat(result: dict, prefix: str = "") -> dict:
    """Nested figures under joined names; answers are left to the JSON."""
    figures = {}
    for name, value in result.items():
        if isinstance(value, dict):
            figures.update(flat(value, f"{prefix}{name}: "))
        elif isinstance(value, (int, float)):
            figures[prefix + name] = value
        elif name in ("error", "errors"):
            figures[prefix + name] = str(value)
    return figures


def shown(name: str, value) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value[:60]
    if name.endswith("peak_bytes"):
        return f"{value / 2**20:,.0f} MiB"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def measure(name: str, found: dict[str, dict], engines: list[str]) -> str:
    """A table: a line a figure, a column an engine, and the first engine's ratio to the others."""
    by_engine = {engine: flat(found.get(engine, {})) for engine in engines}
    names = list(dict.fromkeys(key for figures in by_engine.values() for key in figures))
    lines = [f"\n{name}"]
    width = max([len(key) for key in names] or [0]) + 2
    first = engines[0]
    heads = "".join(f"{engine:>18}" for engine in engines)
    ratios = "".join(f"{'vs ' + engine:>20}" for engine in engines[1:])
    lines.append(f"  {'':{width}}{heads}{ratios}")
    for key in names:
        values = [by_engine[engine].get(key) for engine in engines]
        cells = "".join(f"{shown(key, value):>18}" for value in values)
        smaller = any(key.split(": ")[-1].startswith(start) for start in SMALLER)
        own = values[0]
        for other in values[1:]:
            ratio = "-"
            if isinstance(own, (int, float)) and isinstance(other, (int, float)) and own and other:
                better = other / own if smaller else own / other
                ratio = f"{better:.2f} times" if key.split(": ")[-1] != "inserts" else "-"
            cells += f"{ratio:>20}"
        lines.append(f"  {key:{width}}{cells}")
    if all(engine in found for engine in engines):
        lines += disagreements(found, first, engines[1:])
    return "\n".join(lines)


def disagreements(found: dict[str, dict], first: str, others: list[str]) -> list[str]:
    """Queries whose answers differ between engines, where there are answers."""
    lines = []
    for name, value in found[first].items():
        if not isinstance(value, dict):
            continue
        for kind in ("plain", "final"):
            own = value.get(kind, {}).get("answer")
            for other in others:
                theirs = found[other].get(name, {})
                answer = theirs.get(kind, {}).get("answer") if isinstance(theirs, dict) else None
                if own and answer and own != answer:
                    lines.append(f"  {name}, {kind}: {first} answers {own}, {other} {answer}")
    return lines
