"""Interface of least-squares solvers: factorise the rows, then solve."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Bool, Float, Int

from .gram import Gram, gram
from .groups import of_columns, sums
from .ridge import floor
from .triangle import Method, Triangle, column_norm, column_scale, triangle


class Pull(eqx.Module):
    """Rows of a prior, which pull the coefficients in place of a ridge."""

    rows: Triangle
    trust: Float[Array, ""]
    """Factor of the covariance learned from other systems; 0 if the evidence left it out."""


class LeastSquaresSolution(eqx.Module):
    """Coefficients and figures of merit. Arrays have a leading axis m if there are m targets."""

    theta: Float[Array, "*m K"]
    rank: Int[Array, "*m"]
    """Number of singular values of the column-scaled matrix above the rounding level."""
    condition: Float[Array, "*m"]
    """Condition number of the column-scaled matrix, before the ridge; inf if singular."""
    residual: Float[Array, "*m"]
    """|Z theta - u| / |u| over the weighted rows."""
    ridge: Float[Array, "*m G"]
    """lambda of each group of columns, relative to the column norms, or to those of `ridge_scale`;
    equal for all groups unless each has its own."""
    group_dof: Float[Array, "*m G"]
    """Effective degrees of freedom of each group: the number of coefficients that the data
    determine rather than the ridge."""
    evidence: Float[Array, "*m"]
    """Log marginal likelihood (nats, up to a constant of the rows), see `RidgePath`; -inf without a
    ridge."""
    noise: Float[Array, "*m"]
    """Standard deviation of a weighted row: under the evidence if that chose the ridge, otherwise
    from the residual and the remaining degrees of freedom."""
    cancellation: Float[Array, "*m"]
    """sum_k |theta_k| |z_k| / |u|: the size of the terms relative to their sum. Its decimal
    logarithm is the number of digits lost to cancellation."""
    method: Method = eqx.field(static=True)
    """How the rows were factorised."""
    groups: tuple[int, ...] = eqx.field(static=True)
    """Widths of the consecutive groups of columns."""
    held_out: Float[Array, "*m"] | None = None
    """Relative residual of held-out rows; None without cross-validation over frames."""
    of_folds: Float[Array, "*m F K"] | None = None
    """Coefficients fitted without each of the folds; None without cross-validation."""
    ridge_scale: Float[Array, "*m K"] | None = None
    """Norms that the ridge is relative to, in units of the column norms; None if they are those."""
    prior: Pull | None = None
    """The prior from other systems; None with a ridge."""
    held: Bool[Array, "*m K"] | None = None
    """True for coefficients that must not be negative and are held at zero; None without such."""

    @property
    def effective_dof(self) -> Float[Array, "*m"]:
        """Effective degrees of freedom of all columns."""
        return jnp.sum(self.group_dof, axis=-1)

    @property
    def column_ridge(self) -> Float[Array, "*m K"]:
        """lambda of each column, relative to its norm."""
        ridge = of_columns(self.ridge, self.groups)
        return ridge if self.ridge_scale is None else ridge * self.ridge_scale


class AbstractLeastSquares(eqx.Module):
    """Solves min |Z theta - u|^2 (+ ridge) in two steps: `factorise` all rows into a triangle,
    `solve` that.

    Calling it does both. The result is differentiable to any order with respect to Z, u and the
    ridge, by implicit differentiation of the normal equations; a ridge chosen from the data is held
    constant. Only `theta` carries derivatives. They are those for a ridge of at least the square
    root of the machine epsilon, because the normal equations square the condition number.
    """

    folds: eqx.AbstractVar[int]
    """Number of folds whose rows are kept separate; 0 if all rows go into one triangle."""

    @abstractmethod
    def method(self, matrix: Float[Array, "r K"]) -> Method:
        """Factorisation to use for a matrix of this shape and precision."""

    @abstractmethod
    def _solve(
        self, triangle: Triangle | Gram, groups: tuple[int, ...]
    ) -> LeastSquaresSolution: ...

    def reduce(
        self, matrix: Float[Array, "r K"], target: Float[Array, " r"], rows: Int[Array, ""]
    ) -> Triangle | Gram:
        """Reduces a first batch of rows to their triangle, or to normal equations by folds."""
        if self.folds and matrix.shape[1]:  # without columns: a triangle
            return gram(matrix, target, rows, self.folds)
        return self.factorise(matrix, target, rows)

    def factorise(
        self,
        matrix: Float[Array, "r K"],
        target: Float[Array, " r"] | Float[Array, "r m"],
        rows: Int[Array, ""] | None = None,
    ) -> Triangle:
        """Triangle of Z `[r K]`, already weighted, and u: one target `[r]` or m targets `[r m]`.

        `rows` is the number of equations of positive weight; None counts all.
        """
        return triangle(matrix, target, rows, self.method(matrix))

    def solve(
        self, triangle: Triangle | Gram, groups: tuple[int, ...] | None = None
    ) -> LeastSquaresSolution:
        """Solves for the coefficients of every target.

        `groups` are the widths of consecutive groups of columns, one group if None.

        **Raises:** `ValueError` if the widths do not add up to the columns.
        """
        if not triangle.columns:
            assert isinstance(triangle, Triangle)  # `reduce` makes no Gram without columns
            return _without_columns(triangle)
        groups = (triangle.columns,) if groups is None else groups
        if sum(groups) != triangle.columns or min(groups) < 1:
            raise ValueError(
                f"groups must be positive widths that add up to the {triangle.columns} columns, "
                f"got {groups}"
            )
        if isinstance(triangle, Gram) or triangle.qu.ndim == 1:
            return self._solve(triangle, groups)
        return jax.vmap(
            lambda qu, rest: self._solve(
                Triangle(triangle.r, qu, rest, triangle.rows, triangle.method), groups
            ),
            in_axes=(1, 0),
        )(triangle.qu, triangle.rest)

    def __call__(
        self,
        matrix: Float[Array, "r K"],
        target: Float[Array, " r"],
        rows: Int[Array, ""] | None = None,
    ) -> LeastSquaresSolution:
        reduced = self.factorise(*jax.lax.stop_gradient((matrix, target)), rows)
        solution = self.solve(reduced)
        return eqx.tree_at(
            lambda s: s.theta, solution, differentiable(matrix, target, reduced, solution)
        )


def differentiable(
    matrix: Float[Array, "r K"],
    target: Float[Array, " r"],
    triangle: Triangle,
    solution: LeastSquaresSolution,
) -> Float[Array, " K"]:
    """theta as a differentiable function of Z, u and the ridge, by the (ridge) normal equations.

    Only derivatives are taken from those, so that theta loses no digits. The systems in the
    derivatives are solved by the triangle, with a ridge that tolerates the squared condition.
    """
    if solution.held is not None:  # they stay zero whatever changes
        free = ~solution.held[None]
        matrix = jnp.where(free, matrix, 0)
        triangle = eqx.tree_at(lambda t: t.r, triangle, jnp.where(free, triangle.r, 0))
    if solution.prior is not None:
        prior = jax.lax.stop_gradient(solution.prior.rows)
        matrix = jnp.concatenate([matrix, prior.r])
        target = jnp.concatenate([target, prior.qu])
        triangle = Triangle.merge([triangle, prior])
    least = float(jnp.finfo(matrix.dtype).eps) ** 0.5
    ridge = jnp.maximum(solution.column_ridge, least)
    start = jax.lax.stop_gradient(solution.theta)

    def gradient(theta: Float[Array, " K"]) -> Float[Array, " K"]:
        # Norms are differentiated, too, since the ridge is relative to them.
        pull = (ridge * column_scale(matrix)) ** 2
        return (matrix @ theta - target) @ matrix + pull * theta

    def normal(_: object, right: Float[Array, " K"]) -> Float[Array, " K"]:
        scale = column_scale(triangle.r)
        # This only solves: derivatives of any order come from `gradient`.
        r, _, _ = jax.lax.stop_gradient(augmented(triangle, ridge))
        half = jsl.solve_triangular(r, right / scale, trans=1)  # (D R^T R D) x = right, D the norms
        return jsl.solve_triangular(r, half) / scale

    return jax.lax.custom_root(
        gradient,
        start,
        lambda f, initial: initial,  # QR has solved it already
        lambda linear, right: jax.lax.custom_linear_solve(linear, right, normal, symmetric=True),
    )


def augmented(
    triangle: Triangle, ridge: Float[Array, " K"]
) -> tuple[Float[Array, "K K"], Float[Array, " K"], Float[Array, ""]]:
    """R, Q^T u and rest of the column-scaled [R u; diag(lambda) 0], with ridges above the floor."""
    columns, dtype = triangle.columns, triangle.r.dtype
    if not columns:
        return triangle.r, triangle.qu, triangle.rest
    scaled = triangle.r / column_scale(triangle.r)[None]
    above = jnp.concatenate([scaled, triangle.qu[:, None]], axis=1)
    below = jnp.maximum(ridge, floor(dtype))[:, None] * jnp.eye(columns, columns + 1, dtype=dtype)
    system = jnp.linalg.qr(jnp.concatenate([above, below]), mode="r")
    rest = jnp.hypot(triangle.rest, system[columns, columns])
    return system[:columns, :columns], system[:columns, columns], rest


def factor(
    rows: Triangle | Gram, ridge: Float[Array, " K"]
) -> tuple[Float[Array, "K K"], Float[Array, " K"]]:
    """R and the column norms D of rows with a ridge: (R D)^T (R D) is the inverse covariance of
    the coefficients, up to the noise."""
    if isinstance(rows, Gram):
        return rows.factor(ridge)
    return augmented(rows, ridge)[0], column_scale(rows.r)


def posterior(
    rows: Triangle | Gram, solution: LeastSquaresSolution
) -> tuple[Float[Array, "K K"], Float[Array, " K"]]:
    """`factor` of these rows with the ridge or the prior of their solution."""
    if solution.prior is not None:
        rows = Triangle.merge([rows.triangle(), solution.prior.rows])
    return factor(rows, solution.column_ridge)


def column_dof(r: Float[Array, "K K"], ridge: Float[Array, " K"]) -> Float[Array, " K"]:
    """Effective degrees of freedom of each column, 1 - lambda_k^2 (R^T R)^-1_kk, R `augmented`."""
    half = jsl.solve_triangular(r, jnp.diag(ridge), trans=1)
    return 1 - jnp.sum(half**2, axis=0)


def residual(triangle: Triangle, theta: Float[Array, " K"]) -> Float[Array, ""]:
    """|Z theta - u|."""
    difference = jnp.append(triangle.r @ theta - triangle.qu, triangle.rest)
    return column_norm(difference[:, None])[0]


def _without_columns(triangle: Triangle) -> LeastSquaresSolution:
    """Solution of rows without columns, whose residual is all of u."""
    rest = triangle.rest
    none = jnp.zeros((*rest.shape, 0), rest.dtype)
    rows = jnp.maximum(triangle.rows, 1).astype(rest.dtype)  # all weights may be zero
    return LeastSquaresSolution(
        none,
        rank=jnp.zeros(rest.shape, int),
        condition=jnp.ones_like(rest),
        residual=jnp.where(rest > 0, jnp.ones_like(rest), 0),  # relative to |u|, which may be zero
        ridge=none,
        group_dof=none,
        evidence=jnp.zeros_like(rest),
        noise=rest / jnp.sqrt(rows),
        cancellation=jnp.zeros_like(rest),
        method=triangle.method,
        groups=(),
    )


def describe(
    triangle: Triangle,
    theta: Float[Array, " K"],
    singular: Float[Array, " K"],
    ridge: Float[Array, " G"],
    freedom: Float[Array, " K"],
    evidence: Float[Array, ""],
    noise: Float[Array, ""],
    groups: tuple[int, ...],
) -> LeastSquaresSolution:
    """Completes a solution from the singular values of the column-scaled matrix, and the degrees of
    freedom of its columns."""
    largest, smallest = singular[0], singular[-1]
    eps = jnp.finfo(singular.dtype).eps
    rounding = jnp.maximum(triangle.rows, triangle.columns).astype(singular.dtype) * eps * largest
    size = triangle.target_norm
    return LeastSquaresSolution(
        theta,
        rank=jnp.sum(singular > rounding),
        condition=jnp.where(
            smallest > eps * largest, largest / jnp.where(smallest > 0, smallest, 1), jnp.inf
        ),
        residual=residual(triangle, theta) / size,
        ridge=ridge,
        group_dof=sums(freedom, groups),
        evidence=evidence,
        noise=noise,
        cancellation=jnp.sum(jnp.abs(theta) * column_scale(triangle.r)) / size,
        method=triangle.method,
        groups=groups,
    )
