"""Stochastic rescaling of periodic cells: a barostat."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int
from jraph import GraphsTuple

from .._arguments import check_number, whole_number
from .._tree import is_concrete
from .._types import Key
from ..graphs.geometry import bodies
from ..graphs.schema import require
from ..graphs.strain import require_mobile

GREATEST = 0.1
"""Strain in one move above which pressure or compressibility must be wrong."""


class CellRescaling(eqx.Module):
    r"""Stochastic cell rescaling: the volume of the periodic cell follows friction and noise, such
    that it has the distribution of the isothermal-isobaric ensemble. A `barostat` of `hgn.rollout`.

    Every few steps positions x and cell are mapped to $x e^\epsilon$; momenta stay. With
    $D = \beta k T / \tau V$, and W the virial of the model, the volume of n bodies moves in a
    time h by

    $\mathrm{tr}\, \epsilon = D h (n - (PV + \mathrm{tr} W / d) / kT) + \sqrt{2 D h}\, \xi$.

    The density is $V^n e^{-(U + PV)/kT}\, dV$, whatever thermostat keeps T. If `full`, the cell
    changes its shape too: $\epsilon$ is lower triangular, so that the cell does not rotate, with
    independent noise of variance $2 D h / d$ in each component. Shapes are then counted such that
    a fluid has the same distribution of volumes. Use it for crystals: a fluid does not resist
    shear, so its cell drifts until it is too thin.

    - `pressure`: P (energy / length^d); negative under tension. 1 GPa is 0.00624151 eV/Å^3.
    - `compressibility`: $\beta$ (length^d / energy), roughly. It only sets how fast the volume
        moves, together with
    - `time`: $\tau$, in which the pressure relaxes (time); usually 1000 steps or more.
    - `key`: of the random numbers. Same key: same trajectory.
    - `every`: steps from one move to the next.
    - `full`: True to let the shape of the cell change.

    **Raises:** `ValueError` for a pressure that is not finite, or a compressibility or time that
    is not positive.

    Bernetti and Bussi, Pressure control using stochastic cell rescaling, J. Chem. Phys. 153,
    2020. Del Tatto, Raiteri, Bernetti and Bussi, Molecular dynamics of solids at constant pressure
    and stress using anisotropic stochastic cell rescaling, Applied Sciences 12, 2022. They rescale
    momenta, too.
    """

    pressure: ArrayLike
    compressibility: ArrayLike
    time: ArrayLike
    key: Key | Array = eqx.field(kw_only=True)
    every: int = eqx.field(default=10, static=True, kw_only=True)
    full: bool = eqx.field(default=False, static=True, kw_only=True)

    def __check_init__(self) -> None:
        if is_concrete(self.pressure):
            pressure = np.asarray(self.pressure)
            if pressure.shape or pressure.dtype.kind not in "fiu" or not np.isfinite(pressure):
                raise ValueError(f"pressure must be one finite number, got {self.pressure!r}")
        check_number("compressibility", self.compressibility)
        check_number("time", self.time)
        whole_number("every", self.every, 1)

    def check(self, graph: GraphsTuple) -> None:
        """Raises `ValueError` for graphs without a cell, or with fixed bodies."""
        require(graph, {"globals": ["cell"]}, "a barostat")
        require_mobile(graph, "the barostat")

    def strain(
        self,
        graphs: GraphsTuple,
        virial: Float[Array, "g d d"],
        temperature: ArrayLike,
        step: Int[Array, ""],
        dt: Float[Array, ""],
    ) -> Float[Array, "g d d"]:
        r"""$\epsilon$ of the move after that step, at the temperature k T; NaN if it is far too
        large."""
        dtype, d = virial.dtype, virial.shape[1]
        volume = jnp.abs(jnp.linalg.det(graphs.globals["cell"]))
        real = volume > 0  # false for padding
        kt, pressure, beta, time = (
            jnp.asarray(x, dtype)
            for x in (temperature, self.pressure, self.compressibility, self.time)
        )
        spread = beta * kt / time * dt * self.every / jnp.where(real, volume, 1)  # D h
        # Keyed by the step: a resumed rollout draws the same numbers.
        key = jr.fold_in(self.key, step.astype(jnp.uint32))
        eye = jnp.eye(d, dtype=dtype)[None]
        pull = (virial + (pressure * volume)[:, None, None] * eye) / kt
        if self.full:
            # Lower triangular matrices are a group whose two invariant measures differ.
            counted = bodies(graphs)[:, None] + jnp.asarray(d - 1 - 2 * np.arange(d), dtype)[None]
            each = spread[:, None, None] / d
            noise = jnp.sqrt(2 * each) * jr.normal(key, virial.shape, dtype)
            strain = jnp.tril(each * (counted[:, :, None] * eye - pull) + noise)
        else:
            push = bodies(graphs) - jnp.trace(pull, axis1=1, axis2=2) / d
            noise = jnp.sqrt(2 * spread) * jr.normal(key, spread.shape, dtype)
            # The trace in equal shares on all axes.
            strain = ((spread * push + noise) / d)[:, None, None] * eye
        strain = jnp.where(jnp.abs(strain) > GREATEST, jnp.nan, strain)
        return jnp.where(real[:, None, None], strain, 0)
