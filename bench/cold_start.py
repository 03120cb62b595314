"""Time and compilations from a fresh process to a trained model, for the springs of the demo."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial

from matplotlib.figure import Figure

from .record import Case, Record, dots, main

START = """
import json, time
start = time.perf_counter()
import jax
jax.config.update("jax_enable_x64", True)
import jax.random as jr
import hgn_jax as hgn
imported = time.perf_counter()
counts = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, seconds, **_: counts.append(name) if "backend_compile" in name else None)
system = hgn.systems.mass_spring("spring", rest_length=1.0)
data = jax.block_until_ready(
    hgn.systems.simulate(system, hgn.graphs.lattice((2, 2, 2)), key=jr.key(0)))
simulated = time.perf_counter()
"""

FITS = """
jax.block_until_ready(hgn.fit(data, key=jr.key(1)))
first = time.perf_counter()
jax.block_until_ready(hgn.fit(data, key=jr.key(2)))
print(json.dumps([imported - start, simulated - imported, first - simulated,
                  time.perf_counter() - first]))
"""

SIZES = """
sizes = (200, 350, 500, 650, 800)
some = [hgn.graphs.take(data, [i < s for i in range(1000)]) for s in sizes]
padded = [hgn.graphs.pad(d, n_node=6500, n_edge=19500, n_graph=820) for d in some]
numbers = []
for kind in (some, padded):
    counts.clear()
    numbers.append([])
    for d in kind:
        before = len(counts)
        jax.block_until_ready(hgn.fit(d, key=jr.key(1)))
        numbers[-1].append(len(counts) - before)
print(json.dumps(numbers))
"""

STEPS = ("import", "make data", "first fit (compiles)", "second fit")


def cases(quick: bool) -> Iterator[Case]:
    processes = 2 if quick else 5
    yield Case({"processes": processes, "cache": "none"}, partial(measure, processes))
    yield Case({"processes": processes, "cache": "on disk"}, partial(measure_cached, processes))
    yield Case({"processes": 1, "cache": "in memory"}, count)


def measure(processes: int, environment: dict[str, str] | None = None) -> list[Record]:
    runs = [_run(START + FITS, environment or {}) for _ in range(processes)]
    return [
        {
            "step": step,
            "seconds": statistics.median(times),
            "least": min(times),
            "greatest": max(times),
        }
        for step, times in zip(STEPS, zip(*runs), strict=True)
    ]


def measure_cached(processes: int) -> list[Record]:
    """The same with JAX's persistent cache filled."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        _run(START + FITS, environment)
        return measure(processes, environment)


def count() -> list[Record]:
    """Number of compilations of successive fits to 200 to 800 snapshots."""
    return [
        {"step": f"compilations, {kind}", "compilations": sum(numbers), "of_each_fit": numbers}
        for kind, numbers in zip(
            ("five sizes", "five sizes, padded alike"), _run(START + SIZES, {})
        )
    ]


def _run(script: str, environment: dict[str, str]) -> list[list[float]]:
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    return json.loads(done.stdout)


def draw(records: list[Record]) -> Figure:
    return dots(
        records,
        lambda r: r["step"] + (", cached on disk" if r["cache"] == "on disk" else ""),
        "seconds",
        "seconds, median of the processes",
    )


if __name__ == "__main__":
    main("cold_start", "Fresh process to trained model, 1000 snapshots of 8 bodies", cases,
         draw)  # fmt: skip
