"""Parameters of a model that gradient descent changes."""

import equinox as eqx
import jax
from jaxtyping import PyTree

from ..features.base import AbstractTerm
from ..features.dense import Dense
from ..models.network import HamiltonianGraphNetwork


def trainable(model: PyTree) -> PyTree:
    """Mask of the arrays that gradient descent changes: a tree like the model, for `eqx.partition`.

    In sampled features these are the hidden weights and biases, elsewhere all floating-point
    arrays.
    """

    def of_layer(node: PyTree) -> PyTree:
        frozen = jax.tree.map(lambda _: False, node)
        if not isinstance(node, Dense):
            return frozen
        return eqx.tree_at(lambda layer: (layer.weight, layer.bias), frozen, (True, True))

    def of_part(node: PyTree) -> PyTree:
        if isinstance(node, AbstractTerm):
            return jax.tree.map(of_layer, node, is_leaf=lambda n: isinstance(n, Dense))
        if isinstance(node, HamiltonianGraphNetwork):
            # Rates do not depend on the constants, but weight decay would shrink them.
            mask = jax.tree.map(eqx.is_inexact_array, node)
            masks = tuple(map(of_part, node.terms))
            return eqx.tree_at(lambda m: (m.basis.terms, m.constants), mask, (masks, False))
        return eqx.is_inexact_array(node)

    parts = (AbstractTerm, HamiltonianGraphNetwork)
    return jax.tree.map(of_part, model, is_leaf=lambda n: isinstance(n, parts))
