"""Mean of an ensemble of learned Hamiltonians."""

from collections.abc import Sequence
from functools import reduce

import equinox as eqx

from .addition import joined, joined_constants
from .network import HamiltonianGraphNetwork


def mean(models: Sequence[HamiltonianGraphNetwork]) -> HamiltonianGraphNetwork:
    r"""One model, whose energies, forces and rates are the means of those of the models.

    $H = H_{known} + \frac{1}{m} \sum_k (\Phi_k \theta_k + c_k \cdot n)$: models are linear in their
    coefficients, so that their mean is a model with the terms of all. It rolls out, is compressed
    and exported as any other, and takes as long to evaluate as all of them.

    Give fits to the same data with different keys: where the features cannot express the truth,
    errors of the members partly cancel.

    **Raises:** `TypeError` for anything but learned models. `ValueError` for none, or for different
    spatial dimensions, species, dynamics or known parts.
    """
    if not models:
        raise ValueError("models must hold at least one model, got none")
    for number, model in enumerate(models):
        if not isinstance(model, HamiltonianGraphNetwork):
            raise TypeError(f"models[{number}] is a {type(model).__name__}: give fit.model")
        if not eqx.tree_equal(model.basis.known, models[0].basis.known):
            raise ValueError(
                f"models 0 and {number} have different known parts: give all fits the same known="
            )
    basis = reduce(joined, [model.basis for model in models])
    constants = joined_constants(basis, [(model.basis, model.constants) for model in models])
    theta = tuple(one / len(models) for model in models for one in model.theta)
    return HamiltonianGraphNetwork(basis, theta, constants / len(models))
