"""Least squares and its goals: time, memory, accuracy, and the choice of the ridge.

"ratio" is the time relative to Z^T Z for a dense fit, our time over theirs for solvers, our error
over that of the best ridge for ridges, error over standard deviation of forces for calibration, and
the speed-up for two processes. The goals come last.

Run it with OPENBLAS_NUM_THREADS=1: the process then stays on one core, so that LAPACK and XLA's
matrix products have equal resources. "Z^T Z" is the product in XLA of normal random numbers in
float64. Matrices above 512 MiB are not multiplied in one piece: the time of that much is scaled to
all rows. The fit processes all of its rows, in pieces.
"""

import json
import math
import os
import socket
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax.fitting.equations import Equations, LinearSystem
from hgn_jax.linear import LeastSquaresSolution
from hgn_jax.linear.triangle import Triangle

from .least_squares_figure import draw
from .least_squares_goals import DENSE, SPRINGS, compare
from .problems import (
    CORES,
    JAX,
    NUMPY,
    OURS,
    Forces,
    Radial,
    noisy,
    pin,
    radial_problem,
    snapshots,
    warm_seconds,
)
from .record import Case, Record, main, seconds

LIMIT = 60
"""Seconds beyond which a solver is left out."""
IN_MEMORY = 2**26
"""Entries of a matrix that is multiplied in one piece."""
LARGE = 2e11
"""Rows times columns squared above which a tenth of the rows is tried first."""
COPIES = 2**28
"""Entries above which jnp.linalg.lstsq, which keeps several copies, is left out."""
WEIGHTS = {name: (hgn.Derivatives(name),) for name in ("uniform", "relative")}
CHOICES = {
    "evidence": hgn.QR(),
    "gcv": hgn.QR(ridge="gcv"),
    "least ridge": hgn.QR(ridge=0.0),
}
NOISES = (0, 1e-6, 1e-3, 1e-2, 1e-1)


def cases(quick: bool) -> list[Case]:
    pin()
    rows = (12_288,) if quick else (10_000, 100_000, 1_000_000)
    dense = [(8, r, k) for r in rows for k in ((128,) if quick else (128, 256, 512, 1024))]
    dense += [] if quick else [(8, 10_000, 2048), (8, 100_000, 2048)]
    # For each number of nodes: as many bodies, then as many graphs, as with the most nodes.
    sides = (2, 4) if quick else (2, 4, 8, 16)
    most = rows[0] if quick else 3 * 32 * sides[-1] ** 3
    dense += [(n**3, r, 128) for n in sides for r in (most, most * n**3 // sides[-1] ** 3)]
    sizes = (
        [(10_000, 128)]
        if quick
        else [(10_000, 128), (10_000, 1024), (100_000, 256), (100_000, 1024), (1_000_000, 128),
              (1_000_000, 512)]
    )  # fmt: skip
    settings = [(p, w, n) for p in ("spring", "morse") for w in WEIGHTS for n in NOISES]
    models = [(SPRINGS, "uniform", 1e-2), (SPRINGS, "uniform", 1e-3), (SPRINGS, "relative", 1e-2),
              ("morse", "uniform", 1e-2), ("4 units", "uniform", 1e-2),
              ("field left out", "uniform", 1e-2)]  # fmt: skip
    if quick:
        settings, models = [("spring", "uniform", n) for n in (0, 1e-2)], models[:1]
    return [
        *(Case({"case": DENSE, "what": f"{n} nodes", "rows": r, "units": k},
               partial(fit_by_pieces, n, r, k)) for n, r, k in sorted(set(dense))),
        _case("stream", stream, *((200_000, 128) if quick else (10_000_000, 512))),
        *(_case("solvers", side_by_side, *size) for size in sizes),
        *(Case({"case": "accuracy", "dtype": t, "rows": 2000, "units": 256},
               partial(accuracy, t, 3 if quick else 10)) for t in ("float64", "float32")),
        Case({"case": "float32 fits"}, partial(single_precision, 3 if quick else 20)),
        *(Case({"case": "ridge", "what": f"{p}, {w} weights, noise {n:g}"},
               partial(ridge, p, w, n, 1 if quick else 3)) for p, w, n in settings),
        *(Case({"case": "calibration", "what": f"{m}, {w} weights, noise {n:g}"},
               partial(calibration, m, w, n, 40)) for m, w, n in models),
        _case("two processes", two_processes, *((200_000, 128) if quick else (1_000_000, 256))),
    ]  # fmt: skip


def _case(
    name: str, measure: Callable[[int, int], Record | list[Record]], rows: int, units: int
) -> Case:
    return Case({"case": name, "rows": rows, "units": units}, partial(measure, rows, units))


def fit_by_pieces(nodes: int, rows: int, units: int) -> Record:
    """Fits forces of lattices; `phases` are times of the first pieces, scaled to all pieces."""
    problem = Forces(units, nodes)
    number, graphs = problem.pieces(rows)
    data = problem.data(number * graphs, 0)

    def fit(data: GraphsTuple) -> hgn.Fit:
        return hgn.fit_stream(hgn.graphs.chunks(data, graphs), **problem.arguments)

    first, fits = problem.data(graphs, 0), []
    start = time.perf_counter()
    jax.block_until_ready(fit(first))
    compiled = time.perf_counter() - start
    total = warm_seconds(lambda: fits.append(jax.block_until_ready(fit(data))))
    count = number * graphs * problem.rows_per_graph
    product, numpy_product = (t * count for t in _products(count, units))
    return {
        "seconds": total,
        "error": problem.error(fits[-1], graphs),
        "ratio": total / product,
        "details": {
            "nodes": nodes,
            "rows": count,
            "graphs": number * graphs,
            "pieces": number,
            "first_piece_with_compilation": compiled,
            "phases": _phases(fits[-1], data, number, graphs),
            "Z^T Z": product,
            "Z^T Z in one piece": count * units <= IN_MEMORY,
            "Z^T Z by NumPy": numpy_product,
        },
    }


def _products(rows: int, units: int) -> tuple[float, float]:
    """Seconds of Z^T Z per row, by XLA and by NumPy (which exploits its symmetry)."""
    z = jr.normal(jr.key(0), (min(rows, IN_MEMORY // units), units))
    product, array = jax.jit(lambda z: z.T @ z).lower(z).compile(), np.asarray(z)
    return (
        warm_seconds(lambda: product(z)) / len(z),
        warm_seconds(lambda: array.T @ array) / len(z),
    )


def _phases(fit: hgn.Fit, data: GraphsTuple, number: int, graphs: int) -> Record:
    """Seconds per phase for the system of the pairs; the rest is sampling, tracing and merging."""
    start = time.perf_counter()
    pieces = list(islice(hgn.graphs.chunks(data, graphs), 3))
    cut = (time.perf_counter() - start) / len(pieces)
    triangle, system = fit.reduction.triangles[-1], _systems(fit.equations, pieces[0])[-1]

    def each(step: Callable[[], Any]) -> float:
        return number * seconds(step, 2)[1]

    return {
        "cut": number * cut,
        "check": each(lambda: hgn.check(pieces[0])),
        "assemble": each(lambda: _systems(fit.equations, pieces[0])),
        "factorise": each(lambda: _append(triangle, system.matrix, system.target, system.rows)),
        "solve": seconds(lambda: _solve(triangle), 2)[1],
    }


_append = jax.jit(Triangle.append)
_solve = jax.jit(hgn.QR().solve)


@eqx.filter_jit
def _systems(equations: Equations, data: GraphsTuple) -> tuple[LinearSystem, ...]:
    return equations.systems(data)


def stream(rows: int, units: int) -> Record:
    found = json.loads(_output(_process("streamed", rows=rows, units=units)))
    return {
        "seconds": found["seconds"],
        "error": found["error"],
        "details": found | {"rows_per_second": found["rows"] / found["seconds"]},
    }


def _process(name: str, **settings: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.problems", name, json.dumps(settings)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip


def _output(process: subprocess.Popen[str], timeout: float | None = None) -> str:
    """Last line that the process prints. Raises `RuntimeError` with its error if it fails."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RuntimeError(f"no answer within {timeout:.0f} s") from None
    if process.returncode:
        raise RuntimeError((err.strip().splitlines() or [f"exit code {process.returncode}"])[-1])
    return out.strip().splitlines()[-1]


def two_processes(rows: int, units: int) -> Record:
    """Times of one process on one core, and of two on two cores, each with half of the batches."""
    if 0 < len(CORES) < 2:
        return {"details": {"left_out": "needs two cores"}}
    found: list[list[Record]] = []
    for count in (1, 2):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        processes = [
            _process("one_of_many", rows=rows, units=units, process=k, processes=count, port=port,
                     cores=CORES[:2])
            for k in range(count)
        ]  # fmt: skip
        try:
            found.append([json.loads(_output(p, 600)) for p in processes])
        except RuntimeError as error:
            for process in processes:
                process.kill()
            return {"details": {"failed": str(error), "processes": count}}
    alone, together = (max(p["seconds"] for p in group) for group in found)
    return {
        "seconds": together,
        "error": found[1][0]["error"],
        "ratio": alone / together,
        "details": {"one process": found[0], "two processes": found[1]},
    }


def side_by_side(rows: int, units: int) -> list[Record]:
    problem = radial_problem(rows, units, 0)
    return [{"what": name} | attempt(name, problem) for name in (*JAX, *NUMPY)]


def attempt(name: str, problem: Radial) -> Record:
    """Time and error of one solver, unless a tenth of the rows shows that it takes too long."""
    rows, units = problem.matrix.shape
    if name == "jnp.linalg.lstsq" and rows * units > COPIES:
        return _left_out("needs several copies of the matrix in memory")
    try:
        if name != OURS and rows * units**2 > LARGE:
            tenth = problem._replace(
                matrix=problem.matrix[: rows // 10], target=problem.target[: rows // 10]
            )
            expected = 10 * warm_seconds(_prepared(name, tenth)[0], 1)
            if expected > LIMIT:
                return _left_out(f"a tenth of the rows makes expect {expected:.0f} s")
        run, compilation = _prepared(name, problem)
        thetas: list[Any] = []
        taken = warm_seconds(lambda: thetas.append(jax.block_until_ready(run())))
    except (ImportError, MemoryError) as error:
        return _left_out(str(error))
    return {
        "seconds": taken,
        "error": problem.error(thetas[-1]),
        "details": {"compilation": compilation},
    }


def _left_out(why: str) -> Record:
    return {"seconds": None, "error": None, "details": {"left_out": why}}


def _prepared(name: str, problem: Radial) -> tuple[Callable[[], Any], float]:
    """The solver with its arguments, compiled, and the seconds of compilation."""
    if name in NUMPY:
        return partial(NUMPY[name], problem.matrix, problem.target), 0.0
    arguments = jnp.asarray(problem.matrix), jnp.asarray(problem.target)
    start = time.perf_counter()
    compiled = jax.jit(JAX[name]).lower(*arguments).compile()
    return partial(compiled, *arguments), time.perf_counter() - start


def accuracy(dtype: str, seeds: int) -> list[Record]:
    """Error at unseen distances, for the worst of the seeds."""
    problems = [radial_problem(2000, 256, seed, np.dtype(dtype)) for seed in range(seeds)]
    records: list[Record] = []
    for name in (*JAX, *NUMPY):
        try:
            solve = jax.jit(JAX[name]) if name in JAX else NUMPY[name]
            errors = [p.error(solve(p.matrix, p.target)) for p in problems]
        except ImportError as error:
            records.append({"what": name} | _left_out(str(error)))
            continue
        details = {"dtype": dtype, "median": statistics.median(errors), "errors": errors}
        records.append({"what": name, "error": max(errors), "details": details})
    return records


def single_precision(keys: int) -> Record:
    """Mean square error of all rates of springs over their mean square, for the worst key."""
    train, test = (
        jax.tree.map(
            lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a,
            hgn.systems.simulate(
                hgn.systems.mass_spring("spring"), hgn.graphs.lattice((2, 2, 2)), key=jr.key(k)
            ),
        )
        for k in (0, 1)
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fitting in float32")
        errors = [
            float(hgn.metrics.mean_square_error(hgn.fit(train, key=jr.key(k)).model, test))
            for k in range(keys)
        ]
    return {"error": max(errors), "details": {"median": statistics.median(errors)}}


def ridge(potential: str, weights: str, noise: float, seeds: int) -> Record:
    """Errors on noise-free unseen data, as geometric means over the seeds of the noise.

    "oracle" is the ridge of the path with the least error on the unseen data.
    """
    train, test = snapshots(hgn.systems.mass_spring(potential, rest_length=1.0))
    features = hgn.sample((hgn.Kinetic(), hgn.Pair()), train, key=jr.key(2))
    found = [
        _choices(hgn.solve(features, noisy(train, noise, k), observations=WEIGHTS[weights]), test)
        for k in range(seeds if noise else 1)
    ]
    details: Record = {"potential": potential, "weights": weights, "noise": noise, "seeds": seeds}
    details |= {
        rate: {
            choice: {k: _mean([f[rate][choice][k] for f in found]) for k in figures}
            for choice, figures in of.items()
        }
        for rate, of in found[0].items()
    }
    force = details["force"]
    return {
        "error": force["evidence"]["error"],
        "ratio": force["evidence"]["error"] / force["oracle"]["error"],
        "details": details,
    }


def _mean(values: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def _choices(fit: hgn.Fit, test: GraphsTuple) -> dict[str, dict[str, Record]]:
    """Error, ridge and degrees of freedom, for velocity and force and each choice of the ridge."""
    result: dict[str, dict[str, Record]] = {}
    for i, (rate, triangle, path) in enumerate(
        zip(("velocity", "force"), fit.reduction.triangles, fit.ridge_paths(), strict=True)
    ):
        chosen = _chosen(triangle, path.ridge[::2])
        errors = [float(e) for e in _unseen(fit.model.terms, test, chosen.theta, i)]
        along = len(CHOICES) + int(np.argmin(errors[len(CHOICES) :]))
        result[rate] = {
            name: {
                "error": errors[k],
                "ridge": float(chosen.ridge[k, 0]),
                "freedom": float(chosen.effective_dof[k]),
            }
            for name, k in zip((*CHOICES, "oracle"), (*range(len(CHOICES)), along))
        }
    return result


@jax.jit
def _chosen(triangle: Triangle, ridges: Float[Array, " p"]) -> LeastSquaresSolution:
    """Solutions with the ridge of each choice, then with each of the ridges."""
    every = jax.vmap(lambda ridge: hgn.QR(ridge=ridge).solve(triangle))(ridges)
    named = [solver.solve(triangle) for solver in CHOICES.values()]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *named)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), stacked, every)


@eqx.filter_jit
def _unseen(
    features: tuple[Any, ...], test: GraphsTuple, thetas: Float[Array, "p K"], system: int
) -> Float[Array, " p"]:
    """Relative errors on the rows of one system."""
    how = (hgn.Derivatives("uniform"),)
    rows = Equations(hgn.Basis(features), how, test).systems(test)[system]
    wrong = thetas @ rows.matrix.T - rows.target[None]
    return jnp.linalg.norm(wrong, axis=1) / jnp.linalg.norm(rows.target)


def calibration(model: str, weights: str, noise: float, seeds: int) -> Record:
    """Root mean square of (predicted - true) / standard deviation, which should be one.

    Energies are relative to the mean of the unseen data. "observed" are noisy unseen data, whose
    variance is the sum of the model's and of the estimated noise.
    """
    field = (lambda q, mass: jnp.sum(q**2) / 4) if model == "field left out" else None
    kind = "morse" if model == "morse" else "spring"
    train, test = snapshots(hgn.systems.mass_spring(kind, rest_length=1.0, external=field))
    specs = (hgn.Kinetic(), hgn.Pair(4 if model == "4 units" else 256))
    features = hgn.sample(specs, train, key=jr.key(2))
    squares: dict[str, list[float]] = {}
    errors = []
    for k in range(seeds):
        fit = hgn.solve(features, noisy(train, noise, k), observations=WEIGHTS[weights])
        for name, scaled in _scaled(fit, test, noisy(test, noise, 1000 + k)).items():
            squares.setdefault(name, []).append(float(jnp.mean(scaled**2)))
        errors.append(float(hgn.metrics.relative_error(fit.model, test)["force"]))
    if weights != "uniform":  # the noise of a row is then not that of an observation
        squares = {k: v for k, v in squares.items() if not k.startswith("observed")}
    return {
        "error": max(errors),
        "ratio": math.sqrt(statistics.fmean(squares["force"])),
        "details": {
            "model": model,
            "weights": weights,
            "noise": noise,
            "rms": {k: math.sqrt(statistics.fmean(v)) for k, v in squares.items()},
            "rms_of_each_seed": {k: [math.sqrt(x) for x in v] for k, v in squares.items()},
        },
    }


@eqx.filter_jit
def _scaled(fit: hgn.Fit, test: GraphsTuple, observed: GraphsTuple) -> dict[str, Array]:
    deviation = fit.standard_deviation(test)
    rates = dict(zip(("velocity", "force"), fit.model.vector_field(test)))
    wrong = fit.model(test) - test.globals["energy"]
    scaled = {"energy": (wrong - wrong.mean()) / deviation.energy}
    for (name, rate), solution in zip(rates.items(), fit.solutions):
        of = getattr(deviation, name)
        scaled[name] = (rate - test.nodes[name]) / of
        both = jnp.hypot(of, solution.noise)
        scaled[f"observed {name}"] = (rate - observed.nodes[name]) / both
    return scaled


if __name__ == "__main__":
    main("least_squares", "Least squares: time, memory, accuracy, ridge from the data", cases, draw,
         compare)  # fmt: skip
