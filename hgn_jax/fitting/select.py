"""Choice of the frames that a fit would learn most from."""

from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._tree import is_concrete
from ..graphs.padding import pad, without_padding
from ..graphs.schema import AXES, require
from ..graphs.selection import picked
from .equations import Equations
from .result import Fit
from .uncertainty import Factors, factors

LABELS = ("velocity", "force", "energy", "stress")
"""Arrays that a measurement of the frame would add; choices do not depend on their values."""

Half: TypeAlias = Float[Array, "f r K"]
"""H of all candidates: the covariance of the r rows of a frame is H H^T."""


def select(fit: Fit, candidates: GraphsTuple, k: int) -> Int[np.ndarray, " k"]:
    r"""Chooses k candidate frames of which the fit is least sure, one after another.

    Each candidate is what it would add to the fit: the weighted rows Z of its energy, forces and
    stresses. Their covariance $Z C Z^T$ follows from the factor of the training rows, without
    labels. The frame that holds the row of greatest variance is taken, and C shrinks to
    $C - C Z^T (1 + Z C Z^T)^{-1} Z C$, as if the frame had been learned: frames like those already
    chosen lose their variance. Nothing is fitted again. So the least certain prediction of all
    candidates becomes more certain with every choice (G-optimality).

    **Arguments:**

    - `fit`: features, weights and ridge are those of this fit.
    - `candidates`: frames with edges, but no labels are needed. All rows of all frames are in
        memory at once, as many columns wide as the fit has.
    - `k`: number of frames to choose.

    **Returns:** the numbers of the chosen frames, in the order of choice. The labelled frames then
    go to `fit.update`, or, with all others, into a new fit.

    **Raises:** `ValueError` for more choices than candidates, arrays that are missing, or
    observations of several frames. Concrete arrays only.

    Kiefer, Wolfowitz, The equivalence of two extremum problems, Canadian Journal of Mathematics
    12, 1960.
    """
    if not is_concrete((fit, candidates)):
        raise ValueError("select needs concrete arrays: call it outside of jit")
    if fit.equations.window != 1:
        raise ValueError("select takes frames one by one, but an observation needs several")
    candidates = labelled(fit.equations, without_padding(candidates))
    fit.equations.check(candidates)
    count = len(candidates.n_node)
    if whole_number("k", k, 1) > count:
        raise ValueError(f"k is {k}, but there are only {count} candidates")
    known = factors(fit.reduction, fit.solutions)
    on_host = jax.tree.map(np.asarray, candidates)  # slices of another size would be compiled
    frames = [_one_size(on_host, number) for number in range(count)]
    rows = [_whitened(fit.equations, known, one) for one in frames]
    systems: list[Half] = [jnp.stack(of_system) for of_system in zip(*rows)]
    chosen: list[int] = []
    for _ in range(k):
        variance = np.max([_greatest_variances(half) for half in systems], axis=0)
        variance[chosen] = -np.inf
        chosen.append(int(np.argmax(variance)))
        systems = [_learned(half, jnp.asarray(chosen[-1])) for half in systems]
    return np.array(chosen)


def labelled(equations: Equations, graphs: GraphsTuple) -> GraphsTuple:
    """The graphs with zeros for labels that the fit's data have and they lack, and without others.

    **Raises:** `ValueError` if other arrays are missing.
    """
    d, dtype = graphs.nodes["position"].shape[1], graphs.nodes["position"].dtype
    sizes = {"n": len(graphs.nodes["position"]), "g": len(graphs.n_node), "d": d}
    names = {(part, name) for part, name, _ in equations.arrays}
    added: dict[str, dict[str, Array]] = {"nodes": {}, "edges": {}, "globals": {}}
    for part, name in sorted(names):
        if name in getattr(graphs, part):
            added[part][name] = getattr(graphs, part)[name]
        elif name in LABELS:
            shape = tuple(sizes[axis] for axis in AXES[part][name].split())
            added[part][name] = jnp.zeros(shape, dtype)
        else:
            require(graphs, {part: [name]}, "select")
    return graphs._replace(**added)


def _one_size(candidates: GraphsTuple, number: int) -> GraphsTuple:
    """One frame, padded to the size of the largest."""
    nodes, edges = (int(np.max(np.asarray(n))) for n in (candidates.n_node, candidates.n_edge))
    one = picked(candidates, np.array([number]))
    return pad(one, n_node=nodes + 1, n_edge=edges, n_graph=3)  # one and its padding


@eqx.filter_jit
def _whitened(
    equations: Equations, known: Factors, graphs: GraphsTuple
) -> list[Float[Array, "r K"]]:
    """H of each system: rows times the root of the coefficients' covariance, in units of the
    noise."""
    rows = []
    for (r, scale), system in zip(known, equations.systems(graphs)):
        rows.append(jsl.solve_triangular(r, (system.matrix / scale[None]).T, trans=1).T)
    return rows


@jax.jit
def _greatest_variances(half: Half) -> Float[Array, " f"]:
    """Greatest variance of a row of each frame."""
    return jnp.max(jnp.sum(half**2, axis=2), axis=1)


@jax.jit
def _learned(half: Half, number: Int[Array, ""]) -> Half:
    """H once that frame is learned."""
    z = half[number]
    # H (1 + z^T z)^-1 H^T by a factor of size K, whatever the number of rows.
    lower = jnp.linalg.cholesky(jnp.eye(z.shape[1], dtype=z.dtype) + z.T @ z)
    flat = half.reshape(-1, z.shape[1])
    return jsl.solve_triangular(lower, flat.T, lower=True).T.reshape(half.shape)
