"""Gravity learned from ten years of DE421, compared with the next ten years and with Newton's law.

Further runs have fewer units, fewer years just before the held-out ones, or go backward in time:
they learn from the second decade and are tested on the first, from its end to its start. The
perihelion of Mercury precesses by planets, which Newton's law has, and by relativity.
"""

from collections.abc import Iterator
from functools import cache, partial

import diffrax
import equinox as eqx
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple
from matplotlib.figure import Figure

import hgn_jax as hgn
from hgn_jax.demo.solar_system import (
    SUN_WEIGHT,
    YEARS,
    force_law,
    held_out,
    heliocentric_error,
    orbits_figure,
)
from hgn_jax.io.datasets import Ephemeris

from .perihelion import precession
from .record import Case, Record, main

UNITS = (16, 32, 64, 128, 256)
TRAINING_YEARS = (0.5, 1, 2, 5, 10)


def cases(quick: bool) -> Iterator[Case]:
    for seed in range(1 if quick else 3):
        for sweep, sun_weight in (("main", SUN_WEIGHT), ("main", 1.0), ("backward", SUN_WEIGHT)):
            settings = {"sweep": sweep, "sun_weight": sun_weight, "seed": seed}
            yield Case(settings, partial(_decade, **settings))
        settings = {"sun_weight": SUN_WEIGHT, "seed": seed}
        for units in UNITS[:: 2 if quick else 1]:
            measure = partial(_accelerations_of, seed, units=units)
            yield Case({"sweep": "units", **settings, "units": units}, measure)
        for years in TRAINING_YEARS[:: 2 if quick else 1]:
            measure = partial(_accelerations_of, seed, years=years)
            yield Case({"sweep": "years", **settings, "training_years": years}, measure)
        yield Case({"sweep": "precession", **settings}, partial(_precession, seed))


def orbits(quick: bool) -> Iterator[Case]:
    yield Case({"sun_weight": SUN_WEIGHT, "seed": 0}, _orbits)


def _decade(sweep: str, sun_weight: float, seed: int) -> list[Record]:
    """Errors of accelerations and orbits over the held-out decade, a record for each body."""
    backward = sweep == "backward"
    model = _learned(seed, sun_weight=sun_weight, backward=backward)
    errors, newton = (e.max(axis=0) for e in _position_errors(model, backward))
    _, exponent = force_law(model)
    _, _, times, _ = _test(backward)
    return [
        record
        | {
            "position_error_au": float(errors[i]) if i else None,
            "newton_position_error_au": float(newton[i]) if i else None,
            "exponent": exponent,
            "years": float(times[-1] - times[0]) / 365.25,
        }
        for i, record in enumerate(_accelerations(model, backward))
    ]


def _orbits() -> list[Record]:
    """Greatest errors of the positions up to one, two and five years, and the end."""
    learned, newton = _position_errors(_learned(0), False)
    _, _, times, _ = _test(False)
    return [
        {
            "until_year": years,
            "body": body,
            "position_error_au": float(learned[kept, i].max()),
            "newton_position_error_au": float(newton[kept, i].max()),
        }
        for years in (1, 2, 5, YEARS)
        for kept in [times - times[0] <= 365.25 * years]
        for i, body in enumerate(_ephemeris(False).names)
        if i
    ]


def _precession(seed: int) -> Record:
    """Precession of Mercury's perihelion over the held-out decade, in arcseconds per century."""
    ephemeris = _ephemeris(False)
    _, _, times, position = _test(False)
    velocity = ephemeris.velocity[np.isin(ephemeris.times, times)]
    paths = {"de421": (position, velocity)}
    for name, model in (("learned", _learned(seed)), ("newton", hgn.systems.gravity())):
        path = _path(model, False)
        velocities = np.asarray(path.momentum) / ephemeris.gm[:, None]
        paths[name] = np.asarray(path.position), velocities
    sun, mercury = (ephemeris.names.index(name) for name in ("Sun", "Mercury"))
    gm = float(ephemeris.gm[sun] + ephemeris.gm[mercury])
    figures = {
        f"precession_{name}": precession(times, q[:, mercury] - q[:, sun],
                                         v[:, mercury] - v[:, sun], gm)
        for name, (q, v) in paths.items()
    }  # fmt: skip
    return {"body": "Mercury", **figures, "years": float(times[-1] - times[0]) / 365.25}


def _accelerations_of(seed: int, units: int = 256, years: float = YEARS) -> list[Record]:
    return _accelerations(_learned(seed, units=units, years=years), False)


def _accelerations(model: hgn.HamiltonianGraphNetwork, backward: bool) -> list[Record]:
    test, *_ = _test(backward)
    bodies = _ephemeris(backward).names
    forces = (_force(m, test) for m in (model, hgn.systems.gravity()))
    learned, newton, de421 = (
        np.reshape(f, (-1, len(bodies), 3)) for f in (*forces, test.nodes["force"])
    )
    errors = {
        f"acceleration_against_{name}": np.median(
            np.linalg.norm(learned - force, axis=2) / np.linalg.norm(force, axis=2), axis=0
        )
        for name, force in (("de421", de421), ("newton", newton))
    }
    return [
        {"body": body} | {name: float(e[i]) for name, e in errors.items()}
        for i, body in enumerate(bodies)
    ]


@eqx.filter_jit
def _force(model: hgn.AbstractModel, data: GraphsTuple) -> Float[Array, "n 3"]:
    return model.vector_field(data)[1]


def _position_errors(
    model: hgn.AbstractModel, backward: bool
) -> tuple[Float[np.ndarray, "t n"], Float[np.ndarray, "t n"]]:
    """Heliocentric position errors (AU) of the model and of Newton's law from the same start."""
    *_, observed = _test(backward)
    path = np.asarray(_path(model, backward).position)
    return heliocentric_error(path, observed), _newton_errors(backward)


@cache
def _newton_errors(backward: bool) -> Float[np.ndarray, "t n"]:
    *_, observed = _test(backward)
    path = np.asarray(_path(hgn.systems.gravity(), backward).position)
    return heliocentric_error(path, observed)


def _path(model: hgn.AbstractModel, backward: bool) -> hgn.Trajectory:
    _, start, times, _ = _test(backward)
    return hgn.rollout(model, start, times, dt=1.0, integrator=diffrax.Dopri8())


def _learned(
    seed: int,
    *,
    sun_weight: float = SUN_WEIGHT,
    units: int = 256,
    years: float = YEARS,
    backward: bool = False,
) -> hgn.HamiltonianGraphNetwork:
    """Model learned from every second frame of the last `years` before the held-out decade."""
    decade = _ephemeris(backward).between(YEARS - years, YEARS)
    train = decade.snapshots(sun_weight=sun_weight)
    train = hgn.graphs.take(train, np.arange(len(train.n_node)) % 2 == 0)
    return hgn.fit(train, key=jr.key(seed), terms=[hgn.Kinetic(), hgn.Pair(units)]).model


@cache
def _test(backward: bool) -> tuple[GraphsTuple, GraphsTuple, np.ndarray, np.ndarray]:
    return held_out(_ephemeris(backward))


@cache
def _ephemeris(backward: bool) -> Ephemeris:
    """The ephemeris. Backward in time, frames are in reverse order and velocities reversed."""
    ephemeris = hgn.datasets.solar_system()
    if not backward:
        return ephemeris
    return ephemeris._replace(
        times=ephemeris.times[-1] - ephemeris.times[::-1],
        position=ephemeris.position[::-1],
        velocity=-ephemeris.velocity[::-1],
    )


def draw(records: list[Record]) -> Figure:
    """Figure of each body's error, as the median over the seeds, against units and years."""
    bodies = list(dict.fromkeys(r["body"] for r in records))
    figure, axes = plt.subplots(
        2, 2, figsize=(10, 7), sharex="col", sharey=True, layout="constrained"
    )
    colours = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]
    for row, against in zip(axes, ("DE421", "Newton")):
        for ax, (sweep, key) in zip(row, (("units", "units"), ("years", "training_years"))):
            mine = [r for r in records if r["sweep"] == sweep]
            xs = sorted({r[key] for r in mine})
            for body, colour in zip(bodies, colours):
                errors = [
                    np.median(
                        [
                            r[f"acceleration_against_{against.lower()}"]
                            for r in mine
                            if (r["body"], r[key]) == (body, x)
                        ]
                    )
                    for x in xs
                ]
                ax.loglog(xs, errors, "o-", ms=3.5, lw=1.2, color=colour, label=body)
            ax.set_xticks(xs, [str(x) for x in xs])
            ax.minorticks_off()
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(alpha=0.25)
        row[0].set_ylabel(f"relative acceleration error\nagainst {against}")
    axes[1, 0].set_xlabel("units of the pair features (trained on ten years)")
    axes[1, 1].set_xlabel("years of training data (256 units)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right", frameon=False)
    return figure


def draw_orbits(records: list[Record]) -> Figure:
    *_, observed = _test(False)
    path = np.asarray(_path(_learned(0), False).position)
    return orbits_figure(_ephemeris(False).names, path, observed)


if __name__ == "__main__":
    main("planets", "Greatest heliocentric errors in the held-out decade", orbits, draw_orbits)
    main(
        "solar_system",
        "Held-out decade: median relative errors, greatest position errors",
        cases,
        draw,
    )
