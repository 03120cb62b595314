"""Force fields of a lattice: electrons of the adiabatic Holstein model, on the square lattice.

Trained on exact diagonalisations of 12 x 12 sites: charge-density waves with domains plus noise.
Errors are those of the density <n_i>, relative to its standard deviation, for unseen states of
larger lattices, too. Then a quench of 24 x 24 sites from a disordered start: growth of the domains
with the learned force beside exact runs, from the same starts with the same thermal noise.

As arXiv 2601.04104 (figures there are not comparable: other couplings and temperatures).
"""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from jraph import GraphsTuple
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

import hgn_jax as hgn

from .record import Case, Record, main

SYSTEM = hgn.systems.Holstein(hopping=1.0, coupling=1.5, stiffness=0.65, temperature=0.05)
AMPLITUDE = 0.7
"""Displacements of the ordered wave, |Q| = g |n - 1/2| / K."""
MODELS: dict[str, Any] = {
    "patch, no symmetry": [
        hgn.HarmonicTrap(),
        hgn.Patch(600, symmetry=hgn.groups.point("C1", dimension=2)),
    ],
    "patch, D4": [hgn.HarmonicTrap(), hgn.Patch(600)],
    "walks of 8": [hgn.Walks(8, coupling=1.5)],
    "walks of 64": [hgn.Walks(64, coupling=1.5)],
}
CONFIGURATIONS = (1, 4, 24)
SIZES = {12: 10, 24: 4, 48: 1}
"""Sites along an axis, and number of test states."""
CANDIDATES = tuple(np.arange(2, 13) / 4)
DRAWS = 6
RUNS, TIME, STEP, EVERY = 8, 40.0, 0.2, 5
"""Runs, duration, time step, and steps between outputs."""
QUENCHED, FRICTION, START = 24, 0.2, 0.3
"""Sites along an axis, friction, and standard deviation of the displacements at the start."""


def cases(quick: bool) -> Iterator[Case]:
    counts = CONFIGURATIONS[-1:] if quick else CONFIGURATIONS
    for name in MODELS:
        for count in counts:
            settings = {"measured": "density", "model": name, "configurations": count}
            yield Case(settings, partial(_density, name, count, quick))
    for name in ("patch, D4", "walks of 64"):
        yield Case({"measured": "weak", "model": name}, partial(_weak, name))
    for draw in range(1 if quick else DRAWS):
        yield Case({"measured": "coupling", "draw": draw}, partial(_coupling, draw))
    for name in ("exact", "patch, D4", "walks of 64"):
        yield Case({"measured": "quench", "model": name}, partial(_quench, name, quick))


def domains(size: int, rng: np.random.Generator, weak: bool) -> Float[np.ndarray, "m m"]:
    """Charge-density wave of both signs, with walls two or three sites wide, plus noise.
    Weak waves have any amplitude down to zero."""
    smooth = gaussian_filter(rng.normal(size=(size, size)), 1.5, mode="wrap")
    noise = rng.uniform(0.05, 0.3) * rng.normal(size=(size, size))
    amplitude = rng.uniform(0, AMPLITUDE) if weak else AMPLITUDE
    return amplitude * np.tanh(2 * smooth / smooth.std()) * staggered(size) + noise


def staggered(size: int) -> Float[np.ndarray, "m m"]:
    return (-1.0) ** np.add.outer(np.arange(size), np.arange(size))


@cache
def solved(
    size: int, count: int, seed: int, weak: bool = False
) -> tuple[GraphsTuple, Float[np.ndarray, " n"]]:
    """States with their exact forces, and the densities."""
    rng = np.random.default_rng(seed)
    q = np.stack([domains(size, rng, weak).reshape(-1, 1) for _ in range(count)])
    graph = hgn.graphs.periodic_lattice((size, size))
    data = hgn.graphs.snapshots(graph, {"position": jnp.asarray(q)}, {})
    force = SYSTEM.vector_field(data)[1]
    return data._replace(nodes=data.nodes | {"force": force}), np.asarray(density(force, data))


def density(force: Any, graphs: GraphsTuple) -> Any:
    """Density that belongs to a force, F = g (n - 1/2) - K Q."""
    return ((force + SYSTEM.stiffness * graphs.nodes["position"]) / SYSTEM.coupling)[:, 0] + 0.5


def fitted(terms: list[Any], data: GraphsTuple) -> hgn.Fit:
    # throw=False: the misfit of a short expansion is expected.
    return hgn.fit(
        data,
        key=0,
        terms=terms,
        observations=[hgn.Forces()],
        solver=hgn.QR("groups"),
        throw=False,
    )


def _density(name: str, count: int, quick: bool) -> Record:
    fit = fitted(MODELS[name], solved(12, count, 0)[0])
    record: Record = {"columns": sum(map(len, fit.model.theta))}
    for size, tests in SIZES.items():
        if quick and size > 24:
            continue
        test, true = solved(size, tests, 1000 + size)
        found = np.asarray(density(fit.model.vector_field(test)[1], test))
        record[f"error_{size}"] = error(found, true)
        if size == 24 and count == CONFIGURATIONS[-1]:
            for key, values in (("true", true), ("learned", found)):
                record[key] = values[: size**2].reshape(size, size).round(4).tolist()
    return record


def error(found: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"]) -> float:
    return float(np.sqrt(np.mean((found - true) ** 2)) / np.std(true))


def _weak(name: str) -> Record:
    """Errors where waves are weak, in training and in tests: the gap is smaller."""
    fit = fitted(MODELS[name], solved(12, CONFIGURATIONS[-1], 0, weak=True)[0])
    record: Record = {}
    for size in (12, 24):
        test, true = solved(size, SIZES[size], 1000 + size, weak=True)
        found = np.asarray(density(fit.model.vector_field(test)[1], test))
        record[f"error_{size}"] = error(found, true)
    return record


def _coupling(draw: int) -> Record:
    """Evidence of every candidate, from two configurations."""
    data, _ = solved(12, 2, 100 + draw)
    evidence = [
        float(fitted([hgn.Walks(64, coupling=w)], data).solutions[0].evidence) for w in CANDIDATES
    ]
    order = np.argsort(evidence)[::-1]
    return {
        "found": float(CANDIDATES[order[0]]),
        "true": 1.5,
        "nats": evidence[order[0]] - evidence[order[1]],
        "evidence": evidence,
    }


def _quench(name: str, quick: bool) -> Record:
    """Langevin dynamics from uncorrelated displacements, at the temperature of the electrons."""
    duration, size = (4.0, 12) if quick else (TIME, QUENCHED)
    model: Any = SYSTEM
    if name != "exact":
        model = fitted(MODELS[name], snapshots(duration)).model
    times, q = quenched(model, size, RUNS, duration, seed=7)
    wave = q.reshape(-1, RUNS, size, size) * staggered(size)
    return {
        "times": times.tolist(),
        "domain_size": domain_size(wave).round(4).tolist(),
        "order": np.abs(wave.mean(axis=(2, 3))).round(4).tolist(),
    }


def quenched(
    model: hgn.AbstractModel, size: int, runs: int, duration: float, seed: int
) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t n"]]:
    rng = np.random.default_rng(seed)
    graph = hgn.graphs.periodic_lattice((size, size))
    q, p = rng.normal(size=(2, runs, size**2, 1))
    state = {"position": jnp.asarray(START * q)}
    state["momentum"] = jnp.asarray(SYSTEM.temperature**0.5 * p)
    thermostat = hgn.Langevin(SYSTEM.temperature, FRICTION, key=jax.random.key(seed))
    path = hgn.rollout(
        model,
        hgn.graphs.snapshots(graph, state, {}),
        hgn.Every(EVERY, round(duration / STEP / EVERY)),
        dt=STEP,
        integrator=thermostat,
    )
    return np.asarray(path.times), np.asarray(path.position)[:, :, 0]


@cache
def snapshots(duration: float) -> GraphsTuple:
    """Frames of exact quenches of 12 x 12 sites, with their forces."""
    _, q = quenched(SYSTEM, 12, CONFIGURATIONS[-1], duration, seed=8)
    frames = q.reshape(len(q), CONFIGURATIONS[-1], -1)
    # One frame of every run, at times that are spread evenly.
    numbers = np.linspace(0, len(q) - 1, CONFIGURATIONS[-1]).round().astype(int)
    chosen = frames[numbers, np.arange(CONFIGURATIONS[-1])][:, :, None]
    graph = hgn.graphs.periodic_lattice((12, 12))
    data = hgn.graphs.snapshots(graph, {"position": jnp.asarray(chosen)}, {})
    return data._replace(nodes=data.nodes | {"force": SYSTEM.vector_field(data)[1]})


def domain_size(wave: Float[np.ndarray, "t r m m"]) -> Float[np.ndarray, "t r"]:
    """Distance along the axes at which the correlation has fallen to half, at most half of the
    lattice."""
    correlation = np.fft.ifft2(np.abs(np.fft.fft2(wave)) ** 2).real
    most = wave.shape[-1] // 2
    along = correlation[..., : most + 1, 0] + correlation[..., 0, : most + 1]
    above = along / along[..., :1] - 0.5
    # The first distance that is below; the value before it is above, since that at 0 is.
    k = np.argmax(np.concatenate([above < 0, np.ones_like(above[..., :1], bool)], axis=-1), axis=-1)
    last, first = (
        np.take_along_axis(above, np.minimum(n, most)[..., None], axis=-1)[..., 0]
        for n in (k - 1, k)
    )
    crossing = k - 1 + last / np.where(k > most, 1, last - first)
    return np.where(k > most, float(most), crossing)


def compared(records: list[Record]) -> list[Record]:
    """Adds how far the mean of the domain size and of the order is from that of exact runs, in
    standard deviations of those, and how often it is within their range."""
    runs = {r["model"]: r for r in records if r["measured"] == "quench"}
    for record in runs.values():
        if record["model"] == "exact":
            continue
        for key in ("domain_size", "order"):
            exact, found = (np.array(r[key])[1:] for r in (runs["exact"], record))  # one start
            mean = found.mean(axis=1)
            distance = np.abs(mean - exact.mean(axis=1)) / exact.std(axis=1, ddof=1)
            within = (mean >= exact.min(axis=1)) & (mean <= exact.max(axis=1))
            record[f"{key}_distance"] = float(distance.mean())
            record[f"{key}_greatest_distance"] = float(distance.max())
            record[f"{key}_within"] = float(within.mean())
    return records


def picture(records: list[Record]) -> Figure:
    *_, maps = (r for r in records if isinstance(r.get("true"), list))
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, 4)
    titles = {"true": "exact density", "learned": f"learned, {maps['model']}"}
    for ax, (key, title) in zip(axes, titles.items()):
        shown = ax.imshow(maps[key], vmin=0, vmax=1, cmap="RdBu_r")
        ax.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[:2], shrink=0.8)
    quenches = [r for r in records if r["measured"] == "quench"]
    for record, color in zip(quenches, ("#888888", "#2a4d7a", "#c44e52")):
        for ax, key in zip(axes[2:], ("domain_size", "order")):
            values, times = np.array(record[key]), record["times"]
            ax.plot(times, values.mean(axis=1), color=color, label=record["model"])
            if record["model"] == "exact":
                ax.fill_between(
                    times, values.min(1), values.max(1), color=color, alpha=0.25, lw=0,
                    label="range of the exact runs",
                )  # fmt: skip
    axes[2].set(xlabel="time", title="domain size (sites)")
    axes[3].set(xlabel="time", title="order parameter")
    axes[2].legend(frameon=False)
    return figure


if __name__ == "__main__":
    main("holstein", "Charge-density waves", cases, picture, compared)
