"""Systems that bench.rollout times, lattices of springs and a Lennard-Jones liquid, and the
processes that it starts (`python -m bench.moves NAME SETTINGS`)."""

import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax.graphs.dense_edges import slotted

from . import liquid
from .liquid import CUTOFF, ONSET, SKIN, SMOOTHED, joined
from .problems import relative, resident

UNITS = 256
SPRINGS = hgn.systems.mass_spring("anharmonic", rest_length=1.0)
SYSTEMS = {"springs": SPRINGS, "liquid": SMOOTHED}
DT = {"springs": 0.01, "liquid": liquid.DT}
LISTS = {"springs": None, "liquid": liquid.NEIGHBOURS}
REPEATS = 5
FEWEST = 24
"""Least number of timed steps: a neighbour list lasts for about twelve."""

Run = Callable[[int], Any]
"""Takes that many steps from the start; blocks until ready."""


def springs(side: int) -> GraphsTuple:
    """Cubic lattice, with its bodies displaced and moving."""
    graph = hgn.graphs.lattice((side,) * 3)
    rng = np.random.default_rng(0)
    shape = graph.nodes["position"].shape
    moved = {
        "position": graph.nodes["position"] + rng.uniform(-0.1, 0.1, shape),
        "momentum": jnp.asarray(rng.uniform(-0.1, 0.1, shape)),
    }
    return graph._replace(nodes=graph.nodes | moved)


def melting(steps: int, outputs: int) -> hgn.Trajectory:
    """256 atoms on a face-centred lattice that melts at once, at twice the temperature of the
    liquid."""
    sites = liquid.lattice(liquid.Point(4))
    momentum = np.sqrt(2 * 0.72) * np.random.default_rng(0).normal(size=(256, 3))
    moving = sites.nodes | {"momentum": jnp.asarray(momentum - momentum.mean(axis=0))}
    return hgn.rollout(SMOOTHED, sites._replace(nodes=moving), hgn.Every(steps, outputs),
                       dt=liquid.DT, neighbours=liquid.NEIGHBOURS)  # fmt: skip


def prepare(system: str, folder: str) -> None:
    """Writes the learned and the compressed model, and the liquid's start, into the folder."""
    model = learned(system)
    hgn.save(Path(folder) / f"{system}-learned.hgn", model)
    hgn.save(Path(folder) / f"{system}-compressed.hgn", model.compress())
    if system == "liquid":
        nodes, cell = (end := melting(1000, 1).end).nodes, end.globals["cell"]
        np.savez(Path(folder) / "liquid.npz", cell=cell, **nodes)


def molten(copies: int, folder: str) -> GraphsTuple:
    """The molten atoms, repeated along each axis."""
    with np.load(Path(folder) / "liquid.npz") as file:
        graph = hgn.graphs.from_pairs(file["position"], [], momentum=file["momentum"])
        graph = graph._replace(globals={"cell": jnp.asarray(file["cell"])})
    return liquid.tiled(graph, copies)


def start(system: str, size: int, folder: str) -> GraphsTuple:
    return springs(size) if system == "springs" else molten(size, folder)


def learned(system: str) -> hgn.HamiltonianGraphNetwork:
    """Model learned from 1000 independent starts of eight bodies, or 16 snapshots of 256 atoms.

    The ridge of the liquid costs a tenth of its accuracy, but reduces cancellation a thousandfold.
    """
    if system == "springs":
        cube = hgn.graphs.lattice((2, 2, 2))
        return hgn.fit(hgn.systems.simulate(SPRINGS, cube, key=jr.key(0)), key=jr.key(1)).model
    path = melting(25, 16)
    states = [
        path.end._replace(nodes=path.end.nodes | {"position": q, "momentum": p})
        for q, p in zip(path.position[1:], path.momentum[1:])
    ]
    data = hgn.graphs.batch([joined(state, CUTOFF) for state in states])
    velocity, force = eqx.filter_jit(SMOOTHED.vector_field)(data)
    data = data._replace(nodes=data.nodes | {"velocity": velocity, "force": force})
    pair = hgn.Pair(UNITS, hgn.SWIM(floor=0.05), cutoff=CUTOFF)
    features = [hgn.Kinetic(), pair]
    return hgn.fit(data, key=jr.key(0), terms=features, solver=hgn.QR(ridge=1e-12)).model


def times(
    system: str, size: int, names: list[str], budget: float, folder: str
) -> list[dict[str, Any]]:
    """Seconds of a step for each of the Hamiltonians, in turn, and their memory."""
    graph, dt = start(system, size, folder), DT[system]
    runs: dict[str, Run] = {}
    for name in names:
        if name == "jax-md":
            runs[name] = jax_md(graph)
        elif name == "lax.scan by hand":
            runs[name] = by_hand(SYSTEMS[system], graph, dt)
        else:
            model, begin = of_precision(name, system, graph, folder)
            neighbours = LISTS[system] and LISTS[system].allocate(begin)
            runs[name] = partial(rolled, model, begin, dt, neighbours)
    seconds = side_by_side(runs, budget)
    n = len(graph.nodes["mass"])
    return [
        {
            "hamiltonian": name,
            "bodies": n,
            "steps_per_second": 1 / statistics.median(taken),
            "nanoseconds_per_body_step": 1e9 * statistics.median(taken) / n,
            "peak_gib": peak(),
            "seconds_per_step": taken,
        }
        for name, taken in seconds.items()
    ]


def peak() -> float:
    """Peak memory of this process so far (GiB): an accelerator's, or resident."""
    statistics = jax.devices()[0].memory_stats()
    return resident() if statistics is None else statistics["peak_bytes_in_use"] / 2**30


def of_precision(
    name: str, system: str, graph: GraphsTuple, folder: str
) -> tuple[hgn.AbstractModel, GraphsTuple]:
    """The Hamiltonian of that name and the start, in float32 if the name says so."""
    name, *narrow = name.split(", ")
    model = hamiltonian(system, name, folder)
    return single((model, graph)) if narrow else (model, graph)


def single(tree: Any) -> Any:
    """The same in single precision."""
    return jax.tree.map(lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, tree)


def hamiltonian(system: str, name: str, folder: str) -> hgn.AbstractModel:
    return SYSTEMS[system] if name == "true" else hgn.load(Path(folder) / f"{system}-{name}.hgn")


def rolled(
    model: hgn.AbstractModel,
    graph: GraphsTuple,
    dt: float,
    neighbours: hgn.Neighbours | None,
    steps: int,
) -> Array:
    path = hgn.rollout(model, graph, hgn.Every(steps, 1), dt=dt, neighbours=neighbours,
                       states=False, throw=False)  # fmt: skip
    return jax.block_until_ready(path.energy)


def by_hand(model: hgn.AbstractModel, graph: GraphsTuple, dt: float) -> Run:
    """Störmer-Verlet written by hand, on the same edges."""
    laid_out = slotted(graph)

    @partial(jax.jit, static_argnums=1)
    def run(graph: GraphsTuple, steps: int) -> Array:
        def at(q: Array, p: Array) -> GraphsTuple:
            return graph._replace(nodes=graph.nodes | {"position": q, "momentum": p})

        def step(carry: tuple[Array, Array, Array], _: None) -> tuple[Any, None]:
            q, p, force = carry
            p = p + dt / 2 * force
            q = q + dt * model.vector_field(at(q, p))[0]
            force = model.vector_field(at(q, p))[1]
            return (q, p + dt / 2 * force, force), None

        q, p = graph.nodes["position"], graph.nodes["momentum"]
        force = model.vector_field(graph)[1]
        (q, p, _), _ = jax.lax.scan(step, (q, p, force), None, length=steps)
        return model(at(q, p))

    return lambda steps: jax.block_until_ready(run(laid_out, steps))


def jax_md(graph: GraphsTuple) -> Run:
    """jax-md with its potential, dense neighbour list and velocity Verlet, from the same state."""
    from jax_md import energy, partition, simulate, space  # no dependency: pip install jax-md

    box = float(graph.globals["cell"][0, 0, 0])
    displacement, shift = space.periodic(box)
    lists, potential = energy.lennard_jones_neighbor_list(
        displacement, box, r_onset=ONSET, r_cutoff=CUTOFF, dr_threshold=SKIN,
        format=partition.Dense,
    )  # fmt: skip
    position = jnp.mod(graph.nodes["position"], box)
    found = lists.allocate(position)
    init, step = simulate.nve(potential, shift, DT["liquid"])
    state = init(jr.key(0), position, kT=1.0, neighbor=found)
    state = state.set(momentum=graph.nodes["momentum"])

    @jax.jit
    def run(state: Any, found: Any, count: Any) -> Any:
        def body(_: Any, carry: Any) -> Any:
            state, found = carry
            found = found.update(state.position)
            return step(state, neighbor=found), found

        return jax.lax.fori_loop(0, count, body, (state, found))

    def rolled(count: int) -> Any:
        end, last = jax.block_until_ready(run(state, found, count))
        if bool(last.did_buffer_overflow):
            raise RuntimeError("jax-md's list overflowed")
        return end

    return rolled


def side_by_side(runs: dict[str, Run], budget: float) -> dict[str, list[float]]:
    """Seconds of a step, measured REPEATS times in turn, without the fixed cost of a call."""
    steps = {name: enough(run, budget) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, run in runs.items():
            few, many = timed(run, 1), timed(run, 1 + steps[name])
            seconds[name].append((many - few) / steps[name])
    return seconds


def enough(run: Run, budget: float) -> int:
    """Number of steps that take at least that many seconds; compiles what is timed."""
    run(1)
    first, steps = timed(run, 1), FEWEST
    while True:
        run(1 + steps)
        taken = timed(run, 1 + steps) - first
        if taken > budget or steps >= 2**22:
            return steps
        steps *= math.ceil(min(64, 1.2 * budget / max(taken, 0.02 * budget)))


def timed(run: Run, steps: int) -> float:
    start = time.perf_counter()
    run(steps)
    return time.perf_counter() - start


def energies(system: str, size: int, names: list[str], steps: int, folder: str) -> list[dict]:
    """Error of the energy over `steps` steps, relative to the mean kinetic energy, and error of the
    forces at the end."""
    graph, records = start(system, size, folder), []
    for name in names:
        model, begin = of_precision(name, system, graph, folder)
        neighbours = LISTS[system] and LISTS[system].allocate(begin)
        path = hgn.rollout(model, begin, hgn.Every(steps // 200, 200), dt=DT[system],
                           neighbours=neighbours, states=False, observables=[hgn.KineticEnergy()],
                           throw=False)  # fmt: skip
        energy = np.asarray(path.energy, float)[1:]
        kinetic = float(np.mean(path.observed["kinetic_energy"]))
        tenth = len(energy) // 10
        records.append(
            {
                "hamiltonian": name,
                "bodies": len(graph.nodes["mass"]),
                "steps": steps,
                "energy_deviation": float(np.std(energy)) / kinetic,
                "energy_change": float(energy[-tenth:].mean() - energy[:tenth].mean()) / kinetic,
            }
            | force_error(model, name, system, path.end, folder)
        )
    return records


def force_error(
    model: hgn.AbstractModel, name: str, system: str, graph: GraphsTuple, folder: str
) -> dict[str, Any]:
    """Relative error of all forces of that state: against the true ones and, for a compressed model
    or one in float32, against those of the original model."""
    wide = jax.tree.map(lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a, graph)
    if system == "liquid":
        wide = joined(wide, CUTOFF)
    narrow = ", " in name
    force = _force(model, single(wide) if narrow else wide)
    plain = name.split(", ")[0]
    source = plain if narrow else "learned"
    errors = {"force_error": relative(force, _force(SYSTEMS[system], wide))}
    if narrow or plain == "compressed":
        exact = _force(hamiltonian(system, source, folder), wide)
        errors["force_error_of_the_shortening"] = relative(force, exact)
    return errors


@eqx.filter_jit
def _force(model: hgn.AbstractModel, graph: GraphsTuple) -> Array:
    return model.vector_field(graph)[1]


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")
    what = {"times": times, "energies": energies}[sys.argv[1]]
    print(json.dumps(what(**json.loads(sys.argv[2]))))
