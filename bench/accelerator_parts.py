"""Parts of bench.accelerator: each yields records as they are measured."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array

import hgn_jax as hgn

from . import moves
from .problems import Forces, warm_seconds
from .record import Record, seconds


class Part(NamedTuple):
    """A part of the benchmark, and the seconds that it may take."""

    seconds: float
    measure: Callable[[bool], Iterator[Record]]


def rates(quick: bool) -> Iterator[Record]:
    """Rates of square matrix products: what the device can do."""
    n = 256 if quick else 8192
    for dtype in ("float64", "float32"):
        yield {"dtype": dtype, "teraflops": rate(n, dtype)}


def rate(n: int, dtype: str) -> float:
    """10^12 operations per second of a product of two n x n matrices."""
    a = jr.normal(jr.key(0), (n, n), dtype)
    product = jax.jit(lambda a: jnp.dot(a, a, precision="highest"))
    return 2 * n**3 / seconds(lambda: product(a), 3)[1] / 1e12


def liquid(quick: bool) -> Iterator[Record]:
    """The Lennard-Jones liquid from 6,912 to 10^7 atoms, in both precisions, beside jax-md."""
    sizes = {
        3: ("compressed", "compressed, float32", "true", "jax-md"),
        8: ("compressed", "compressed, float32", "jax-md"),
        16: ("compressed", "compressed, float32"),
        34: ("compressed, float32",),
    }
    yield from _rollouts("liquid", {1: sizes[3]} if quick else sizes, 0.05 if quick else 0.5)


def springs(quick: bool) -> Iterator[Record]:
    """Lattices of springs from 8 to 10^7 bodies."""
    sizes = dict.fromkeys((2,) if quick else (2, 22, 100, 215), ("compressed", "true"))
    yield from _rollouts("springs", sizes, 0.05 if quick else 0.5)


def _rollouts(system: str, sizes: dict[int, tuple[str, ...]], budget: float) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as folder:
        moves.prepare(system, folder)
        for size, names in sizes.items():
            for name in names:
                settings = {"system": system, "size": size}
                try:
                    found = moves.times(system, size, [name], budget, folder)
                except ImportError as error:
                    yield settings | {"hamiltonian": name, "left_out": str(error)}
                    continue
                yield from (settings | record for record in found)


def small_systems(quick: bool) -> Iterator[Record]:
    """Rollouts of many systems of 64 bodies at once, by vmap."""
    cube = hgn.graphs.lattice((4, 4, 4))
    steps = 20 if quick else 1000
    for systems in (2, 4) if quick else (1, 64, 4096):
        shape = (systems, *cube.nodes["position"].shape)
        q = cube.nodes["position"] + 0.1 * jr.normal(jr.key(0), shape)
        p = 0.1 * jr.normal(jr.key(1), shape)

        @jax.jit
        @jax.vmap
        def end(q: Array, p: Array) -> Array:
            start = cube._replace(nodes=cube.nodes | {"position": q, "momentum": p})
            times = hgn.Every(steps, 1)
            return hgn.rollout(moves.SPRINGS, start, times, dt=0.01, throw=False).position[-1]

        taken = seconds(partial(end, q, p), 3)[1]
        yield {
            "systems": systems,
            "bodies": 64,
            "steps": steps,
            "nanoseconds_per_body_step": 1e9 * taken / (64 * systems * steps),
        }


def fits(quick: bool) -> Iterator[Record]:
    """The fit of the demo's springs, alone and 64 at once, after compilation."""
    cube = hgn.graphs.lattice((2, 2, 2))
    trajectories = 50 if quick else 1000
    data = hgn.systems.simulate(moves.SPRINGS, cube, key=jr.key(0), trajectories=trajectories)

    def theta(key: Array) -> Any:
        return hgn.fit(data, key=key, throw=False).model.theta

    alone = seconds(partial(jax.jit(theta), jr.key(1)), 3)[1]
    yield {"fits": 1, "seconds": alone}
    count = 4 if quick else 64
    together = seconds(partial(jax.jit(jax.vmap(theta)), jr.split(jr.key(1), count)), 3)[1]
    yield {"fits": count, "seconds": together, "over_one": together / alone}


def solves(quick: bool) -> Iterator[Record]:
    """Triangles of dense rows, by both methods and in both precisions, beside Z^T Z."""
    rows, columns, side = (4096, 64, 256) if quick else (1_000_000, 1024, 8192)
    for method in ("cholesky", "householder"):
        for dtype in ("float64", "float32"):
            z = jr.normal(jr.key(0), (rows, columns), dtype)
            u = jr.normal(jr.key(1), (rows,), dtype)
            product = jax.jit(lambda z: jnp.dot(z.T, z, precision="highest"))
            gram = seconds(partial(product, z), 3)[1]
            solver = hgn.QR(method=method)
            taken = seconds(partial(jax.jit(solver.factorise), z, u), 2)[1]
            yield {
                "dtype": dtype,
                "method": method,
                "rows": rows,
                "columns": columns,
                "seconds": taken,
                "over_gram": taken / gram,
                # Operations of Householder QR: those of Cholesky QR in two passes are half more.
                "share_of_rate": 2 * rows * columns**2 / taken / 1e12 / rate(side, dtype),
                "peak_gib": moves.peak(),
            }


def streamed(quick: bool) -> Iterator[Record]:
    """A fit to a stream of batches that are made on the device."""
    problem = Forces(64 if quick else 1024)
    number, graphs = problem.pieces(100_000 if quick else 10_000_000)
    arguments = problem.arguments
    hgn.fit_stream(problem.stream(2, graphs), **arguments)  # compiles
    fits: list[hgn.Fit] = []
    taken = warm_seconds(
        lambda: fits.append(hgn.fit_stream(problem.stream(number, graphs), **arguments)), 1
    )
    yield {
        "rows": number * graphs * problem.rows_per_graph,
        "columns": problem.units,
        "seconds": taken,
        "error": problem.error(fits[-1], 100),
        "peak_gib": moves.peak(),
    }


def many_body(quick: bool) -> Iterator[Record]:
    """Potentials of silicon from quantum mechanics, after compilation, and their evaluation."""
    data = hgn.datasets.silicon(cutoff=5.0)
    if quick:
        data = hgn.graphs.take(data, np.arange(len(data.n_node)) < 10)
    units = 40 if quick else 1000
    terms = [hgn.Pair(16, cutoff=5.0), hgn.ManyBody(units, cutoff=5.0)]
    fits: list[hgn.Fit] = []

    def fit() -> Any:
        fits.append(hgn.fit(data, key=0, terms=terms, observations=[hgn.Energies(), hgn.Forces()]))
        return fits[-1].model.theta

    first, warm = seconds(fit, 1)
    yield {
        "atoms": int(np.sum(data.n_node)),
        "columns": int(fits[-1].columns),
        "first_seconds": first,
        "seconds": warm,
        "peak_gib": moves.peak(),
    }
    force = jax.jit(lambda model, data: model.vector_field(data)[-1])
    taken = seconds(partial(force, fits[-1].model, data), 3)[1]
    yield {"microseconds_per_atom": 1e6 * taken / int(np.sum(data.n_node))}


def gradient_descent(quick: bool) -> Iterator[Record]:
    """An epoch of Adam on the demo's springs, minibatches of 100 snapshots."""
    cube = hgn.graphs.lattice((2, 2, 2))
    data = hgn.systems.simulate(moves.SPRINGS, cube, key=jr.key(0), trajectories=1000)
    model = hgn.untrained(data, terms=(hgn.Kinetic(), hgn.Pair()), key=jr.key(1))
    optimizer = optax.adam(1e-3)

    def train(epochs: int) -> Any:
        return hgn.train(
            model, data, key=0, optimizer=optimizer, epochs=epochs, batch_size=100, throw=False
        ).model.theta

    few, many = (2, 4) if quick else (5, 55)
    taken = [seconds(partial(train, epochs), 1)[1] for epochs in (few, many)]
    yield {"seconds_per_epoch": (taken[1] - taken[0]) / (many - few)}


PARTS = {
    "rates": Part(40, rates),
    "liquid": Part(200, liquid),
    "solves": Part(60, solves),
    "many_body": Part(120, many_body),
    "fits": Part(60, fits),
    "springs": Part(90, springs),
    "small_systems": Part(60, small_systems),
    "streamed": Part(90, streamed),
    "gradient_descent": Part(60, gradient_descent),
}
"""Parts, the most valuable first."""
