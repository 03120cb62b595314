"""Shared by all benchmarks: arguments, cases that survive an interruption, timing, tables."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from rich.console import Console
from rich.table import Table

Record = dict[str, Any]


class Case(NamedTuple):
    """One measurement: its settings, and a function that measures and returns figures.

    `measure` returns one dictionary of figures, or several; each becomes a record that begins with
    the settings. Settings are JSON values, and differ between all cases of a benchmark.
    """

    settings: Record
    measure: Callable[[], Record | list[Record]]


def main(
    name: str,
    title: str,
    cases: Callable[[bool], Iterable[Case]],
    draw: Callable[[list[Record]], Figure] | None = None,
    compare: Callable[[list[Record]], list[Record]] = lambda records: records,
    arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> None:
    """Enables float64, measures the cases, prints a table (one for each value of the setting
    `measured`, if there are several kinds of cases), writes DIR/NAME.json and DIR/NAME.png.

    `compare` adds figures that compare records, once all cases are measured. Finished cases are
    kept in DIR/NAME.unfinished.jsonl until all are done: a run after an interruption resumes there.
    `--only NAME=VALUE` measures the cases with that setting; the records of all others stay as they
    are in DIR/NAME.json.
    """
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=title)
    parser.add_argument("--quick", action="store_true", help="small sizes, about a minute")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="folder of results")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME=VALUE", help="keep the results of all others"
    )
    arguments(parser)
    options = vars(parser.parse_args())
    out, only, quick = options.pop("out"), options.pop("only"), options["quick"]
    jax.config.update("jax_enable_x64", True)
    out.mkdir(parents=True, exist_ok=True)
    path, unfinished = out / f"{name}.json", out / f"{name}.unfinished.jsonl"
    every = cases(**options)
    if only:
        found = renewed(every, dict(x.split("=", 1) for x in only), path, unfinished, quick)
    else:
        found = measured(every, unfinished, quick)
    records = compare(list(found))
    for kind in dict.fromkeys(r.get("measured") for r in records):
        shown = [r for r in records if r.get("measured") == kind]
        Console(width=150).print(table(title if kind is None else f"{title}: {kind}", shown))
    path.write_text(json.dumps(records, indent=1, allow_nan=False) + "\n")
    print(f"wrote {path}")
    if draw is not None:
        draw(records).savefig(path.with_suffix(".png"), dpi=110)
        print(f"wrote {path.with_suffix('.png')}")
    unfinished.unlink()


def renewed(
    cases: Iterable[Case], wanted: dict[str, str], path: Path, kept: Path, quick: bool
) -> Iterator[Record]:
    """Records of the cases with the wanted settings, measured, and those of all others in `path`.
    A case that was never measured has no record."""
    cases = list(cases)
    chosen = [c for c in cases if all(str(c.settings.get(k)) == v for k, v in wanted.items())]
    after = list(measured(chosen, kept, quick))
    before = json.loads(path.read_text()) if path.exists() else []
    for case in cases:
        records = after if case in chosen else before
        yield from (r for r in records if case.settings.items() <= r.items())


def measured(cases: Iterable[Case], kept: Path, quick: bool) -> Iterator[Record]:
    """Records of all cases. Those of an interrupted run of the same kind are taken from `kept`."""
    finished = _read(kept, quick)
    if finished:
        print(f"{len(finished)} finished cases kept from {kept}")
    with kept.open("a") as file:
        file.write("\n")  # ends a line that an interruption may have cut off
        for settings, measure in cases:
            records = finished.get(_key(settings))
            if records is None:
                figures = measure()
                where = environment() | {"quick": quick}
                records = [
                    settings | f | {"environment": where}
                    for f in (figures if isinstance(figures, list) else [figures])
                ]
                file.write(json.dumps({"settings": settings, "records": records}) + "\n")
                file.flush()
                print(", ".join(f"{k} {v}" for k, v in settings.items()), flush=True)
            yield from records


def environment() -> Record:
    """Versions, device, threads and load, on which figures depend."""
    packages = ("hgn-jax", "jax", "jaxlib", "equinox", "diffrax", "optax")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "versions": {p: version(p) for p in packages},
        "device": str(jax.devices()[0].device_kind),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OPENBLAS_NUM_THREADS", "all"),
        "load": round(os.getloadavg()[0], 2),
    }


def seconds(function: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Seconds of the first call, with compilation, and their median over `repeats` further calls.
    Each call blocks until ready."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return times[0], statistics.median(times[1:])


def table(title: str, records: list[Record]) -> Table:
    """Table of the records' figures; lists and the environment are in the file only."""
    names = [
        k
        for k in dict.fromkeys(k for r in records for k in r)
        if k not in ("environment", "measured")
        and not any(isinstance(r.get(k), list | dict) for r in records)
    ]
    shown = Table(title=title)
    for name in names:
        shown.add_column(name.replace("_", " "))
    for record in records:
        shown.add_row(*(_show(record.get(name)) for name in names))
    return shown


def _read(kept: Path, quick: bool) -> dict[str, list[Record]]:
    finished = {}
    for line in kept.read_text().splitlines() if kept.exists() else ():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # empty, or cut off by the interruption
        here = environment() | {"quick": quick}
        same = ("quick", "versions", "device", "cores", "threads")
        if all(r["environment"][k] == here[k] for r in entry["records"] for k in same):
            finished[_key(entry["settings"])] = entry["records"]
    return finished


def _key(settings: Record) -> str:
    return json.dumps(settings, sort_keys=True)


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2e}" if abs(value) < 1e-2 or abs(value) >= 1e4 else f"{value:.3g}"
    return "" if value is None else str(value)


def dots(records: list[Record], label: Callable[[Record], str], key: str, title: str) -> Figure:
    """Plots one figure of every record that has it, on a logarithmic axis."""
    shown = [r for r in records if r.get(key)]
    figure = Figure(figsize=(7, 0.8 + 0.27 * len(shown)), layout="constrained")
    ax = figure.subplots()
    ax.plot([r[key] for r in shown], [label(r) for r in shown], "o", color="#2a4d7a", ms=7)
    ax.set(xscale="log", xlabel=title, ylim=(len(shown) - 0.5, -0.5))
    few = max(r[key] for r in shown) < 100 * min(r[key] for r in shown)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    ax.xaxis.set_major_formatter(
        lambda value, position: f"{value:.0e}" if value < 1e-3 else f"{value:g}"
    )
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    return figure
