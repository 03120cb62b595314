"""Problems of bench.least_squares: springs in batches, a radial force with its exact solution,
other solvers, and the processes that it starts (`python -m bench.problems NAME SETTINGS`)."""

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import scipy.linalg
from jax.experimental import multihost_utils
from jax.typing import DTypeLike
from jaxtyping import Float, PRNGKeyArray
from jraph import GraphsTuple

import hgn_jax as hgn

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
LONG = 5
"""Seconds above which a timing is not repeated."""
ENTRIES = 2**24
"""Matrix entries of one piece of a stream."""
SPRINGS = hgn.systems.mass_spring("morse")
BLOCK = 50_000
OURS = "QR"


def pin() -> None:
    """Pins all threads started from now on to as many cores as OPENBLAS_NUM_THREADS says."""
    threads = os.environ.get("OPENBLAS_NUM_THREADS")
    if threads and CORES:
        os.sched_setaffinity(0, set(CORES[: int(threads)]))


def warm_seconds(function: Callable[[], Any], repeats: int = 3) -> float:
    """Median seconds of compiled calls; of fewer calls if they are long."""
    times: list[float] = []
    while len(times) < repeats and sum(times) < LONG:
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class Forces(NamedTuple):
    """A fit to forces alone: `units` pair features in every row."""

    units: int
    nodes: int = 8

    @property
    def rows_per_graph(self) -> int:
        return 3 * self.nodes

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `hgn.fit_stream`."""
        return {
            "key": jr.key(1),
            "terms": (hgn.Pair(self.units),),
            "observations": (hgn.Forces(),),
        }

    def pieces(self, rows: int) -> tuple[int, int]:
        """Number of equal pieces, and of graphs in each, for about that many rows."""
        size = max(ENTRIES // self.units, 8 * self.units, self.rows_per_graph)
        graphs = max(round(rows / self.rows_per_graph), 1)
        number = -(-graphs * self.rows_per_graph // size)
        return number, max(round(graphs / number), 1)

    def data(self, graphs: int, seed: int) -> GraphsTuple:
        """Cubic lattices with bodies displaced by up to 0.2, and their true forces."""
        side = round(self.nodes ** (1 / 3))
        return _forces(hgn.graphs.lattice((side,) * 3), graphs, jr.key(seed))

    def stream(self, number: int, graphs: int, first: int = 0) -> Iterator[GraphsTuple]:
        """Batches generated on the fly."""
        for k in range(first, first + number):
            yield self.data(graphs, 1000 + k)

    def error(self, fit: hgn.Fit, graphs: int) -> float:
        """Relative error of forces on unseen graphs."""
        test = self.data(graphs, 1)
        _, force = eqx.filter_jit(fit.model.vector_field)(test)
        return relative(force, test.nodes["force"])


@eqx.filter_jit
def _forces(graph: GraphsTuple, graphs: int, key: PRNGKeyArray) -> GraphsTuple:
    shape = (graphs, *graph.nodes["position"].shape)
    position = graph.nodes["position"][None] + 0.2 * jr.uniform(key, shape, minval=-1, maxval=1)
    data = hgn.graphs.snapshots(graph, {"position": position}, {})
    return data._replace(nodes=data.nodes | {"force": SPRINGS.vector_field(data)[1]})


def noisy(data: GraphsTuple, noise: float, seed: int) -> GraphsTuple:
    """Adds normal errors to velocities and forces, in units of their root mean squares."""
    nodes = dict(data.nodes)
    for name, key in zip(("velocity", "force"), jr.split(jr.key(seed))):
        size = noise * jnp.sqrt(jnp.mean(nodes[name] ** 2))
        nodes[name] = nodes[name] + size * jr.normal(key, nodes[name].shape)
    return data._replace(nodes=nodes)


def snapshots(system: hgn.systems.System) -> tuple[GraphsTuple, GraphsTuple]:
    """100 training snapshots of eight bodies, without energies, and 100 test snapshots."""
    train, test = (
        hgn.systems.simulate(system, hgn.graphs.lattice((2, 2, 2)), key=jr.key(k), trajectories=100)
        for k in (0, 1)
    )
    rest = {k: v for k, v in train.globals.items() if k != "energy"}
    return train._replace(globals=rest), test


def relative(estimate: Any, truth: Any) -> float:
    """Relative error |a - b| / |b|."""
    a, b = (np.asarray(x, np.float64) for x in (estimate, truth))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


class Radial(NamedTuple):
    """Z theta = u for a radial force at given distances, and the same at unseen distances."""

    matrix: Float[np.ndarray, "r K"]
    target: Float[np.ndarray, " r"]
    unseen: Float[np.ndarray, "500 K"]
    truth: Float[np.ndarray, " 500"]

    def error(self, theta: Any) -> float:
        """Relative error of the force at unseen distances, summed in float64."""
        return relative(self.unseen.astype(np.float64) @ np.asarray(theta, np.float64), self.truth)


def radial_problem(rows: int, units: int, seed: int, dtype: DTypeLike = np.float64) -> Radial:
    """Force of a Morse spring as a sum of slopes of tanh units, each steep between two data points.

    The numerical rank of the columns is 30 to 60, however many there are.
    """
    rng = np.random.default_rng(seed)
    r, unseen = rng.uniform(0.5, 2.0, rows), rng.uniform(0.5, 2.0, 500)
    first, second = rng.choice(r, units), rng.choice(r, units)
    step = second - first
    w = np.log(3) * np.where(step < 0, -1, 1) / np.maximum(np.abs(step), 0.2)
    b = -w * first - np.log(3) / 2

    def slopes(r: np.ndarray) -> np.ndarray:
        matrix = np.empty((len(r), units), dtype)
        for k in range(0, len(r), BLOCK):
            matrix[k : k + BLOCK] = w / np.cosh(w * r[k : k + BLOCK, None] + b) ** 2
        return matrix

    def force(r: np.ndarray) -> np.ndarray:
        return (2 * (1 - np.exp(1 - r)) * np.exp(1 - r)).astype(dtype)

    return Radial(slopes(r), force(r), slopes(unseen), force(unseen))


Solve = Callable[[Any, Any], Any]
"""theta from a matrix and a target."""


def _ours(solver: hgn.QR | hgn.LSTSQ) -> Solve:
    return lambda z, u: solver.solve(solver.factorise(z, u)).theta


JAX: dict[str, Solve] = {
    OURS: _ours(hgn.QR(method="householder")),
    "QR, Cholesky": _ours(hgn.QR(method="cholesky")),
    "LSTSQ": _ours(hgn.LSTSQ()),
    "jnp.linalg.lstsq": lambda z, u: jnp.linalg.lstsq(z, u)[0],
}
"""Solvers to be jitted; the first three are this library's."""


def _normal_equations(z: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Normal equations of scaled columns, with the least shift at which Cholesky succeeds."""
    scale = np.linalg.norm(z, axis=0)
    gram = z.T @ z / np.outer(scale, scale)
    gram[np.diag_indices_from(gram)] += 10 * len(gram) * np.finfo(z.dtype).eps
    return scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram), z.T @ u / scale) / scale


def _scikit_learn(z: np.ndarray, u: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import Ridge  # no dependency: measured where it is installed

    return Ridge(alpha=1e-10, fit_intercept=False).fit(z, u).coef_


NUMPY: dict[str, Solve] = {
    "numpy lstsq": lambda z, u: np.linalg.lstsq(z, u)[0],
    "scipy gelsd": lambda z, u: scipy.linalg.lstsq(z, u, lapack_driver="gelsd")[0],
    "scipy gelsy": lambda z, u: scipy.linalg.lstsq(z, u, lapack_driver="gelsy")[0],
    "normal equations": _normal_equations,
    "sklearn Ridge": _scikit_learn,
}
"""Solvers of NumPy and others; `Ridge` needs scikit-learn."""


def streamed(rows: int, units: int) -> dict[str, Any]:
    """Fit to batches generated on the fly, and the peak memory of this process."""
    problem = Forces(units)
    number, graphs = problem.pieces(rows)
    before = resident()
    start = time.perf_counter()
    hgn.fit_stream(problem.stream(2, graphs), **problem.arguments)
    compiled = time.perf_counter()
    fit = jax.block_until_ready(hgn.fit_stream(problem.stream(number, graphs), **problem.arguments))
    taken = time.perf_counter() - compiled
    return {
        "rows": number * graphs * problem.rows_per_graph,
        "seconds": taken,
        "seconds_with_compilation_of_two_batches": compiled - start,
        "batches": number,
        "peak_gib": resident(),
        "gib_after_import": before,
        "error": problem.error(fit, graphs),
    }


def resident() -> float:
    """Peak resident memory so far (GiB)."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage also counts the memory of the process that started this one
        (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (2**30 if sys.platform == "darwin" else 2**20)


def one_of_many(
    rows: int, units: int, process: int, processes: int, port: int, cores: list[int]
) -> dict[str, Any]:
    """Fit to this process's share of the batches, on one core; all processes get the whole fit."""
    if cores:
        os.sched_setaffinity(0, {cores[process % len(cores)]})
    if processes > 1:
        jax.distributed.initialize(f"localhost:{port}", processes, process)
    problem = Forces(units)
    number, graphs = problem.pieces(rows // processes)
    seed = process * number
    batches = list(problem.stream(number, graphs, seed))
    hgn.fit_stream(batches[:2], **problem.arguments)
    _together("start")
    start = time.perf_counter()
    fit = jax.block_until_ready(hgn.fit_stream(batches, **problem.arguments))
    taken = time.perf_counter() - start
    _together("end")
    return {
        "rows": int(fit.reduction.triangles[-1].rows),
        "seconds": taken,
        "error": None if process else problem.error(fit, graphs),
    }


def _together(name: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    what = {"streamed": streamed, "one_of_many": one_of_many}[sys.argv[1]]
    print(json.dumps(what(**json.loads(sys.argv[2]))))
