"""EGNN's five charges from the kind of data that the networks have: frames 30 and 40 alone.

Positions at frame 40 depend on the law through 1000 steps of motion. Gauss-Newton steps linearise
that dependence, from no force at all: rows are the derivatives of positions at frame 40 by the
coefficients, which one least-squares solve with a ridge by evidence turns into new coefficients.
Cauchy weights keep close encounters, whose motion is chaotic, from deciding them. Further samples
choose where the tail begins. Generator and errors are those of `bench.charged_particles`.
"""

import functools
import warnings
from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax.features import AbstractPairFeatures

from .charged_particles import (
    BODIES,
    CLIP,
    EVERY,
    FIRST,
    LAST,
    RECEIVERS,
    SENDERS,
    STEP,
    Trajectories,
    errors,
    tabulated,
    trajectories_of,
)
from .record import Case, Record, main

UNITS, ITERATIONS = 24, 10
CUTS = (0.45, 0.6, 0.9, 1.2, 1.6)
"""Distances of pairs below which the learned force may continue as a power law."""
ABOVE = 4.0
"""Distance above which it continues as one."""


def cases(quick: bool) -> Iterator[Case]:
    samples, count = (60, 100) if quick else (300, 2000)
    settings = {"samples": samples, "for_the_cut": samples}
    yield Case(settings, functools.partial(_measured, samples, count))


def _measured(samples: int, count: int) -> Record:
    data, held = trajectories_of(samples, seed=2), trajectories_of(samples, seed=3)
    (term,) = hgn.sample([hgn.Pair(UNITS)], _ends(data), key=jr.key(0))
    assert isinstance(term, AbstractPairFeatures)
    theta, medians = jnp.zeros(UNITS), []
    for _ in range(ITERATIONS):
        theta, median = _improved(term, theta, data)
        medians.append(float(median))
    learned = hgn.HamiltonianGraphNetwork(hgn.Basis((term,)), (theta,), jnp.zeros(1))
    tried = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # reports the exponents
        for cut in CUTS:
            tailed = learned.tails("power", below=cut, above=ABOVE)
            tried[cut] = errors(tabulated(tailed), STEP, held)["mean"], tailed
    cut = min(tried, key=lambda cut: tried[cut][0])
    model = tried[cut][1]
    return {
        "cut": cut,
        "exponent": float(model.terms[0].exponents[0, 0]),
        "median_misfits": medians,
        **errors(tabulated(model), STEP, trajectories_of(count, seed=1)),
    }


def _improved(
    term: AbstractPairFeatures, theta: Float[Array, " K"], data: Trajectories
) -> tuple[Float[Array, " K"], Float[Array, ""]]:
    """Coefficients after one Gauss-Newton step, and the median misfit before it."""
    product = data.charge[:, SENDERS] * data.charge[:, RECEIVERS]
    start = (data.position[FIRST], data.velocity[FIRST], product)
    position, slopes = _moved(term, theta, *map(jnp.asarray, start))
    misfit = jnp.asarray(data.position[LAST]) - position
    size = jnp.sqrt(jnp.mean(misfit**2, axis=(1, 2)))
    median = jnp.median(size)
    weight = 1 / (median * jnp.sqrt(1 + (size / (3 * median)) ** 2))
    weight = jnp.broadcast_to(weight[:, None, None], misfit.shape).ravel()
    rows = slopes.reshape(-1, len(theta))
    target = misfit.ravel() + rows @ theta
    solution = hgn.QR("evidence")(rows * weight[:, None], target * weight)
    return solution.theta, median


@eqx.filter_jit
def _moved(
    term: AbstractPairFeatures,
    theta: Float[Array, " K"],
    position: Float[Array, "s n 3"],
    velocity: Float[Array, "s n 3"],
    product: Float[Array, "s e"],
) -> tuple[Float[Array, "s n 3"], Float[Array, "s n 3 K"]]:
    """Positions ten frames later and their derivatives by theta; `product` of both charges."""

    def at_nodes(of_edges: Float[Array, "s e ..."]) -> Float[Array, "s n ..."]:
        return jnp.sum(of_edges.reshape(len(position), BODIES, BODIES - 1, *of_edges.shape[2:]), 2)

    def kick_and_drift(_: int, state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, v, dx, dv = state
        apart, dapart = (a[:, SENDERS] - a[:, RECEIVERS] for a in (x, dx))
        square = jnp.sum(apart**2, axis=-1)
        s = square.ravel()
        units, bends = jax.jvp(lambda s: term.slopes(s, 0), (s,), (jnp.ones_like(s),))
        units = units.reshape(*square.shape, -1)
        bend = (bends @ theta).reshape(square.shape)
        pull = -2 * product * (units @ theta)
        along = 2 * jnp.einsum("sed,sedk->sek", apart, dapart)
        dpull = -2 * product[..., None] * (units + bend[..., None] * along)
        force = at_nodes(pull[..., None] * apart)
        dforce = at_nodes(dpull[:, :, None] * apart[..., None] + pull[..., None, None] * dapart)
        free = jnp.abs(force) < CLIP
        v = v + STEP * jnp.clip(force, -CLIP, CLIP)
        dv = dv + STEP * jnp.where(free[..., None], dforce, 0)
        return x + STEP * v, v, dx + STEP * dv, dv

    none = jnp.zeros((*position.shape, len(theta)))
    start = position, velocity, none, none
    x, _, dx, _ = jax.lax.fori_loop(0, (LAST - FIRST) * EVERY, kick_and_drift, start)
    return x, dx


def _ends(data: Trajectories) -> GraphsTuple:
    """Both frames of all samples, from which features are sampled."""
    position = np.concatenate([data.position[FIRST], data.position[LAST]])
    count = len(position)
    starts = BODIES * np.arange(count)[:, None]
    return GraphsTuple(
        nodes={"position": jnp.asarray(position.reshape(-1, 3)), "mass": jnp.ones(count * BODIES)},
        edges={},
        senders=jnp.asarray((starts + SENDERS[None]).ravel(), jnp.int32),
        receivers=jnp.asarray((starts + RECEIVERS[None]).ravel(), jnp.int32),
        globals={},
        n_node=jnp.full(count, BODIES, jnp.int32),
        n_edge=jnp.full(count, len(SENDERS), jnp.int32),
    )


if __name__ == "__main__":
    main("two_frames", "Five charges from two frames: mean square error of positions", cases)
