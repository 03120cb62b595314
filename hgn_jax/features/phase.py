"""Energy of position and momentum of single bodies, for Hamiltonians that do not separate."""

import itertools
import math
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from .._types import Key
from ..graphs.geometry import movable
from .angular import on_circles, wrapped
from .base import AbstractTermSpec, Fitted
from .dense import Dense
from .sampling import ELM, AbstractSampling
from .site_energy import AbstractSiteColumns
from .sites import Phases, Site
from .trained_range import box_of, count_outside_box


class PhaseFeatures(AbstractSiteColumns):
    r"""$H = \sum_i \sum_\alpha f_\alpha(q_i)\, p_i^\alpha$ with random units $f_\alpha$ of the
    position and the monomials $p^\alpha$ of the given degrees.

    Exact columns: the monomials alone, and for degree 0 the inputs of the units.
    """

    name: ClassVar[str] = "phase"
    sites: ClassVar[Any] = Phases()
    reach: ClassVar[float] = 0.0
    layer: Dense | None
    box: Float[Array, "_ 2"]
    """Least and greatest coordinates, then momenta, in training; angles between -pi and pi."""
    angles: tuple[int, ...] = eqx.field(static=True)
    degrees: tuple[int, ...] = eqx.field(static=True)

    @property
    def dimension(self) -> int | None:
        return int(self.box.shape[-2]) // 2

    def phi(self, z: Float[Array, " _"], site: Site) -> Float[Array, " K"]:
        q, p = jnp.split(z, 2)
        point = inputs(q[None], self.angles)[0]
        units = point[:0] if self.layer is None else self.layer(point[None])[0]  # [0] without units
        columns = []
        for degree in self.degrees:
            # For degree 0 a constant would be an energy that moves nothing.
            exact = jnp.ones_like(point[:1]) if degree else point
            factors = jnp.concatenate([units, exact])
            columns += [factors * m for m in monomials(p, degree)]
        return jnp.concatenate(columns)

    def groups(self, columns: int) -> tuple[int, ...]:
        """One for each degree."""
        d = self.box.shape[-2] // 2
        units = 0 if self.layer is None else self.layer.bias.shape[-1]
        exact = d + len(self.angles)
        # comb(d + degree - 1, degree) monomials of one degree, each times the same factors.
        return tuple(
            (units + (1 if degree else exact)) * math.comb(d + degree - 1, degree)
            for degree in self.degrees
        )

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return count_outside_box(
            graphs, _coordinates(graphs, self.angles), movable(graphs), self.box
        )

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.box


class Phase(AbstractTermSpec):
    r"""Energy of each body's position and momentum, $H = \sum_i \sum_\alpha f_\alpha(q_i)\,
    p_i^\alpha$, for Hamiltonians that are not T(p) + V(q).

    With the degrees 0 and 2 of $p^\alpha$ this is a potential and the kinetic energy of an
    unknown mass matrix, $V(q) + p \cdot M^{-1}(q)\, p / 2$, as joints have it: a double pendulum
    is one body with two angles. Degree 1 is added by magnetic fields and rotating frames. It
    stands for kinetic and potential energy together, and no mass is read.

    Each $f_\alpha$ is a sum of random units of all d coordinates of a body and a constant; that of
    degree 0 has the coordinates themselves, or the cosines and sines of angles, in place of the
    constant. All bodies have the same functions.

    **Arguments:**

    - `units`: number of random units, shared by all monomials; with 0 the exact columns are left.
    - `angles`: numbers of the coordinates that are angles (rad), from 0. The units are functions
        of their cosines and sines, so that the energy is the same after a full turn.
    - `degrees`: degrees of the monomials of the momenta.
    - `sampling`: distribution of the units' weights, `hgn.ELM()` or `hgn.SWIM()`.
    - `activation`: "sin", "tanh", "erf", "sigmoid" or "relu", whose forces jump.

    **Raises:** `ValueError` if `units` or a degree is negative, for no degree or one given twice,
    and for an angle beyond the data's dimension.
    """

    units: int = eqx.field(default=128, static=True)
    angles: tuple[int, ...] = eqx.field(default=(), static=True)
    degrees: tuple[int, ...] = eqx.field(default=(0, 1, 2), static=True)
    sampling: AbstractSampling = ELM()
    activation: str = eqx.field(default="sin", static=True)

    def __check_init__(self) -> None:
        whole_number("units", self.units, 0)
        for name, numbers in (("angles", self.angles), ("degrees", self.degrees)):
            for number in numbers:
                whole_number(name, number, 0)
            if len(set(numbers)) < len(numbers):
                raise ValueError(f"{name} must differ, got {numbers}")
        if not any(self.degrees):
            raise ValueError(f"a degree must be above 0, or nothing moves; got {self.degrees}")

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "Phase":
        return self

    def sample(self, key: Key, data: GraphsTuple, previous: Fitted | None = None) -> PhaseFeatures:
        q, mask, layer = data.nodes["position"], movable(data), None
        if max(self.angles, default=0) >= q.shape[1]:
            raise ValueError(
                f"angles names coordinate {max(self.angles)}, counted from 0, but bodies have only "
                f"{q.shape[1]}"
            )
        if self.units:
            point = inputs(q, self.angles)
            layer = self.sampling(key, point, mask, self.units, self.activation)
        box = box_of(_coordinates(data, self.angles), mask)
        return PhaseFeatures(layer, box, self.angles, self.degrees)


def inputs(q: Float[Array, "n d"], angles: tuple[int, ...]) -> Float[Array, "n _"]:
    """Coordinates that are not angles, then cosines and sines of those that are."""
    # A mask of NumPy is static, so that jit knows the shapes.
    turning = np.isin(np.arange(q.shape[1]), angles)
    return jnp.concatenate([q[:, ~turning], on_circles(q[:, turning])], axis=1)


def monomials(p: Float[Array, " d"], degree: int) -> list[Float[Array, ""] | int]:
    """All products of `degree` components of p."""
    # The empty product of degree 0 is the integer 1.
    return [math.prod(chosen) for chosen in itertools.combinations_with_replacement(p, degree)]


def _coordinates(graphs: GraphsTuple, angles: tuple[int, ...]) -> Float[Array, "n _"]:
    """Positions, angles wrapped, and momenta."""
    q = graphs.nodes["position"]
    turning = np.isin(np.arange(q.shape[1]), angles)
    turned = jnp.where(turning[None], wrapped(q), q)
    return jnp.concatenate([turned, graphs.nodes["momentum"]], axis=1)
