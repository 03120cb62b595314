"""Initial models for gradient descent: sampled features and normally distributed coefficients."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array
from jraph import GraphsTuple

from .._arguments import as_key
from .._types import Key
from ..features.base import AbstractEnergy, AbstractTermSpec
from ..features.kinetic import Kinetic
from ..features.pair import Pair
from ..graphs.geometry import movable
from ..graphs.schema import require
from ..graphs.validate import check
from ..models.basis import Basis
from ..models.network import HamiltonianGraphNetwork
from .sample import sample

RATES = ("velocity", "force")


def untrained(
    data: GraphsTuple,
    *,
    key: Key | int,
    terms: Sequence[AbstractTermSpec] = (Kinetic(), Pair()),
) -> HamiltonianGraphNetwork:
    """Initial model for `train`: the features that `fit` samples, with normal coefficients.

    The coefficients of each term are scaled so that its rates are as large as the observed ones.
    Specs with `sampling=Glorot()` give the hidden layers the standard initialisation. `terms`,
    `data` and `key` are those of `fit`.

    **Raises:** `ValueError` for bad data (see `hgn.check`), missing rates, or terms that are no
    energies.
    """
    check(data)
    require(data, {"nodes": RATES}, "gradient descent")
    drawn = sample(terms, data, key=key)
    energies = tuple(term for term in drawn if isinstance(term, AbstractEnergy))
    if len(energies) < len(drawn):
        raise ValueError(
            "gradient descent trains energies only: leave Friction() and the like out of `terms`"
        )
    return _untrained(energies, data, jr.fold_in(as_key(key), 1))


@eqx.filter_jit
def _untrained(
    features: tuple[AbstractEnergy, ...], data: GraphsTuple, key: Key
) -> HamiltonianGraphNetwork:
    dtype = data.nodes["position"].dtype
    theta = []
    for k, f in zip(jr.split(key, len(features)), features):
        draw = jr.normal(k, (jax.eval_shape(f, data).shape[1],), dtype)  # its width alone
        alone = _without_constants((f,), (draw,), data)
        rates = [jnp.where(movable(data)[:, None], r, 0) for r in alone.vector_field(data)]
        # Rates that the term does not change are no measure of it: Kinetic moves no momenta.
        observed = [
            jnp.where(movable(data)[:, None] & jnp.any(r != 0), data.nodes[name], 0)
            for name, r in zip(RATES, rates)
        ]
        size = jnp.linalg.norm(jnp.stack(rates))
        scale = jnp.linalg.norm(jnp.stack(observed)) / jnp.where(size > 0, size, 1)
        theta.append(draw * jnp.where(size > 0, scale, 1))
    return _without_constants(features, tuple(theta), data)


def _without_constants(
    terms: tuple[AbstractEnergy, ...], theta: tuple[Array, ...], data: GraphsTuple
) -> HamiltonianGraphNetwork:
    basis = Basis(terms)
    constants = jnp.zeros(basis.constant_count, data.nodes["position"].dtype)
    return HamiltonianGraphNetwork(basis, theta, constants)
