"""Potential energy of the dihedral angle of four bodies."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._arguments import whole_number
from ..graphs.tuples import check_types
from .exact import AbstractExact
from .sites import Quadruples, Site


class Torsion(AbstractExact):
    r"""Energy of the dihedral angle $\varphi$ of each quadruple (i, j, k, l), as a Fourier series:
    $V = \sum_{(i,j,k,l)} \sum_n a_n \cos n \varphi + b_n \sin n \varphi$.

    `hgn.graphs.with_quadruples` names the quadruples; they need no edges. $\varphi$ is 0 where i
    and l are on the same side of the bond j-k (cis), $\pi$ in a trans chain, and positive if l is
    turned clockwise against i as seen from j to k (IUPAC). The sines vanish if mirror images have
    equal energies. `fit.law()` prints the coefficients. In three dimensions only. If three
    neighbours lie on one line, there is no dihedral angle, and forces are NaN.

    **Arguments:**

    - `order`: greatest multiple n.
    - `types`: number of types of quadruples, each with its own coefficients.

    **Raises:** `ValueError` for numbers less than 1. A fit raises it for data without quadruples,
    in other than three dimensions, or with more types.
    """

    name: ClassVar[str] = "torsion"
    sites: ClassVar[Any] = Quadruples()
    order: int = eqx.field(default=6, static=True)
    types: int = eqx.field(default=1, static=True)

    def __check_init__(self) -> None:
        whole_number("order", self.order, 1)
        whole_number("types", self.types, 1)

    @property
    def dimension(self) -> int:
        return 3

    def phi(self, z: Float[Array, " v"], site: Site) -> Float[Array, " K"]:
        to_i, to_k, to_l = z.reshape(3, 3)
        # Normals of the planes (i, j, k) and (j, k, l), which enclose the dihedral angle.
        first, second = jnp.cross(-to_i, to_k), jnp.cross(to_k, to_l)
        size = jnp.sqrt((first @ first) * (second @ second))
        cos = first @ second / size
        # From a triple product: arccos would lose the sign, and its slope is infinite at 0 and pi.
        sin = -jnp.sqrt(to_k @ to_k) * (to_i @ second) / size
        waves = [jnp.stack([cos, sin])]
        for _ in range(1, self.order):  # the next multiple, by the sum of two angles
            c, s = waves[-1]
            waves.append(jnp.stack([c * cos - s * sin, s * cos + c * sin]))
        of_types = [jnp.where(site.kind == t, jnp.stack(waves), 0) for t in range(self.types)]
        return jnp.concatenate(of_types).ravel()

    def accepts(self, graphs: GraphsTuple) -> None:
        check_types(graphs, "quadruples", self.types, "Torsion")

    def groups(self, columns: int) -> tuple[int, ...]:
        """One group for each multiple of each type."""
        return (2,) * (columns // 2)

    def labels(self, count: int) -> tuple[str, ...]:
        return tuple(f"torsion {n}{kind}" for n, kind in self._multiples)

    def formulas(self, columns: int) -> tuple[str, ...]:
        return tuple(
            f" {wave}({n} phi){kind}" for n, kind in self._multiples for wave in ("cos", "sin")
        )

    @property
    def _multiples(self) -> list[tuple[int, str]]:
        """n of each group, and its type in words if there are several."""
        kinds = [f" of type {t}" for t in range(self.types)] if self.types > 1 else [""]
        return [(n, kind) for kind in kinds for n in range(1, self.order + 1)]
