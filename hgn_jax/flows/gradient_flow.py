"""Gradient flow of a quadratic energy: a filter of the graph, known in closed form."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple
from scipy.fft import dct

from .._arguments import whole_number
from .energy import QuadraticEnergy, propagate
from .pairs import check_undirected

NODES = 512
"""Chebyshev nodes at which responses are read: the degree is at most half of that."""


class GradientFlow(eqx.Module):
    r"""$\dot F = -\partial E / \partial F = w S F - \omega F + \beta F_0$ from $F_0$.

    Every eigenvector of S, with eigenvalue $\lambda$, moves by itself: with $a = w \lambda -
    \omega$ it is multiplied by $e^{a T} + \beta (e^{a T} - 1) / a$. Steps of Euler give
    $(1 + h a)^k$ in place of the exponential, h = T / k: with $w = \omega$ and h = 1 they are
    powers of S. Low eigenvalues of the graph Laplacian 1 - S are kept by attraction, high ones by
    repulsion.

    **Raises:** `ValueError` for a negative time, or an infinite one without decay towards an
    equilibrium ($\omega > |w|$) or with steps.
    """

    energy: QuadraticEnergy
    time: float = eqx.field(default=1.0, static=True)
    """T; `math.inf` for the equilibrium with a source."""
    steps: int | None = eqx.field(default=None, static=True)
    """k; None for the exact flow."""

    def __check_init__(self) -> None:
        if not self.time >= 0:
            raise ValueError(f"time must not be negative, got {self.time}")
        if self.steps is not None:
            whole_number("steps", self.steps, 1)
        if self.time == math.inf:
            if self.steps is not None:
                raise ValueError("an infinite time cannot be divided into steps")
            if not self.energy.omega > abs(self.energy.attraction):
                raise ValueError(
                    f"no equilibrium: decay {self.energy.omega:g} must exceed the strength of "
                    f"attraction {self.energy.attraction:g}"
                )

    def response(self, eigenvalues: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Factors by which eigenvectors of S with these eigenvalues are multiplied."""
        a = self.energy.attraction * np.asarray(eigenvalues, float) - self.energy.omega
        if self.time == math.inf:
            return -self.energy.source / a  # a < 0, see `__check_init__`
        if self.steps is None:
            small = np.abs(a * self.time) < 1e-8
            with np.errstate(over="ignore", invalid="ignore"):  # `states` refuses overflows
                # expm1 keeps the digits of slow modes; for a = 0 the integral is the time itself.
                growth = np.expm1(a * self.time)
                integral = np.where(small, self.time, growth / np.where(small, 1, a))
                return 1 + growth + self.energy.source * integral
        h, factor = self.time / self.steps, np.ones_like(a)
        for _ in range(self.steps):
            factor = factor + h * (a * factor + self.energy.source)
        return factor


def states(
    graph: GraphsTuple, x: Float[Array, "n c"], flows: Sequence[GradientFlow]
) -> Float[Array, "b n c"]:
    """Features at the end of each of b flows that start at x.

    Responses are expanded in Chebyshev polynomials of S to rounding, so that all flows share one
    sequence of products with S, as many as the highest degree.

    **Arguments:**

    - `graph`: undirected, `hgn.flows.graph(pairs, nodes)`.
    - `x`: features of the nodes.

    **Raises:** `ValueError` for x of another number of nodes, no flow, an edge without its reverse,
    or a flow too long to be expanded.
    """
    if not flows:
        raise ValueError("flows must hold at least one GradientFlow")
    nodes = int(np.sum(np.asarray(graph.n_node)))
    if x.ndim != 2 or len(x) != nodes:
        raise ValueError(f"x must be [n c] with n = {nodes} nodes, got {list(x.shape)}")
    check_undirected(graph)
    series = [_chebyshev(flow, float(jnp.finfo(x.dtype).eps)) for flow in flows]
    degree = max(map(len, series))
    # Zeros, so that one recurrence serves expansions of every degree.
    padded = np.stack([np.pad(c, (0, degree - len(c))) for c in series])
    return _expanded(graph, x, jnp.asarray(padded, x.dtype))


@jax.jit
def _expanded(
    graph: GraphsTuple, x: Float[Array, "n c"], series: Float[Array, "b k"]
) -> Float[Array, "b n c"]:
    def add(
        carry: tuple[Array, Array, Array], weight: Array
    ) -> tuple[tuple[Array, Array, Array], None]:
        before, now, total = carry
        total = total + weight[:, None, None] * now[None]
        return (now, 2 * propagate(graph, now) - before, total), None  # T_k+1 = 2 S T_k - T_k-1

    # The first polynomials are 1 and S: the recurrence of all others holds from -1 on, S^-1 -> S.
    none = jnp.zeros((series.shape[0], *x.shape), x.dtype)
    (_, _, total), _ = jax.lax.scan(add, (propagate(graph, x), x, none), series.T)
    return total


def _chebyshev(flow: GradientFlow, eps: float) -> Float[np.ndarray, " k"]:
    """Coefficients of the flow's response on [-1, 1], up to the last that exceeds rounding."""
    angle = (np.arange(NODES) + 0.5) * np.pi / NODES
    values = flow.response(np.cos(angle))
    if not np.isfinite(values).all():
        raise ValueError(f"the features of {flow} overflow")
    # SciPy's transform has a factor of 2. Higher coefficients are more affected by aliasing.
    series = np.asarray(dct(values))[: NODES // 2] / NODES
    series[0] /= 2  # T_0 has twice the squared norm of the others
    kept = np.flatnonzero(np.abs(series) > 16 * eps * np.abs(values).max())
    # Coefficients that have not decayed well before the last one show a truncated expansion.
    if kept.max(initial=0) > NODES // 2 - NODES // 16:
        raise ValueError(f"the response of {flow} is too steep: take a shorter time, or more decay")
    return series[: kept.max(initial=0) + 1]
