"""What the benchmarks share: arguments, records with their environment, timing, tables."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

Record = dict[str, Any]


def main(name: str, title: str, run: Callable[[bool, Path], Iterable[Record]]) -> None:
    """Turns on 64 bit, runs, prints the records as a table and writes them to DIR/NAME.json."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    records = []
    for record in run(arguments.quick, arguments.out):
        records.append(record)
        print(".", end="", flush=True)
    print()
    Console(width=140).print(_table(title, records))
    where = environment() | {"quick": arguments.quick}
    path = arguments.out / f"{name}.json"
    path.write_text(json.dumps([r | {"environment": where} for r in records], indent=1) + "\n")
    print(f"wrote {path}")


def environment() -> Record:
    """Versions, device, threads and load: what a figure depends on."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "versions": {p: version(p) for p in ("hgn-jax", "jax", "jaxlib", "equinox", "diffrax")},
        "device": str(jax.devices()[0].device_kind),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }


def seconds(function: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """(first call with compilation, median of the repeats), each blocked until ready."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return times[0], statistics.median(times[1:])


def _table(title: str, records: list[Record]) -> Table:
    table = Table(title=title)
    for key in records[0]:
        table.add_column(key.replace("_", " "))
    for record in records:
        table.add_row(*(_show(record.get(key)) for key in records[0]))
    return table


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2e}" if abs(value) < 1e-2 or abs(value) >= 1e4 else f"{value:.3g}"
    return "" if value is None else str(value)
