"""Finite groups of rotations and reflections, as orthogonal matrices."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float

Matrices = Float[np.ndarray, "G d d"]

GREATEST = 1000
"""Number of elements above which generators are taken to make an infinite group."""
SAME = 1e-6
"""Greatest difference of the entries of matrices that count as equal."""


def point(name: str, dimension: int = 3) -> Matrices:
    """Matrices `[G d d]` of a point group by its Schoenflies symbol.

    In three dimensions "Cn", "Cnv", "Cnh", "Dn", "Dnh", "Dnd", "Sn" (even n) for any n, such as
    "C4v", with the main axis along z and a mirror or twofold axis along x; "Cs", "Ci"; the cubic
    groups "T", "Td", "Th", "O", "Oh" along the coordinate axes; "I", "Ih". In two dimensions "Cn"
    and "Cnv".

    **Raises:** `ValueError` for an unknown group.
    """
    generators = _generators(name, dimension) if isinstance(name, str) else None
    if generators is None:
        known = "Cn, Cnv" if dimension == 2 else "Cn, Cnv, Cnh, Dn, Dnh, Dnd, Sn (even n), Cs, Ci, "
        known += "" if dimension == 2 else "T, Td, Th, O, Oh, I, Ih"
        raise ValueError(
            f"no point group {name!r} in {dimension} dimensions; known are {known} with a number n"
        )
    return generated(generators)


def generated(generators: Sequence[ArrayLike]) -> Matrices:
    """The group of all products of the `generators`, with the identity first.

    **Raises:** `ValueError` if they are not orthogonal or make more than 1000 elements.
    """
    given = _orthogonal(generators)
    members = np.eye(given.shape[1])[None]
    fresh = members
    # Inverses need no products of their own: they are powers, since the group is finite.
    while len(fresh):
        # Of the new elements only: products of the older ones are known.
        products = np.einsum("gij,hjk->ghik", given, fresh).reshape(-1, *given.shape[1:])
        # Exact zeros and ones stay exact.
        products = np.where(
            abs(products - np.round(products)) < 1e-14, np.round(products), products
        )
        fresh = _new(products, members)
        members = np.concatenate([members, fresh])
        if len(members) > GREATEST:
            raise ValueError(f"the generators make more than {GREATEST} elements")
    return members


def checked(elements: ArrayLike | Sequence[ArrayLike]) -> Matrices:
    """The matrices, if they form a group.

    **Raises:** `ValueError` if they are not orthogonal, repeat, or are not closed under products.
    """
    group = _orthogonal(elements)
    same = _same(group, group)
    if same.sum() > len(group):
        first, second = np.argwhere(same & ~np.eye(len(group), dtype=bool))[0]
        raise ValueError(f"elements {first} and {second} of the group are equal")
    # Closure suffices: in a finite set, a power of each element is its inverse.
    for g, element in enumerate(group):
        inside = _same(element @ group, group).any(axis=1)
        if not inside.all():
            raise ValueError(
                f"not a group: the product of elements {g} and {np.argmin(inside)} is missing; "
                "hgn.groups.generated() adds what is missing"
            )
    return group


def _generators(name: str, dimension: int) -> list[np.ndarray] | None:
    """Generators of a point group; None if the name is unknown."""
    match = re.fullmatch(r"([CDS])([1-9]\d*)([vhd]?)", name)
    if dimension == 2:
        if match is None or match[1] != "C" or match[3] not in ("", "v"):
            return None
        turn = _turn(int(match[2]))[:2, :2]
        return [turn, np.diag([1.0, -1.0])] if match[3] else [turn]
    if dimension != 3:
        return None
    if match is not None:
        kind, n, plane = match[1] + match[3], int(match[2]), np.diag([1.0, 1.0, -1.0])
        turn, mirror, flip = _turn(n), np.diag([1.0, -1.0, 1.0]), np.diag([1.0, -1.0, -1.0])
        if kind == "S" and n % 2:  # the same group as Cnh
            return None
        return {
            "C": [turn],
            "Cv": [turn, mirror],
            "Ch": [turn, plane],
            "D": [turn, flip],
            "Dh": [turn, flip, plane],
            "Dd": [turn, flip, _turn(2 * n) @ plane],  # a rotation-reflection by pi / n
            "S": [turn @ plane],
        }.get(kind)
    # A third of a turn about (1, 1, 1) permutes the axes.
    three, two = np.roll(np.eye(3), 1, axis=0), np.diag([-1.0, -1.0, 1.0])
    swap, invert = np.eye(3)[[1, 0, 2]], -np.eye(3)
    # (0, 1, golden ratio) is a vertex of the icosahedron.
    five = _about(np.array([0, 1, (1 + 5**0.5) / 2]), 2 * np.pi / 5)
    return {
        "Cs": [np.diag([1.0, 1.0, -1.0])],
        "Ci": [invert],
        "T": [three, two],
        "Td": [three, two, swap],
        "Th": [three, two, invert],
        "O": [three, _turn(4)],
        "Oh": [three, _turn(4), invert],
        "I": [three, two, five],
        "Ih": [three, two, five, invert],
    }.get(name)


def _turn(n: int) -> np.ndarray:
    """Rotation by a full turn over n about z."""
    return _about(np.array([0.0, 0.0, 1.0]), 2 * np.pi / n)


def _about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation about an axis, by Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _orthogonal(matrices: object) -> np.ndarray:
    group = np.asarray(matrices, np.float64)
    if group.ndim != 3 or group.shape[1] != group.shape[2] or not group.size:
        raise ValueError(f"expected matrices [G d d], got shape {list(group.shape)}")
    error = abs(np.einsum("gij,gkj->gik", group, group) - np.eye(group.shape[1])).max(axis=(1, 2))
    if not (error < SAME).all():  # NaN is refused, too
        raise ValueError(f"element {int(np.argmax(~(error < SAME)))} is not orthogonal")
    return group


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """True where matrices of `a` and of `b` agree, `[a b]`."""
    return (abs(a[:, None] - b[None]) < SAME).all(axis=(2, 3))


def _new(matrices: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Matrices that are not in `known`, each once."""
    fresh = matrices[~_same(matrices, known).any(axis=1)]
    repeated = np.tril(_same(fresh, fresh), -1).any(axis=1)
    return fresh[~repeated]
