"""The order of work. Every step leaves a file, and a run with the same folder continues."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from .options import Options
from .queries import Query, queries
from .remote import Failed, Remote


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def engines(options: Options) -> dict[str, Remote]:
    return {
        name: Remote(name, options.data / options.label / name, options.threads, options.suite)
        for name in options.engines
    }


def load(options: Options, sources: dict[str, str]) -> dict[str, str]:
    """One engine after the other; a load that was interrupted begins again. Returns the engines
    that could not load, with the reason."""
    failed = {}
    for name, engine in engines(options).items():
        record = options.record(f"load-{name}")
        if record.exists() and engine.folder.exists():
            continue
        shutil.rmtree(engine.folder, ignore_errors=True)
        say(f"loading into {name}")
        try:
            version = engine.ask("version", 180)
            result = engine.ask("load", options.load_limit_s, sources=sources) | version
            save(record, result)
        except Failed as error:
            failed[name] = str(error)
            say(f"  failed: {error}")
        engine.stop()
    return failed


def run(options: Options) -> None:
    """Every query of a round on every engine before the next query: what the machine does
    meanwhile hits all of them, so ratios are taken within a round. Who begins rotates."""
    for number in range(1, options.rounds + 1):
        record = options.record(f"round-{number}")
        done = json.loads(record.read_text()) if record.exists() else {}
        alive = {
            name: engine
            for name, engine in engines(options).items()
            if options.record(f"load-{name}").exists()
        }
        texts = {name: {q.name: q for q in queries(options.suite, name)} for name in alive}
        try:
            _round(options, number, alive, texts, done, record)
        finally:
            for engine in alive.values():
                engine.stop()


def _round(options, number, alive, texts, done, record) -> None:
    names = list(alive)
    for place, query in enumerate(options.chosen(queries(options.suite, "common"))):
        missing = [name for name in names if name not in done.get(query.name, {})]
        if not missing:
            continue
        turn = (place + number) % len(names)
        for name in names[turn:] + names[:turn]:
            if name in missing:
                result = _measure(options, number, alive[name], texts[name][query.name])
                done.setdefault(query.name, {})[name] = result
        save(record, done)
        say(
            f"round {number} {query.name}  "
            + "  ".join(f"{name} {_brief(done[query.name][name])}" for name in names)
        )


def _measure(options: Options, number: int, engine: Remote, query: Query) -> dict:
    answer = str(options.answer(query.name, engine.engine)) if number == 1 else None
    try:
        result = {}
        if number == 1:
            result["cold_how"] = engine.ask("cold", 60)["how"]
            first = engine.ask("run", options.limit_s, text=query.text, times=1, answer=answer)
            result["cold_s"] = first["seconds"][0]
        hot = engine.ask(
            "run", options.limit_s * options.hot, text=query.text, times=options.hot, answer=None
        )
        return result | hot
    except Failed as error:
        return {"error": str(error)}


def _brief(result: dict) -> str:
    return "failed" if "error" in result else f"{min(result['seconds']) * 1000:.1f} ms"


def save(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=1))
    partial.rename(path)
