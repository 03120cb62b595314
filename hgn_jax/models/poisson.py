"""Poisson systems: motion by a known antisymmetric matrix."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from jraph import GraphsTuple

from .._tree import is_concrete
from .._types import Gradient
from ..graphs.geometry import node_mask
from .equations_of_motion import AbstractDynamics


class Poisson(AbstractDynamics):
    r"""$\dot x_i = J(x_i)\, \partial H / \partial x_i$ with a known antisymmetric matrix J.

    The state x of a body is its `position`, with as many coordinates as it needs, and the measured
    rate is its `velocity`. The energy is conserved, as is every Casimir, $J \nabla C = 0$.

    - Free rigid body: x is the angular momentum L in the body's axes, $\dot L = L \times \nabla H$,
        so J(L) is the matrix of the cross product with L, and |L| is a Casimir.
    - Tanks joined by pipes: x holds the momenta in the pipes and the volumes in the tanks; J is
        $\pm 1$ where a pipe ends at a tank.

    Roll out by `hgn.ImplicitMidpoint()`, which keeps quadratic Casimirs to its tolerance.

    **Arguments:**

    - `matrix`: J `[d d]`, or a function of one body's x `[d]` that returns it. Pass the same
        function each time: jit compiles again for a new one. Models with a function cannot be
        saved, since files hold no code.

    **Raises:** `ValueError` for a matrix that is not square or not antisymmetric, naming the entry;
    for a function once there are data.

    Marsden and Ratiu, Introduction to Mechanics and Symmetry, 2nd ed., chapters 10 and 15.
    """

    state: ClassVar[tuple[str, ...]] = ("position",)
    observed: ClassVar[tuple[str, ...]] = ("velocity",)
    separable: ClassVar[bool] = False
    conserves_energy: ClassVar[bool] = True
    matrix: Float[Array, "d d"] | Callable[[Array], Array]

    def __init__(self, matrix: ArrayLike | Callable[[Array], Array]) -> None:
        if callable(matrix):
            # A function must be part of the tree's structure: results of jit hold only arrays.
            leaf = jax.tree.leaves(matrix) == [matrix]
            self.matrix = jax.tree_util.Partial(matrix) if leaf else matrix
        else:
            # Checked here too: the annotation's error would not say what to do.
            self.matrix = _square(jnp.asarray(matrix, float))

    def __check_init__(self) -> None:
        if not callable(self.matrix) and is_concrete(self.matrix):
            _check_antisymmetric(np.asarray(self.matrix)[None])

    def rates(self, graphs: GraphsTuple, gradient: Gradient) -> tuple[Any, ...]:
        if gradient.position is None:
            return (None,)
        matrices = self._matrices(graphs)
        # The ellipsis holds the columns of a fit, if there are any.
        return (jnp.einsum("nab,nb...->na...", matrices, gradient.position, precision="highest"),)

    def accepts(self, graphs: GraphsTuple) -> None:
        d = graphs.nodes["position"].shape[1]
        with jax.ensure_compile_time_eval():  # else jit would trace concrete data
            matrices = self._matrices(graphs)
        if matrices.shape[1:] != (d, d):
            shape = list(matrices.shape[1:])
            raise ValueError(f"J must be [{d} {d}] for positions of {d} coordinates, got {shape}")
        if callable(self.matrix) and is_concrete(matrices):  # a matrix was checked when made
            _check_antisymmetric(np.asarray(matrices)[np.asarray(node_mask(graphs))])

    def _matrices(self, graphs: GraphsTuple) -> Float[Array, "n a b"]:
        x = graphs.nodes["position"]
        if callable(self.matrix):
            return jax.vmap(self.matrix)(x)
        return jnp.broadcast_to(self.matrix.astype(x.dtype), (len(x), *self.matrix.shape))


def _square(matrix: Array) -> Array:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"J must be a matrix [d d], or a function, got shape {matrix.shape}")
    return matrix


def _check_antisymmetric(matrices: Float[np.ndarray, "n d d"]) -> None:
    """Raises `ValueError` naming the entry that differs most from minus its transpose."""
    misses = np.abs(matrices + matrices.swapaxes(1, 2))
    size = np.abs(matrices).max(axis=(1, 2), keepdims=True)
    # Entries that were computed may differ by rounding.
    misses = np.where(misses > 100 * np.finfo(matrices.dtype).eps * size, misses, 0)
    if misses.any():
        i, a, b = np.unravel_index(misses.argmax(), misses.shape)
        where = f" for body {i} of the data" if len(matrices) > 1 else ""
        raise ValueError(
            f"J must be antisymmetric, but J[{a}, {b}] = {matrices[i, a, b]:.6g} and "
            f"J[{b}, {a}] = {matrices[i, b, a]:.6g}{where}"
        )
