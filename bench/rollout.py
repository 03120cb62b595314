"""Time, memory and energy of rollouts: learned, compressed and true Hamiltonians, and jax-md.

The systems are lattices of anharmonic springs, and a Lennard-Jones liquid whose neighbour list is
refreshed as atoms move (density 0.8442, cutoff 2.5, skin 0.4). Every size runs in a separate
process, in which the Hamiltonians take turns. On lattices of a million bodies each Hamiltonian has
its own process, so that its memory (an accelerator's, if there is one) can be measured. jax-md is
timed from the same states in the same process, if it is installed (`pip install jax-md`);
otherwise a message says that it is left out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import hgn_jax as hgn

from .moves import UNITS, prepare
from .record import Case, Record, main

ALL = ("true", "compressed", "learned")
SHORT = ALL[:2]
MILLION = {"springs": 100}
SIZES: dict[str, dict[int, tuple[str, ...]]] = {
    "liquid": {1: (*ALL, "jax-md"), 3: (*ALL, "jax-md"), 8: (*SHORT, "jax-md"), 16: SHORT},
    "springs": {2: ALL, 8: ALL, 22: ALL, 46: ALL, 100: ALL},
}
"""Bodies along an edge of the lattice, or copies of 256 atoms along an edge of the liquid."""
QUICK = {"springs": {2: ALL}}
BODIES: dict[str, Callable[[int], int]] = {
    "springs": lambda side: side**3, "liquid": lambda copies: 256 * copies**3,
}  # fmt: skip
SCANS = (2, 8, 22)
LONGER = {"liquid": 6}
"""Factor of the time budget: the neighbour list is refreshed about once in a dozen steps."""
MIDDLE = {"springs": (8, 20_000), "liquid": (1, 20_000)}
"""Size and steps for the effect of precision."""


def cases(quick: bool, budget: float, least: int) -> Iterator[Case]:
    budget = 0.05 if quick else budget

    def large(system: str, size: int) -> bool:
        return BODIES[system](size) >= least

    for system, sizes in (QUICK if quick else SIZES).items():
        for size, names in sizes.items():
            alone = not quick and size == MILLION.get(system)
            for together in [(name,) for name in names] if alone else [names]:
                if large(system, size):
                    settings = {"measured": "time", "system": system, "size": size}
                    yield Case(
                        settings | {"Hamiltonians": list(together)},
                        partial(times, system, size, together, LONGER.get(system, 1) * budget),
                    )
    for size in SCANS[:1] if quick else SCANS:
        if large("springs", size):
            settings = {"measured": "beside lax.scan", "system": "springs", "size": size}
            pair = ("true", "lax.scan by hand")
            yield Case(settings, partial(times, "springs", size, pair, budget))
    for system, (size, steps) in ({"springs": (2, 1000)} if quick else MIDDLE).items():
        if large(system, size):
            kinds = SHORT if quick else ALL
            names = [f"{name}{end}" for name in kinds for end in ("", ", float32")]
            settings = {"measured": "precision", "system": system, "size": size}
            yield Case(settings, partial(precision, system, size, steps, names, budget))
    for system in QUICK if quick else SIZES:
        yield Case({"measured": "curve", "system": system}, partial(curves, system))


@cache
def folder(system: str) -> str:
    """Folder with the learned and the compressed model, which the processes read."""
    kept = tempfile.mkdtemp()
    prepare(system, kept)
    return kept


def process(what: str, system: str, **settings: Any) -> Any:
    """Measures in a separate process."""
    command = [sys.executable, "-m", "bench.moves", what]
    settings |= {"system": system, "folder": folder(system)}
    ended = subprocess.run(
        [*command, json.dumps(settings)], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(ended.stdout.splitlines()[-1])


def times(system: str, size: int, names: tuple[str, ...], budget: float) -> list[Record]:
    if "jax-md" in names and find_spec("jax_md") is None:
        print("jax-md is not installed: left out")
        names = tuple(name for name in names if name != "jax-md")
    return process("times", system, size=size, names=list(names), budget=budget)


def precision(system: str, size: int, steps: int, names: list[str], budget: float) -> list[Record]:
    taken = process("times", system, size=size, names=names, budget=budget)
    energies = process("energies", system, size=size, names=names, steps=steps)
    return [a | b for a, b in zip(taken, energies)]


def curves(system: str) -> list[Record]:
    """Curves to which the model was compressed."""
    records = []
    for features in hgn.load(Path(folder(system)) / f"{system}-compressed.hgn").terms:
        (curve,) = features.curves if features.name == "pair" else (features.curve,)
        records.append(
            {
                "energy": features.name,
                "form": f"{curve.name} in {curve.variable}",
                "numbers": int(sum(a.size for a in jax.tree.leaves(curve))),
                "stated_error": float(np.max(features.error)),
            }
        )
    return records


def compared(records: list[Record]) -> list[Record]:
    """Adds times relative to the true Hamiltonian, and the growth of the time per body and step
    from 10,000 bodies to a million."""
    seconds = {
        (*_case(r), r["hamiltonian"]): r["nanoseconds_per_body_step"]
        for r in records
        if "hamiltonian" in r
    }
    for r in records:
        if "hamiltonian" not in r:
            continue
        for other in ("true", "jax-md", "lax.scan by hand"):
            base = seconds.get((*_case(r), other))
            if base is not None and other != r["hamiltonian"]:
                r[f"times_{other}"] = r["nanoseconds_per_body_step"] / base
        small = seconds.get(("time", r["system"], 22, r["hamiltonian"]))
        if small is not None and _case(r) == ("time", "springs", MILLION["springs"]):
            r["times_10648_bodies"] = r["nanoseconds_per_body_step"] / small
    return records


def _case(record: Record) -> tuple[str, str, int]:
    return record["measured"], record["system"], record["size"]


COLOURS = {"true": "0.55", "compressed": "#2a4d7a", "learned": "#e08a2e", "jax-md": "#c8443c"}


def draw(records: list[Record]) -> Figure:
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True, layout="constrained")
    titles = {
        "springs": "Lattice of anharmonic springs",
        "liquid": "Lennard-Jones liquid, cutoff 2.5, lists included",
    }
    for ax, (system, title) in zip(axes, titles.items()):
        for name, colour in COLOURS.items():
            shown = [
                (r["bodies"], r["nanoseconds_per_body_step"])
                for r in records
                if r["measured"] == "time" and (r["system"], r["hamiltonian"]) == (system, name)
            ]
            if shown:
                label = f"learned, {UNITS} units" if name == "learned" else name
                ax.loglog(*zip(*shown), "o-", color=colour, lw=1.6, ms=5, label=label)
        ax.set_title(title, fontsize=10, loc="left")
        ax.set_xlabel("bodies")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
        ax.legend(frameon=False, fontsize=9)
    axes[0].set_ylabel("nanoseconds per body and step")
    return figure


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--budget", type=float, default=1.0, help="least seconds of a timing")
    parser.add_argument("--least", type=int, default=0, help="bodies: leave out smaller systems")


if __name__ == "__main__":
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # shared by processes
    main("rollout", "Störmer-Verlet, float64 unless said", cases, draw, compared, arguments)
