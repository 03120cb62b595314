"""Energy of the displacements around each site of a lattice, symmetric under a point group."""

import dataclasses
import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._tree import is_concrete
from .._types import Gradient, Key, NodeScalars
from ..graphs.geometry import node_mask, sum_over_graphs
from ..graphs.periodic_lattice import disc, patches
from ..graphs.schema import require
from ..groups import checked, generated
from .base import AbstractEnergy, AbstractTermSpec, Counts, Fitted, differentiated
from .dense import Dense
from .sampling import ELM, AbstractSampling
from .trained_range import box_of, count_outside_box


class PatchFeatures(AbstractEnergy):
    r"""$V = \sum_i \frac{1}{|G|} \sum_{g \in G} f(g\, z_i)$ with random units f of the patch
    $z_i$, the displacements of the sites within a radius of site i. g permutes them."""

    name: ClassVar[str] = "patch"
    depends_on: ClassVar[tuple[str, ...]] = ("position",)
    reach: ClassVar[float] = 0.0  # sites are found by their place on the lattice
    dimension: ClassVar[int | None] = 1
    counts: ClassVar[Counts] = Counts(bodies=True)
    layer: Dense
    images: Int[Array, "G P"]
    """Place of the patch that each element of the group moves to every place."""
    box: Float[Array, "1 2"]
    """Least and greatest displacement in training (length)."""
    radius: float = eqx.field(static=True)
    axes: int = eqx.field(static=True)

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        return sum_over_graphs(graphs, self._values(graphs))

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        table = patches(graphs, disc(self.radius, self.axes))
        z, mask = graphs.nodes["position"][table, 0], node_mask(graphs)[:, None]
        # The disc is symmetric: i is at place p of j's patch if j is at the opposite one of i's.
        opposite = table[:, ::-1]

        def add(total: Array, image: Int[Array, " P"]) -> tuple[Array, None]:
            layer = self._moved(image)
            # The slope of a unit is its derivative with respect to the bias.
            _, slope = jax.jvp(
                lambda bias: dataclasses.replace(layer, bias=bias)(z),
                (layer.bias,),
                (jnp.ones_like(layer.bias),),
            )
            slope = jnp.where(mask, slope, 0)

            def from_place(
                inner: Array, place: tuple[Array, Array]
            ) -> tuple[Float[Array, "n K"], None]:
                sites, weight = place
                return inner + slope[sites] * weight[None], None

            # Place by place: all at once would take P times the memory.
            return jax.lax.scan(from_place, total, (opposite.T, layer.weight))[0], None

        none = jnp.zeros((len(z), self.layer.bias.shape[0]), z.dtype)
        total, _ = jax.lax.scan(add, none, self.images)
        return Gradient(position=(total / len(self.images))[:, None])

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        return self._values(graphs) @ theta

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        return differentiated(self, graphs, theta)

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return count_outside_box(graphs, graphs.nodes["position"], node_mask(graphs), self.box)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.box

    def _values(self, graphs: GraphsTuple) -> Float[Array, "n K"]:
        z = graphs.nodes["position"][patches(graphs, disc(self.radius, self.axes)), 0]

        def add(total: Array, image: Int[Array, " P"]) -> tuple[Array, None]:
            return total + self._moved(image)(z), None

        none = jnp.zeros((len(z), self.layer.bias.shape[0]), z.dtype)
        total, _ = jax.lax.scan(add, none, self.images)
        return jnp.where(node_mask(graphs)[:, None], total / len(self.images), 0)

    def _moved(self, image: Int[Array, " P"]) -> Dense:
        """The layer with its weights moved, which spares a copy of the patches."""
        weight, centre = self.layer.weight[image], self.layer.centre[image]
        return dataclasses.replace(self.layer, weight=weight, centre=centre)


class Patch(AbstractTermSpec):
    r"""Random features of the displacements around each site of a periodic lattice,
    $V = \sum_i \frac{1}{|G|} \sum_{g \in G} f(g\, z_i)$.

    $z_i$ are the displacements of the sites within a radius of site i, itself among them. The mean
    over a point group G of the lattice, which permutes them, makes V invariant under it, whatever
    the coefficients. Costs are proportional to the number of sites.

    The data need `globals["lattice"]`, as `hgn.graphs.periodic_lattice` gives it.

    **Arguments:**

    - `units`: number of units.
    - `radius`: radius of the patch (lattice spacings); 3 is 29 sites on a square lattice.
    - `symmetry`: point group as matrices `[G k k]` for k axes, such as `hgn.groups.point("C4",
        dimension=2)`. None is the full group of the chain, square or cubic lattice.
    - `sampling`: distribution of their weights, `hgn.ELM()` or `hgn.SWIM()`.
    - `activation`: "tanh", "erf", "sigmoid", "sin" or "relu", whose forces jump.

    **Raises:** `ValueError` for less than one unit, a radius that is negative or not finite, or
    matrices that are no group. A fit raises it for data without a lattice, for displacements of
    several components, and for a group that does not map the lattice to itself.

    Lattice force fields from neighbourhoods and point groups: arXiv 2601.04104.
    """

    units: int = eqx.field(default=600, static=True)
    radius: float = eqx.field(default=3.0, static=True)
    symmetry: Float[np.ndarray, "G k k"] | Float[Array, "G k k"] | None = None
    sampling: AbstractSampling = ELM()
    activation: str = eqx.field(default="tanh", static=True)

    def __check_init__(self) -> None:
        whole_number("units", self.units, 1)
        if not 0 <= self.radius < math.inf:
            raise ValueError(f"radius must be finite and not negative, got {self.radius}")
        if self.symmetry is not None and is_concrete(self.symmetry):
            checked(np.asarray(self.symmetry))

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "Patch":
        require(data, {"globals": ["lattice"]}, "Patch()")
        d, axes = data.nodes["position"].shape[1], data.globals["lattice"].shape[1]
        if d != 1:
            raise ValueError(
                f'Patch() needs one displacement at each site, nodes["position"] [n 1], got [n {d}]'
            )
        if self.symmetry is None:
            return dataclasses.replace(self, symmetry=_hyperoctahedral(axes))
        if self.symmetry.shape[1] != axes:
            raise ValueError(
                f"Patch(symmetry=...) has matrices of {self.symmetry.shape[1]} dimensions, but the "
                f"lattice has {axes} axes: hgn.groups.point(name, dimension={axes})"
            )
        if is_concrete(self.symmetry):
            elements = np.asarray(self.symmetry)
            off = np.abs(elements - np.round(elements)).max(axis=(1, 2)) > 1e-6
            if off.any():
                raise ValueError(
                    f"element {int(np.argmax(off))} of the symmetry does not map the lattice to "
                    "itself: its entries must be 0, 1 or -1"
                )
        return self

    def sample(self, key: Key, data: GraphsTuple, previous: Fitted | None = None) -> PatchFeatures:
        assert self.symmetry is not None  # `resolve` fills it in
        axes = data.globals["lattice"].shape[1]
        offsets = disc(self.radius, axes)
        moved = jnp.einsum("gij,pj->gpi", jnp.round(self.symmetry), jnp.asarray(offsets, float))
        same = jnp.all(moved[:, :, None] == jnp.asarray(offsets, float)[None, None], axis=3)
        images = jnp.argmax(same, axis=2).astype(jnp.int32)
        draw, turn = jr.split(key)
        q, mask = data.nodes["position"], node_mask(data)
        table = patches(data, offsets)
        # One random image of each patch, since all would be |G| times the inputs.
        chosen = images[jr.randint(turn, (len(q),), 0, len(images))]
        z = q[jnp.take_along_axis(table, chosen, axis=1), 0]
        layer = self.sampling(draw, z, mask, self.units, self.activation)
        return PatchFeatures(layer, images, box_of(q, mask), self.radius, axes)


def _hyperoctahedral(axes: int) -> Float[np.ndarray, "G k k"]:
    """All permutations and reflections of the axes."""
    unit = np.eye(axes)
    swaps = [unit[[*range(a), a + 1, a, *range(a + 2, axes)]] for a in range(axes - 1)]
    return generated([np.diag([-1.0, *[1.0] * (axes - 1)]), *swaps])
