"""Noise that the correction of the drift of Brownian particles amplifies."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from jraph import GraphsTuple

from ..graphs.padding import real_counts
from ..graphs.pieces import packs
from ..linear.base import posterior
from .equations import Equations
from .result import Fit

BODIES = 20_000
"""Bodies whose columns are held at once."""


def amplification(found: Fit, data: GraphsTuple, weight: Float[np.ndarray, " g"]) -> float:
    r"""Factor by which the deviation of the drift exceeds that of a regression on the drift at the
    start of each step.

    `fit_brownian` ends where $Z_0^T (v - \tfrac{1}{2} (Z_0 + Z_1) \theta) = 0$, with the columns Z
    at the start and the end of every step. With the covariance $P$ (times $\sigma^2$) of a
    regression on $Z_0$ and $C = \tfrac{1}{2} Z_0^T (Z_1 - Z_0)$, that of $\theta$ is
    $(1 + P C)^{-1} P (1 + P C)^{-T}$: functions that change within a step are found less
    accurately. `weight` is that of the step after each frame, zero if there is none.
    """
    (system,), (solution,), (members,) = (
        found.reduction.systems, found.solutions, found.reduction.members,
    )  # fmt: skip
    r, scale = (np.asarray(a) for a in posterior(system, solution))
    terms = tuple(i for i, _ in members)
    gram = np.zeros((len(scale), len(scale)))
    change, kept, begin, end = gram.copy(), None, 0, 0
    for piece in packs(data, BODIES):
        graphs, nodes = map(int, real_counts(piece.n_node, len(piece.nodes["position"])))
        z = np.asarray(_columns(found.equations, piece, terms))[:nodes]
        z = z if kept is None else np.concatenate([kept, z])
        end += graphs
        count, own = np.asarray(data.n_node)[begin:end], weight[begin:end].copy()
        own[-1] = 0  # the end of its step is in the next piece, to which its columns go
        kept, begin = z[len(z) - count[-1] :], end - 1
        begins = np.repeat(own, count)
        ends = np.repeat(np.roll(own, 1), count) > 0
        first, last = (z[at].reshape(-1, len(scale)) for at in (begins > 0, ends))
        weighted = (z * begins[:, None, None] ** 2)[begins > 0].reshape(first.shape).T
        gram += weighted @ first
        change += weighted @ (last - first) / 2
    unit = np.outer(scale, scale) * np.trace(gram / np.outer(scale, scale)) / len(scale)
    gram, change = gram / unit, change / unit  # columns of norm one, as in R
    inverse = np.linalg.pinv(r)  # without a ridge, columns that depend on others have no part
    plain = inverse @ inverse.T
    lost = np.linalg.inv(np.eye(len(scale)) + plain @ change)
    return float(np.sqrt(np.trace(gram @ lost @ plain @ lost.T) / np.trace(gram @ plain)))


@eqx.filter_jit
def _columns(
    equations: Equations, graphs: GraphsTuple, terms: tuple[int, ...]
) -> Float[jax.Array, "n d K"]:
    velocities = equations.basis.rates(graphs)[0]
    present = [columns for i in terms if (columns := velocities[i]) is not None]
    return jnp.concatenate(present, axis=2)
