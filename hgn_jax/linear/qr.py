"""QR of all rows, and a ridge from the data: the default solver."""

from typing import Literal, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float

from .base import AbstractLeastSquares, LeastSquaresSolution, augmented, column_dof, describe
from .frame_cv import FrameCV, cross_validated
from .gram import Gram
from .group_ridge import group_ridges
from .groups import of_columns
from .ridge import floor, keeping_digits, path, ridges, spectrum
from .triangle import Method, Triangle, column_scale


class QR(AbstractLeastSquares):
    r"""QR of $[R/s \; Q^T u; \lambda I \; 0]$, R the triangle of all rows, s the column norms.

    Random features are nearly dependent; unpivoted QR of the scaled columns keeps more digits than
    an SVD with a cut, and the ridge $\lambda$, by augmentation, keeps it from dividing by rounding
    errors. The normal equations would square the condition number.

    `ridge` is relative to the column norms and never below five rounding units. "evidence" and
    "gcv" take the best of a path of ridges, see `RidgePath`: data without
    noise that the features express to rounding get the least one and keep their accuracy; noisy
    data are not followed into their noise. Where the misfit is smooth instead, the ridge is raised
    until rounding errors of cancelling terms stay below a tenth of the residual. The evidence is
    robust to rows of unequal noise, where cross-validation follows the loudest.

    "groups" goes on from the ridge of "evidence" to one ridge for each group of columns, those that
    maximise the evidence together: what the data do not need vanishes, and costs no accuracy. Like
    the evidence of one ridge it takes the noise of all weighted rows for alike: give
    `Derivatives("uniform")` where the noise of all bodies is. It costs about ten more QR
    factorisations.

    `method` is how the rows are factorised: "householder", "cholesky" (shifted Cholesky QR), or
    "auto": Cholesky for tall float64 matrices on a GPU, Householder elsewhere (in float32 Cholesky
    QR loses a digit).

    `FrameCV()` cross-validates over whole frames, from normal equations instead of a triangle: for
    energies and forces from quantum mechanics, whose misfit is that of the model. "auto" means it
    where a term says so (`ManyBody`), and otherwise "evidence".

    Golub and Van Loan, Matrix Computations, 4th ed., sections 5.3 and 6.1.
    """

    ridge: Float[Array, ""] | float | None
    choice: Literal["given", "auto", "evidence", "gcv", "groups", "frames"] = eqx.field(static=True)
    folds: int = eqx.field(static=True)
    how: Literal["auto", "householder", "cholesky"] = eqx.field(static=True)

    def __init__(
        self,
        ridge: Float[Array, ""]
        | float
        | FrameCV
        | Literal["auto", "evidence", "gcv", "groups"] = "auto",
        method: Literal["auto", "householder", "cholesky"] = "auto",
    ) -> None:
        named = ("auto", "evidence", "gcv", "groups")
        self.folds = 0
        if ridge is None:
            raise ValueError("ridge=None is gone: 0.0 is the least ridge, 'auto' asks the data")
        if isinstance(ridge, str):
            if ridge not in named:
                raise ValueError(f"ridge must be a number or one of {sorted(named)}, got {ridge!r}")
            self.ridge = None
            self.choice = cast(Literal["auto", "evidence", "gcv", "groups"], ridge)
        elif isinstance(ridge, FrameCV):
            self.ridge, self.choice, self.folds = None, "frames", ridge.folds
        else:
            self.ridge, self.choice = ridge, "given"
        if method not in ("auto", "householder", "cholesky"):
            raise ValueError(f"method must be auto, householder or cholesky, got {method!r}")
        self.how = method

    def method(self, matrix: Float[Array, "r K"]) -> Method:
        if self.how != "auto":
            return self.how
        tall = len(matrix) >= 8 * matrix.shape[1] and matrix.dtype == jnp.float64
        return "cholesky" if tall and jax.default_backend() == "gpu" else "householder"

    def _solve(self, triangle: Triangle | Gram, groups: tuple[int, ...]) -> LeastSquaresSolution:
        if isinstance(triangle, Gram):
            return cross_validated(triangle, groups)
        if self.folds:
            raise ValueError(
                "FrameCV() needs rows in batches of frames, as hgn.fit gives them: for one matrix "
                'take another ridge, QR(ridge="evidence")'
            )
        dtype = triangle.r.dtype
        tried = ridges(dtype) if self.ridge is None else self._given(dtype)
        singular, b, vt = spectrum(triangle)
        every = path(triangle, singular, b, tried)
        best = jnp.argmax(-every.gcv if self.choice == "gcv" else every.evidence)
        best = keeping_digits(every, best, singular, b, vt, triangle.target_norm)
        chosen = jax.tree.map(lambda a: a[best], every)
        ridge = jnp.broadcast_to(chosen.ridge, len(groups))
        evidence, noise = chosen.evidence, chosen.noise
        if self.choice == "groups":
            found = group_ridges(triangle, groups, chosen.ridge)
            ridge, evidence, noise = found.ridge, found.evidence, found.noise
        elif self.choice not in ("auto", "evidence"):
            spare = jnp.maximum(triangle.rows.astype(dtype) - chosen.effective_dof, 1)
            noise = chosen.residual / jnp.sqrt(spare)
        per_column = of_columns(ridge, groups)
        r, qu, _ = augmented(triangle, per_column)
        theta = jsl.solve_triangular(r, qu) / column_scale(triangle.r)
        freedom = column_dof(r, per_column)
        return describe(triangle, theta, singular, ridge, freedom, evidence, noise, groups)

    def _given(self, dtype: jnp.dtype) -> Float[Array, " 1"]:
        return jnp.maximum(jnp.asarray(self.ridge, dtype), floor(dtype))[None]
