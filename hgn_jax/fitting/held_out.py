"""Errors of held-out frames: each is predicted by the fit to the other folds."""

from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._tree import is_concrete
from ..graphs.geometry import bodies, graph_mask, movable
from ..models.network import HamiltonianGraphNetwork
from .pieces import pieces_of
from .result import Fit, model_of

Errors = dict[str, Float[np.ndarray, " _"]]
"""Predicted minus observed values by kind: "energy" per body, "force" and "stress" components."""


def held_out(fit: Fit, data: GraphsTuple) -> Errors:
    """Errors of the fit's own data, each frame predicted without the fold that it belongs to.

    These are errors on unseen frames, at the cost of evaluating the model once. Use them to choose
    settings, or to report errors where data are too few for a test set.

    **Arguments:**

    - `fit`: a fit with `QR(ridge=FrameCV())`.
    - `data`: the data of the fit, in the same order.

    **Returns:** for each kind that the data hold, errors of all values of positive weight: "energy"
    per body, "force" components, "stress" components of periodic frames. Frames with the same
    species come together.

    **Raises:** `ValueError` for a fit without folds.
    """
    models = [fold_model(fit, k) for k in range(folds_of(fit, data))]
    by_kind: dict[str, list[np.ndarray]] = {}
    for number, piece in enumerate(pieces_of(fit.equations, data, fit.solver)):
        for kind, errors in errors_of(models[number % len(models)], piece).items():
            by_kind.setdefault(kind, []).append(errors)
    return {kind: np.concatenate(errors) for kind, errors in by_kind.items()}


def folds_of(fit: Fit, data: GraphsTuple) -> int:
    """Number of folds of the fit. Raises `ValueError` if it has none."""
    folds = [len(s.of_folds) for s in fit.solutions if s.of_folds is not None]
    if not folds or not is_concrete(data):
        raise ValueError(
            "errors of held-out frames need a fit by folds, solver=hgn.QR(ridge=hgn.FrameCV()), "
            "and concrete data"
        )
    return folds[0]


def fold_model(fit: Fit, fold: int) -> HamiltonianGraphNetwork:
    """Model that was fitted without that fold."""
    thetas = [s.theta if s.of_folds is None else s.of_folds[fold] for s in fit.solutions]
    members = fit.reduction.members
    # Constants that no system holds were not fitted by folds.
    if any(len(fit.model.terms) == i for of_system in members for i, _ in of_system):
        return model_of(fit.equations, members, thetas)
    return eqx.tree_at(
        lambda m: m.constants, model_of(fit.equations, members, thetas), fit.model.constants
    )


def errors_of(model: HamiltonianGraphNetwork, piece: GraphsTuple) -> Errors:
    """Errors of the model for one batch, by kind."""
    predicted = _predicted(model, piece)
    observed = {"force": piece.nodes, "energy": piece.globals, "stress": piece.globals}
    return observed_entries(
        piece, {kind: v - observed[kind][kind] for kind, v in predicted.items()}
    )


def observed_entries(graphs: GraphsTuple, values: Mapping[str, Array]) -> Errors:
    """Entries of `values` that were observed with a positive weight; energies per body."""
    picked: Errors = {}
    real = np.asarray(graph_mask(graphs))
    for kind, array in values.items():
        value = np.asarray(array)
        if kind == "force":
            moving = np.asarray(movable(graphs))
            there = moving & (np.asarray(graphs.nodes.get("weight", moving)) > 0)
            picked[kind] = value[there].ravel()
            continue
        there = real & (np.asarray(graphs.globals.get(f"{kind}_weight", real)) > 0)
        if kind == "energy":
            picked[kind] = value[there] / np.asarray(bodies(graphs))[there]
        else:
            rows, columns = np.triu_indices(value.shape[1])  # each component once
            picked[kind] = value[there][:, rows, columns].ravel()
    return picked


@eqx.filter_jit
def _predicted(model: HamiltonianGraphNetwork, graphs: GraphsTuple) -> dict[str, Array]:
    """Predictions of the model for each kind of label that the data hold."""
    predicted = {}
    if "energy" in graphs.globals:
        predicted["energy"] = model(graphs)
    if "force" in graphs.nodes:
        rates = dict(zip(model.dynamics.observed, model.vector_field(graphs)))
        predicted["force"] = rates["force"]
    if "stress" in graphs.globals:
        volume = jnp.abs(jnp.linalg.det(graphs.globals["cell"]))[:, None, None]
        # Padding has no volume.
        predicted["stress"] = model.virial(graphs) / jnp.where(volume > 0, volume, 1)
    return predicted
