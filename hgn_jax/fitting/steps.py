"""States over short windows of time, as an observation."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._arguments import whole_number
from ..features.base import AbstractEnergy
from ..models.basis import Basis
from ..models.newtonian import AbstractNewtonian
from .contrasts import contrasts
from .noise import noise_of
from .observations import AbstractObservation, Rows
from .quadrature import integrals
from .series import Series, longest_step, measured, series

WINDOW = 8
"""Frames of a window where the data cannot be asked."""
WINDOW_OF_POSITIONS = 16
"""The same for positions alone: the noise of a double integral falls faster with its length."""


class Steps(AbstractObservation):
    r"""Measured states over short windows: no derivatives, irregular times, noise.

    In a window of samples $x_k = X(t_k) + e_k$ of the state with rates $Z \theta$,

    $$E x = E \Big(\int_{t_0}^{t_k} Z(x(s)) \, ds\Big)_k \theta + E e,$$

    where E is orthonormal to constants: the start of each window is free. If the noise e is white,
    so is $E e$, and the rows have uniform weights 1 / noise, one for each array of the state. So
    differences, mean inverse integrators (Noren, Eidnes, Celledoni, arXiv 2306.03548) and weak
    forms with optimal weights (Messenger, Bortz, J. Comput. Phys. 443, 2021) are one estimator,
    which differs by its window and quadrature only. Long windows are worse, since the noisy samples
    stand in Z, too: `hgn.refine` continues from this fit.

    Positions alone are integrated twice, $E q = E \int\!\!\int F / m$ with E orthonormal to
    constants and to the time; the kinetic energy is then the known $|p|^2 / 2m$.

    The data hold consecutive frames of numbered trajectories, as
    `from_trajectories(..., rates=False)` gives them. A window never reaches across trajectories,
    nor across a step of more than three median steps. The last window of a trajectory may be
    shorter.
    """

    shorter_last: ClassVar[bool] = True
    window: int | None = eqx.field(static=True, default=None)  # type: ignore[misc]
    """Frames of a window, at least 3. None tries several, and the orders 3 and `order`, and takes
    the one whose learned motion follows the states best over ten frames; inside jit it is 8, or 16
    for positions alone."""
    order: int = eqx.field(static=True, default=5)
    """Degree up to which rates between samples are integrated exactly, 1 to 9."""
    noise: Float[Array, " s"] | None = None
    """Standard deviation of the noise of each array of the state; None estimates them."""
    longest_step: Float[Array, ""] | None = None
    """Longer steps are gaps; None takes three median steps of the data (time)."""
    joint: bool = eqx.field(static=True, default=False)
    """True if all terms share one system, as those of a refined fit do."""

    def __check_init__(self) -> None:
        if self.window is not None:
            whole_number("window", self.window, 3)
        if not 1 <= whole_number("order", self.order, 1) <= 9:
            raise ValueError(f"order must be at most 9, got {self.order}")

    def needs(self, basis: Basis) -> dict[str, set[str]]:
        return {"nodes": {"position"}, "globals": {"time", "trajectory"}}

    def calibrated(self, data: GraphsTuple, basis: Basis) -> "Steps":
        longest = longest_step(data) if self.longest_step is None else self.longest_step
        names = measured_arrays(data, basis)
        noise = self.noise
        if noise is None:
            noise = jnp.stack([noise_of(data, name, longest) for name in names])
        default = WINDOW if names == basis.dynamics.state else WINDOW_OF_POSITIONS
        window = default if self.window is None else self.window
        return dataclasses.replace(self, window=window, noise=noise, longest_step=longest)

    def rows(self, basis: Basis, graphs: GraphsTuple) -> tuple[Rows, ...]:
        ready = self.calibrated(graphs, basis)
        assert ready.window is not None and ready.noise is not None
        assert ready.longest_step is not None
        along = series(graphs, ready.window, ready.longest_step)
        blocks = step_rows(
            basis, graphs, along, ready.order, ready.noise, ready.order, ready.window
        )
        if not self.joint:
            return blocks
        widths = [
            # Each term has columns in some block, or the fit before would have refused it.
            max(c.shape[1] for c in of_term if c is not None)
            for of_term in zip(*(b.columns[:-1] for b in blocks))
        ]
        return tuple(_joint(block, widths) for block in blocks)


def _joint(rows: Rows, widths: Sequence[int]) -> Rows:
    """The rows with zeros for terms that take no part: such rows tie all terms together."""
    zeros = (jnp.zeros((len(rows.target), width), rows.target.dtype) for width in widths)
    columns = (z if c is None else c for z, c in zip(zeros, rows.columns))
    return dataclasses.replace(rows, columns=(*columns, None))


def measured_arrays(graphs: GraphsTuple, basis: Basis) -> tuple[str, ...]:
    """Arrays of the state that the data hold.

    **Raises:** `ValueError` if more than momenta are missing.
    """
    state = basis.dynamics.state
    names = tuple(name for name in state if name in graphs.nodes)
    if names not in (state, ("position",)):
        raise ValueError(f"Steps needs the state {state}, or positions alone; found {names}")
    return names


def step_rows(
    basis: Basis,
    graphs: GraphsTuple,
    along: Series,
    order: int | Int[Array, ""],
    noise: Float[Array, " s"],
    highest: int,
    longest: int,
) -> tuple[Rows, ...]:
    """Rows of all windows; `highest` and `longest`, which bound order and windows, are static."""
    names = measured_arrays(graphs, basis)
    twice = names != basis.dynamics.state
    if twice:
        _require_newtonian(basis)
    rates, known = basis.rates(graphs), basis.known_rates(graphs)
    if twice:
        rates, known = rates[1:], known[1:]  # forces, integrated twice below
    own = graphs.nodes["weight"] if "weight" in graphs.nodes else None

    def integrated(values: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        values = values[along.order]
        if twice:
            mass = graphs.nodes["mass"][along.order]
            mass = jnp.where(mass > 0, mass, 1)  # padding
            values = values / mass.reshape(-1, *[1] * (values.ndim - 1))
            values = integrals(along, values, order, highest + 1, longest)  # to velocities
        return integrals(along, values, order, highest + 1, longest)

    blocks = []
    for name, columns, part, sigma in zip(names, rates, known, noise):
        seen = measured(graphs, name)[along.order]

        def rows(values: Float[Array, "n ..."], seen: Array = seen) -> Float[Array, "n ..."]:
            return contrasts(along, values, seen, longest, moving=twice)[0]

        target = graphs.nodes[name][along.order]
        contrast, valid = contrasts(along, target, seen, longest, moving=twice)
        weight = jnp.where(valid, 1 / sigma, 0)
        if own is not None:
            weight = weight * own[along.order]
        integral = [None if c is None else rows(integrated(c)) for c in columns]
        blocks.append(
            Rows(
                (*(None if c is None else c.reshape(-1, c.shape[2]) for c in integral), None),
                contrast.ravel(),
                jnp.repeat(weight, target.shape[1]),
                None if part is None else rows(integrated(part)).ravel(),
                name,
            )
        )
    return tuple(blocks)


def _require_newtonian(basis: Basis) -> None:
    """Raises `ValueError` unless the kinetic energy is known to be |p|^2 / 2m."""
    state = basis.dynamics.state
    if state != ("position", "momentum"):
        raise ValueError(f"positions alone determine no motion of the state {state}")
    for term in basis.terms:
        if isinstance(term, AbstractEnergy) and "momentum" in term.depends_on:
            raise ValueError(
                f"positions alone cannot determine the {term.name} features: leave them out of "
                "`terms` (the kinetic energy is |p|^2/2m then), or measure momenta too"
            )
    if not isinstance(basis.known, AbstractNewtonian):
        raise ValueError(
            "positions alone need the kinetic energy |p|^2/2m: leave `known` out, or give a known "
            "part that has it"
        )
