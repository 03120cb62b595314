"""Rollouts of several models from one start; their spread says when to stop trusting them."""

from collections.abc import Sequence

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float
from jraph import GraphsTuple

from ..graphs.neighbours import Neighbours
from ..integrators.stormer_verlet import StormerVerlet
from ..models.base import AbstractModel
from .rollout import rollout
from .save_times import Every
from .trajectory import Trajectory


class Spread(eqx.Module):
    """Mean and spread of the members' trajectories.

    Spreads are standard deviations: square roots of the summed squared distances from the mean over
    the number of members less one. In chaotic motion they grow exponentially. The members agree
    while their spread is small compared with the distances that matter.
    """

    times: Float[Array, " t"]
    position: Float[Array, "t n d"]
    momentum: Float[Array, "t n d"]
    position_spread: Float[Array, "t n"]
    """Spread of each body (length)."""
    momentum_spread: Float[Array, "t n"]
    members: Trajectory
    """All trajectories, with a leading axis of members."""
    finite: Bool[Array, " m"]
    """True for members that stayed finite; after one did not, mean and spread are NaN."""


def rollout_ensemble(
    models: AbstractModel | Sequence[AbstractModel],
    graph: GraphsTuple,
    times: ArrayLike | Sequence[float] | Every,
    *,
    dt: ArrayLike,
    integrator: diffrax.AbstractSolver = StormerVerlet(),
    neighbours: Neighbours | None = None,
) -> Spread:
    """Rolls out every model from the same start, batched by vmap; arguments as in `hgn.rollout`.

    `models` is a list of models of one structure, or one model whose arrays have a leading axis of
    members, such as `jax.vmap(lambda key: hgn.fit(data, key=key).model)(keys)`.

    **Raises:** `ValueError` for fewer than two members or members that differ in structure, and
    the errors of `hgn.rollout`. Members that do not stay finite are reported in `finite`.
    """
    stacked = _stacked(models) if isinstance(models, Sequence) else models
    shapes = {a.shape[:1] for a in jax.tree.leaves(eqx.filter(stacked, eqx.is_array))}
    if len(shapes) != 1 or () in shapes:  # a scalar has no axis of members
        raise ValueError(
            "an ensemble is a list of models, or one model whose arrays all lead with an axis of "
            f"members; the leading axes are {sorted(shapes)}"
        )
    ((count,),) = shapes
    if count < 2:
        raise ValueError(f"an ensemble needs at least two members, got {count}")
    if neighbours is not None and neighbours.sizes is None:
        neighbours = neighbours.allocate(graph)

    def member(model: AbstractModel) -> Trajectory:
        return rollout(
            model, graph, times, dt=dt, integrator=integrator, neighbours=neighbours, throw=False
        )

    paths = eqx.filter_vmap(member)(stacked)
    return Spread(
        times=paths.times[0],
        position=jnp.mean(paths.position, axis=0),
        momentum=jnp.mean(paths.momentum, axis=0),
        position_spread=_spread(paths.position),
        momentum_spread=_spread(paths.momentum),
        members=paths,
        finite=paths.finite,
    )


def _stacked(models: Sequence[AbstractModel]) -> AbstractModel:
    if len({jax.tree.structure(eqx.filter(m, eqx.is_array_like)) for m in models}) != 1:
        raise ValueError("the members differ in structure: give models of the same features")
    partitions = [eqx.partition(m, eqx.is_array_like) for m in models]
    if not all(eqx.tree_equal(static, partitions[0][1]) for _, static in partitions):
        raise ValueError("the members differ in more than numbers: give models of the same kind")
    arrays = jax.tree.map(
        lambda *leaves: jnp.stack(list(map(_array, leaves))), *(a for a, _ in partitions)
    )
    return eqx.combine(arrays, partitions[0][1])


def _array(leaf: ArrayLike) -> Array:
    """The leaf as an array; parameters may be Python numbers."""
    return leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf, float)


def _spread(values: Float[Array, "m t n d"]) -> Float[Array, "t n"]:
    deviation = values - jnp.mean(values, axis=0, keepdims=True)
    return jnp.sqrt(jnp.sum(deviation**2, axis=(0, 3)) / (len(values) - 1))  # over members and axes
