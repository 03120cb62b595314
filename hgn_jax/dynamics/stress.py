"""Stress and pressure of bodies in a periodic cell."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from ..graphs.geometry import movable, sum_over_graphs, velocity_of
from ..graphs.schema import require
from ..models.base import AbstractModel
from .observables import AbstractObservable


class Stress(AbstractObservable):
    r"""$\sigma = (\partial E / \partial \epsilon - \sum_i p_i \otimes v_i) / V$, `[g d d]`
    (energy / length^d); positive under tension.

    The virial of the model and the momenta of mobile bodies, over the volume of the cell.
    """

    name: ClassVar[str] = "stress"
    additive: ClassVar[bool] = True

    def check(self, graphs: GraphsTuple) -> None:
        require(graphs, {"globals": ["cell"]}, "the stress")

    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, "g d d"]:
        return stress(model, graphs)


class Pressure(AbstractObservable):
    r"""$P = (\sum_i p_i \cdot v_i - \mathrm{tr}\, \partial E / \partial \epsilon) / d V$
    (energy / length^d), a third of the trace of `Stress`, negative, in three dimensions."""

    name: ClassVar[str] = "pressure"
    additive: ClassVar[bool] = True

    def check(self, graphs: GraphsTuple) -> None:
        require(graphs, {"globals": ["cell"]}, "the pressure")

    def __call__(
        self, model: AbstractModel, graphs: GraphsTuple, start: GraphsTuple
    ) -> Float[Array, " g"]:
        d = graphs.nodes["position"].shape[1]
        return -jnp.trace(stress(model, graphs), axis1=1, axis2=2) / d


def stress(model: AbstractModel, graphs: GraphsTuple) -> Float[Array, "g d d"]:
    """Stress of each graph, with the part of the motion if there are momenta; zero for padding."""
    total = model.virial(graphs)
    if {"momentum", "mass"} <= graphs.nodes.keys():
        p = jnp.where(movable(graphs)[:, None], graphs.nodes["momentum"], 0)
        total = total - sum_over_graphs(graphs, p[:, :, None] * velocity_of(graphs)[:, None, :])
    volume = jnp.abs(jnp.linalg.det(graphs.globals["cell"]))[:, None, None]
    return jnp.where(volume > 0, total / jnp.where(volume > 0, volume, 1), 0)
