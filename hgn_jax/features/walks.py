"""Energy of electrons that hop on a graph, by closed walks."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._tree import is_concrete
from .._types import Gradient, Key, NodeScalars
from ..graphs.geometry import (
    edge_share,
    graph_index,
    node_mask,
    sum_over_edges,
    sum_over_graphs,
)
from .base import AbstractEnergy, AbstractTermSpec, Counts, Fitted
from .trained_range import box_of, count_outside_box

BLOCK = 64
"""Sites of every graph from which walks start at once: a block takes memory for that many columns
of its hopping matrix."""


def _number(value: ArrayLike) -> Float[Array, ""]:
    """Array of one number, so that fits with different numbers share one program."""
    return jnp.asarray(value, float)


class WalksFeatures(AbstractEnergy):
    r"""$E = \sum_k c_k\, \mathrm{Tr}\, T_k(H_w)$ with $H_w = (A + w\, \mathrm{diag}(Q - q)) / s$.

    A holds the `coupling` of the edges. The diagonal of $T_k(H_w)$ counts closed walks of up to k
    steps, which stay at a site with weight w (Q - q) and hop with the weight of an edge. It is the
    share of each site.
    """

    name: ClassVar[str] = "walks"
    depends_on: ClassVar[tuple[str, ...]] = ("position",)
    reach: ClassVar[float] = 0.0  # edges are hoppings, which a neighbour list does not find
    dimension: ClassVar[int | None] = 1
    counts: ClassVar[Counts] = Counts(bodies=True)
    coupling: Float[Array, ""]
    """w, the weight of a displacement relative to that of a hop (1 / length)."""
    centre: Float[Array, ""]
    """q, the middle of the trained range (length)."""
    scale: Float[Array, ""]
    """s, a bound on the eigenvalues for displacements in the trained range."""
    box: Float[Array, "1 2"]
    """Least and greatest displacement in training (length)."""
    length: int = eqx.field(static=True)

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        return sum_over_graphs(graphs, self._moments(graphs)[:, 1:])

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        moments = self._moments(graphs)[:, :-1]
        # U_k-1 = 2 (T_k-1 + T_k-3 + ...), but for T_0, which counts once.
        twice = 2 * moments.at[:, 0].divide(2)
        second = [jnp.cumsum(twice[:, start::2], axis=1) for start in (0, 1)]
        columns = jnp.zeros_like(moments)
        for start, summed in enumerate(second):
            columns = columns.at[:, start::2].set(summed)
        k = jnp.arange(1, self.length + 1, dtype=columns.dtype)
        slopes = self.coupling / self.scale * k[None] * columns
        return Gradient(position=jnp.where(node_mask(graphs)[:, None], slopes, 0)[:, None])

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        return self._moments(graphs)[:, 1:] @ theta

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        slopes = self.gradient(graphs).position
        return Gradient(position=slopes @ theta)

    def groups(self, columns: int) -> tuple[int, ...]:
        """Octaves of lengths, 1, 2, 3 to 4, 5 to 8, ...: a smooth function of $H_w$ needs little of
        the long walks."""
        ends = [min(2**k, columns) for k in range(columns.bit_length() + 1)]
        return tuple(int(n) for n in np.diff([0, *ends]) if n)

    def labels(self, count: int) -> tuple[str, ...]:
        return tuple(f"walks up to {min(2**k, self.length)}" for k in range(count))

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return count_outside_box(graphs, graphs.nodes["position"], node_mask(graphs), self.box)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.box

    def _moments(self, graphs: GraphsTuple) -> Float[Array, "n _"]:
        r"""Diagonals of $T_0 .. T_K$, zero for padding."""
        mask = node_mask(graphs)
        onsite = self.coupling * (graphs.nodes["position"][:, 0] - self.centre)
        onsite = jnp.where(mask, onsite, 0) / self.scale
        hops = 2 * edge_share(graphs) / self.scale  # a share is half a coupling
        first = jnp.cumsum(graphs.n_node) - graphs.n_node
        number = jnp.arange(len(onsite), dtype=jnp.int32) - first[graph_index(graphs)]
        number = jnp.where(mask, number, -1)  # no walk starts at padding

        def product(x: Float[Array, "n B"]) -> Float[Array, "n B"]:
            return sum_over_edges(graphs, hops[:, None] * x[graphs.senders]) + onsite[:, None] * x

        def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
            x, after = carry  # columns of T_m and T_m+1
            # T_2m = 2 T_m T_m - 1 and T_2m+1 = 2 T_m T_m+1 - T_1: half the steps suffice.
            diagonals = jnp.stack([jnp.sum(x**2, axis=1), jnp.sum(x * after, axis=1)])
            return (after, 2 * product(after) - x), diagonals

        def walked(block: Int[Array, ""]) -> Float[Array, "m 2 n"]:
            # A column serves all graphs at once, since no walk leaves its graph.
            starts = block * BLOCK + jnp.arange(BLOCK, dtype=jnp.int32)
            x = (number[:, None] == starts[None]).astype(onsite.dtype)
            return jax.lax.scan(step, (x, product(x)), None, length=half)[1]

        def add(total: Array, block: Int[Array, ""]) -> tuple[Array, None]:
            # Sizes of graphs are unknown inside jit: blocks beyond the largest are skipped.
            some = block * BLOCK <= jnp.max(number)
            more = jax.lax.cond(some, walked, lambda _: jnp.zeros_like(total), block)
            return total + more, None

        half = self.length // 2 + 1
        none = jnp.zeros((half, 2, len(onsite)), onsite.dtype)
        blocks = jnp.arange(math.ceil(len(onsite) / BLOCK), dtype=jnp.int32)
        products, _ = jax.lax.scan(add, none, blocks)
        less = jnp.stack([jnp.ones_like(onsite), onsite])
        moments = (2 * products - less[None]).reshape(2 * half, -1)[: self.length + 1].T
        return jnp.where(mask[:, None], moments, 0)


class Walks(AbstractTermSpec):
    r"""Free energy of electrons that hop along the edges and feel a displacement at every site, as
    a sum of closed walks: $E = \sum_{k=1}^{K} c_k\, \mathrm{Tr}\, T_k(H_w)$.

    $H_w$ has the `coupling` of the edges (one if absent) off its diagonal, and w (Q - q) on it,
    with q the middle of the trained range. It is divided by a bound s on its eigenvalues. $T_k$ are
    Chebyshev polynomials. The slopes are $\partial E / \partial Q_i = \sum_k c_k\, k\,
    \frac{w}{s}\, U_{k-1}(H_w)_{ii}$, with the polynomials of the second kind. Whatever the
    coefficients, E is extensive and has all symmetries of the graph. Walks of at least as many
    steps as an axis of a periodic lattice has sites go around it, an effect of its size.

    The density of free electrons is $\langle n_i \rangle = f(H_w)_{ii}$ with the Fermi function f.
    Its expansion needs a length K of a few times s over kT, or over the gap. In the Holstein model
    w is the electron-phonon coupling over the hopping. If it is not known, take the fit of greatest
    `evidence`. Octaves of lengths are groups: `QR("groups")` finds how smooth f is, which keeps
    short walks from the noise of long ones.

    A sparse matrix is multiplied with n columns K/2 times: the cost grows with the square of the
    number of sites of a graph.

    **Arguments:**

    - `length`: K, the longest walks.
    - `coupling`: w (1 / length).

    **Raises:** `ValueError` for a length less than 1, or a coupling that is zero or not finite. A
    fit raises it for data of another dimension than one number per site, or without edges.

    Expansion: Weisse, Wellein, Alvermann, Fehske, The kernel polynomial method, Rev. Mod. Phys. 78,
    275 (2006). Force fields of lattices: arXiv 2601.04104.
    """

    length: int = eqx.field(default=64, static=True)
    coupling: Float[Array, ""] = eqx.field(converter=_number, default=1.0)

    def __check_init__(self) -> None:
        whole_number("length", self.length, 1)
        if is_concrete(self.coupling):
            w = np.asarray(self.coupling)
            if w.shape != () or not np.isfinite(w) or w == 0:
                raise ValueError(f"coupling must be one finite number, not 0, got {self.coupling}")

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "Walks":
        d = data.nodes["position"].shape[1]
        if d != 1:
            raise ValueError(
                f'Walks() needs one displacement at each site, nodes["position"] [n 1], got [n {d}]'
            )
        if not len(data.senders):
            raise ValueError(
                "Walks() needs edges, the hoppings of electrons: use "
                "hgn.graphs.periodic_lattice(shape)"
            )
        return self

    def sample(self, key: Key, data: GraphsTuple, previous: Fitted | None = None) -> WalksFeatures:
        q = data.nodes["position"]
        coupling, box = self.coupling.astype(q.dtype), box_of(q, node_mask(data))
        # Gershgorin's bound on eigenvalues, for all displacements in the trained range.
        hops = sum_over_edges(data, 2 * jnp.abs(edge_share(data)))
        scale = jnp.max(hops) + jnp.abs(coupling) * (box[0, 1] - box[0, 0]) / 2
        return WalksFeatures(coupling, jnp.mean(box), scale, box, self.length)
