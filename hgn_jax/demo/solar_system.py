"""Gravity learned from ten years of the ephemeris, tested on the following ten."""

import warnings
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jraph import GraphsTuple
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from .. import graphs, plots, systems
from ..dynamics.rollout import rollout
from ..io.datasets import Ephemeris, solar_system
from ..models.base import AbstractModel
from ..models.network import HamiltonianGraphNetwork
from .springs import timed_fit

SUN_WEIGHT = 1e-3
"""Weight of the Sun's rows, see `Ephemeris.snapshots`."""
INNER = 1.8
"""Distance from the Sun within which the inner planets stay (AU)."""
UNITS = {"length": "AU", "time": "days"}
YEARS = 10
"""Length of the training data, and of the test data."""


def run(out: Path, console: Console) -> dict[str, Any]:
    """Runs the example, prints a table and writes pictures to `out`. Returns the figures."""
    console.rule("[bold]2. The solar system: gravity from ten years of JPL's ephemeris")
    ephemeris = solar_system()
    names, planets = ephemeris.names, ephemeris.names[1:]
    train = ephemeris.between(0, YEARS).snapshots(sun_weight=SUN_WEIGHT)
    train = graphs.take(train, np.arange(len(train.n_node)) % 2 == 0)
    test, state, times, observed = held_out(ephemeris)
    newton = systems.gravity()

    # Fitted twice, so that the time does not include compilation.
    fitted, _ = timed_fit(train, jr.key(0))
    fitted, seconds = timed_fit(train, jr.key(0))
    model = fitted.model
    factor, exponent = force_law(model)
    console.print(
        f"{len(train.n_node)} snapshots of 1990-1999, solved in {seconds:.2f} s; the Sun's rows "
        f"are down-weighted by {1 / SUN_WEIGHT:.0f}\n{fitted.summary()}\n"
        f"Force law found: F = {factor:.6f} G m1 m2 r^{exponent:.6f}"
    )
    plots.potential(fitted, newton, log=True, units=UNITS).savefig(out / "gravity.png")

    force = test.nodes["force"]
    against = {
        "ephemeris": median_errors(model, test, force),
        "Newton": median_errors(model, test, newton.vector_field(test)[1]),
    }

    years = (times[-1] - times[0]) / 365.25
    with warnings.catch_warnings(record=True, action="always") as notes:
        learned, true = (
            np.asarray(rollout(m, state, times, dt=1.0, integrator=diffrax.Dopri8()).position)
            for m in (model, newton)
        )
    for note in notes:
        console.print(f"Note: {note.message}")
    errors, newton_errors = (heliocentric_error(path, observed) for path in (learned, true))
    orbits_figure(names, learned, observed).savefig(out / "planets_tracks.png")
    plots.position_errors(
        (times - times[0]) / 365.25,
        {"learned": errors, "Newton": newton_errors},
        names=names,
        units={"length": "AU", "time": "years"},
    ).savefig(out / "planets_errors.png")

    table = Table(
        title=f"Held-out decade: median relative acceleration error, and greatest heliocentric "
        f"position error over {years:.2f} years",
        caption="Newton: the ten-body law from the same start. DE421 includes general relativity.",
    )
    for heading in ("body", "against DE421", "against Newton", "position (AU)", "Newton's (AU)"):
        table.add_column(heading, justify="left" if heading == "body" else "right")
    for i, name in enumerate(names):
        row = [f"{against[k][i]:.1e}" for k in against]
        # The Sun is the origin, and has no error.
        row += [f"{e[:, i].max():.1e}" if i else "" for e in (errors, newton_errors)]
        table.add_row(name, *row)
    console.print(table)

    def by_body(values: Any, chosen: tuple[str, ...]) -> dict[str, float]:
        return {name: float(values[names.index(name)]) for name in chosen}

    return {
        "train_seconds": seconds,
        "relative_acceleration_error": by_body(against["ephemeris"], names),
        "relative_error_against_newton": by_body(against["Newton"], names),
        "force_law_exponent": exponent,
        "position_error_au": by_body(errors.max(axis=0), planets),
        "newton_position_error_au": by_body(newton_errors.max(axis=0), planets),
        "years": years,
        "sun_weight": SUN_WEIGHT,
    }


def orbits_figure(names: tuple[str, ...], learned: np.ndarray, observed: np.ndarray) -> Figure:
    """Figure of learned and observed orbits `[t n 3]` about the Sun, along x and y."""
    return plots.tracks(
        learned, truth=observed, names=names, origin=0, zoom=INNER, plane=(0, 1), units=UNITS
    )


def held_out(
    ephemeris: Ephemeris,
) -> tuple[GraphsTuple, GraphsTuple, np.ndarray, np.ndarray]:
    """Data of the second decade: snapshots, the first of them as start of a rollout, and from there
    on times `[t]`, four days apart, and observed positions `[t n 3]`."""
    test = ephemeris.between(YEARS, 2 * YEARS).snapshots()
    start = graphs.take(test, np.arange(len(test.n_node)) == 0)
    first = int(np.argmin(np.abs(ephemeris.times - float(start.globals["time"][0]))))
    return test, start, ephemeris.times[first::2], ephemeris.position[first::2]


def median_errors(model: AbstractModel, data: GraphsTuple, force: jax.Array) -> np.ndarray:
    """Median over frames of |F - force| / |force| for every body of equal-sized snapshots."""
    error = jnp.linalg.norm(model.vector_field(data)[1] - force, axis=-1)
    relative = error / jnp.linalg.norm(force, axis=-1)
    return np.median(np.asarray(relative).reshape(len(data.n_node), -1), axis=0)


def heliocentric_error(path: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Distances `[t n]` between positions `[t n 3]`, both relative to body 0, the Sun."""
    return np.linalg.norm((path - path[:, :1]) - (observed - observed[:, :1]), axis=-1)


def force_law(model: HamiltonianGraphNetwork) -> tuple[float, float]:
    """Factor A and exponent n of the power law A r^n for dphi/dr.

    The fit is a least-squares line of logarithms, at 400 distances of the trained range, even in
    log r.
    """
    low, high = model.pair_range()
    r = jnp.geomspace(low, high, 400)
    slope = jax.vmap(jax.grad(model.pair_energy))(r)
    exponent, log_factor = np.polyfit(np.log(r), np.log(slope), 1)
    return float(np.exp(log_factor)), float(exponent)
