"""Potential energy of a body in an external field: walls, gravity on Earth."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._tree import is_concrete
from .._types import Gradient, Key, NodeScalars
from ..graphs.geometry import movable, node_mask, sum_over_graphs
from ..groups import checked
from .base import AbstractEnergy, AbstractTermSpec, Counts, Fitted, differentiated
from .dense import Dense
from .external_multipoles import ExternalMultipoles, sampled_multipoles
from .external_symmetric import ExternalSymmetric, sampled_symmetric
from .multipoles import check_degrees, check_dimension
from .sampling import SWIM, AbstractSampling
from .trained_range import box_of, count_outside_box


class ExternalFeatures(AbstractEnergy):
    r"""$V = \sum_i f(q_i) + m_i g(q_i)$ of absolute positions, with the exact columns $m_i q_i$.

    f acts on every body alike (walls), g in proportion to its mass (gravity). The exact columns
    are a uniform field. f and g each have units of single coordinates, for fields that vary along
    one axis, and units of the whole position. The energy is deliberately not invariant under
    translation and rotation.
    """

    name: ClassVar[str] = "external"
    depends_on: ClassVar[tuple[str, ...]] = ("position",)
    needs: ClassVar[tuple[str, ...]] = ("mass",)
    alike: tuple[Dense, ...]
    by_mass: tuple[Dense, ...]
    """Layers of coordinate 0, 1, .., d-1, and of all coordinates; the same in `alike`."""
    box: Float[Array, "d 2"]
    """Least and greatest coordinate in training (length)."""

    @property
    def dimension(self) -> int | None:
        return int(self.box.shape[-2])

    @property
    def reach(self) -> float:
        return 0.0

    @property
    def counts(self) -> Counts:
        return Counts(bodies=True)

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        return sum_over_graphs(graphs, self._values(graphs))

    def _values(self, graphs: GraphsTuple) -> Float[Array, "n K"]:
        x, m = graphs.nodes["position"], graphs.nodes["mass"][:, None]
        values = [
            scale * layer(inputs)
            for layers, scale in ((self.alike, jnp.ones_like(m)), (self.by_mass, m))
            for layer, inputs in zip(layers, _inputs(x))
        ]
        # Padding is masked at the end: biases give units a value even there.
        columns = jnp.concatenate([*values, m * x], axis=1)
        return jnp.where(node_mask(graphs)[:, None], columns, 0)

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        x, m = graphs.nodes["position"], graphs.nodes["mass"][:, None, None]
        uniform = m * jnp.eye(x.shape[1], dtype=x.dtype)[None]
        slopes = [
            scale * slope
            for layers, scale in ((self.alike, jnp.ones_like(m)), (self.by_mass, m))
            for slope in _slopes(layers, x)
        ]
        rows = jnp.concatenate([*slopes, uniform], axis=2)
        return Gradient(position=jnp.where(node_mask(graphs)[:, None, None], rows, 0))

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        return self._values(graphs) @ theta

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        return differentiated(self, graphs, theta)

    def groups(self, columns: int) -> tuple[int, ...]:
        """Units of f, units of g, and the uniform field."""
        # From the back: stacked models have an axis of members in front.
        alike, by_mass = (
            sum(layer.bias.shape[-1] for layer in layers) for layers in (self.alike, self.by_mass)
        )
        return alike, by_mass, columns - alike - by_mass

    def labels(self, count: int) -> tuple[str, ...]:
        return "external", "external by mass", "uniform field"

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return count_outside_box(graphs, graphs.nodes["position"], movable(graphs), self.box)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.box


class External(AbstractTermSpec):
    r"""Random features of the potential energy of a body in an external field.

    $V = \sum_i f(q_i) + m_i g(q_i)$: f acts on every body alike (walls), g in proportion to its
    mass (gravity). In d dimensions f and g have d + 1 layers each, one for every coordinate and one
    for all of them. Exact columns $m_i q_i$ stand for a uniform field.

    **Arguments:**

    - `units`: number of units of each of the 2 (d + 1) layers. None means 64, or with `degrees` 8
        for each component of a degree.
    - `sampling`: distribution of their weights, `hgn.SWIM()` or `hgn.ELM()`.
    - `activation`: "tanh", "erf", "sigmoid", "sin" or "relu", whose forces jump.
    - `degrees`: degrees l of spherical harmonics about the `centre`, such as (1, 2, 3, 4), instead
        of the layers above: $V = \sum_i f_{lm}(r_i^2) r_i^l Y_{lm}$ for every body alike, in two or
        three dimensions. Units are functions of $r^2$; an exact column in each component stands
        for uniform fields and harmonic traps. Every degree has a ridge of its own from
        `QR(ridge="groups")`, and `fit.breaking()` tells the share of each.
    - `symmetry`: a group of orthogonal matrices `[G d d]`, such as `hgn.groups.point("Oh")`. Units
        of the position relative to the `centre` are averaged over it, instead of the layers above:
        the field has that symmetry exactly.
    - `centre`: centre of the harmonics or of the group (length); the origin if None.

    **Raises:** `ValueError` if `units` is less than 1, for degrees that do not increase, matrices
    that are no group, both degrees and a symmetry, or a centre without either. A fit raises it for
    degrees in other than two or three dimensions, and for a centre or matrices of another dimension
    than the data.
    """

    units: int | None = eqx.field(default=None, static=True)
    sampling: AbstractSampling = SWIM()
    activation: str = eqx.field(default="tanh", static=True)
    degrees: tuple[int, ...] | None = eqx.field(default=None, static=True)
    centre: tuple[float | int, ...] | None = eqx.field(default=None, static=True)
    symmetry: Float[np.ndarray, "G d d"] | Float[Array, "G d d"] | None = None

    def __check_init__(self) -> None:
        if self.units is not None and self.units < 1:
            raise ValueError(f"units must be at least 1, got {self.units}")
        if self.degrees is not None:
            check_degrees(self.degrees, "External")
        if self.symmetry is not None and is_concrete(self.symmetry):
            checked(np.asarray(self.symmetry))
        given = (self.degrees is not None) + (self.symmetry is not None)
        if given == 2:
            raise ValueError("External() takes degrees or a symmetry, not both")
        if self.centre is not None and not given:
            raise ValueError("External(centre=...) needs degrees or a symmetry")

    @property
    def guided(self) -> bool:
        # With degrees or a symmetry, units are drawn without a first fit.
        return self.sampling.guided and self.degrees is None and self.symmetry is None

    def resolve(self, data: GraphsTuple) -> "External":
        if self.degrees is not None:
            check_dimension(data, "External")
        d = data.nodes["position"].shape[1]
        if self.symmetry is not None and self.symmetry.shape[1] != d:
            raise ValueError(
                f"External(symmetry=...) has matrices of {self.symmetry.shape[1]} dimensions, but "
                f"the data have {d}: hgn.groups.point(name, dimension={d})"
            )
        if self.centre is not None and len(self.centre) != d:
            raise ValueError(
                f"External(centre=...) has {len(self.centre)} coordinates, but the data have {d} "
                "dimensions"
            )
        return self

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> ExternalFeatures | ExternalMultipoles | ExternalSymmetric:
        x, mask = data.nodes["position"], movable(data)
        centre = jnp.asarray(self.centre or (0.0,) * x.shape[1], x.dtype)
        settings = (self.sampling, self.activation)
        if self.degrees is not None:
            count = self.units or 8
            return sampled_multipoles(key, x, mask, self.degrees, centre, count, *settings)
        if self.symmetry is not None:
            elements, count = jnp.asarray(self.symmetry, x.dtype), self.units or 64
            return sampled_symmetric(key, x, mask, elements, centre, count, *settings)
        energy = None
        if previous is not None:
            fitted, theta = previous
            assert isinstance(fitted, ExternalFeatures)
            energy = fitted.node_energy(data, theta)
        alike, by_mass = (
            tuple(
                self.sampling(layer_key, inputs, mask, self.units or 64, self.activation, energy)
                for layer_key, inputs in zip(jr.split(k, x.shape[1] + 1), _inputs(x))
            )
            for k in jr.split(key)
        )
        return ExternalFeatures(
            alike,
            by_mass,
            box_of(x, mask),
        )


def _inputs(x: Float[Array, "n d"]) -> list[Float[Array, "n _"]]:
    return [*jnp.split(x, x.shape[1], axis=1), x]


def _slopes(layers: tuple[Dense, ...], x: Float[Array, "n d"]) -> list[Float[Array, "n d _"]]:
    *axes, joint = layers
    unit = jnp.eye(x.shape[1], dtype=x.dtype)
    along = [
        # A unit of coordinate k has a slope along axis k alone.
        layer.jacobian(inputs) * unit[k][None, :, None]
        # zip leaves out the last inputs, which belong to the joint layer.
        for k, (layer, inputs) in enumerate(zip(axes, _inputs(x)))
    ]
    return [*along, joint.jacobian(x)]
