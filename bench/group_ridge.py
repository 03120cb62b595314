"""A ridge per group of columns: what external features cost without a field, and how well they
find a weak one. Morse cube, 200 noisy snapshots; errors on 500 without noise.

With uniform weights all rows have equal noise, as the evidence assumes. With relative weights, the
default, rows of slow bodies have more noise.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple
from matplotlib.figure import Figure

import hgn_jax as hgn
from hgn_jax.fitting.equations import column_groups
from hgn_jax.linear import LeastSquaresSolution, Triangle

from .record import Case, Record, main, seconds

NOISE = 0.01
DIRECTION = np.array([0.6, -0.64, 0.48])
WEIGHTS = ("uniform", "relative")
MODELS = ("pair alone", "one ridge", "groups")
GOALS = {0.0: 2.2e-3, 0.01: 2.4e-3, 0.3: 2.6e-3}
"""Goals for the force error with groups, by the field relative to the spread of the forces."""


def cases(quick: bool) -> Iterator[Case]:
    for pair, external in ((64, 16),) if quick else ((64, 16), (256, 64)):
        for weights in ("uniform",) if quick else WEIGHTS:
            for field in GOALS:
                settings = {"pair": pair, "external": external, "weights": weights, "field": field}
                yield Case(settings, functools.partial(_measured, **settings, quick=quick))


def _measured(pair: int, external: int, weights: str, field: float, quick: bool) -> Record:
    pull, test = _field(field), _data(field, 500, seed=100, noise=0.0)
    features = [hgn.Kinetic(0), hgn.Pair(pair), hgn.External(external)]
    errors: dict[str, list[float]] = {model: [] for model in MODELS}
    wrong, freedom = [], []
    for seed in range(3 if quick else 5):
        train, key = _data(field, 200, seed, NOISE), jr.key(10 + seed)
        options: dict[str, Any] = {
            "key": key, "observations": [hgn.Derivatives(weights)],
        }  # fmt: skip
        fits = {
            "pair alone": hgn.fit(train, terms=features[:2], **options),
            "one ridge": hgn.fit(train, terms=features, **options),
            "groups": hgn.fit(train, terms=features, solver=hgn.QR("groups"), **options),
        }
        for name, fit in fits.items():
            errors[name].append(float(hgn.metrics.relative_error(fit.model, test)["force"]))
        found = -fits["groups"].model.theta[2][-3:]
        wrong.append(float(jnp.max(jnp.abs(found - pull))))
        freedom.append(np.asarray(fits["groups"].solutions[1].group_dof))
    return {
        **{f"{name.replace(' ', '_')}_error": float(np.median(errors[name])) for name in MODELS},
        "worst_of_keys": max(errors["groups"]),
        "goal": GOALS[field],
        "field_off": float(np.median(wrong)) / float(jnp.max(jnp.abs(pull))) if field else None,
        **dict(zip(("pair_freedom", "alike_freedom", "by_mass_freedom", "field_freedom"),
                   np.median(freedom, axis=0).tolist(), strict=True)),
        **{f"{name}_seconds": _seconds(fits["groups"], how)
           for name, how in (("one_ridge", "auto"), ("groups", "groups"))},
    }  # fmt: skip


def _seconds(fit: hgn.Fit, ridge: str) -> float:
    """Seconds to solve the triangle of the forces, after compilation."""
    groups = column_groups(fit.equations.basis, fit.reduction.members[1])
    return seconds(lambda: _solved(fit.reduction.triangles[1], groups, ridge), 3)[1]


@functools.partial(jax.jit, static_argnums=(1, 2))
def _solved(triangle: Triangle, groups: tuple[int, ...], ridge: Any) -> LeastSquaresSolution:
    return hgn.QR(ridge).solve(triangle, groups)


@functools.cache
def _spread() -> float:
    """Standard deviation of the forces without a field."""
    return float(jnp.std(_data(0.0, 500, seed=100, noise=0.0).nodes["force"]))


def _field(strength: float) -> Float[Array, " 3"]:
    return jnp.asarray((strength * _spread() if strength else 0) * DIRECTION)


@functools.cache
def _system(field: float) -> hgn.systems.System:
    pull = _field(field)
    return hgn.systems.mass_spring("morse", external=lambda q, mass: -mass * jnp.dot(pull, q))


@functools.lru_cache(maxsize=16)
def _data(field: float, count: int, seed: int, noise: float) -> GraphsTuple:
    cube, key = hgn.graphs.lattice((2, 2, 2)), jr.key(seed)
    return hgn.systems.simulate(_system(field), cube, key=key, trajectories=count, noise=noise)


def draw(records: list[Record]) -> Figure:
    """Errors of the three fits against the strength of the field; one panel per weights."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    every = dict.fromkeys(r["weights"] for r in records)
    panels = figure.subplots(1, len(every), sharey=True, squeeze=False)[0]
    for ax, weights in zip(panels, every, strict=True):
        mine = [r for r in records if r["weights"] == weights and r["pair"] == records[0]["pair"]]
        for name in MODELS:
            ax.plot(
                [f"{r['field']:.0%}" for r in mine],
                [r[f"{name.replace(' ', '_')}_error"] for r in mine],
                "o-",
                label=name,
            )
        ax.set(yscale="log", title=f"{weights} weights", xlabel="field over the spread of forces")
        ax.grid(alpha=0.3, axis="y")
    panels[0].set_ylabel("force error, unseen data")
    panels[0].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main("group_ridge", "A ridge per group of columns: force errors, Morse cube", cases, draw)
