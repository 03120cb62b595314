"""Motion-tracked systems of Schmidt and Lipson (Science 324, 2009): a pendulum, carts on an air
track and a double pendulum, learned from states with errors and forecast beyond the training part.

The pendulum has the split and the energy of Greydanus, Dzamba, Yosinski (arXiv 1906.01563). D-HNN
is that of Sosanya and Greydanus (arXiv 2201.10085). The files are not shipped: pass their
folder as `--data`.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float
from jraph import GraphsTuple

import hgn_jax as hgn

from . import double_pendulum
from .record import Case, Record, main

UNITS = (0, 8)
"""Numbers of `Angular` units that are tried on the training part."""
TRAIN = 0.8
NO_PAIRS = np.zeros((0, 2), int)
CART_SECONDS = 8.7
TWO_CARTS_SECONDS = 4.85
APART = 600.0
"""Added to the second cart's positions, which the file counts from another origin: distances stay
positive, and neither cart comes where the other moves."""

Table = Float[np.ndarray, "t c"]


def cases(quick: bool, data: Path) -> Iterator[Case]:
    for seed in range(1 if quick else 3):
        yield Case({"measured": "pendulum", "seed": seed}, partial(_pendulum, data, seed))
    yield Case({"measured": "cart", "seed": 0}, partial(_cart, data))
    yield Case({"measured": "two carts", "seed": 0}, partial(_two_carts, data))
    yield Case({"measured": "double", "seed": 0}, partial(double_pendulum.measured, data))


def _pendulum(folder: Path, seed: int) -> Record:
    table = np.loadtxt(folder / "real_pend_h_1.txt", comments="%")[:-1]
    train, test = np.split(table, [int(TRAIN * len(table)) + 1])
    units = _chosen(train, seed)
    linear, refined = _learned(train, units, seed)
    kinetic, _, friction = refined.model.theta
    return {
        "one_solve": _pendulum_errors(linear, train, test),
        "refined": _pendulum_errors(refined, train, test),
        "train": len(train),
        "test": len(test),
        "seconds": float(test[-1, 1] - test[0, 1]),
        "candidates": list(UNITS),
        "units": units,
        "kinetic": float(kinetic[0]),
        "friction": float(friction[0]),
        "friction_deviation": _friction_deviation(refined),
    }


def _chosen(train: Table, seed: int) -> int:
    """Units whose forecast of the last fifth of the training part is best."""
    first, last = np.split(train, [int(TRAIN * len(train))])
    errors = [
        _pendulum_errors(_learned(first, units, seed)[1], first, last)["state_forecast"]
        for units in UNITS
    ]
    return UNITS[int(np.argmin(errors))]


def _learned(table: Table, units: int, seed: int) -> tuple[hgn.Fit, hgn.Fit]:
    data = _angles(table)
    terms = [hgn.Kinetic(0), hgn.Angular(units), hgn.Friction(0)]
    fit = hgn.fit(data, key=seed, terms=terms, observations=[hgn.Steps()])
    return fit, hgn.refine(fit, data)


def _angles(table: Table) -> GraphsTuple:
    """Angle and rate of every line of the file."""
    angle, rate = table[:, 2:, None, None].swapaxes(0, 1)
    return hgn.graphs.from_trajectories(
        table[:, 1], angle, momentum=rate, mass=1.0, edges=NO_PAIRS, rates=False
    )


def _pendulum_errors(fit: hgn.Fit, train: Table, test: Table) -> Record:
    """Mean squares from the first test point, and from the end of the training part."""
    raw = _rollout(fit, _frame(_angles(test), 0), test[:, 1])
    end = _frame(hgn.smooth(fit.model, _angles(train)), len(train) - 1)
    forecast = _rollout(fit, end, np.append(train[-1, 1], test[:, 1]))[1:]
    true = test[:, 2:]
    return {
        "energy": float(np.mean((_energy(raw) - _energy(true)) ** 2)),
        "state": float(np.mean((raw - true) ** 2)),
        "energy_forecast": float(np.mean((_energy(forecast) - _energy(true)) ** 2)),
        "state_forecast": float(np.mean((forecast - true) ** 2)),
    }


def _energy(states: Float[np.ndarray, "t 2"]) -> Float[np.ndarray, " t"]:
    return 2.4 * (1 - np.cos(states[:, 0])) + states[:, 1] ** 2


def _frame(data: GraphsTuple, k: int) -> GraphsTuple:
    return hgn.graphs.take(data, np.arange(len(data.n_node)) == k)


def _rollout(
    fit: hgn.Fit, start: GraphsTuple, times: Float[np.ndarray, " t"], bodies: int = 1
) -> Float[np.ndarray, "t _"]:
    """Positions and momenta of bodies on a line."""
    # A tenth of the least step between two lines of the file.
    dt = float(np.diff(times).min()) / 10
    path = hgn.rollout(fit.model, start, times - times[0], dt=dt, integrator=hgn.GaussLegendre4())
    arrays = np.asarray(path.position), np.asarray(path.momentum)
    return np.concatenate([a.reshape(len(times), bodies) for a in arrays], axis=1)


def _friction_deviation(fit: hgn.Fit) -> float:
    """Standard deviation of the coefficient of friction, from the variances of three forces.

    Forces at rates 1, -1 and 0 share the potential's part, and their covariance with friction
    cancels in the sum.
    """
    forward, still, back = (
        float(np.ravel(fit.standard_deviation(_at(rate)).force)[0]) ** 2 for rate in (1, 0, -1)
    )
    return float(np.sqrt((forward + back) / 2 - still))


def _at(rate: int) -> GraphsTuple:
    table = np.column_stack([np.zeros(3), np.arange(3.0), np.zeros(3), np.full(3, rate)])
    return _frame(_angles(table), 0)


def _cart(folder: Path) -> Record:
    """Forecast of the last seconds, from the positions before."""
    table = np.loadtxt(folder / "real_linear_h_1.txt", comments="%")
    time, position, velocity = table[:, 1], table[:, 2, None, None], table[:, 3, None, None]
    last = int((time < time[-1] - CART_SECONDS).sum())

    def measured(**more: np.ndarray) -> GraphsTuple:
        return hgn.graphs.from_trajectories(
            time[:last], position[:last], mass=1.0, edges=NO_PAIRS, rates=False, **more
        )

    terms = [hgn.External(8), hgn.Friction(0)]
    # Friction needs velocities to begin with; the refinement is by positions alone.
    start = hgn.fit(
        measured(velocity=velocity[:last]), key=0, terms=terms, observations=[hgn.Steps(window=16)]
    )
    fit = hgn.refine(start, measured())
    end = _frame(hgn.smooth(fit.model, measured()), last - 1)
    error = _rollout(fit, end, time[last - 1 :])[1:, 0] - position[last:].ravel()
    return {
        "friction": float(fit.model.theta[-1][0]),
        "seconds": float(time[-1] - time[last]),
        "error": float(np.sqrt(np.mean(error**2)) / np.std(position)),
        "goal": 0.01,
    }


def _two_carts(folder: Path) -> Record:
    """The same for two carts between three springs, whose masses are unknown."""
    table = np.loadtxt(folder / "real_double_linear_h_1.txt", comments="%")
    time, velocity = table[:, 1], table[:, 4:, None]
    position = (table[:, 2:4] + [0.0, APART])[:, :, None]
    last = int((time < time[-1] - TWO_CARTS_SECONDS).sum())

    def measured(**more: np.ndarray) -> GraphsTuple:
        return hgn.graphs.from_trajectories(
            time[:last], position[:last], mass=1.0, edges="all", rates=False, **more
        )

    terms = [hgn.External(8), hgn.Pair(8), hgn.Friction(0)]
    start = hgn.fit(
        measured(velocity=velocity[:last]), key=0, terms=terms,
        observations=[hgn.Steps(window=16)], throw=False,
    )  # fmt: skip
    fit = hgn.refine(start, measured(), unknown="mass", throw=False)
    assert fit.refinement is not None and fit.refinement.found is not None
    found = fit.refinement.found
    calm = hgn.smooth(fit.model, found.apply(measured()))
    error = _rollout(fit, _frame(calm, last - 1), time[last - 1 :], bodies=2)[1:, :2]
    return {
        "mass_ratio": float(found.values[1]),
        "deviation": float(found.deviations[1]),
        "seconds": float(time[-1] - time[last]),
        "error": float(
            np.sqrt(np.mean(((error - position[last:, :, 0]) / np.std(position, axis=0).T) ** 2))
        ),
        "goal": 0.02,
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder of Schmidt and Lipson's files")


if __name__ == "__main__":
    if any(word.startswith("--data") for word in sys.argv):
        main("real_systems", "Motion-tracked systems", cases, arguments=arguments)
    else:
        print("skipped: pass --data, the folder of Schmidt and Lipson's files")
