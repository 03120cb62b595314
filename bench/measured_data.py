"""States as they are measured: noisy, coarse, positions alone. Force errors of one solve and of the
refined fit, beside the Bayesian bound of the same data.

10 trajectories of 40 samples; errors are those of dp/dt on clean states of 20 unseen trajectories,
geometric means over the seeds. Noise is in units of the standard deviations of displacements and of
momenta, and is not told to the method. The bound is the root mean square of the posterior's
standard deviation for rows along the true motion, at the true noise, with the ridge of the
evidence: what the features and the data leave open.

Unknown masses are found from positions alone, beside the law: those of a ring, which start at one,
and those of the planets in units of the Sun's, which all start at the same guess.
"""

import functools
import time
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jraph import GraphsTuple
from matplotlib.figure import Figure

import hgn_jax as hgn
from hgn_jax.fitting.growth import Growth
from hgn_jax.fitting.refine import GaussNewton
from hgn_jax.fitting.windows import trajectories_of, windows_of

from .record import Case, Record, dots, main

TRAJECTORIES, FRAMES, TEST = 10, 40, 20
SYSTEMS = {
    "ring of 5 springs": (
        hgn.systems.mass_spring("spring", rest_length=1.0),
        functools.partial(hgn.graphs.ring, 5),
    ),
    "Morse 2x2x2": (
        hgn.systems.mass_spring("morse"),
        functools.partial(hgn.graphs.lattice, (2, 2, 2)),
    ),
}
GOALS: dict[tuple[str, str, int, float], tuple[float | None, float | None]] = {
    ("ring of 5 springs", "states", 20, 0.01): (1.0e-2, 1.3),
    ("ring of 5 springs", "states", 20, 0.1): (8.0e-2, 1.3),
    ("ring of 5 springs", "states", 8, 0.1): (None, 2.0),
    ("Morse 2x2x2", "states", 20, 0.01): (None, 1.3),
    ("Morse 2x2x2", "states", 8, 0.1): (None, 1.3),
    ("ring of 5 springs", "positions", 20, 0.01): (None, 1.2),
}
"""Error of one solve to be reached, and that of the refined fit over the bound, by system, what is
measured, samples per fastest period, and noise."""

RING_MASSES = np.array([1.0, 2.0, 0.5, 1.5, 1.0])
MASS_NOISES = (0.01, 0.001, 0.05)
MASS_GOAL = 0.01
PLANET_GUESS = 1e-4
"""First mass of every planet, in masses of the Sun: ten times less than the heaviest one."""
PLANET_YEARS, PLANET_STEP = 10, 4


def cases(quick: bool) -> Iterator[Case]:
    for system, measured, samples, noise in list(GOALS)[: 1 if quick else None]:
        settings: Record = {
            "system": system, "measured_are": measured, "samples_per_period": samples,
            "noise": noise,
        }  # fmt: skip
        yield Case(settings, functools.partial(_measured, **settings, seeds=1 if quick else 3))
    for noise in MASS_NOISES[: 1 if quick else None]:
        settings = {"measured": "masses", "system": "ring of 5 springs", "noise": noise}
        measure = functools.partial(_masses_of_ring, noise, seeds=1 if quick else 3)
        yield Case(settings, measure)
    if not quick:
        yield Case({"measured": "masses", "system": "planets"}, _masses_of_planets)


def _measured(
    system: str, measured_are: str, samples_per_period: int, noise: float, seeds: int
) -> Record:
    found = [_one(system, measured_are, samples_per_period, noise, seed) for seed in range(seeds)]
    linear, ratio = GOALS[system, measured_are, samples_per_period, noise]

    def mean(name: str) -> float:
        return float(np.exp(np.mean([np.log(r[name]) for r in found])))

    over_bound = [r["refined"] / r["bound"] for r in found]
    over_deviation = [r["refined"] / r["deviation"] for r in found]
    return {
        **{name: mean(name) for name in ("one_solve", "refined", "bound", "deviation")},
        "refined_over_bound": mean("refined") / mean("bound"),
        "goal_one_solve": linear,
        "goal_over_bound": ratio,
        "over_bound": over_bound,
        "over_deviation": over_deviation,
        "residual": mean("residual"),
        "window": [r["window"] for r in found],
        "one_solve_seconds": min(r["one_solve_seconds"] for r in found),
        "refine_seconds": min(r["refine_seconds"] for r in found),
        "reasons": [r["reason"] for r in found],
    }


def _one(system: str, measured_are: str, samples: int, noise: float, seed: int) -> Record:
    data, clean, test = _data(system, measured_are == "positions", samples, noise, seed)
    terms = [hgn.Pair(32)] if measured_are == "positions" else [hgn.Kinetic(0), hgn.Pair(32)]
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "POOR")  # a tenth of the motion is noise
        fit = hgn.fit(data, key=seed, terms=terms, observations=[hgn.Steps()])
        solved = time.perf_counter()
        refined = hgn.refine(fit, data)
    end = time.perf_counter()
    path = refined.refinement
    assert path is not None
    return {
        "one_solve": _error(fit, test),
        "refined": _error(refined, test),
        "bound": _bound(fit, data, clean, test),
        "deviation": _deviation(refined, test),
        "residual": float(path.residual[path.accepted - 1]),
        "window": fit.equations.observations[0].window,
        "one_solve_seconds": solved - start,
        "refine_seconds": end - solved,
        "reason": path.reason,
    }


def _error(fit: hgn.Fit, test: GraphsTuple) -> float:
    return float(hgn.metrics.relative_error(fit.model, test)["force"])


def _deviation(fit: hgn.Fit, test: GraphsTuple) -> float:
    """Root mean square of the standard deviations of the forces over that of the forces."""
    square = jnp.mean(fit.standard_deviation(test).force ** 2)
    return float(jnp.sqrt(square / jnp.mean(test.nodes["force"] ** 2)))


def _bound(fit: hgn.Fit, data: GraphsTuple, clean: GraphsTuple, test: GraphsTuple) -> float:
    """The deviation of the posterior around the true motion, at the true noise."""
    # Without noise, exact rates determine the coefficients.
    exact = hgn.solve(fit.model.terms, clean, known=fit.model.basis.known)
    names = fit.model.dynamics.state
    measured, true = trajectories_of(data, names), trajectories_of(clean, names)
    each = np.asarray(measured.state - true.state).reshape(len(measured.time), len(names), -1)
    sizes = [
        float(np.std(each[:, k])) if name in data.nodes else 1.0 for k, name in enumerate(names)
    ]
    growth = Growth(measured, np.array(sizes), exact.model, true.state)
    steps = GaussNewton(exact, hgn.QR("groups"), growth)
    steps(exact.model, true.state, windows_of(measured, FRAMES), 16)
    return _deviation(steps.found, test)


@functools.lru_cache(maxsize=4)
def _data(
    system: str, alone: bool, samples: int, noise: float, seed: int
) -> tuple[GraphsTuple, GraphsTuple, GraphsTuple]:
    """Measured states, the same without noise and with rates, and clean test trajectories."""
    law, build = SYSTEMS[system]
    graph = build()
    step = _fastest_period(law, graph) / samples
    times = step * np.arange(FRAMES)
    simulate = functools.partial(hgn.systems.simulate, law, graph, times=times)
    clean = simulate(key=jr.key(seed), trajectories=TRAJECTORIES)
    noisy = simulate(key=jr.key(seed), trajectories=TRAJECTORIES, noise=noise)
    test = simulate(key=jr.key(1000 + seed), trajectories=TEST)
    shape = (TRAJECTORIES, FRAMES, *graph.nodes["position"].shape)
    q, p = (np.asarray(noisy.nodes[name]).reshape(shape) for name in ("position", "momentum"))
    pairs = np.stack([graph.senders, graph.receivers], axis=1)[: len(graph.senders) // 2]
    data = hgn.graphs.from_trajectories(
        times, q, momentum=None if alone else p, mass=1.0, edges=pairs, rates=False
    )
    return data, clean._replace(globals={k: clean.globals[k] for k in data.globals}), test


def _masses_of_ring(noise: float, seeds: int) -> Record:
    """Greatest relative error of the masses, the mean over the seeds."""
    law, build = SYSTEMS["ring of 5 springs"]
    graph = build()
    times = _fastest_period(law, graph) / 20 * np.arange(FRAMES)
    pairs = np.stack([graph.senders, graph.receivers], axis=1)[: len(graph.senders) // 2]
    heavy = graph._replace(nodes=graph.nodes | {"mass": jnp.asarray(RING_MASSES)})
    errors, scores, seconds = [], [], []
    for seed in range(seeds):
        moving = hgn.systems.simulate(
            law, heavy, key=jr.key(seed), trajectories=TRAJECTORIES, times=times, noise=noise
        )
        q = np.asarray(moving.nodes["position"]).reshape(TRAJECTORIES, FRAMES, 5, 2)
        data = hgn.graphs.from_trajectories(times, q, mass=1.0, edges=pairs, rates=False)
        fit = hgn.fit(data, key=seed, terms=[hgn.Pair(32)], observations=[hgn.Steps()], throw=False)
        start = time.perf_counter()
        found = _found(fit, data, "mass")
        seconds.append(time.perf_counter() - start)
        error = np.asarray(found.values) - RING_MASSES
        errors.append(float(np.abs(error / RING_MASSES).max()))
        scores += np.abs(error[1:] / np.asarray(found.deviations)[1:]).tolist()
    return {
        "greatest_error": float(np.mean(errors)),
        "goal": MASS_GOAL if noise <= 0.01 else None,
        "errors_over_deviations": float(np.sqrt(np.mean(np.square(scores)))),
        "refine_seconds": min(seconds),
    }


def _masses_of_planets() -> Record:
    """Masses from the positions of one decade of DE421."""
    ephemeris = hgn.datasets.solar_system().between(0, PLANET_YEARS)
    n = len(ephemeris.names)
    mass = np.append(1.0, np.full(n - 1, PLANET_GUESS))
    i, j = np.triu_indices(n, 1)
    data = hgn.graphs.from_trajectories(
        ephemeris.times[::PLANET_STEP],
        ephemeris.position[::PLANET_STEP],
        mass=mass,
        edges="all",
        coupling=mass[i] * mass[j],
        rates=False,
    )
    fit = hgn.fit(
        data, key=0, terms=[hgn.Pair(32)], observations=[hgn.Steps(window=16)], throw=False
    )
    start = time.perf_counter()
    found = _found(fit, data, "gravity")
    true = ephemeris.gm / ephemeris.gm[0]
    error = np.asarray(found.values) / true - 1
    giants = [ephemeris.names.index(name) for name in ("Jupiter", "Saturn", "Uranus", "Neptune")]
    deviation = np.asarray(found.deviations) / true
    known = np.isfinite(deviation)
    return {
        "greatest_error": float(np.abs(error[giants]).max()),
        "goal": MASS_GOAL,
        "bodies": list(ephemeris.names[1:]),
        "errors": error[1:].tolist(),
        "deviations": [float(d) if k else None for d, k in zip(deviation[1:], known[1:])],
        "refine_seconds": time.perf_counter() - start,
    }


def _found(fit: hgn.Fit, data: GraphsTuple, unknown: Any) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the data do not determine")
        refinement = hgn.refine(fit, data, unknown=unknown, throw=False).refinement
    assert refinement is not None
    return refinement.found


def _fastest_period(law: hgn.AbstractModel, graph: GraphsTuple) -> float:
    """Shortest period of small oscillations about the graph's own positions, for masses of one."""
    position = graph.nodes["position"]

    def energy(x: Any) -> Any:
        nodes = graph.nodes | {"position": x.reshape(position.shape)}
        return law(graph._replace(nodes=nodes))[0]

    stiffness = jnp.linalg.eigvalsh(jax.hessian(energy)(position.ravel()))
    return float(2 * jnp.pi / jnp.sqrt(stiffness[-1]))


def draw(records: list[Record]) -> Figure:
    """The refined error over the bound."""
    records = [r for r in records if "measured" not in r]
    return dots(records, _label, "refined_over_bound", "force error over the Bayesian bound")


def _label(record: Record) -> str:
    return (
        f"{record['system']}, {record['measured_are']}, {record['samples_per_period']} per period, "
        f"noise {record['noise']:.0%}"
    )


if __name__ == "__main__":
    main("measured_data", "Data as they are measured: force errors", cases, draw)
