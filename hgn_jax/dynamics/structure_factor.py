"""Static structure factor of bodies in a periodic cell."""

import itertools
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._arguments import whole_number
from ..graphs.cell import Cell
from ..graphs.geometry import cell_of, node_mask
from ..graphs.schema import require
from ..models.base import AbstractModel
from .observables import AbstractObservable


class StructureFactor(AbstractObservable):
    r"""Static structure factor $S(k) = |\sum_i e^{i k \cdot x_i}|^2 / n$, `[1 m]`, of a single
    graph in a periodic cell.

    The wave vectors k are those that fit the cell, $k = 2 \pi h \, A^{-T}$ for a cell A with
    lattice vectors as rows and the integer vectors h in `vectors`: all with components up to
    `most`, one of each pair h, -h, without zero. Average over times, and over vectors of about the
    same length (`lengths`) for a fluid.

    **Raises:** `ValueError` for `most` below one.

    Allen and Tildesley, Computer Simulation of Liquids, 2nd ed., section 2.6.
    """

    name: ClassVar[str] = "structure_factor"
    most: int = eqx.field(static=True)
    dimension: int = eqx.field(static=True, default=3)

    def __check_init__(self) -> None:
        whole_number("most", self.most, 1)

    @property
    def vectors(self) -> np.ndarray:
        """Integer vectors h `[m d]`, shortest first."""
        every = itertools.product(range(-self.most, self.most + 1), repeat=self.dimension)
        half = np.array([h for h in every if h > (0,) * self.dimension])  # one of h, -h
        return half[np.argsort((half**2).sum(axis=1), kind="stable")]

    def lengths(self, cell: np.ndarray) -> np.ndarray:
        """|k| of each vector in a cell `[d d]` (1 / length)."""
        inverse = Cell(np.asarray(cell, float)).inverse
        return 2 * np.pi * np.linalg.norm(self.vectors @ inverse.T, axis=1)

    def check(self, graphs: GraphsTuple) -> None:
        require(graphs, {"globals": ["cell"]}, "the structure factor")
        d = graphs.nodes["position"].shape[1]
        if graphs.n_node.shape[0] != 1 or d != self.dimension:
            raise ValueError(
                f"the structure factor needs a single graph in {self.dimension} dimensions, got "
                f"{graphs.n_node.shape[0]} in {d}"
            )

    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, "g m"]:
        mask, fraction = node_mask(graphs), cell_of(graphs).fractional(graphs.nodes["position"])
        # Whole cells do not matter, and would cost digits.
        fraction = fraction - jnp.floor(fraction)
        vectors = jnp.asarray(self.vectors, fraction.dtype)
        phase = 2 * jnp.pi * jnp.einsum("nd,md->nm", fraction, vectors, precision="highest")
        real, imaginary = (
            jnp.sum(jnp.where(mask[:, None], wave(phase), 0), axis=0) for wave in (jnp.cos, jnp.sin)
        )
        factor = (real**2 + imaginary**2)[None] / jnp.sum(mask).astype(phase.dtype)
        padding = jnp.zeros((graphs.n_node.shape[0] - 1, len(vectors)), phase.dtype)
        return jnp.concatenate([factor, padding])
