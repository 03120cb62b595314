"""From a fresh process to a trained model on the demo's springs."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from matplotlib.figure import Figure

from .record import Case, Record, dots, main

SCRIPT = """
import json, time
start = time.perf_counter()
import jax
jax.config.update("jax_enable_x64", True)
import jax.random as jr
import hgn_jax as hgn
imported = time.perf_counter()
system = hgn.systems.mass_spring("spring", rest_length=1.0)
data = jax.block_until_ready(
    hgn.systems.simulate(system, hgn.graphs.lattice((2, 2, 2)), key=jr.key(0)))
simulated = time.perf_counter()
jax.block_until_ready(hgn.fit(data, key=jr.key(1)))
first = time.perf_counter()
jax.block_until_ready(hgn.fit(data, key=jr.key(2)))
print(json.dumps([imported - start, simulated - imported, first - simulated,
                  time.perf_counter() - first]))
"""


def cases(quick: bool) -> Iterator[Case]:
    processes = 2 if quick else 5
    yield Case({"processes": processes}, partial(measure, processes))


def measure(processes: int) -> list[Record]:
    runs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True
            ).stdout
        )
        for _ in range(processes)
    ]
    steps = ("import", "make data", "first fit (compiles)", "second fit")
    return [
        {
            "step": step,
            "seconds": statistics.median(times),
            "least": min(times),
            "greatest": max(times),
        }
        for step, times in zip(steps, zip(*runs), strict=True)
    ]


def draw(records: list[Record]) -> Figure:
    return dots(records, lambda r: r["step"], "seconds", "seconds, median of the processes")


if __name__ == "__main__":
    main("cold_start", "Fresh process to trained model, 1000 snapshots of 8 bodies", cases,
         draw)  # fmt: skip
