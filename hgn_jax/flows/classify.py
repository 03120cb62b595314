"""Classes of nodes by ridge regression on class indicators, solved in the dual."""

import warnings
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

RIDGES = tuple(10.0**k for k in range(-4, 2))
"""Ridges that are tried, relative to the mean of the kernel's diagonal."""


class Classification(eqx.Module):
    """Scores of all nodes from one ridge regression."""

    scores: Float[Array, "n C"]
    """Estimated indicators of the classes."""
    labels: Int[np.ndarray, " n"]
    """Given classes, -1 where unknown."""
    ridge: float
    """The ridge, relative to the mean of the kernel's diagonal over training nodes."""
    validation: Float[np.ndarray, " r"] | None
    """Accuracy on validation nodes for every ridge that was tried; None if none was chosen."""

    @property
    def classes(self) -> Int[np.ndarray, " n"]:
        """Class of the greatest score."""
        return np.argmax(np.asarray(self.scores), axis=1)

    def accuracy(self, nodes: Bool[np.ndarray, " n"]) -> float:
        """Share of these nodes whose class is right.

        **Raises:** `ValueError` unless `nodes` is a mask of nodes whose labels are known.
        """
        _check_mask("nodes", nodes, self.labels)
        return float(np.mean((self.classes == self.labels)[nodes]))


def classify(
    kernel: Float[Array, "n n"],
    labels: Int[np.ndarray, " n"],
    train: Bool[np.ndarray, " n"],
    *,
    validation: Bool[np.ndarray, " n"] | None = None,
    ridge: float | Sequence[float] = RIDGES,
) -> Classification:
    r"""Classes of all nodes from the labels of some.

    Indicators Y `[t C]` of the training nodes' classes, minus their mean, are fitted by ridge
    regression: $\hat Y = K_{nt} (K_{tt} + \rho\, \kappa\, 1)^{-1} (Y - \bar Y) + \bar Y$ with
    $\kappa$ the mean of the diagonal of $K_{tt}$.

    **Arguments:**

    - `kernel`: `hgn.flows.linear(states)`, or `hgn.flows.arc_cosine` of it.
    - `labels`: classes 0, 1, ...; -1 where unknown.
    - `train`, `validation`: masks of nodes with known labels.
    - `ridge`: $\rho$, one number, or several of which the most accurate on the validation nodes is
        taken, and of equally accurate ones that with the least squared error.

    **Raises:** `ValueError` for arrays of unequal length, a kernel that is not finite, masks that
    overlap, are empty or hold nodes without a label, ridges that are not positive, or several
    ridges without validation nodes. Warns of classes without a training node: they are never found.
    """
    labels = np.asarray(labels)
    if kernel.shape != (len(labels), len(labels)):
        raise ValueError(f"kernel must be [n n] for {len(labels)} labels, got {kernel.shape}")
    # Every row meets a node whose features are broken, but the diagonal only its own.
    broken = ~np.isfinite(np.asarray(jnp.diag(kernel)))
    if broken.any():
        raise ValueError(
            f"the kernel of node {int(np.argmax(broken))} with itself is not finite: are its "
            "features zero, and divided by their length?"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers, -1 where unknown, got {labels.dtype}")
    _check_mask("train", train, labels)
    ridges = np.atleast_1d(np.asarray(ridge, float))
    if not (ridges > 0).all() or not np.isfinite(ridges).all():
        raise ValueError(f"ridges must be positive and finite, got {ridge}")
    if validation is None:
        if len(ridges) > 1:
            raise ValueError("several ridges need validation=, or give one: ridge=1e-2")
    else:
        _check_mask("validation", validation, labels)
        if (train & validation).any():
            node = int(np.argmax(train & validation))
            raise ValueError(f"node {node} is both in train and in validation")
    missing = sorted(set(labels[labels >= 0].tolist()) - set(labels[train].tolist()))
    if missing:
        warnings.warn(f"no training node has class {missing}: it is never predicted", stacklevel=2)
    count = int(labels.max()) + 1  # classes without a training node keep a column
    rows = jnp.asarray(np.flatnonzero(train))
    indicators = jnp.asarray(labels[train][:, None] == np.arange(count)[None], kernel.dtype)
    # The ridge is an array, so that all ridges share one compiled program.
    scores = [_scores(kernel, rows, indicators, jnp.asarray(r, kernel.dtype)) for r in ridges]
    if validation is None:
        return Classification(scores[0], labels, float(ridges[0]), None)
    estimates = np.stack([np.asarray(s)[validation] for s in scores])
    truth = labels[validation]
    accuracy = np.mean(np.argmax(estimates, axis=2) == truth[None], axis=1)
    error = np.mean((estimates - (truth[:, None] == np.arange(count)[None])) ** 2, axis=(1, 2))
    # The last key comes first: the error decides between equal accuracies.
    best = int(np.lexsort([error, -accuracy])[0])
    return Classification(scores[best], labels, float(ridges[best]), accuracy)


@jax.jit
def _scores(
    kernel: Float[Array, "n n"],
    rows: Int[Array, " t"],
    indicators: Float[Array, "t C"],
    ridge: Float[Array, ""],
) -> Float[Array, "n C"]:
    # The constant is not penalised: it is the mean, added again at the end.
    mean = jnp.mean(indicators, axis=0, keepdims=True)
    columns = kernel[:, rows]
    inner = columns[rows]
    scale = jnp.mean(jnp.diag(inner))
    matrix = inner + ridge * scale * jnp.eye(len(rows), dtype=kernel.dtype)
    # The factorisation reads the lower triangle alone: to symmetrise would only copy the matrix.
    dual = jax.scipy.linalg.cho_solve(
        (jnp.linalg.cholesky(matrix, symmetrize_input=False), True), indicators - mean
    )
    return jnp.matmul(columns, dual, precision="highest") + mean


def _check_mask(name: str, mask: Bool[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> None:
    given = np.asarray(mask)
    if given.dtype != bool or given.shape != labels.shape:
        raise ValueError(
            f"{name} must hold one boolean for each of the {len(labels)} nodes, got {given.dtype} "
            f"{list(given.shape)}"
        )
    if not given.any():
        raise ValueError(f"{name} holds no node")
    if (labels[given] < 0).any():
        node = int(np.flatnonzero(given & (labels < 0))[0])
        raise ValueError(f"{name} holds node {node}, whose label is unknown")
