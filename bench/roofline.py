"""Limits of each stage: the work of its program, at the rates that the device reaches.

Products of matrices, functions such as tanh, and other arithmetic are counted in the jaxpr of a
stage; bytes are those of its arrays, read and written once. The ceilings are measured in the same
process: a large product, tanh and a polynomial of many elements, a long copy. The longest of the
four times is what limits the stage, and its share of the measured time says how near the stage
comes.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

import hgn_jax as hgn
from hgn_jax.graphs.neighbour_list import find

from . import moves
from .problems import Forces
from .record import Case, Record, main, seconds

PRODUCTS, FUNCTIONS, ARITHMETIC, BYTES = "matrix products", "functions", "arithmetic", "memory"
SLOW = {"tanh", "exp", "log", "log1p", "sin", "cos", "pow", "erf", "logistic"}
"""Primitives that count as functions."""
MOVES = {
    "reshape",
    "broadcast_in_dim",
    "transpose",
    "squeeze",
    "slice",
    "concatenate",
    "iota",
    "copy",
}
"""Primitives without arithmetic."""


class Stage(NamedTuple):
    """A stage, its arguments, and what its work is proportional to."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    per: str
    count: int


def cases(quick: bool) -> Iterator[Case]:
    yield Case({"measured": "ceilings"}, partial(ceilings, quick))
    yield Case({"measured": "stages"}, partial(measure, quick))


def ceilings(quick: bool) -> Record:
    """Operations, functions and bytes per second that the device reaches."""
    side, size = (256, 2**16) if quick else (4096, 2**24)
    product = jax.jit(lambda a: jnp.dot(a, a, precision="highest"))
    horner = jax.jit(lambda x: jnp.polyval(jnp.ones(65), x))
    tanh, copy = jax.jit(jnp.tanh), jax.jit(lambda x: x + 1)
    a, x = jr.normal(jr.key(0), (side, side)), jr.normal(jr.key(1), (size,))
    few = x[: 2**20]
    return {
        PRODUCTS: 2 * side**3 / seconds(lambda: product(a), 3)[1],
        FUNCTIONS: len(few) / seconds(lambda: tanh(few), 9)[1],
        ARITHMETIC: 128 * len(few) / seconds(lambda: horner(few), 9)[1],
        BYTES: 16 * size / seconds(lambda: copy(x), 5)[1],
    }


def measure(quick: bool) -> list[Record]:
    limits, records = ceilings(quick), []
    for name, stage in stages(quick):
        work = counted(stage.function, *stage.arguments)
        taken = seconds(partial(eqx.filter_jit(stage.function), *stage.arguments), 3)[1]
        times = {kind: amount / limits[kind] for kind, amount in work.items()}
        limit = max(times, key=lambda kind: times[kind])
        records.append(
            {
                "stage": name,
                "per": stage.per,
                "seconds": taken,
                **{kind: work[kind] / stage.count for kind in limits},
                "limit": limit,
                "share": times[limit] / taken,
            }
        )
    return records


def stages(quick: bool) -> Iterator[tuple[str, Stage]]:
    """A fit to forces, a rollout of the liquid, and a potential of silicon, stage by stage."""
    problem = Forces(32 if quick else 256)
    data = problem.data(20 if quick else 2000, 0)
    fit = hgn.fit(problem.data(20, 0), **problem.arguments)
    (pairs,) = fit.model.terms
    rows = len(data.nodes["position"]) * 3
    yield (
        "pairs: rows",
        _stage(lambda t, g: t.gradient(g).position, pairs, data, per="row", count=rows),
    )
    z, u = jr.normal(jr.key(0), (rows, problem.units)), jr.normal(jr.key(1), (rows,))
    solver = hgn.QR()
    yield "rows: triangle", _stage(solver.factorise, z, u, per="row", count=rows)
    triangle = jax.jit(solver.factorise)(z, u)
    columns = problem.units
    yield "triangle: coefficients", _stage(solver.solve, triangle, per="column", count=columns)
    with tempfile.TemporaryDirectory() as folder:
        moves.prepare("liquid", folder)
        graph = moves.molten(1 if quick else 3, folder)
        model = moves.hamiltonian("liquid", "compressed", folder)
    spec = moves.LISTS["liquid"].allocate(graph)
    prepared = spec.prepare(graph)
    bodies = len(graph.nodes["mass"])
    search = partial(find, spec)
    yield "list: refreshed", _stage(search, prepared, per="body", count=bodies)
    joined = jax.jit(search)(prepared).joined(prepared)
    edges = int(np.sum(np.asarray(joined.senders) < bodies))
    yield "compressed model: forces", _stage(lambda m, g: m.vector_field(g)[1], model, joined,
                                             per="edge", count=edges)  # fmt: skip
    frames = hgn.datasets.silicon(cutoff=5.0)
    frames = hgn.graphs.take(frames, np.arange(len(frames.n_node)) < (2 if quick else 16))
    terms = [hgn.ManyBody(40 if quick else 1000, cutoff=5.0)]
    (bodies_of,) = hgn.sample(terms, frames, key=0)
    atoms = int(np.sum(frames.n_node))
    yield "many bodies: rows", _stage(lambda t, g: t.gradient(g).position, bodies_of, frames,
                                      per="atom", count=atoms)  # fmt: skip


def _stage(function: Callable[..., Any], *arguments: Any, per: str, count: int) -> Stage:
    return Stage(function, arguments, per, count)


def counted(function: Callable[..., Any], *arguments: Any) -> dict[str, float]:
    """Work of the function's jaxpr, and the bytes of its arguments and results."""
    arrays, rest = eqx.partition(arguments, eqx.is_array)
    program, results = jax.make_jaxpr(
        lambda arrays: eqx.filter(function(*eqx.combine(arrays, rest)), eqx.is_array),
        return_shape=True,
    )(arrays)
    moved = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves((arrays, results)))
    return {PRODUCTS: 0, FUNCTIONS: 0, ARITHMETIC: 0} | operations(program.jaxpr) | {BYTES: moved}


def operations(program: Jaxpr) -> Counter[str]:
    """Operations of a jaxpr: loops of known length count in full, one branch of several."""
    total: Counter[str] = Counter()
    for equation in program.eqns:
        name, parameters = equation.primitive.name, equation.params
        inner = [j for value in parameters.values() for j in _programs(value)]
        if inner:
            often = parameters.get("length", 1)
            # The branches of a cond: the longest of them.
            longest = max(map(operations, inner), key=lambda work: work.total())
            for kind, amount in longest.items():
                total[kind] += often * amount
            continue
        size = sum(v.aval.size for v in equation.outvars if hasattr(v.aval, "size"))
        shape = equation.invars[0].aval.shape if equation.invars else ()
        if name == "dot_general":
            (left, _), _ = parameters["dimension_numbers"]
            total[PRODUCTS] += 2 * size * math.prod(shape[k] for k in left)
        elif name in ("geqrf", "qr"):
            rows, columns = shape[-2:]
            total[PRODUCTS] += 2 * rows * columns**2 - 2 * columns**3 // 3
        elif name in ("svd", "eigh"):
            total[PRODUCTS] += 20 * shape[-1] ** 3  # Golub and Van Loan, figure 8.6.1
        elif name == "triangular_solve":
            total[PRODUCTS] += size * shape[-1]
        elif name in SLOW:
            total[FUNCTIONS] += size
        elif name.startswith(("reduce", "arg", "cum", "sort")):
            total[ARITHMETIC] += math.prod(shape)
        elif name not in MOVES:
            total[ARITHMETIC] += size
    return total


def _programs(value: Any) -> list[Jaxpr]:
    values = value if isinstance(value, tuple | list) else [value]
    return [
        v.jaxpr if isinstance(v, ClosedJaxpr) else v
        for v in values
        if isinstance(v, ClosedJaxpr | Jaxpr)
    ]


if __name__ == "__main__":
    main("roofline", "What limits each stage", cases)
