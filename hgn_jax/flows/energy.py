"""Quadratic energies of features on a graph."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

WIDTH = 64
"""Channels that are gathered along the edges at once."""


class QuadraticEnergy(eqx.Module):
    r"""$E(F) = \frac{\omega}{2} |F|^2 - \frac{w}{2} \mathrm{tr}\, F^T S F - \beta\, \mathrm{tr}\,
    F^T F_0$ of features F `[n c]` with $S = D^{-1/2} A D^{-1/2}$.

    With $\omega = |w|$ and no source, $E = \frac{|w|}{4} \sum_{i \to j} |F_i / \sqrt{d_i} \mp
    F_j / \sqrt{d_j}|^2$ over the edges in both directions, if no node is isolated: neighbours
    attract (-, w > 0) or repel (+, w < 0) one another. A symmetric W in place of w is a mixture of
    such energies, one for each of its eigenvectors (Di Giovanni et al., arXiv 2206.10991).

    **Raises:** `ValueError` for numbers that are not finite.
    """

    attraction: float = eqx.field(static=True)
    """w: positive attracts, negative repels."""
    decay: float | None = eqx.field(default=None, static=True)
    r"""$\omega$; |w| if None."""
    source: float = eqx.field(default=0.0, static=True)
    r"""$\beta$, the pull towards the features $F_0$ at the start."""

    def __check_init__(self) -> None:
        for name in ("attraction", "omega", "source"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")

    @property
    def omega(self) -> float:
        r"""$\omega$."""
        return abs(self.attraction) if self.decay is None else self.decay

    def __call__(
        self, graph: GraphsTuple, x: Float[Array, "n c"], start: Float[Array, "n c"] | None = None
    ) -> Float[Array, ""]:
        """E of the features x, with the source `start`, x itself if None."""
        along = self.attraction / 2 * jnp.sum(x * propagate(graph, x))
        pull = self.source * jnp.sum(x * (x if start is None else start))
        # No half for the source: it is linear in the features.
        return self.omega / 2 * jnp.sum(x**2) - along - pull


def propagate(graph: GraphsTuple, x: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """S x with $S = D^{-1/2} A D^{-1/2}$, whose eigenvalues are between -1 and 1. Rows of isolated
    nodes are zero."""
    n, c = x.shape
    degree = jax.ops.segment_sum(jnp.ones_like(graph.receivers), graph.receivers, n).astype(x.dtype)
    # The maximum keeps the branch that is not selected finite.
    scale = jnp.where(degree > 0, 1 / jnp.sqrt(jnp.maximum(degree, 1)), 0)[:, None]

    def summed(columns: Float[Array, "n w"]) -> Float[Array, "n w"]:
        return jax.ops.segment_sum(columns[graph.senders], graph.receivers, n)

    scaled = scale * x
    if c <= WIDTH:
        return scale * summed(scaled)
    # All channels of all edges at once may need more memory than there is.
    blocks = jnp.pad(scaled, [(0, 0), (0, -c % WIDTH)]).reshape(n, -1, WIDTH)
    sums = jax.lax.map(summed, jnp.moveaxis(blocks, 1, 0))
    return scale * jnp.moveaxis(sums, 0, 1).reshape(n, -1)[:, :c]
