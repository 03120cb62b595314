"""Exact terms that the data cannot tell apart."""

import numpy as np

from ..features.drive import DriveFeatures
from ..features.exact import AbstractExact
from ..linear.independence import beside
from ..models.basis import Basis
from .reduction import Reduction

SAME = 1e-7
"""Share of a column below which the rest of it is rounding."""


def ties(basis: Basis, reduction: Reduction) -> tuple[str, ...]:
    """A sentence for every exact term of which a column is a combination of those of other ones: a
    uniform field beside a drive of all bodies, for example. Concrete values only."""
    sentences: list[str] = []
    for triangle, members in zip(reduction.triangles, reduction.members):
        if triangle.r.ndim > 2:  # of many fits at once
            continue
        starts = np.cumsum([0, *(width for _, width in members)])
        # A list: several terms may have one name.
        exact = [
            (basis.terms[i].name, np.asarray(triangle.r)[:, start : start + width])
            for (i, width), start in zip(members, starts)
            if i < len(basis.terms) and isinstance(basis.terms[i], AbstractExact | DriveFeatures)
        ]
        for k, (name, own) in enumerate(exact):
            others = exact[:k] + exact[k + 1 :]
            if not others:
                continue
            left = beside(own, np.concatenate([columns for _, columns in others], axis=1))
            if (np.linalg.norm(left, axis=0) < SAME * np.linalg.norm(own, axis=0)).any():
                sentences.append(
                    f"These data cannot tell {name} from {' and '.join(n for n, _ in others)}: "
                    "only their sum is determined."
                )
    return tuple(sentences)
