"""Maximum likelihood for measured states: theta and the starts of growing windows."""

import dataclasses
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from ..graphs.schema import require
from ..graphs.validate import check, warn_about_precision
from ..linear.base import AbstractLeastSquares
from ..linear.qr import QR
from ..linear.triangle import Triangle
from .energies import Energies
from .found import deviations_of, report_of
from .gauss_newton import (
    Eliminated,
    changed,
    eliminated,
    equations_of,
    first_taken_out,
    substituted,
)
from .growth import SLACK, Growth, Stage, chi, follows
from .noise import noise_of_state
from .reduction import Reduction
from .refinement import Refinement
from .result import Fit, conclude, raise_if
from .steps import WINDOW, WINDOW_OF_POSITIONS, Steps
from .unknowns import Kind, Mover, Rescaled, Unknowns, network_of, unknowns_of, values_of
from .windows import Trajectories, Windows, trajectories_of


def refine(fit: Fit, data: GraphsTuple, *, unknown: Kind | None = None, throw: bool = True) -> Fit:
    r"""Follows measured states over longer and longer windows: Gauss-Newton steps on theta and on
    the start of every window.

    The maximum likelihood of states $x_k = X(t_k; x_0, \theta) + e_k$ with white noise e. The
    linear rows of `hgn.Steps` have noisy samples among their columns, so only short windows are
    safe. Here the model's own motion X stands in their place, with its tangents $\Phi$:

    $$x_k - X_k = \Phi(t_k, t_0) \, \delta x_0 + \int_{t_0}^{t_k} \Phi(t_k, s) Z(X(s)) \, ds
    \, \delta\theta + e_k.$$

    A QR factorisation takes $\delta x_0$ out of each window; what is left are rows for theta, and
    the fit's triangle, ridge and standard deviations are those of any fit. Where `fit` took one
    ridge by evidence, each term gets its own, `QR("groups")`: all terms share one system now.

    Windows grow from 5 frames to 10, 20 and whole trajectories (gaps cut them). From far away a
    long window has wrong minima: windows stop growing where the residual exceeds 1.2 times the
    noise. If it is larger from the start, since there is no noise or errors of neighbouring samples
    are alike, they stop where it grows faster than the root of the window's length. Steps of the
    integrator are halved until its error is 2% of the residual. `fit.refinement` holds the path of
    residuals and the reason for the end.

    Masses or charges may be `unknown`: the derivatives of the motion by them are further columns,
    which no ridge pulls. The noise stands on the left side only, so that it does not bias them.

    **Arguments:**

    - `fit`: a fit to the same data by `hgn.Steps`, or another start.
    - `data`: measured states, as `hgn.graphs.from_trajectories(..., rates=False)` gives them: all
        trajectories of one system. Momenta may be missing, and trajectories that have them may
        consist of two frames. Concrete arrays only.
    - `unknown`: values of the bodies that the data only guess. "mass": masses. "charge": factors
        $c_i$ of every edge's `coupling`, $c_i c_j$, and of `nodes["charge"]`. "gravity": masses
        that are charges, too; `coupling` holds their products. Bodies of one `species` share a
        value. The first mobile body (of charges: the first body) or species keeps its value, unless
        forces of the known part set the scale. Momenta are taken for velocities times the guessed
        masses. `refinement.found` holds values and deviations, and applies them to data.
    - `throw`: raise if the result is not finite.

    Warns of unknown values that the data do not determine: those of bodies without forces, and of
    parts of the system that have no forces between them.

    **Returns:** the refined fit. `update` adds further trajectories to it by the rows of
    `hgn.Steps`, at the noise that was found; refine again to follow them, too.

    **Raises:** `ValueError` for bad data, trajectories of different systems or of bodies with an
    axis, a fit with `Energies` among its observations, whose rows would be lost, or another
    `unknown`. `RuntimeError` if the motion is not finite even over the shortest windows.
    """
    check(data)
    warn_about_precision(data)
    require(data, {"globals": ["time", "trajectory"]}, "refine")
    if any(isinstance(o, Energies) for o in fit.equations.observations):
        raise ValueError(
            "refine follows states only, and this fit learned from energies, too: fit the states "
            "alone, observations=[hgn.Steps()]"
        )
    names = fit.model.dynamics.state
    trajectories = trajectories_of(data, names)
    noise = noise_of_state(data, names)
    model: Mover = fit.model
    if unknown is not None:
        model = Rescaled(fit.model, unknowns_of(unknown, trajectories.graph, fit.model))
    growth = Growth(trajectories, noise, model, trajectories.state)
    steps = GaussNewton(fit, _by_groups(fit.solver), growth)
    path: list[tuple[Stage, float]] = []
    best, before, frames = None, math.inf, 1
    reason = "whole trajectories are one window each"
    for stage in growth.stages(steps):
        spare = growth.rows(stage.windows) - steps.effective_dof
        path.append((stage, chi(stage, spare)))
        if not follows(path[-1][1], stage.frames, before, frames):
            reason = f"windows of {stage.frames} frames leave {path[-1][1]:.3g} times the noise"
            break
        best, before, frames = stage, growth.lower_noise(stage, spare), stage.frames
    if best is None:
        raise RuntimeError(f"refine could not follow the states: {reason}")
    refined, unknowns = _final(steps, growth, best)
    tried, residuals = zip(*path)
    report = Refinement(
        frames=jnp.asarray([s.frames for s in tried]),
        residual=jnp.asarray(residuals),
        iterations=jnp.asarray([s.iterations for s in tried]),
        substeps=jnp.asarray([s.substeps for s in tried]),
        noise={n: jnp.asarray(s) for n, s in zip(names, growth.noise) if n in data.nodes},
        accepted=len(path) - (tried[-1] is not best),  # the last may be refused
        reason=reason,
        found=None if unknowns is None else report_of(unknowns, trajectories.graph),
    )
    return raise_if(throw, dataclasses.replace(refined, refinement=report))


class GaussNewton:
    """Gauss-Newton steps of theta and of all starts."""

    def __init__(self, fit: Fit, solver: AbstractLeastSquares, growth: Growth) -> None:
        self.fit, self.solver, self.growth = fit, solver, growth
        self.effective_dof = 0.0
        self.found = fit

    def __call__(
        self,
        model: Mover,
        starts: Float[Array, "f D"],
        windows: Windows,
        substeps: int,
    ) -> tuple[Mover, Float[Array, "f D"]]:
        growth, values = self.growth, values_of(model, starts.dtype)
        noise = jnp.asarray(growth.noise, starts.dtype)
        count = jnp.asarray(substeps, jnp.int32)
        each = equations_of(model, growth.trajectories, windows.begins, starts, noise, count)
        theta = jnp.concatenate(network_of(model).theta)
        # Rows for theta: starts and unknown values have taken theirs.
        number = jnp.asarray(int(growth.rows(windows)) - len(values))
        triangle, self.of_values, rows = _factorised(
            self.solver, each, windows, theta, len(values), number
        )
        moved = _moved(growth.trajectories, windows, growth.noise)
        self.found = _concluded(self.fit, triangle, moved, self.solver)
        self.effective_dof = float(self.found.effective_dof) + len(values)
        network = self.found.model
        change = jnp.concatenate(network.theta) - theta
        if not isinstance(model, Rescaled):
            return network, changed(starts, windows, rows, change)
        unknowns = model.unknowns.moved(substituted(self.of_values, change))
        # Values were clipped: the starts follow the change that is made.
        change = jnp.concatenate([unknowns.values - values, change])
        return Rescaled(network, unknowns), changed(starts, windows, rows, change)


@eqx.filter_jit
def _factorised(
    solver: AbstractLeastSquares,
    equations: Float[Array, "f D c"],
    windows: Windows,
    theta: Float[Array, " K"],
    unknown: int,
    number: Int[Array, ""],
) -> tuple[Triangle, Float[Array, "G _"], Eliminated]:
    """Triangle of the rows for theta itself, which the ridge pulls to zero, not its change; before
    it, [R S s] of unknown masses or charges, which no ridge pulls."""
    rows = eliminated(equations, windows)
    of_values, matrix, target = first_taken_out(rows.matrix, rows.target, unknown)
    return solver.factorise(matrix, target + matrix @ theta, number), of_values, rows


def _moved(
    trajectories: Trajectories, windows: Windows, noise: Float[np.ndarray, " s"]
) -> Float[Array, ""]:
    """Norm of the measured states less their means in each window, over the noise."""
    frame, real = np.asarray(windows.frame), np.asarray(windows.real)
    seen = np.asarray(trajectories.seen)[frame] & real[:, :, None]
    states = np.asarray(trajectories.state)[frame] / noise[np.asarray(trajectories.kinds)]
    number = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    mean = np.where(seen, states, 0).sum(axis=1, keepdims=True) / number
    return jnp.asarray(np.linalg.norm(np.where(seen, states - mean, 0)), trajectories.state.dtype)


@eqx.filter_jit
def _concluded(
    fit: Fit, triangle: Triangle, moved: Float[Array, ""], solver: AbstractLeastSquares
) -> Fit:
    members = tuple((i, len(theta)) for i, theta in enumerate(fit.model.theta))
    offsets = fit.reduction.offsets
    reduction = Reduction((triangle,), offsets, (moved,), jnp.array(False), (members,))
    return conclude(fit.equations, reduction, solver)


def _final(
    steps: GaussNewton, growth: Growth, best: Stage
) -> tuple[Fit, tuple[Unknowns, Float[Array, " G"]] | None]:
    """The fit whose triangle holds the rows around the best motion, and to which `update` adds rows
    of `Steps`; unknown masses or charges and the standard deviations of their values."""
    growth.substeps = best.substeps  # a refused stage may have raised them
    model, starts = steps(best.model, best.states, best.windows, best.substeps)
    refined = steps.found
    before, _ = growth.squares(best.model, best.states, best.windows)
    after, _ = growth.squares(model, starts, best.windows)
    # A last step that makes the motion worse is undone; its rows and deviations serve all the same.
    if not after.sum() <= SLACK * before.sum():
        model = best.model
        refined = eqx.tree_at(lambda f: f.model, refined, network_of(model))
    measured = [k for k, name in enumerate(growth.trajectories.names) if growth.counts()[k]]
    further = Steps(
        WINDOW if len(measured) > 1 else WINDOW_OF_POSITIONS,
        noise=jnp.asarray(growth.noise[measured]),
        longest_step=growth.trajectories.longest_step,
        joint=True,
    )
    refined = eqx.tree_at(lambda f: f.equations.observations, refined, (further,))
    if not isinstance(model, Rescaled):
        return refined, None
    (triangle,), (solution,) = refined.reduction.triangles, refined.solutions
    values = model.unknowns.values
    return refined, (model.unknowns, deviations_of(steps.of_values, values, triangle, solution))


def _by_groups(solver: AbstractLeastSquares) -> AbstractLeastSquares:
    """The solver with a ridge of its own for each term, where the data choose the ridge."""
    # Cross-validation needs rows by folds, and here is a triangle: "frames" cannot stay either.
    if isinstance(solver, QR) and solver.choice in ("auto", "evidence", "frames"):
        return QR("groups", solver.how)
    return solver
