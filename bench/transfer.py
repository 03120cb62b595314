"""Few shots of a new system: from scratch, and with a prior from other systems.

One body in the plane moves in a potential of one of six families with random parameters. Forces are
observed at k random points, with errors of 2% of their root mean square; 150 random units of the
position. The prior is learned from ten systems of every family at 100 points each ("seen"), or of
every family but the one that is tested ("unseen"). Errors are those of forces without noise at 400
points.

Cross-domain meta-learning of Hamiltonians (Song and Jeong, arXiv 2212.01168) adapts a network to
systems like these; its tables are of other data, so that no published figure stands here.
"""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple
from matplotlib.figure import Figure

import hgn_jax as hgn

from .record import Case, Record, main

SHOTS = (1, 2, 4, 8, 16, 32)
UNITS, NOISE, WIDTH = 150, 0.02, 1.5
GOALS = {("seen", 8): 0.055, ("unseen", 32): 0.085}
MODELS = ("scratch", "seen", "unseen")

Potential = Callable[[Float[Array, " 2"], Float[Array, " p"]], Float[Array, ""]]


def _spring(q: Array, p: Array) -> Array:
    return (p[0] * (q[0] - p[2]) ** 2 + p[1] * (q[1] - p[3]) ** 2) / 2


def _pendula(q: Array, p: Array) -> Array:
    return p[0] * (1 - jnp.cos(q[0])) + p[1] * (1 - jnp.cos(q[1])) + p[2] * (q[0] - q[1]) ** 2 / 2


def _henon_heiles(q: Array, p: Array) -> Array:
    x, y = q
    return p[0] * (x**2 + y**2) / 2 + p[1] * (x**2 * y - y**3 / 3)


def _two_bodies(q: Array, p: Array) -> Array:
    return -p[0] / jnp.sqrt((q[0] - p[1]) ** 2 + (q[1] - p[2]) ** 2 + 0.5**2)


def _double_well(q: Array, p: Array) -> Array:
    return p[0] * (q[0] ** 2 - p[1]) ** 2 + p[2] * q[1] ** 2 / 2


def _magnetic_mirror(q: Array, p: Array) -> Array:
    """A charge in a magnetic bottle, to sixth order (Efthymiopoulos, Harsoula, Contopoulos,
    Nonlinearity 28, 2015), in units of length and energy of its own."""
    s, z = q[0] * p[1], q[1] * p[1]
    return p[0] * (
        s**2 / 2 + s**2 * z**2 / 2 - s**4 / 8 + s**2 * z**4 / 8 - s**4 * z**2 / 16 + s**6 / 128
    )


FAMILIES: dict[str, tuple[Potential, tuple[tuple[float, float], ...]]] = {
    "springs": (_spring, ((0.5, 2), (0.5, 2), (-0.5, 0.5), (-0.5, 0.5))),
    "pendula": (_pendula, ((0.5, 2), (0.5, 2), (0, 1))),
    "Henon-Heiles": (_henon_heiles, ((0.5, 2), (0.5, 1.5))),
    "two bodies": (_two_bodies, ((0.5, 2), (-0.3, 0.3), (-0.3, 0.3))),
    "double well": (_double_well, ((0.3, 1), (0.3, 1.2), (0.5, 2))),
    "magnetic mirror": (_magnetic_mirror, ((0.5, 2), (0.7, 1))),
}
"""Potentials, and the ranges of their parameters."""


def cases(quick: bool) -> Iterator[Case]:
    for family in list(FAMILIES)[:2] if quick else FAMILIES:
        yield Case({"family": family}, functools.partial(_measured, family, quick))


def _measured(family: str, quick: bool) -> list[Record]:
    priors = {"seen": _prior(None, quick), "unseen": _prior(family, quick)}
    terms, records = _terms(), []
    for shots in SHOTS[2:4] if quick else SHOTS:
        errors: dict[str, list[float]] = {name: [] for name in MODELS}
        trust: dict[str, list[float]] = {name: [] for name in priors}
        for number in range(2 if quick else 10):
            parameters = _parameters(family, 1000 + number)
            few = _observed(family, parameters, shots, 5000 + number, NOISE)
            test = _observed(family, parameters, 400, 9000 + number, 0.0)
            options = {"observations": [hgn.Forces("uniform")], "throw": False}
            fits = {"scratch": hgn.solve(terms, few, **options)}
            fits |= {name: prior.fit(few, throw=False) for name, prior in priors.items()}
            for name, fit in fits.items():
                errors[name].append(float(hgn.metrics.relative_error(fit.model, test)["force"]))
                if name in trust:
                    trust[name].append(float(fit.trust))
        records.append(
            {"shots": shots}
            | {name: float(np.exp(np.mean(np.log(errors[name])))) for name in MODELS}
            | {f"trust_{name}": float(np.mean(trust[name])) for name in trust}
        )
    return records


@functools.cache
def _terms() -> tuple[hgn.AbstractTerm, ...]:
    """Random units of the position, sampled at points of the square."""
    spec = hgn.External(UNITS, hgn.ELM(), symmetry=hgn.groups.point("C1", dimension=2))
    typical = _observed("springs", _parameters("springs", 0), 400, 0, 0.0)
    return hgn.sample([spec], typical, key=jr.key(0))


@functools.cache
def _prior(without: str | None, quick: bool) -> hgn.Prior:
    """Prior from ten systems of every family, except one."""
    fits = [
        hgn.solve(
            _terms(),
            _observed(family, _parameters(family, number), 100, number, NOISE),
            observations=[hgn.Forces("uniform")],
            throw=False,
        )
        for family in FAMILIES
        if family != without
        for number in range(2 if quick else 10)
    ]
    return hgn.prior(fits)


def _parameters(family: str, seed: int) -> Float[np.ndarray, " p"]:
    rng = np.random.default_rng([seed, list(FAMILIES).index(family)])
    return np.array([rng.uniform(low, high) for low, high in FAMILIES[family][1]])


def _observed(
    family: str, parameters: Float[np.ndarray, " p"], count: int, seed: int, noise: float
) -> GraphsTuple:
    """Forces at random points of the square, with errors relative to their root mean square."""
    rng = np.random.default_rng([seed, 1])
    position = jnp.asarray(rng.uniform(-WIDTH, WIDTH, (count, 2)))
    force = _forces(family, position, jnp.asarray(parameters))
    # Errors are those of the typical force of the system, not of these few points.
    points = jnp.asarray(np.random.default_rng(0).uniform(-WIDTH, WIDTH, (400, 2)))
    typical = jnp.sqrt(jnp.mean(_forces(family, points, jnp.asarray(parameters)) ** 2))
    force = force + noise * typical * jnp.asarray(rng.normal(size=force.shape))
    return _graphs(position, force)


@functools.partial(jax.jit, static_argnums=0)
def _forces(family: str, position: Float[Array, "n 2"], parameters: Array) -> Float[Array, "n 2"]:
    potential = FAMILIES[family][0]
    return -jax.vmap(jax.grad(lambda q: potential(q, parameters)))(position)


def _graphs(position: Float[Array, "n 2"], force: Float[Array, "n 2"]) -> GraphsTuple:
    """One graph of a single body for every point."""
    count = len(position)
    nothing = np.zeros(0, np.int32)
    return GraphsTuple(
        nodes={"position": position, "mass": jnp.ones(count), "force": force},
        edges={},
        senders=jnp.asarray(nothing),
        receivers=jnp.asarray(nothing),
        globals={},
        n_node=jnp.ones(count, jnp.int32),
        n_edge=jnp.zeros(count, jnp.int32),
    )


def draw(records: list[Record]) -> Figure:
    """Errors against the number of points, as geometric means over families."""
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    ax = figure.subplots()
    shots = sorted({r["shots"] for r in records})
    for name in MODELS:
        ax.plot(shots, [mean(records, name, k) for k in shots], "o-", label=LABELS[name])
    ax.set(xscale="log", yscale="log", xlabel="points of the new system", ylabel="force error")
    ax.set_xticks(shots, [str(k) for k in shots])
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return figure


LABELS = {
    "scratch": "from scratch",
    "seen": "prior, family seen",
    "unseen": "prior, family never seen",
}


def mean(records: list[Record], name: str, shots: int) -> float:
    """Geometric mean over families."""
    mine = [r[name] for r in records if r["shots"] == shots]
    return float(np.exp(np.mean(np.log(mine))))


if __name__ == "__main__":
    main("transfer", "Few shots of a new system: force errors", cases, draw)
