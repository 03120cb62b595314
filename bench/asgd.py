"""Averaged stochastic gradient descent, which optax lacks, for the race."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int


class Average(NamedTuple):
    """Number of steps, and the mean of the iterates that count."""

    step: Int[Array, ""]
    iterates: Int[Array, ""]
    mean: optax.Params


def asgd(schedule: optax.Schedule) -> optax.GradientTransformation:
    """SGD that ends at the average of the iterates of its second half (Polyak and Juditsky, SIAM J.
    Control Optim. 30, 1992).

    PyTorch's ASGD keeps this average beside its iterates, from the step t0 on. Its own decay of the
    rate gives way to the schedule, which must have fallen to a half of its first value halfway and
    to zero after the last step.
    """

    def init(params: optax.Params) -> Average:
        return Average(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), params)

    def update(
        gradient: optax.Updates, state: Average, params: optax.Params
    ) -> tuple[optax.Updates, Average]:
        rate = schedule(state.step)
        counts = rate <= schedule(jnp.zeros_like(state.step)) / 2
        iterates = state.iterates + counts.astype(jnp.int32)
        weight = 1 / jnp.maximum(iterates, 1).astype(rate.dtype)
        mean = jax.tree.map(
            lambda x, g, m: m + weight * (x - rate * g - m), params, gradient, state.mean
        )
        last = schedule(state.step + 1) == 0
        updates = jax.tree.map(
            lambda x, g, m: jnp.where(last, m - x, -rate * g), params, gradient, mean
        )
        return updates, Average(state.step + 1, iterates, mean)

    return optax.GradientTransformation(init, update)
