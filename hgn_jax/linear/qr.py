"""Default solver: QR of all rows, with a ridge chosen from the data."""

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

    Random features are nearly dependent. Unpivoted QR of the scaled columns keeps more digits than
    a truncated SVD, and the ridge $\lambda$, by augmentation, keeps it from dividing by rounding
    errors. The normal equations would square the condition number (Golub and Van Loan, Matrix
    Computations, 4th ed., sections 5.3 and 6.1).

    **Arguments:**

    - `ridge`: a number, relative to the column norms, or the way to choose it from the data:
        - "evidence" or "gcv": best of a path of ridges, see `RidgePath`. Data without noise, which
            the features express to rounding, get the least ridge and keep their accuracy; the noise
            of noisy data is not fitted. If the misfit is smooth instead, the ridge is raised until
            rounding errors of cancelling terms stay below a tenth of the residual. The evidence is
            robust to rows of unequal noise, while "gcv" is dominated by the noisiest.
        - "groups": one ridge for each group of columns, which together maximise the evidence.
            Columns that the data do not need vanish, and cost no accuracy. Like "evidence" it
            assumes that all weighted rows have equal noise: use `Derivatives("uniform")` if all
            bodies do. It costs about ten more QR factorisations.
        - `FrameCV()`: cross-validation over whole frames, from normal equations instead of a
            triangle: for energies and forces from quantum mechanics, whose misfit is an error of
            the model.
        - "auto": `FrameCV()` if a term asks for it (`ManyBody`) and there are enough frames,
            otherwise "evidence".

        A ridge is never below five times the machine epsilon.

    - `method`: factorisation of the rows: "householder", "cholesky" (randomised Cholesky QR, as
        precise), or "auto": Cholesky for tall matrices on a GPU, otherwise Householder.

    **Raises:** `ValueError` for another ridge or method.
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
            raise ValueError(
                "ridge=None is no longer accepted: use 0.0, the least ridge, or 'auto', a ridge "
                "chosen from the data"
            )
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
        tall = len(matrix) >= 8 * matrix.shape[1]
        return "cholesky" if tall and jax.default_backend() == "gpu" else "householder"

    def _solve(self, triangle: Triangle | Gram, groups: tuple[int, ...]) -> LeastSquaresSolution:
        if isinstance(triangle, Gram):
            return cross_validated(triangle, groups)
        if self.folds:
            raise ValueError(
                "FrameCV() needs rows in batches of frames, as hgn.fit passes them: for one matrix "
                'use another ridge, QR(ridge="evidence")'
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
            grouped = group_ridges(triangle, groups, chosen.ridge)
            ridge, evidence, noise = grouped.ridge, grouped.evidence, grouped.noise
        elif self.choice not in ("auto", "evidence"):
            # The evidence did not choose this ridge, and its noise does not belong to it.
            spare = jnp.maximum(triangle.rows.astype(dtype) - chosen.effective_dof, 1)
            noise = chosen.residual / jnp.sqrt(spare)
        per_column = of_columns(ridge, groups)
        r, qu, _ = augmented(triangle, per_column)
        theta = jsl.solve_triangular(r, qu) / column_scale(triangle.r)
        freedom = column_dof(r, per_column)
        return describe(triangle, theta, singular, ridge, freedom, evidence, noise, groups)

    def _given(self, dtype: jnp.dtype) -> Float[Array, " 1"]:
        return jnp.maximum(jnp.asarray(self.ridge, dtype), floor(dtype))[None]  # a path of one
