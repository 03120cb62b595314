"""Uncertainty of forces along a rollout."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .dynamics.observables import AbstractObservable
from .fitting.result import Fit
from .graphs.geometry import graph_index, movable
from .models.base import AbstractModel


class Deviation(AbstractObservable):
    """Greatest standard deviation of a force on a body (energy / length), as the fit predicts it.

    It says how far the state is from the training data. `hgn.rollout` ends where it is too great
    with `until={"deviation": bound}`. Scale it with `hgn.calibrate`, so that it includes errors of
    the model. It costs more than a step: ask for few outputs.
    """

    name: ClassVar[str] = "deviation"
    fit: Fit

    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, " g"]:
        size = jnp.sqrt(jnp.sum(self.fit.standard_deviation(graphs).force ** 2, axis=1))
        size = jnp.where(movable(graphs), size, 0)
        greatest = jax.ops.segment_max(
            size, graph_index(graphs), graphs.n_node.shape[0], indices_are_sorted=True
        )
        return jnp.maximum(greatest, 0)  # of empty graphs
