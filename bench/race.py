"""Methods in the race: tuned optimizers, and iterative solvers of the last layer."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import numpy as np
import optax
from jax.tree_util import Partial
from jaxtyping import Array, Float
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax._types import Key
from hgn_jax.fitting.equations import Equations
from hgn_jax.linear.triangle import column_scale

from .asgd import asgd

Factory = Callable[[optax.Schedule], optax.GradientTransformation]
Iteration = Callable[[Array, Array, int], Array]
"""theta from a matrix with columns of norm one, a target, and the number of iterations."""


def _rprop(schedule: optax.Schedule) -> optax.GradientTransformation:
    """Rprop, which adapts its step size; the schedule gives the first."""
    return optax.rprop(schedule(jnp.zeros(())))


# Defaults that limit an optimizer at errors this small are lowered: epsilons, weight decay.
OPTIMIZERS: dict[str, Factory] = {
    "SGD": optax.sgd,
    "ASGD": asgd,
    "SGD, momentum": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    "Adagrad": optax.adagrad,
    "Adadelta": optax.adadelta,
    "RMSprop": optax.rmsprop,
    "Rprop": _rprop,
    "Adam": optax.adam,
    "AdamW": lambda rate: optax.adamw(rate, weight_decay=1e-6),
    "Adamax": optax.adamax,
    "NAdam": optax.nadam,
    "RAdam": optax.radam,
    "AMSGrad": optax.amsgrad,
    "Adafactor": optax.adafactor,
    "Yogi": lambda rate: optax.yogi(rate, eps=1e-8),
    "AdaBelief": optax.adabelief,
    "Lion": lambda rate: optax.lion(rate, weight_decay=0.0),
    "Adan": lambda rate: optax.adan(rate, eps_root=0.0),
    "Muon": optax.contrib.muon,
    "LBFGS": lambda rate: optax.lbfgs(memory_size=30),
}
FULL_BATCH = ("Rprop", "LBFGS")
RATES = tuple(float(f"{10 ** (k / 2):.1e}") for k in range(-8, 3))
BATCH = 32


class Race(NamedTuple):
    """Best run of an optimizer, its settings, and all trials."""

    training: hgn.Training
    settings: dict[str, Any]
    tried: list[hgn.Training]
    diverged: list[dict[str, Any]]
    first: float
    """Seconds of the first call: one epoch, compilation included."""


def race(
    name: str,
    untrained: Callable[[int, str], hgn.HamiltonianGraphNetwork],
    train: GraphsTuple,
    validation: GraphsTuple,
    *,
    widths: tuple[int, ...],
    trial: int,
    budget: float,
) -> Race:
    """Chooses the learning rate and the start in runs of `trial` epochs, then the width (and, for a
    full batch, the number of snapshots) with neighbouring rates. Trains the best two settings for
    `budget` seconds each.

    `untrained(units, start)` returns the model; start is "sampled" or "Glorot". All choices,
    including the best epoch, are by the loss on `validation`.
    """
    full = name in FULL_BATCH
    rates = (1.0,) if name == "LBFGS" else RATES
    trial = 5 * trial if full else trial
    diverged, tried = [], []

    def run(settings: dict[str, Any], epochs: int) -> hgn.Training:
        data = hgn.graphs.take(train, np.arange(len(train.n_node)) < settings["snapshots"])
        training = hgn.train(
            untrained(settings["units"], settings["start"]),
            data,
            key=jr.key(3),
            optimizer=tuned(
                OPTIMIZERS[name],
                settings["learning_rate"],
                epochs * (1 if full else len(data.n_node) // BATCH),
            ),
            epochs=epochs,
            batch_size=None if full else BATCH,
            validation=validation,
            weights="uniform",
            throw=False,
        )
        last = training.validation[-1]
        if not last < max(1.0, training.validation[0]):
            diverged.append(settings | {"epochs": epochs})
        tried.append((least(training), settings, training))
        return training

    most = len(train.n_node)
    middle = {"units": widths[len(widths) // 2], "snapshots": most}
    jax.clear_caches()
    begin = time.perf_counter()
    run(middle | {"start": "Glorot", "learning_rate": rates[0]}, 1)
    first = time.perf_counter() - begin
    tried.clear()
    for start, rate in itertools.product(("sampled", "Glorot"), rates):
        run(middle | {"start": start, "learning_rate": rate}, trial)
    best = min(tried, key=lambda t: t[0])[1]
    where = rates.index(best["learning_rate"])
    for units, snapshots in itertools.product(widths, (100, most) if full else (most,)):
        if {"units": units, "snapshots": snapshots} == middle:
            continue
        for i, rate in enumerate(rates[max(where - 1, 0) : where + 2]):
            settings = best | {"units": units, "snapshots": snapshots, "learning_rate": rate}
            if i == 0:
                run(settings, 1)  # compiles
                tried.pop()
            run(settings, trial)
    for _, settings, short in sorted(tried, key=lambda t: t[0])[:2]:
        run(settings, max(int(budget / short.seconds[-1] * len(short.seconds)), trial))
    _, settings, training = min(tried, key=lambda t: t[0])
    diverged = [d for d in diverged if d["epochs"] > 1]  # leaves out the runs that only compile
    return Race(training, settings, [t for *_, t in tried], diverged, first)


def least(training: hgn.Training) -> float:
    """Lowest validation loss."""
    return float(np.nan_to_num(training.validation, nan=np.inf).min())


def tuned(factory: Factory, rate: float, steps: int) -> optax.GradientTransformationExtraArgs:
    """Optimizer whose learning rate is an array, so that a new rate does not recompile.

    The rate falls to zero along a half cosine over `steps` steps.
    """
    schedule = Partial(_half_cosine, jnp.asarray(rate), jnp.asarray(float(steps)))
    return optax.GradientTransformationExtraArgs(
        Partial(_init, factory, schedule), Partial(_update, factory, schedule)
    )


def _half_cosine(rate: Array, steps: Array, count: Array) -> Array:
    return rate * (1 + jnp.cos(jnp.pi * jnp.minimum(count.astype(rate.dtype) / steps, 1))) / 2


def _init(factory: Factory, schedule: Partial, params: optax.Params) -> optax.OptState:
    return factory(schedule).init(params)


def _update(
    factory: Factory, schedule: Partial, *args: Any, **extra: Any
) -> tuple[optax.Updates, optax.OptState]:
    return optax.with_extra_args_support(factory(schedule)).update(*args, **extra)


def iterated(
    solve: Iteration,
    iterations: int,
    data: GraphsTuple,
    *,
    key: Key,
    terms: Sequence[hgn.AbstractTermSpec],
) -> hgn.HamiltonianGraphNetwork:
    """Terms that `fit` samples, with coefficients from iterations on the rows themselves."""
    return _iterated(solve, iterations, hgn.Basis(hgn.sample(terms, data, key=key)), data)


@eqx.filter_jit
def _iterated(
    solve: Iteration, iterations: int, basis: hgn.Basis, data: GraphsTuple
) -> hgn.HamiltonianGraphNetwork:
    dtype = data.nodes["position"].dtype
    theta = {}
    for system in Equations(basis, (hgn.Derivatives(),), data).systems(data):
        scale = column_scale(system.matrix)
        found = solve(system.matrix / scale[None], system.target, iterations) / scale
        terms, widths = zip(*system.members)
        theta |= dict(zip(terms, jnp.split(found, np.cumsum(widths)[:-1])))
    constants = jnp.zeros(basis.constant_count, dtype)
    return hgn.HamiltonianGraphNetwork(
        basis, tuple(theta[i] for i in range(len(basis.terms))), constants
    )


def lsmr(
    matrix: Float[Array, "r K"], target: Float[Array, " r"], iterations: int
) -> Float[Array, " K"]:
    """Iterations of LSMR (Fong and Saunders, 2011), by lineax."""
    return lx.linear_solve(
        lx.MatrixLinearOperator(matrix),
        target,
        lx.LSMR(rtol=0.0, atol=0.0, conlim=jnp.inf, max_steps=iterations),
        throw=False,
    ).value


def lbfgs(
    matrix: Float[Array, "r K"], target: Float[Array, " r"], iterations: int
) -> Float[Array, " K"]:
    """Iterations of LBFGS with line search on |Z theta - u|^2 / 2, by optax."""
    size = jnp.linalg.norm(target)
    optimizer = optax.lbfgs(memory_size=30)

    def loss(theta: Float[Array, " K"]) -> Float[Array, ""]:
        return jnp.sum((matrix @ theta - target / size) ** 2) / 2

    def step(carry: tuple[Array, optax.OptState], _: None) -> tuple[tuple, None]:
        theta, state = carry
        value, gradient = optax.value_and_grad_from_state(loss)(theta, state=state)
        updates, state = optimizer.update(
            gradient, state, theta, value=value, grad=gradient, value_fn=loss
        )
        return (optax.apply_updates(theta, updates), state), None

    start = jnp.zeros_like(matrix, shape=matrix.shape[1])
    (theta, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=iterations)
    return size * theta
