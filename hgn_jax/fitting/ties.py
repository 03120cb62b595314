"""Exact terms that the data cannot tell apart."""

import numpy as np

from ..features.drive import DriveFeatures
from ..features.exact import AbstractExact
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
        exact = {
            basis.terms[i].name: np.asarray(triangle.r)[:, start : start + width]
            for (i, width), start in zip(members, starts)
            if i < len(basis.terms) and isinstance(basis.terms[i], AbstractExact | DriveFeatures)
        }
        for name, own in exact.items():
            others = {k: c for k, c in exact.items() if k != name}
            if not others:
                continue
            span = np.concatenate(list(others.values()), axis=1)
            span = span / np.maximum(np.linalg.norm(span, axis=0), np.finfo(span.dtype).tiny)
            left = np.linalg.norm(own - span @ np.linalg.lstsq(span, own)[0], axis=0)
            if (left < SAME * np.linalg.norm(own, axis=0)).any():
                sentences.append(
                    f"These data cannot tell {name} from {' and '.join(others)}: only their sum is "
                    "determined, and the least coefficients were taken."
                )
    return tuple(sentences)
