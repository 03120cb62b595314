"""Terms, coefficients and constants of sums of learned Hamiltonians."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..features.base import AbstractEnergy
from .basis import Basis


def joined(a: Basis, b: Basis) -> Basis:
    """Basis of the terms of both, whose known part both share.

    **Raises:** `ValueError` for other dimensions, species, dynamics or known parts.
    """
    for words, own, other in (
        ("spatial dimensions", _dimension(a), _dimension(b)),
        ("species", a.species, b.species),
    ):
        # None: all terms work in any dimension.
        if own != other and not (words == "spatial dimensions" and None in (own, other)):
            raise ValueError(f"models to be added have different {words}: {own} and {other}")
    if not _equal(a.dynamics, b.dynamics):
        names = type(a.dynamics).__name__, type(b.dynamics).__name__
        raise ValueError(f"models to be added have different dynamics: {names[0]} and {names[1]}")
    # A model without a known part joins any other.
    if a.known is not None and b.known is not None and not _equal(a.known, b.known):
        raise ValueError("models to be added have different known parts: give both fits the same")
    known = b.known if a.known is None else a.known
    return Basis((*a.terms, *b.terms), a.dynamics, known, a.species)


def summed(a: Basis, b: Basis) -> Basis:
    """The `joined` basis of a sum. Raises `ValueError` if it counts the kinetic energy twice."""
    basis = joined(a, b)
    # If just one has a known part, that part counts as a kinetic energy, too.
    others = not _equal(a.known, b.known)
    if "momentum" in a.dynamics.state and sum(map(_learns_kinetic, (a, b))) + others > 1:
        raise ValueError(
            "both models hold a kinetic energy, which their sum would count twice: fit both "
            "without Kinetic(), so that they share the known |p|^2/2m"
        )
    return basis


def joined_constants(
    sum_: Basis, parts: Sequence[tuple[Basis, Float[Array, " _"]]]
) -> Float[Array, " c"]:
    """Constants of pair types and bodies of the `joined` basis: the sums of those of its parts."""
    types = sum_.counts.pair_types  # pair types come first, then bodies
    total = jnp.zeros(sum_.constant_count, parts[0][1].dtype)
    for basis, constants in parts:
        own = basis.counts.pair_types
        total = total.at[:own].add(constants[:own])
        total = total.at[types : types + len(constants) - own].add(constants[own:])
    return total


def _learns_kinetic(basis: Basis) -> bool:
    energies = (term for term in basis.terms if isinstance(term, AbstractEnergy))
    return any("momentum" in energy.depends_on for energy in energies)


def _dimension(basis: Basis) -> int | None:
    """Spatial dimension that a term requires; None if all work in any."""
    return next((t.dimension for t in basis.terms if t.dimension is not None), None)


def _equal(a: object, b: object) -> bool:
    return bool(eqx.tree_equal(a, b))
