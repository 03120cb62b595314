"""Gauss-Newton steps on theta and on the starts of windows, as rows for the usual triangle."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Bool, Float, Int

from .propagate import motion, tangents
from .unknowns import Mover
from .windows import Trajectories, Windows


class Eliminated(eqx.Module):
    r"""Linear equations of windows from which the starts are taken out.

    With the residuals r of a window, weighted by 1 / noise, and derivatives A of its motion by the
    start and B by theta, one QR factorisation

    $$[A \; B \; r] = Q \begin{bmatrix} R & S & s \\ 0 & M & u \end{bmatrix}$$

    leaves rows M of theta alone, $M \, \delta\theta = u$. The start follows theta by
    $R \, \delta x_0 = s - S \, \delta\theta$.
    """

    matrix: Float[Array, "r K"]
    """M of all windows."""
    target: Float[Array, " r"]
    """u of all windows."""
    of_start: Float[Array, "w D c"]
    """[R S s] of every window."""

    def changes(self, theta: Float[Array, " K"]) -> Float[Array, "w D"]:
        """The best changes of all starts for that change of theta."""
        return jax.vmap(substituted, in_axes=(0, None))(self.of_start, theta)


@eqx.filter_jit
def residuals(
    model: Mover,
    trajectories: Trajectories,
    begins: Bool[Array, " f"],
    starts: Float[Array, "f D"],
    noise: Float[Array, " s"],
    substeps: Int[Array, ""],
) -> tuple[Float[Array, "f D"], Float[Array, "f D"]]:
    """Residuals over the noise at all frames, zero where nothing was measured, and the motion."""
    states = motion(model, trajectories, begins, starts, substeps)
    return _weights(trajectories, noise) * (trajectories.state - states), states


@eqx.filter_jit
def equations_of(
    model: Mover,
    trajectories: Trajectories,
    begins: Bool[Array, " f"],
    starts: Float[Array, "f D"],
    noise: Float[Array, " s"],
    substeps: Int[Array, ""],
    *,
    by_theta: bool = True,
) -> Float[Array, "f D c"]:
    """[A B r] of every frame: weighted derivatives of its state by the start of its window, those
    by theta, and weighted residuals."""
    states, by = tangents(model, trajectories, begins, starts, substeps, by_theta=by_theta)
    weights = _weights(trajectories, noise)
    residual = weights * (trajectories.state - states)
    return jnp.concatenate([weights[:, :, None] * by, residual[:, :, None]], axis=2)


@eqx.filter_jit
def eliminated(equations: Float[Array, "f D c"], windows: Windows) -> Eliminated:
    """The equations of all windows without their starts."""
    _, d, width = equations.shape
    # Repeated frames become rows of zeros.
    each = jnp.where(windows.real[:, :, None, None], equations[windows.frame], 0)
    each = each.reshape(len(each), -1, width)
    # R must have a row for each column of the start, also where a window has fewer samples.
    missing = max(d - each.shape[1], 0)
    each = jnp.pad(each, ((0, 0), (0, missing), (0, 0)))
    if each.shape[1] > width:
        r = jnp.linalg.qr(each, mode="r")
    else:
        # Few samples: a triangle of all columns would be larger than the rows themselves.
        q, _ = jnp.linalg.qr(each[:, :, :d], mode="complete")
        r = jnp.einsum("wri,wrc->wic", q, each, precision="highest")
    theta = r[:, d:].reshape(-1, width)
    return Eliminated(theta[:, d:-1], theta[:, -1], r[:, :d])


@eqx.filter_jit
def changed(
    starts: Float[Array, "f D"], windows: Windows, rows: Eliminated, theta: Float[Array, " K"]
) -> Float[Array, "f D"]:
    """The starts after that change of theta."""
    return starts.at[windows.frame[:, 0]].add(rows.changes(theta))


def first_taken_out(
    matrix: Float[Array, "r c"], target: Float[Array, " r"], count: int
) -> tuple[Float[Array, "_ _"], Float[Array, "_ _"], Float[Array, " _"]]:
    """[R S s] of the first `count` columns, as in `Eliminated`, and the equations that are left."""
    system = jnp.concatenate([matrix, target[:, None]], axis=1)
    missing = max(system.shape[1] - len(system), 0)
    r = jnp.linalg.qr(jnp.pad(system, ((0, missing), (0, 0))), mode="r")
    return r[:count], r[count:, count:-1], r[count:, -1]


def substituted(rows: Float[Array, "D c"], after: Float[Array, " K"]) -> Float[Array, " D"]:
    """Unknowns of [R S s] from those that follow them."""
    d = len(rows)
    return _solved(rows[:, :d], rows[:, -1] - rows[:, d:-1] @ after)


def _weights(trajectories: Trajectories, noise: Float[Array, " s"]) -> Float[Array, "f D"]:
    return jnp.where(trajectories.seen, 1 / noise[trajectories.kinds][None], 0)


def _solved(r: Float[Array, "D D"], right: Float[Array, " D"]) -> Float[Array, " D"]:
    """R^-1 right; zero for what the samples of the window leave open."""
    size = jnp.abs(jnp.diagonal(r))
    unknown = size <= 10 * len(size) * jnp.finfo(r.dtype).eps * jnp.max(size)
    # Identity in place of what is open keeps R regular.
    r = jnp.where(unknown[:, None] | unknown[None], jnp.eye(len(size), dtype=r.dtype), r)
    return jsl.solve_triangular(r, jnp.where(unknown, 0, right))
