"""Sites: the bodies or pairs at which features are evaluated, and their local inputs."""

import dataclasses
from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num
from jraph import GraphsTuple

from .._types import NodeScalars
from ..graphs.cell import Cell
from ..graphs.geometry import (
    displacement,
    edge_kinds,
    edge_mask,
    edge_share,
    graph_index,
    graph_mask,
    node_mask,
    norm,
    sum_over_edges,
    velocity_of,
)
from ..graphs.schema import require
from ..graphs.tuples import TYPES
from .base import Counts


class Site(eqx.Module):
    """Attributes of one site; arrays `[s]` for all of them."""

    kind: Int[Array, "..."]
    """Type of the edge, triple or quadruple, or species of the body; 0 if the graph has none."""
    mass: Float[Array, "..."] | None
    """Mass of the body; None for sites of several bodies and for graphs without masses."""
    time: Float[Array, "..."] | None
    """`globals["time"]` of the site's graph, if it has one."""


class Sites(eqx.Module):
    """All sites of a batch of graphs."""

    vector: Float[Array, "s v"]
    """Local vectors, of which the features are functions."""
    site: Site
    weight: Float[Array, " s"]
    """Factor of each site's values; zero for padding."""


class AbstractSites(eqx.Module):
    """Finds the sites of graphs and sums their values node by node."""

    depends_on: eqx.AbstractClassVar[tuple[str, ...]]
    """State variables that the local vectors are functions of."""
    needs: eqx.AbstractClassVar[tuple[str, ...]]
    """Node arrays that are read in addition to them."""
    pairs: eqx.AbstractClassVar[bool]
    """True if the sites are edges, so that bodies act on one another up to a cutoff."""
    counts: eqx.AbstractClassVar[Counts]
    """Extensive counts to which a constant value at every site adds up."""

    @abstractmethod
    def of(self, graphs: GraphsTuple) -> Sites:
        """The sites of these graphs."""

    @abstractmethod
    def collect(self, graphs: GraphsTuple, values: Num[Array, "s ..."]) -> Num[Array, "n ..."]:
        """Sum of the sites' values over the sites of each node."""


class Pairs(AbstractSites):
    """Pairs of joined bodies, with the vector x[receiver] - x[sender] between the images that the
    edge joins (length).

    Values are multiplied by the edge's `coupling`.
    """

    depends_on: ClassVar[tuple[str, ...]] = ("position",)
    needs: ClassVar[tuple[str, ...]] = ()
    pairs: ClassVar[bool] = True
    counts: ClassVar[Counts] = Counts(pair_types=1)

    def of(self, graphs: GraphsTuple) -> Sites:
        # A vector of zeros would make derivatives of its length NaN.
        vector = jnp.where(edge_mask(graphs)[:, None], displacement(graphs), 1)
        site = Site(edge_kinds(graphs), None, _time(graphs, graph_index(graphs)[graphs.senders]))
        return Sites(vector, site, edge_share(graphs))  # half for each direction of a pair

    def collect(self, graphs: GraphsTuple, values: Num[Array, "s ..."]) -> Num[Array, "n ..."]:
        return sum_over_edges(graphs, values)


class AxisPairs(AbstractSites):
    r"""Pairs of joined bodies with axes, with $(r, n_i \cdot \hat r, n_j \cdot \hat r,
    n_i \cdot n_j)$: their distance (length) and three cosines.

    i is the sender, j the receiver, and $\hat r$ points from i to j. These numbers do not change
    under translations, rotations and reflections. The other direction of a pair has
    $(r, -n_j \cdot \hat r, -n_i \cdot \hat r, n_i \cdot n_j)$ and counts one half as well, so that
    energies are symmetric in both bodies. Values are multiplied by the edge's `coupling`.
    """

    depends_on: ClassVar[tuple[str, ...]] = ("position", "axis")
    needs: ClassVar[tuple[str, ...]] = ()
    pairs: ClassVar[bool] = True
    counts: ClassVar[Counts] = Counts(pair_types=1)

    def of(self, graphs: GraphsTuple) -> Sites:
        # Programs for atoms, such as ASE, make graphs of their own.
        require(graphs, {"nodes": ["axis"]}, "an energy of bodies with an axis")
        at = Pairs().of(graphs)
        r = norm(at.vector)
        along, axis = at.vector / r[:, None], graphs.nodes["axis"]
        own, other = axis[graphs.senders], axis[graphs.receivers]
        cosines = [jnp.sum(a * b, axis=1) for a, b in ((own, along), (other, along), (own, other))]
        return dataclasses.replace(at, vector=jnp.stack([r, *cosines], axis=1))

    def collect(self, graphs: GraphsTuple, values: Num[Array, "s ..."]) -> Num[Array, "n ..."]:
        return sum_over_edges(graphs, values)


class AbstractBodies(AbstractSites):
    """Sites that are single bodies."""

    pairs: ClassVar[bool] = False

    def collect(self, graphs: GraphsTuple, values: Num[Array, "s ..."]) -> Num[Array, "n ..."]:
        return values


class Positions(AbstractBodies):
    """Single bodies, with their absolute position (length)."""

    depends_on: ClassVar[tuple[str, ...]] = ("position",)
    needs: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[Counts] = Counts(bodies=True)

    def of(self, graphs: GraphsTuple) -> Sites:
        return Sites(graphs.nodes["position"], _bodies(graphs), _real(graphs))


class Velocities(AbstractBodies):
    """Single bodies, with their velocity p / m (length / time). Values are multiplied by the mass,
    so that v = dT/dp holds for unequal masses."""

    depends_on: ClassVar[tuple[str, ...]] = ("momentum",)
    needs: ClassVar[tuple[str, ...]] = ("mass",)
    counts: ClassVar[Counts] = Counts()

    def of(self, graphs: GraphsTuple) -> Sites:
        mass = jnp.where(node_mask(graphs), graphs.nodes["mass"], 0)
        return Sites(velocity_of(graphs), _bodies(graphs), mass)


class Phases(AbstractBodies):
    """Single bodies, with position and momentum, `[2 d]`. Such energies are not separable."""

    depends_on: ClassVar[tuple[str, ...]] = ("position", "momentum")
    needs: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[Counts] = Counts(bodies=True)

    def of(self, graphs: GraphsTuple) -> Sites:
        both = jnp.concatenate([graphs.nodes["position"], graphs.nodes["momentum"]], axis=1)
        return Sites(both, _bodies(graphs), _real(graphs))


class AbstractTuples(AbstractSites):
    """Sites of several bodies that `graphs` name: no edges are needed. In a cell, bonds are those
    between nearest images."""

    depends_on: ClassVar[tuple[str, ...]] = ("position",)
    pairs: ClassVar[bool] = False
    counts: ClassVar[Counts] = Counts(bodies=True)

    def of(self, graphs: GraphsTuple) -> Sites:
        (name,) = self.needs
        offsets = graphs.nodes[name]
        n, slots, others = offsets.shape
        used = jnp.any(offsets != 0, axis=2)  # an empty slot names the body itself
        x = graphs.nodes["position"]
        own = jnp.arange(n, dtype=jnp.int32)[:, None, None]
        # Offsets instead of numbers: they hold wherever a batch places the graph.
        points = x[own + offsets]
        # The first two bonds begin at the own body, the third at the end of the second.
        middle = jnp.broadcast_to(x[:, None, None], (n, slots, 2, x.shape[1]))
        bonds = points - jnp.concatenate([middle, points[:, :, 1:-1]], axis=2)
        if "cell" in graphs.globals:
            cell = graphs.globals["cell"]
            # The cell of padding is zero, and has no inverse.
            unit = jnp.eye(x.shape[1], dtype=cell.dtype)[None]
            cell = jnp.where(graph_mask(graphs)[:, None, None], cell, unit)
            nearest = jax.vmap(lambda matrix, bond: Cell(matrix).minimum_image(bond))
            bonds = nearest(cell[graph_index(graphs)], bonds)
        # Independent vectors, so that no angle of an empty slot has a derivative that is NaN.
        empty = np.arange(1, x.shape[1] + 1)[None] ** np.arange(others)[:, None]
        bonds = jnp.where(used[:, :, None, None], bonds, jnp.asarray(empty, x.dtype)[None, None])
        kind = graphs.nodes.get(TYPES[name], jnp.zeros_like(used, jnp.int32))
        # -1 is no type, so that terms with units for each type skip empty slots.
        kind = jnp.where(used, kind.astype(jnp.int32), -1).ravel()
        time = _time(graphs, jnp.repeat(graph_index(graphs), slots))
        weight = used.astype(x.dtype).ravel()
        return Sites(bonds.reshape(n * slots, -1), Site(kind, None, time), weight)

    def collect(self, graphs: GraphsTuple, values: Num[Array, "s ..."]) -> Num[Array, "n ..."]:
        n = len(graphs.nodes["position"])
        return jnp.sum(values.reshape(n, len(values) // n, *values.shape[1:]), axis=1)


class Triples(AbstractTuples):
    """Triples (i, j, k) of `hgn.graphs.with_triples`, with the vectors x_i - x_j and x_k - x_j
    (length), `[2 d]`."""

    needs: ClassVar[tuple[str, ...]] = ("triples",)


class Quadruples(AbstractTuples):
    """Quadruples (i, j, k, l) of `hgn.graphs.with_quadruples`, with the vectors x_i - x_j,
    x_k - x_j and x_l - x_k (length), `[3 d]`."""

    needs: ClassVar[tuple[str, ...]] = ("quadruples",)


def _bodies(graphs: GraphsTuple) -> Site:
    none = jnp.zeros(len(graphs.nodes["position"]), jnp.int32)
    species = graphs.nodes.get("species", none)
    return Site(species, graphs.nodes.get("mass"), _time(graphs, graph_index(graphs)))


def _real(graphs: GraphsTuple) -> NodeScalars:
    return node_mask(graphs).astype(graphs.nodes["position"].dtype)


def _time(graphs: GraphsTuple, index: Int[Array, " s"]) -> Float[Array, " s"] | None:
    return graphs.globals["time"][index] if "time" in graphs.globals else None
